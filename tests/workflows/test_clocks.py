"""Pauses that stop the clocks: no time passes for what is paused, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from kallista import ProcessStatus, Snooze, TaskContext, WorkflowStatus
from kallista.core.snapshots import WorkflowSnapshot

pytestmark = pytest.mark.anyio

SLEEP = {"id": "nap", "type": "sleep", "seconds": 100}


class Shop:
    """Handlers that fail, wait, or put things off, and remember their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []
        self.failures = 1
        self.snoozes = 0
        self.gate = asyncio.Event()

    async def fail(self, ctx: TaskContext) -> str:
        """Fail as often as it is told to."""
        self.calls.append("fail")
        self.keys.append(ctx.idempotency_key)
        if self.failures:
            self.failures -= 1
            raise ValueError("not yet")
        return "done"

    async def wait(self) -> Snooze | str:
        """Wait at the gate."""
        self.calls.append("wait")
        await self.gate.wait()
        if self.snoozes:
            self.snoozes -= 1
            return Snooze(100)
        return "through"


def statuses(run: WorkflowSnapshot) -> list[str]:
    return [task.status.value for task in run.tasks]


async def test_a_sleep_goes_on_with_what_was_left_of_it(any_world: World) -> None:
    """It is over neither early nor late, and it is said since when the clocks stand still."""
    app = await any_world.app()
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [SLEEP], {"deadline": 150}, workflow_id="w")
    await any_world.after(manager.start_workflow(id))
    await any_world.passes(40)
    await any_world.after(manager.pause_workflow(id, "a holiday", stop_clocks=True))
    paused = await any_world.after(manager.get_workflow(id))
    assert paused.clocks_stopped_at is not None
    told = await any_world.after(manager.explain(id))
    assert str(told) == (
        f"Workflow 'w' is paused; its clocks stand still since"
        f" {paused.clocks_stopped_at:%Y-%m-%d %H:%M:%S} UTC."
    )
    await any_world.passes(1_000)
    assert (await any_world.after(manager.get_workflow(id))).status is WorkflowStatus.PAUSED
    await any_world.after(manager.resume_workflow(id))
    assert (await any_world.after(manager.get_workflow(id))).clocks_stopped_at is None
    await any_world.passes(59)
    assert (await any_world.after(manager.get_workflow(id))).status is WorkflowStatus.RUNNING
    await any_world.passes(1)
    assert (await any_world.after(manager.get_workflow(id))).status is WorkflowStatus.COMPLETED
    assert (await any_world.after(manager.replay(id))).agrees


async def test_without_it_sleeps_ripen_and_a_deadline_is_kept(world: World) -> None:
    """The rule for those who do not ask for anything else."""
    app = await world.app()
    manager = app.workflow_manager
    for id, config in (("sleeps", {}), ("late", {"deadline": 150})):
        await manager.create_workflow("w", [SLEEP], config, workflow_id=id)
        await world.after(manager.start_workflow(id))
        await world.after(manager.pause_workflow(id))
    await world.passes(1_000)
    assert (await world.after(manager.get_workflow("late"))).status is WorkflowStatus.FAILED
    await world.after(manager.resume_workflow("sleeps"))
    assert (await world.after(manager.get_workflow("sleeps"))).status is WorkflowStatus.COMPLETED


async def test_time_limits_of_the_run_and_of_its_tasks_are_later(any_world: World) -> None:
    """By as long as the pauses took, all together; then they hold as they did before."""
    shop = Shop()
    shop.failures = 9
    app = await any_world.app(shop.fail)
    manager = app.workflow_manager
    retry = {"max_attempts": 9, "delay": 60, "backoff": 1}
    slow = {"id": "slow", "type": "fail", "deadline": 100, "retry": retry}
    nap = {"id": "nap", "type": "sleep", "seconds": 900}
    await manager.create_workflow("task", [slow], workflow_id="task")
    await manager.create_workflow("run", [nap], {"deadline": 100}, workflow_id="run")
    for id in ("task", "run"):
        await any_world.after(manager.start_workflow(id))
    for _ in range(2):
        await any_world.passes(20)
        for id in ("task", "run"):
            await any_world.after(manager.pause_workflow(id, stop_clocks=True))
        await any_world.passes(500)
        for id in ("task", "run"):
            await any_world.after(manager.resume_workflow(id))
    await any_world.passes(19)
    assert len(shop.calls) == 1
    await any_world.passes(1)
    assert len(shop.calls) == 2, "the delay before a retry stood still as well"
    await any_world.passes(39)
    run = await any_world.after(manager.get_workflow("run"))
    assert run.status is WorkflowStatus.RUNNING
    await any_world.passes(1)
    for id in ("task", "run"):
        ended = await any_world.after(manager.get_workflow(id))
        assert ended.status is WorkflowStatus.FAILED
        assert ended.errors[-1].type == "DeadlineExceeded"


