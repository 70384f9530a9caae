"""``kallista worker``: executes whatever is due, until it is stopped."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from kallista.cli.interrupts import Leaving, signals_call
from kallista.cli.live import Quiet
from kallista.cli.output import print_json
from kallista.cli.views import problems_of
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
    working = asyncio.ensure_future(_work(session, concurrency, queues))
    leaving.by(working.cancel)
    with signals_call(leaving.signalled):
        try:
            await working
        except asyncio.CancelledError:
            if not leaving.is_leaving:
                raise
    _tell(session, "stopped")


async def _work(session: Session, concurrency: int | None, queues: str | None) -> None:
    async with session.app(worker=True, concurrency=concurrency, queues=queues) as app:
        await _announce(session, app)
        try:
            await app.serve()
        finally:
            _tell(session, "stopping; tasks in flight may finish (Ctrl-C again: end at once)")


def _tell(session: Session, text: str) -> None:
    if not session.as_json:
        print(text, flush=True)


async def _announce(session: Session, app: Kallista) -> None:
    store, types = session.settings.shown_url, [info.type for info in app.task_types()]
    found = await app.diagnose()
    if session.as_json:
        told = {"store": store, "queues": list(app.queues), "types": types}
        print_json({**told, "missing_types": list(found.missing_types)})
        sys.stdout.flush()
    _tell(session, f"working on {store}; Ctrl-C stops\ntask types: {', '.join(types)}")
    if app.queues != (DEFAULT_QUEUE,):
        _tell(session, f"queues: {', '.join(app.queues)}")
    for problem in problems_of(found):
        _tell(session, problem)
