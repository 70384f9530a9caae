"""How runs are wound up: what completed is undone, and what runs whatever the end does so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world import World

from kallista import (
    DefinitionError,
    Kallista,
    ProcessStatus,
    StateError,
    TaskContext,
    WorkflowStatus,
)
from kallista.core.snapshots import WorkflowSnapshot

pytestmark = pytest.mark.anyio

BAD = {"id": "bad", "type": "do", "value": "broken"}


class Agency:
    """Books and takes back; remembers what it was asked, and may be held or broken."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.keys: list[str] = []
        self.broken: set[object] = {"broken"}
        self.held: dict[object, asyncio.Event] = {}

    async def do(self, ctx: TaskContext, value: object = None) -> object:
        """Do one thing."""
        self.done.append(f"do {value}")
        self.keys.append(ctx.idempotency_key)
        if value in self.held:
            await self.held[value].wait()
        if value in self.broken:
            raise ValueError(f"{value} cannot be done")
        return value

    async def undo(self, value: object) -> None:
        """Take it back."""
        self.done.append(f"undo {value}")
        if f"undo {value}" in self.held:
            await self.held[f"undo {value}"].wait()
        if f"undo {value}" in self.broken:
            raise ValueError(f"{value} cannot be undone")

    def hold(self, *values: object) -> None:
        """Let these wait until they are released."""
        self.held.update((value, asyncio.Event()) for value in values)


def booking(id: str, **more: object) -> dict[str, object]:
    """A task that is undone by what it returned."""
    undo = {"type": "undo", "value": f"${{tasks.{id}.result}}"}
    return {"id": id, "type": "do", "value": id, "compensate": undo, **more}


ROLLBACK = {"on_failure": "rollback"}


def statuses(run: WorkflowSnapshot) -> dict[str, str]:
    return {str(task.id): task.status.value for task in run.tasks}


async def test_a_failing_run_undoes_what_completed_in_reverse(any_world: World) -> None:
    """What failed or never ran is left alone; the run is FAILED by what failed."""
    agency = Agency()
    app = await any_world.app(agency.do, agency.undo)
    tasks = [booking("car"), booking("room"), BAD, booking("never")]
    run = await any_world.after(app.workflow_manager.run_workflow("trip", tasks, config=ROLLBACK))
    assert agency.done == ["do car", "do room", "do broken", "undo room", "undo car"]
    assert run.status is WorkflowStatus.FAILED
    assert statuses(run) == {
        "car": "COMPLETED", "room": "COMPLETED", "bad": "FAILED", "never": "SKIPPED",
        "undo:car": "COMPLETED", "undo:room": "COMPLETED",
    }  # fmt: skip
    assert [str(error) for error in run.errors] == ["bad: ValueError: broken cannot be done"]
    assert run.results == {"car": "car", "room": "room"}


async def test_branches_are_undone_in_the_reverse_order_of_their_completion(world: World) -> None:
    """Not in the order of the list."""
    agency = Agency()
    agency.hold("a", "b", "broken")
    app = await world.app(agency.do, agency.undo)
    undo = {"type": "undo", "value": "${steps.a.result}"}
    steps: list[dict[str, object]] = [
        {"id": "a", "depends_on": [], "type": "do", "value": "a", "compensate": undo},
        {"id": "b", "depends_on": [], "type": "do", "value": "b",
         "compensate": {"type": "undo", "value": "${steps.b.result}"}},
        {**BAD, "depends_on": []},
    ]  # fmt: skip
    await app.orchestrator.create_process({"id": "p", "steps": steps, **ROLLBACK})
    await app.orchestrator.start_process("p")
    for value in ("b", "a", "broken"):
        await world.settle()
        agency.held[value].set()
    run = await world.after(app.orchestrator.wait_process("p"))
    assert run.status is ProcessStatus.FAILED
    assert agency.done[-2:] == ["undo a", "undo b"]


async def test_what_cannot_be_undone_is_told_and_the_rest_is_undone(any_world: World) -> None:
    """A retry tries to undo that once more, and nothing else."""
    agency = Agency()
    agency.broken.add("undo room")
    app = await any_world.app(agency.do, agency.undo)
    tasks = [booking("car"), booking("room"), BAD]
    manager = app.workflow_manager
    run = await any_world.after(manager.run_workflow("w", tasks, ROLLBACK, workflow_id="w"))
    assert statuses(run)["undo:room"] == "FAILED"
    assert statuses(run)["undo:car"] == "COMPLETED"
    assert [str(error) for error in run.errors] == [
        "bad: ValueError: broken cannot be done",
        "undo:room: ValueError: room cannot be undone",
    ]
    assert "retry undoes what could not be undone" in str(await manager.explain("w"))
    agency.broken.clear()
    agency.done.clear()
    await manager.retry_workflow("w")
    run = await any_world.after(manager.wait_workflow("w"))
    assert (run.status, agency.done) == (WorkflowStatus.FAILED, ["undo room"])
    assert "what it had done is undone" in str(await manager.explain("w"))
    with pytest.raises(StateError, match="nothing to go on from"):
        await manager.retry_workflow("w")


