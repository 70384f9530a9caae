"""``kallista worker``: executes whatever is due, until it is stopped."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from kallista.cli.interrupts import Leaving, signals_call
from kallista.cli.live import Quiet
from kallista.cli.output import print_json
from kallista.core.plan import DEFAULT_QUEUE

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.cli.session import Session


async def work(session: Session, concurrency: int | None, queues: str | None) -> None:
    """Work until a signal comes, then stop in good order.

    Args:
        session: The options.
        concurrency: How many tasks at once.
        queues: The names of the queues to serve, with commas between; None: the configured ones.
    """
    leaving = Leaving(Quiet())
    with signals_call(leaving.signalled):
        async with session.app(worker=True, concurrency=concurrency, queues=queues) as app:
            await _announce(session, app, queues)
            serving = asyncio.ensure_future(app.serve())
            leaving.by(serving.cancel)
            try:
                await serving
            except asyncio.CancelledError:
                if not leaving.is_leaving:
                    raise
            _tell(session, "stopping; tasks in flight may finish (Ctrl-C again: end at once)")
    _tell(session, "stopped")


def _tell(session: Session, text: str) -> None:
    if not session.as_json:
        print(text, flush=True)


async def _announce(session: Session, app: Kallista, named: str | None) -> None:
    queues = session.settings.queues if named is None else named.split(",")
    store, types = session.settings.shown_url, [info.type for info in app.task_types()]
    missing = (await app.diagnose()).missing_types
    if session.as_json:
        told = {"store": store, "queues": list(queues), "types": types}
        print_json({**told, "missing_types": list(missing)})
        sys.stdout.flush()
    _tell(session, f"working on {store}; Ctrl-C stops\ntask types: {', '.join(types)}")
    if queues != (DEFAULT_QUEUE,):
        _tell(session, f"queues: {', '.join(queues)}")
    for type in missing:
        _tell(
            session,
            f"queued work needs the task type {type!r}, which no worker alive has;"
            " --tasks MODULE loads the module that registers it",
        )
