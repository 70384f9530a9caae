"""Commands to all runs that match: how many there are, what becomes of them, who is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from world import MemoryWorld, World

from kallista import Kallista, UsageError, WorkflowStatus
from kallista.core.types import RunId

pytestmark = pytest.mark.anyio

SLOW = [{"id": "slow", "type": "sleep", "seconds": 60}]


async def nightly(world: World, count: int, *handlers: Any) -> Kallista:
    """An app with some nightly workflows under way, and another one."""
    app = await world.app(*handlers)
    manager = app.workflow_manager
    await manager.create_workflows(
        [
            {"name": "w", "tasks": SLOW, "workflow_id": f"n{n}", "tags": ["nightly"]}
            for n in range(count)
        ],
        start=True,
    )
    await manager.create_workflow("w", SLOW, workflow_id="other")
    await manager.start_workflow("other")
    await world.settle()
    return app


async def test_all_that_match_are_commanded(any_world: World) -> None:
    """Page by page; the others go on, and the reason is kept in each history."""
    app = await nightly(any_world, 130)
    manager = app.workflow_manager
    preview = await manager.pause_workflows(tag="nightly", dry_run=True)
    assert (preview.matched, preview.changed, len(preview.ids)) == (130, 0, 20)
    told = await manager.pause_workflows(tag="nightly", reason="the bank is closed")
    assert (told.matched, told.changed, told.refusals) == (130, 130, 0)
    assert await manager.get_workflow_status("n7") is WorkflowStatus.PAUSED
    assert await manager.get_workflow_status("other") is WorkflowStatus.RUNNING
    assert (await manager.pause_workflows(tag="nightly")).matched == 0
    told = await manager.resume_workflows(tag="nightly", reason="it is open")
    assert told.changed == 130
    told = await manager.cancel_workflows(name="w", reason="no more")
    assert told.changed == 131
    history = await manager.get_history("n7")
    assert [event.data["reason"] for event in history if event.data and "run" in event.kind] == [
        "the bank is closed",
        "it is open",
        "no more",
    ]


async def test_what_failed_is_retried_together(any_world: World) -> None:
    """Only what FAILED, unless another status is asked for."""
    broken = [True]

    async def fragile() -> None:
        if broken[0]:
            raise ValueError("not yet")

    app = await any_world.app(fragile)
    await app.scheduler.schedule_tasks([{"id": f"t{n}", "type": "fragile"} for n in range(3)])
    await any_world.settle()
    broken.clear()
    broken.append(False)
    told = await app.scheduler.retry_tasks(status="FAILED", reason="it is mended")
    assert (told.matched, told.changed) == (3, 3)
    await any_world.settle()
    assert (await app.scheduler.get_task("t1")).ok
    assert (await app.scheduler.cancel_tasks(name="t1")).matched == 0


async def test_children_are_left_to_their_parents(world: World) -> None:
    """A process is paused as a whole: its children match, and are not commanded by themselves."""
    app = await world.app()
    step = {"id": "child", "type": "workflow", "tasks": SLOW, "config": {"tags": ["nightly"]}}
    data = {"id": "p", "steps": [step], "tags": ["nightly"]}
    await app.orchestrator.start_process(await app.orchestrator.create_process(data))
    await world.settle()
    assert (await app.workflow_manager.pause_workflows(tag="nightly")).matched == 0
    assert (await app.orchestrator.pause_processes(tag="nightly")).changed == 1
    await world.settle()
    assert await app.workflow_manager.get_workflow_status("p/child") is WorkflowStatus.PAUSED


@pytest.mark.parametrize("which", [{}, {"tag": None}, {"tags": "nightly"}])
async def test_nobody_means_all_by_mistake(world: World, which: dict[str, Any]) -> None:
    """It has to be said which are meant, and in words that there are."""
    app = await nightly(world, 1)
    with pytest.raises(UsageError):
        await app.workflow_manager.cancel_workflows(**which)
    assert await app.workflow_manager.get_workflow_status("n0") is WorkflowStatus.RUNNING


async def test_a_history_leads_to_where_its_run_is(any_world: World) -> None:
    """Replayed from the beginning, for runs of every kind and in every state."""
    app = await nightly(any_world, 1)
    told = await app.workflow_manager.replay("n0")
    assert told.agrees
    assert str(told) == f"{told.events} events of 'n0' lead to where it is: RUNNING."
    await app.workflow_manager.cancel_workflow("n0")
    assert (await app.orchestrator.replay("n0")).status == "CANCELLED"


async def test_a_state_that_no_history_tells_is_found(world: MemoryWorld) -> None:
    """The first difference is told, as it is and as it would be."""
    app = await nightly(world, 1)
    key = world.state.keys[RunId("n0")]
    before = world.state.runs[key]
    world.state.runs[key] = replace(before, head=replace(before.head, in_flight=7))
    told = await app.workflow_manager.replay("n0")
    world.state.runs[key] = before
    assert "with 7 in flight" in str(told.difference)
    assert not told.agrees
