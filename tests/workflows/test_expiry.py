"""What is of use only until a moment: it is CANCELLED when nothing of it has begun by then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import World, ids

from kallista import DefinitionError, StateError, TaskStatus, UsageError
from kallista.core.durations import to_datetime

pytestmark = pytest.mark.anyio

NAP = {"type": "sleep", "seconds": 60}


class Desk:
    """A handler that only some programs have, and what it was called for."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def greet(self, whom: str) -> None:
        """Greet somebody."""
        self.done.append(whom)


async def test_a_task_that_nobody_begins_in_time_is_cancelled(any_world: World) -> None:
    """Although no worker has its type: the moment alone brings it about, and says why."""
    app = await any_world.app(alert=True)
    desk = Desk()
    client = await any_world.app(desk.greet, worker=False)
    task = {"type": "greet", "whom": "Ada", "expires_at": "10m"}
    await client.scheduler.schedule_task("t", task)
    await any_world.settle()
    told = str(await app.scheduler.explain("t"))
    assert "it expires at" in told
    assert (await app.scheduler.get_task("t")).expires_at == to_datetime(
        any_world.clock.now()
    ) + timedelta(minutes=10)
    await any_world.passes("9m 59s")
    assert await app.scheduler.get_task_status("t") is TaskStatus.READY
    await any_world.passes(1)
    late = await app.scheduler.get_task("t")
    assert (late.status, late.attempt) == (TaskStatus.CANCELLED, 0)
    assert "expired: nothing of it had begun by" in str(late.note)
    assert "create another one" in str(await app.scheduler.explain("t"))
    with pytest.raises(StateError, match="create another one"):
        await app.scheduler.retry_task("t")
    await any_world.app(desk.greet)
    await any_world.settle()
    assert desk.done == []


async def test_what_has_begun_does_not_expire(any_world: World) -> None:
    """Not even while it waits; that is what a deadline is for. Nothing is left in the queue."""
    desk = Desk()
    app = await any_world.app(desk.greet)
    manager = app.workflow_manager
    tasks = [NAP, {"type": "greet", "whom": "Ada"}]
    await manager.create_workflow("w", tasks, {"expires_at": 10}, workflow_id="w")
    await manager.start_workflow("w")
    await any_world.settle()
    assert "it expires" not in str(await manager.explain("w"))
    await any_world.passes(60)
    assert (await manager.get_workflow("w")).ok
    assert desk.done == ["Ada"]
    assert (await app.store.stats()).rows["queue"] == 0


async def test_a_run_that_nobody_starts_expires(any_world: World) -> None:
    """PENDING, paused, or waiting for another process; a start that comes too late begins none."""
    app = await any_world.app()
    manager, orchestrator = app.workflow_manager, app.orchestrator
    await manager.create_workflow("w", [NAP], {"expires_at": "10s"}, workflow_id="pending")
    step = {"id": "s", **NAP}
    process = {"id": "p", "steps": [step], "dependencies": ["other"], "expires_at": 10}
    await orchestrator.start_process(await orchestrator.create_process(process))
    later = to_datetime(any_world.clock.now()) + timedelta(seconds=20)
    await app.scheduler.schedule_task("t", {**NAP, "expires_at": 30}, later)
    await any_world.passes(10)
    assert await manager.get_workflow_status("pending") == "CANCELLED"
    await manager.start_workflow("pending")
    assert (await orchestrator.get_process("p")).status == "CANCELLED"
    history = await orchestrator.get_history("p")
    assert any("expired" in str(event.data) for event in history)
    await any_world.passes(10)
    assert await app.scheduler.get_task_status("t") is TaskStatus.WAITING


async def test_what_comes_too_late_is_cancelled_at_once(any_world: World) -> None:
    """So that the same request is still the same one when its moment is over."""
    app = await any_world.app()
    past = to_datetime(any_world.clock.now()) - timedelta(seconds=1)
    for _ in range(2):
        await app.scheduler.schedule_task("t", {**NAP, "expires_at": past})
        await app.workflow_manager.create_workflow(
            "w", [NAP], {"expires_at": past.isoformat()}, workflow_id="w"
        )
    await any_world.settle()
    assert await app.scheduler.get_task_status("t") is TaskStatus.CANCELLED
    assert await app.workflow_manager.get_workflow_status("w") == "CANCELLED"
    many = [{"task_data": {**NAP, "expires_at": past}, "task_id": f"m{n}"} for n in range(3)]
    await app.scheduler.schedule_tasks(many)
    cancelled = await app.scheduler.list_tasks(status="CANCELLED")
    assert ids(cancelled.items) == ["m2", "m1", "m0", "t"]