async def test_what_undoes_is_tried_again_like_any_task(world: World) -> None:
    """Its own retry policy counts."""
    agency = Agency()
    agency.broken.add("undo car")
    app = await world.app(agency.do, agency.undo)
    undo = {"type": "undo", "value": "car", "retry": {"max_attempts": 3, "delay": 5}}
    tasks = [booking("car", compensate=undo), BAD]
    manager = app.workflow_manager
    id = await manager.create_workflow("w", tasks, ROLLBACK)
    await manager.start_workflow(id)
    await world.settle()
    assert (await manager.get_workflow(id)).status is WorkflowStatus.COMPENSATING
    explained = await manager.explain(id)
    assert "what it did is undone, and then it will be FAILED" in str(explained)
    agency.broken.clear()
    await world.passes(6)
    run = await world.after(manager.wait_workflow(id))
    assert agency.done == ["do car", "do broken", "undo car", "undo car"]
    assert statuses(run)["undo:car"] == "COMPLETED"


@pytest.mark.parametrize("value", ["fine", "broken"])
async def test_finally_runs_whatever_the_end_and_sees_it(any_world: World, value: str) -> None:
    """After success and after failure, one task after the other."""
    agency = Agency()
    app = await any_world.app(agency.do, agency.undo)
    last = [
        {"id": "tell", "type": "do", "value": "${run.status}"},
        {"id": "tidy", "type": "do", "value": "${tasks.first.status}"},
    ]
    first = {"id": "first", "type": "do", "value": value}
    run = await any_world.after(app.workflow_manager.run_workflow("w", [first], {"finally": last}))
    end = "COMPLETED" if value == "fine" else "FAILED"
    assert agency.done == [f"do {value}", f"do {end}", f"do {end}"]
    assert run.status.value == end
    assert statuses(run) == {"first": end, "tell": "COMPLETED", "tidy": "COMPLETED"}
    assert run.results == ({"first": "fine"} if value == "fine" else {})


async def test_a_failure_at_the_end_fails_the_run(world: World) -> None:
    """The other tasks of the end run all the same."""
    agency = Agency()
    app = await world.app(agency.do)
    last = [BAD, {"id": "tidy", "type": "do", "value": "tidy"}]
    first = {"id": "first", "type": "do", "value": 1}
    run = await world.after(app.workflow_manager.run_workflow("w", [first], {"finally": last}))
    assert run.status is WorkflowStatus.FAILED
    assert agency.done == ["do 1", "do broken", "do tidy"]


async def test_cancelling_with_rollback_undoes_what_completes_meanwhile(any_world: World) -> None:
    """What is in flight is stopped; whoever completes all the same is undone as well."""
    agency = Agency()
    agency.hold("room", "undo room")
    app = await any_world.app(agency.do, agency.undo)
    tasks = [booking("car"), booking("room"), booking("never")]
    manager = app.workflow_manager
    last = [{"id": "tell", "type": "do", "value": "${run.status}"}]
    id = await manager.create_workflow("w", tasks, {"finally": last})
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.cancel_workflow(id, "changed my mind", rollback=True)
    await manager.cancel_workflow(id)
    run = await any_world.after(manager.wait_workflow(id))
    assert run.status is WorkflowStatus.CANCELLED
    assert agency.done == ["do car", "do room", "undo car", "do CANCELLED"]
    [event] = [one for one in await manager.get_history(id) if one.kind == "run.compensating"]
    assert event.data == {"ending": "UNDONE_CANCELLED", "reason": "changed my mind"}


async def test_cancelling_without_rollback_undoes_nothing(world: World) -> None:
    """Unless it is asked for; ``finally`` runs in any case."""
    agency = Agency()
    agency.hold("room")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    last = [{"id": "tell", "type": "do", "value": "${run.status}"}]
    config = {"finally": last, **ROLLBACK}
    id = await manager.create_workflow("w", [booking("car"), booking("room")], config)
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id)
    run = await world.after(manager.wait_workflow(id))
    assert (run.status, agency.done[2:]) == (WorkflowStatus.CANCELLED, ["do CANCELLED"])


async def test_a_run_whose_time_is_over_is_rolled_back(world: World) -> None:
    """And what is done at the end is not limited by that time."""
    agency = Agency()
    agency.hold("room")
    app = await world.app(agency.do, agency.undo)
    undo = {"type": "sleep", "seconds": 60}
    tasks = [booking("car", compensate=undo), booking("room")]
    config = {**ROLLBACK, "deadline": 10}
    manager = app.workflow_manager
    id = await manager.create_workflow("w", tasks, config)
    await manager.start_workflow(id)
    await world.passes(11)
    assert (await manager.get_workflow(id)).status is WorkflowStatus.COMPENSATING
    await world.passes(60)
    run = await world.after(manager.wait_workflow(id))
    assert run.status is WorkflowStatus.FAILED
    assert statuses(run)["undo:car"] == "COMPLETED"
    assert [error.type for error in run.errors] == ["DeadlineExceeded"]