async def test_what_ends_meanwhile_waits_as_long_as_it_said_after_the_pause(
    any_world: World,
) -> None:
    """What is put off while clocks stand still is put off from the end of the pause."""
    shop = Shop()
    shop.snoozes = 1
    app = await any_world.app(shop.wait)
    manager = app.workflow_manager
    await manager.create_workflow("w", [{"type": "wait"}], workflow_id="w")
    await any_world.after(manager.start_workflow("w"))
    await any_world.after(manager.pause_workflow("w", stop_clocks=True))
    assert (await any_world.after(manager.get_workflow("w"))).in_flight == 1
    await any_world.passes(50)
    shop.gate.set()
    await any_world.passes(300)
    paused = await any_world.after(manager.get_workflow("w"))
    assert (paused.in_flight, statuses(paused)) == (0, ["SCHEDULED"])
    await any_world.after(manager.resume_workflow("w"))
    await any_world.passes(99)
    assert len(shop.calls) == 1
    await any_world.passes(1)
    ended = await any_world.after(manager.wait_workflow("w"))
    assert ended.results == {"wait": "through"}


async def test_the_time_for_an_answer_stands_still(any_world: World) -> None:
    """Whoever is asked has as long as the question said, the pause apart."""
    app = await any_world.app()
    manager = app.workflow_manager
    asks = {"id": "ask", "type": "approval", "prompt": "?", "timeout": 100}
    await manager.create_workflow("w", [asks], workflow_id="w")
    await any_world.after(manager.start_workflow("w"))
    await any_world.passes(40)
    await any_world.after(manager.pause_workflow("w", stop_clocks=True))
    await any_world.passes(1_000)
    await any_world.after(manager.resume_workflow("w"))
    await any_world.passes(59)
    assert (await any_world.after(manager.get_workflow("w"))).status is WorkflowStatus.RUNNING
    await any_world.passes(1)
    run = await any_world.after(manager.get_workflow("w"))
    assert [error.message for error in run.errors] == ["nobody answered within 100 s"]


async def test_children_stand_still_with_their_parent(any_world: World) -> None:
    """Also where the clocks are stopped only after the pause began."""
    app = await any_world.app()
    orchestrator = app.orchestrator
    inner = {"id": "inner", "type": "workflow", "tasks": [SLEEP], "config": {"deadline": 120}}
    await orchestrator.create_process({"id": "p", "steps": [inner]})
    await any_world.after(orchestrator.start_process("p"))
    await any_world.passes(10)
    await any_world.after(orchestrator.pause_process("p"))
    await any_world.passes(10)
    await any_world.after(orchestrator.pause_process("p", stop_clocks=True))
    await any_world.after(orchestrator.pause_process("p"))
    child = await any_world.after(app.workflow_manager.get_workflow("p/inner"))
    assert child.status is WorkflowStatus.PAUSED
    assert child.clocks_stopped_at is not None
    await any_world.passes(1_000)
    await any_world.after(orchestrator.resume_process("p"))
    await any_world.passes(79)
    child = await any_world.after(app.workflow_manager.get_workflow("p/inner"))
    assert (child.status, child.clocks_stopped_at) == (WorkflowStatus.RUNNING, None)
    await any_world.passes(1)
    process = await any_world.after(orchestrator.get_process("p"))
    assert process.status is ProcessStatus.COMPLETED