async def test_a_parent_learns_that_its_child_expired(any_world: World) -> None:
    """Its step fails with the reason; a retry fails again, for the child is of no use any more."""
    app = await any_world.app(alert=True)
    desk = Desk()
    client = await any_world.app(desk.greet, worker=False)
    child = {"id": "c", "type": "workflow", "config": {"expires_at": 5}}
    child["tasks"] = [{"type": "greet", "whom": "Ada"}]
    await client.orchestrator.create_processes([{"id": "p", "steps": [child]}], start=True)
    await any_world.settle()
    await any_world.passes(6)
    process = await app.orchestrator.get_process("p")
    assert process.status == "FAILED"
    assert "expired: nothing of it had begun" in str(process.errors[0])
    await app.orchestrator.retry_process("p")
    await any_world.settle()
    process = await app.orchestrator.get_process("p")
    assert (process.status, "expired" in str(process.errors[0])) == ("FAILED", True)


async def test_a_claim_that_comes_too_late_begins_nothing(any_world: World) -> None:
    """All programs were away when the moment came: the first one back does not begin it."""
    desk = Desk()
    client = await any_world.app(desk.greet, worker=False)
    await client.scheduler.schedule_tasks(
        [
            {"task_id": f"t{n}", "task_data": {"type": "greet", "whom": "x", "expires_at": n + 5}}
            for n in range(4)
        ]
    )
    step = {"id": "s", "type": "greet", "whom": "x"}
    await client.orchestrator.create_processes(
        [{"id": "p", "steps": [step], "config": {"expires_at": 6}}], start=True
    )
    await any_world.passes(7)
    app = await any_world.app(desk.greet, alert=True)
    await any_world.settle()
    done = await app.scheduler.list_tasks(status="COMPLETED")
    assert ids(done.items) == ["t3"]
    assert desk.done == ["x"]
    assert (await app.orchestrator.get_process("p")).status == "CANCELLED"


async def test_firings_of_a_schedule_expire(world: World) -> None:
    """Each counts from its own creation."""
    app = await world.app(alert=True)
    desk = Desk()
    client = await world.app(desk.greet, worker=False)
    task = {"type": "greet", "whom": "x", "expires_at": 5}
    await client.scheduler.schedule_task("s", task, interval=60, overlap="allow")
    await world.passes(1)
    await world.passes(60)
    cancelled = await app.scheduler.list_tasks(schedule_id="s", status="CANCELLED")
    assert len(cancelled.items) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"expires_at": "soon"}, "no length of time"),
        ({"expires_at": 0}, "longer than nothing"),
        ({"expires_at": "2030-13-01"}, "no moment"),
        ({"expires_at": True}, "no length of time"),
    ],
)
async def test_a_wrong_expiry_is_told(world: World, wrong: dict[str, Any], told: str) -> None:
    """In a task as in a config."""
    app = await world.app()
    with pytest.raises(DefinitionError, match=told):
        await app.scheduler.schedule_task("t", {**NAP, **wrong})
    with pytest.raises(DefinitionError, match=told):
        await app.workflow_manager.create_workflow("w", [NAP], wrong)


async def test_what_could_never_begin_is_refused(world: World) -> None:
    """Due only when it has expired; and tasks inside a run have no expiry of their own."""
    app = await world.app()
    later = to_datetime(world.clock.now()) + timedelta(seconds=20)
    with pytest.raises(UsageError, match="let it expire later"):
        await app.scheduler.schedule_task("t", {**NAP, "expires_at": 10}, later)
    with pytest.raises(DefinitionError, match="belongs to a whole run"):
        await app.workflow_manager.create_workflow("w", [{**NAP, "expires_at": 10}])
