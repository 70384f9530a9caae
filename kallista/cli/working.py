"""``kallista worker``: executes whatever is due, until it is stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kallista.cli.interrupts import Leaving, signals_call
from kallista.cli.live import Quiet

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.cli.session import Session


async def work(session: Session, concurrency: int | None) -> None:
    """Work until a signal comes, then stop in good order.

    Args:
        session: The options.
        concurrency: How many tasks at once.
    """
    leaving = Leaving(Quiet())
    with signals_call(leaving.signalled):
        async with session.app(worker=True, concurrency=concurrency) as app:
            await _announce(session, app)
            serving = asyncio.ensure_future(app.serve())
            leaving.by(serving.cancel)
            try:
                await serving
            except asyncio.CancelledError:
                if not leaving.is_leaving:
                    raise
            print("stopping; tasks in flight may finish (Ctrl-C again: end at once)", flush=True)
    print("stopped", flush=True)


async def _announce(session: Session, app: Kallista) -> None:
    types = ", ".join(info.type for info in app.task_types())
    print(f"working on {session.settings.url}; Ctrl-C stops\ntask types: {types}", flush=True)
    for type in (await app.diagnose()).missing_types:
        print(
            f"queued work needs the task type {type!r}, which no worker alive has;"
            " --tasks MODULE loads the module that registers it",
            flush=True,
        )
