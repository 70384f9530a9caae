"""Memory holds what is executed, never what waits."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from long_list import MORE_MIB, measured
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


@pytest.mark.skipif(sys.platform != "linux", reason="what is measured is told by Linux")
def test_a_long_list_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Only the items that are under way are held, and nothing of those that have completed."""
    few, little = measured(250, tmp_path)
    many, most = measured(5_000, tmp_path)
    assert (few, many) == (250, 5_000)
    assert most < little + MORE_MIB