async def test_a_child_that_was_paused_before_stands_still_too(any_world: World) -> None:
    """Its own pause lets time go on, that of its parent does not: nothing of it is late then."""
    app = await any_world.app()
    manager, orchestrator = app.workflow_manager, app.orchestrator
    inner = {"id": "inner", "type": "workflow", "tasks": [SLEEP], "config": {"deadline": 120}}
    await orchestrator.create_process({"id": "p", "steps": [inner]})
    await any_world.after(orchestrator.start_process("p"))
    await any_world.after(manager.pause_workflow("p/inner"))
    await any_world.passes(10)
    await any_world.after(orchestrator.pause_process("p", stop_clocks=True))
    await any_world.passes(1_000)
    await any_world.after(orchestrator.resume_process("p"))
    child = await any_world.after(manager.get_workflow("p/inner"))
    assert (child.status, child.clocks_stopped_at is None) == (WorkflowStatus.PAUSED, False)
    await any_world.passes(1_000)
    await any_world.after(manager.resume_workflow("p/inner"))
    await any_world.passes(89)
    assert (await any_world.after(manager.get_workflow("p/inner"))).status == "RUNNING"
    await any_world.passes(1)
    process = await any_world.after(orchestrator.get_process("p"))
    assert process.status is ProcessStatus.COMPLETED


async def test_clocks_stand_still_across_programs(any_world: World) -> None:
    """Another program resumes what one that is gone has paused, and nothing is lost or early."""
    first = await any_world.app()
    await first.workflow_manager.create_workflow("w", [SLEEP], workflow_id="w")
    await any_world.after(first.workflow_manager.start_workflow("w"))
    await any_world.passes(30)
    await any_world.after(first.workflow_manager.pause_workflow("w", stop_clocks=True))
    await any_world.leave(first)
    await any_world.passes(5_000)
    second = await any_world.app()
    manager = second.workflow_manager
    assert (await any_world.after(manager.get_workflow("w"))).status is WorkflowStatus.PAUSED
    await any_world.after(manager.resume_workflow("w"))
    await any_world.passes(69)
    assert (await any_world.after(manager.get_workflow("w"))).status is WorkflowStatus.RUNNING
    await any_world.passes(1)
    assert (await any_world.after(manager.get_workflow("w"))).status is WorkflowStatus.COMPLETED


async def test_what_runs_at_the_end_keeps_its_key_when_clocks_stood_still(world: World) -> None:
    """Its later attempts are the same thing to other systems, whatever became of its moments."""
    shop = Shop()
    app = await world.app(shop.fail)
    last = {"id": "last", "type": "fail", "retry": {"max_attempts": 2, "delay": 60}}
    manager = app.workflow_manager
    nap = {"type": "sleep", "seconds": 0}
    await manager.create_workflow("w", [nap], {"finally": [last]}, workflow_id="w")
    await world.after(manager.start_workflow("w"))
    await world.after(manager.pause_workflow("w", stop_clocks=True))
    await world.passes(500)
    await world.after(manager.resume_workflow("w"))
    await world.passes(60)
    assert (await world.after(manager.get_workflow("w"))).status is WorkflowStatus.COMPLETED
    assert len(shop.keys) == 2
    assert len(set(shop.keys)) == 1


async def test_many_are_stopped_at_once_and_may_be_cancelled(world: World) -> None:
    """A cancellation ends what stands still; all that match are paused with one call."""
    app = await world.app()
    manager = app.workflow_manager
    for id in ("one", "two"):
        await manager.create_workflow("w", [SLEEP], workflow_id=id, tags=["nightly"])
        await world.after(manager.start_workflow(id))
    told = await world.after(manager.pause_workflows(tag="nightly", stop_clocks=True))
    assert (told.matched, told.changed) == (2, 2)
    await world.passes(500)
    await world.after(manager.cancel_workflow("one"))
    for id, status in (("one", "CANCELLED"), ("two", "PAUSED")):
        run = await world.after(manager.get_workflow(id))
        assert run.status == status
        assert (run.clocks_stopped_at is None) == (id == "one")


async def test_what_has_not_begun_expires_though_its_clocks_stand_still(any_world: World) -> None:
    """Until when it is of use is no matter of its own clocks."""
    app = await any_world.app()
    nap = {"type": "sleep", "seconds": 0}
    process = {
        "id": "p",
        "steps": [nap],
        "dependencies": ["other"],
        "config": {"expires_at": "30s"},
    }
    await app.orchestrator.start_process(await app.orchestrator.create_process(process))
    await app.orchestrator.pause_process("p", stop_clocks=True)
    await any_world.passes(29)
    assert await app.orchestrator.get_process_status("p") is ProcessStatus.PAUSED
    await any_world.passes(1)
    assert await app.orchestrator.get_process_status("p") is ProcessStatus.CANCELLED