async def test_a_run_is_paused_and_goes_on_while_it_is_rolled_back(any_world: World) -> None:
    """Resuming leads back to COMPENSATING, not to RUNNING."""
    agency = Agency()
    agency.hold("undo room")
    app = await any_world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [booking("car"), booking("room"), BAD], ROLLBACK)
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.pause_workflow(id)
    agency.held["undo room"].set()
    await any_world.settle()
    assert (await manager.get_workflow(id)).status is WorkflowStatus.PAUSED
    assert agency.done[-1] == "undo room"
    agency.hold("undo car")
    await manager.resume_workflow(id)
    await any_world.settle()
    assert (await manager.get_workflow(id)).status is WorkflowStatus.COMPENSATING
    agency.held["undo car"].set()
    run = await any_world.after(manager.wait_workflow(id))
    assert (run.status, agency.done[-1]) == (WorkflowStatus.FAILED, "undo car")


async def test_another_program_goes_on_with_a_rollback(any_world: World) -> None:
    """Where the one that began it has left; what was undone stays so."""
    agency = Agency()
    agency.hold("undo car")
    first = await any_world.app(agency.do, agency.undo)
    manager = first.workflow_manager
    id = await manager.create_workflow("w", [booking("car"), booking("room"), BAD], ROLLBACK)
    await manager.start_workflow(id)
    await any_world.settle()
    assert agency.done[-2:] == ["undo room", "undo car"]
    await any_world.leave(first)
    agency.held.clear()
    agency.done.clear()
    second = await any_world.app(agency.do, agency.undo)
    run = await any_world.after(second.workflow_manager.wait_workflow(id))
    assert (run.status, agency.done) == (WorkflowStatus.FAILED, ["undo car"])


async def test_finally_runs_again_at_the_next_end(any_world: World) -> None:
    """It is another end, so it has another idempotency key; what completed before stays."""
    agency = Agency()
    app = await any_world.app(agency.do)
    manager = app.workflow_manager
    tasks = [{"id": "first", "type": "do", "value": 1}, BAD]
    last = [{"id": "tell", "type": "do", "value": "${run.status}"}]
    id = await manager.create_workflow("w", tasks, {"finally": last})
    await manager.start_workflow(id)
    await any_world.after(manager.wait_workflow(id))
    agency.broken.clear()
    await any_world.passes(1)
    await manager.retry_workflow(id)
    run = await any_world.after(manager.wait_workflow(id))
    assert run.ok
    assert agency.done == ["do 1", "do broken", "do FAILED", "do broken", "do COMPLETED"]
    assert agency.keys[1] == agency.keys[3]
    assert agency.keys[2] != agency.keys[4]


async def test_a_child_that_was_rolled_back_fails_its_parent_once_more(world: World) -> None:
    """A retry of the parent ends instead of asking the child for ever."""
    agency = Agency()
    app = await world.app(agency.do, agency.undo)
    child = {"id": "trip", "type": "workflow", "tasks": [booking("car"), BAD], "config": ROLLBACK}
    run = await world.after(app.orchestrator.run_process({"id": "p", "steps": [child]}))
    assert run.status is ProcessStatus.FAILED
    agency.done.clear()
    await app.orchestrator.retry_process("p")
    run = await world.after(app.orchestrator.wait_process("p"))
    assert (run.status, agency.done) == (ProcessStatus.FAILED, [])
    assert "nothing to go on from" in str(run.errors[0])


@pytest.mark.parametrize(
    ("tasks", "config", "told"),
    [
        ([{"type": "sleep", "seconds": 0}], ROLLBACK, "rollback undoes nothing"),
        ([{"type": "sleep", "seconds": 0}], {"on_failure": "panic"}, "stop, rollback"),
        ([booking("a", compensate={"type": "sleep", "when": "true"})], {}, "'when' has no meaning"),
        ([booking("a"), {"id": "undo:a", "type": "do"}], {}, "'undo:a' is kept"),
        ([booking("a", value="${run.status}")], {}, "use it in finally"),
        ([booking("a")], {"finally": [{"type": "do", "value": "${run.time}"}]}, "run.status"),
        ([booking("a")], {"finally": [{"type": "do", "depends_on": []}]}, "no meaning in finally"),
        ([booking("a"), booking("b", compensate={"type": "undo", "value": "${tasks.c.result}"}),
          {"id": "c", "type": "do"}], {}, "does not run before"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(
    world: World, tasks: list[dict[str, Any]], config: dict[str, Any], told: str
) -> None:
    """When the run is created, with what to write instead."""
    agency = Agency()
    app: Kallista = await world.app(agency.do, agency.undo)
    with pytest.raises(DefinitionError, match=told):
        await app.workflow_manager.create_workflow("w", tasks, config)
