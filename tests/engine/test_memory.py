"""Memory holds what is executed, never what waits."""

from __future__ import annotations

import asyncio

import pytest
from world import World

pytestmark = pytest.mark.anyio


async def test_the_backlog_stays_in_the_store(world: World) -> None:
    """However much waits, a program holds no more runs than it executes."""
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    app = await world.app(work, max_concurrency=3)
    for number in range(300):
        await app.scheduler.schedule_task(f"t{number}", {"type": "work"})
    await world.settle()
    assert len(app._engine._driver.driven) == 3
    gate.set()
    await world.settle()
    assert app._engine._driver.driven == []
    assert len((await app.scheduler.list_tasks(status="COMPLETED", limit=1000)).items) == 300
