"""Callers that give up before their answer: what they asked for is whole, or was never there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from flaky import FlakyStore
from world import MemoryWorld, places_taken

from kallista import Kallista
from kallista.core.types import RunId

pytestmark = pytest.mark.anyio

LINE = [{"type": "work", "id": "a"}]

Request = Callable[[Kallista], Awaitable[object]]


async def one_task(app: Kallista) -> None:
    """Begins at once, for there is room."""
    await app.scheduler.schedule_task("r", {"type": "work"})


async def many_tasks(app: Kallista) -> None:
    """All are queued."""
    await app.scheduler.schedule_tasks([{"task_id": "r", "task_data": {"type": "work"}}])


async def a_workflow(app: Kallista) -> None:
    """Created, then started."""
    await app.workflow_manager.create_workflow("w", LINE, workflow_id="r")
    await app.workflow_manager.start_workflow("r")


@pytest.mark.parametrize("patience", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("request_", [one_task, many_tasks, a_workflow])
async def test_what_was_asked_for_goes_on_alone(
    world: MemoryWorld, request_: Request, patience: int
) -> None:
    """A request that times out leaves nothing that stands still in a living program's hands."""
    store = FlakyStore(world.state, Random(patience))

    def work() -> None:
        return None

    app = await world.app(work, store=store)
    await world.settle()
    store.slowness = 6
    asking = asyncio.ensure_future(request_(app))
    for _ in range(patience):
        await asyncio.sleep(0)
    asking.cancel()
    await world.settle()
    assert places_taken(app) == 0
    record = await store.load(RunId("r"))
    if record is not None:
        assert record.owner is None
        assert record.head.state in ("PENDING", "COMPLETED")
