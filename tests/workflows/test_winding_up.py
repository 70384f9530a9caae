"""How runs are wound up: what completed is undone, and what runs whatever the end does so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world import HeldThreads, World

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


async def test_a_cancelled_run_goes_on_to_its_end_though_it_was_paused_there(
    any_world: World,
) -> None:
    """What of ``finally`` waited in the queue when it was paused is queued again."""
    agency = Agency()
    app = await any_world.app(agency.do)
    manager = app.workflow_manager
    again = {"max_attempts": 2, "delay": 5}
    last = [{**BAD, "retry": again}, {"id": "tell", "type": "do", "value": "${run.status}"}]
    first = {"id": "first", "type": "do", "value": 1}
    id = await manager.create_workflow("w", [first], {"finally": last})
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.pause_workflow(id)
    await any_world.settle()
    await manager.cancel_workflow(id)
    await any_world.passes(6)
    run = await any_world.after(manager.wait_workflow(id))
    assert run.status is WorkflowStatus.CANCELLED
    assert agency.done == ["do 1", "do broken", "do broken", "do CANCELLED"]


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


async def test_a_retry_is_not_lost_because_the_end_is_still_going_on(any_world: World) -> None:
    """It is refused until the run has ended, for nothing would come of it."""
    agency = Agency()
    agency.hold("tell")
    app = await any_world.app(agency.do)
    manager = app.workflow_manager
    last = [{"id": "tell", "type": "do", "value": "tell"}]
    id = await manager.create_workflow("w", [BAD], {"finally": last})
    await manager.start_workflow(id)
    await any_world.settle()
    with pytest.raises(StateError, match="still goes on; retry it when that is over"):
        await any_world.after(manager.retry_workflow(id))
    agency.held["tell"].set()
    await any_world.after(manager.wait_workflow(id))
    agency.broken.clear()
    await any_world.after(manager.retry_workflow(id))
    assert (await any_world.after(manager.wait_workflow(id))).ok


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


async def test_what_could_not_be_undone_of_a_child_is_tried_again_without_its_parent(
    world: World,
) -> None:
    """Nothing else of it goes on, so it need not wait for the parent."""
    agency = Agency()
    agency.broken.add("undo car")
    app = await world.app(agency.do, agency.undo)
    child = {"id": "trip", "type": "workflow", "tasks": [booking("car"), BAD], "config": ROLLBACK}
    await world.after(app.orchestrator.run_process({"id": "p", "steps": [child]}))
    agency.broken.clear()
    await world.after(app.workflow_manager.retry_workflow("p/trip"))
    run = await world.after(app.workflow_manager.wait_workflow("p/trip"))
    assert statuses(run)["undo:car"] == "COMPLETED"
    assert agency.done == ["do car", "do broken", "undo car", "undo car"]


async def test_a_cancelled_run_is_rolled_back_later(world: World) -> None:
    """Whoever asks for a rollback gets one; once."""
    agency = Agency()
    agency.hold("room")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [booking("car"), booking("room")])
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id)
    await world.after(manager.wait_workflow(id))
    for _ in range(2):
        await manager.cancel_workflow(id, rollback=True)
        run = await world.after(manager.wait_workflow(id))
        assert run.status is WorkflowStatus.CANCELLED
        assert agency.done == ["do car", "do room", "undo car"]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("value", ["room", "broken"])
async def test_a_run_that_is_ending_is_rolled_back_when_asked(
    any_world: World, value: str, paused: bool
) -> None:
    """What was acknowledged is done; why it fails, if it does, is still told."""
    agency = Agency()
    agency.hold("room", "tell")
    app = await any_world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    last = [{"id": id, "type": "do", "value": id} for id in ("tell", "tidy")]
    tasks = [booking("car"), {"id": "second", "type": "do", "value": value}]
    id = await manager.create_workflow("w", tasks, {"finally": last})
    await manager.start_workflow(id)
    await any_world.settle()
    if value == "room":
        await manager.cancel_workflow(id)
        await any_world.settle()
    if paused:
        await manager.pause_workflow(id)
    await manager.cancel_workflow(id, rollback=True)
    await any_world.settle()
    assert "what it did is undone" in str(await any_world.after(manager.explain(id)))
    agency.held["tell"].set()
    run = await any_world.after(manager.wait_workflow(id))
    assert agency.done[2:] == ["do tell", "undo car", "do tidy"]
    if value == "room":
        assert run.status is WorkflowStatus.CANCELLED
    else:
        assert run.status is WorkflowStatus.FAILED
        assert [str(error) for error in run.errors] == ["second: ValueError: broken cannot be done"]
    assert (await any_world.after(manager.replay(id))).agrees


async def test_cancelling_a_paused_rollback_lets_it_go_on(world: World) -> None:
    """What is left to undo is not dropped, and nobody is told that it was undone."""
    agency = Agency()
    agency.hold("undo room")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [booking("car"), booking("room"), BAD], ROLLBACK)
    await manager.start_workflow(id)
    await world.settle()
    await manager.pause_workflow(id)
    assert "what it did is undone, and then it will be FAILED" in str(await manager.explain(id))
    await manager.cancel_workflow(id)
    agency.held["undo room"].set()
    run = await world.after(manager.wait_workflow(id))
    assert (run.status, agency.done[-2:]) == (WorkflowStatus.FAILED, ["undo room", "undo car"])


async def test_what_could_not_be_undone_does_not_pass_for_undone(world: World) -> None:
    """Not even where failures of tasks are let pass."""
    agency = Agency()
    agency.broken.add("undo car")
    agency.hold("room")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    config = {"continue_on_error": True}
    id = await manager.create_workflow("w", [booking("car"), booking("room")], config)
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id, rollback=True)
    await world.after(manager.wait_workflow(id))
    assert "retry undoes what could not be undone" in str(await manager.explain(id))
    agency.broken.clear()
    await manager.retry_workflow(id)
    run = await world.after(manager.wait_workflow(id))
    assert (run.status, agency.done[-1]) == (WorkflowStatus.CANCELLED, "undo car")
    assert statuses(run)["undo:car"] == "COMPLETED"


async def test_what_began_before_a_cancellation_ends_before_anything_is_undone(
    world: World,
) -> None:
    """One step after the other, also if the run was to be COMPLETED."""
    agency = Agency()
    agency.hold("tell")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    last = [{"id": id, "type": "do", "value": id} for id in ("tell", "tidy")]
    id = await manager.create_workflow("w", [booking("car")], {"finally": last})
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id, rollback=True)
    await world.settle()
    assert agency.done == ["do car", "do tell"]
    agency.held["tell"].set()
    run = await world.after(manager.wait_workflow(id))
    assert run.status is WorkflowStatus.CANCELLED
    assert agency.done == ["do car", "do tell", "undo car", "do tidy"]


async def test_why_a_run_was_rolled_back_is_told_at_once_and_after_a_retry(world: World) -> None:
    """Its own failure stands before the rollback in history, and is kept."""
    agency = Agency()
    agency.hold("room")
    agency.broken.add("undo car")
    app = await world.app(agency.do, agency.undo)
    manager = app.workflow_manager
    config = {**ROLLBACK, "deadline": 10}
    id = await manager.create_workflow("w", [booking("car"), booking("room")], config)
    await manager.start_workflow(id)
    waiting = asyncio.ensure_future(manager.wait_workflow(id))
    await world.passes(11)
    told = ["ValueError", "DeadlineExceeded"]
    assert [error.type for error in (await waiting).errors] == told
    assert [error.type for error in (await manager.get_workflow(id)).errors] == told
    agency.broken.clear()
    await manager.retry_workflow(id)
    run = await world.after(manager.wait_workflow(id))
    assert [error.type for error in run.errors] == ["DeadlineExceeded"]


async def test_what_was_too_late_to_undo_anything_is_seen(world: World) -> None:
    """Although it was never attempted: no worker served its queue in time."""
    agency = Agency()
    app = await world.app(agency.do, agency.undo)
    undo = {"type": "undo", "value": "room", "queue": "elsewhere", "deadline": 5}
    tasks = [booking("car"), booking("room", compensate=undo), BAD]
    manager = app.workflow_manager
    id = await manager.create_workflow("w", tasks, ROLLBACK)
    await manager.start_workflow(id)
    await world.passes(6)
    run = await world.after(manager.wait_workflow(id))
    assert statuses(run)["undo:room"] == "FAILED"
    assert statuses(run)["undo:car"] == "COMPLETED"
    assert "retry undoes what could not be undone" in str(await manager.explain(id))


async def test_a_thread_is_waited_for_where_it_would_be_undone(world: World) -> None:
    """It cannot be stopped, and what it does may not be forgotten."""
    done: list[str] = []
    threads = HeldThreads()

    def book(ctx: TaskContext) -> str:
        done.append(f"cancelled: {ctx.cancelled}")
        return "room"

    async def unbook(booking: str) -> None:
        done.append(f"undo {booking}")

    app = await world.app(book, unbook, threads=threads)
    manager = app.workflow_manager
    undo = {"type": "unbook", "booking": "${tasks.book.result}"}
    id = await manager.create_workflow("w", [{"type": "book", "compensate": undo}])
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id, rollback=True)
    await world.settle()
    assert (await manager.get_workflow(id)).status is WorkflowStatus.COMPENSATING
    threads.end()
    run = await world.after(manager.wait_workflow(id))
    assert run.status is WorkflowStatus.CANCELLED
    assert done == ["cancelled: True", "undo room"]


def trip(**more: object) -> dict[str, object]:
    """A step that is a whole workflow, of which the second task is held."""
    return {"id": "trip", "type": "workflow", "tasks": [booking("car"), booking("room")], **more}


async def test_a_child_is_rolled_back_before_its_parent(any_world: World) -> None:
    """Nobody else could undo what it has half done."""
    agency = Agency()
    agency.hold("room")
    app = await any_world.app(agency.do, agency.undo)
    undo = {"type": "undo", "value": "paid"}
    steps = [{"id": "pay", "type": "do", "value": "paid", "compensate": undo}, trip()]
    last = [{"type": "do", "value": "${steps.trip.status}"}]
    await app.orchestrator.create_process({"id": "p", "steps": steps, "finally": last})
    await app.orchestrator.start_process("p")
    await any_world.settle()
    await app.orchestrator.cancel_process("p", rollback=True)
    run = await any_world.after(app.orchestrator.wait_process("p"))
    assert run.status is ProcessStatus.CANCELLED
    assert agency.done[3:] == ["undo car", "undo paid", "do CANCELLED"]


async def test_a_child_is_rolled_back_although_its_parent_undoes_nothing(world: World) -> None:
    """The parent waits for it all the same."""
    agency = Agency()
    agency.hold("room", "undo car")
    app = await world.app(agency.do, agency.undo)
    await app.orchestrator.create_process({"id": "p", "steps": [trip()]})
    await app.orchestrator.start_process("p")
    await world.settle()
    await app.orchestrator.cancel_process("p", rollback=True)
    await world.settle()
    assert (await app.orchestrator.get_process("p")).status is ProcessStatus.COMPENSATING
    await app.orchestrator.pause_process("p")
    await world.settle()
    await app.orchestrator.resume_process("p")
    agency.held["undo car"].set()
    run = await world.after(app.orchestrator.wait_process("p"))
    assert (run.status, agency.done[-1]) == (ProcessStatus.CANCELLED, "undo car")


async def test_a_child_that_completes_all_the_same_is_undone(world: World) -> None:
    """By what undoes the step that started it."""
    agency = Agency()
    stubborn = asyncio.Event()

    async def insist(value: object) -> object:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue
        return value

    app = await world.app(agency.do, agency.undo, insist)
    child = {
        "id": "trip",
        "type": "workflow",
        "tasks": [{"type": "insist", "value": 1}],
        "compensate": {"type": "undo", "value": "${steps.trip.result.insist}"},
    }
    await app.orchestrator.create_process({"id": "p", "steps": [child]})
    await app.orchestrator.start_process("p")
    await world.settle()
    stubborn.set()
    cancelling = asyncio.ensure_future(app.orchestrator.cancel_process("p", rollback=True))
    run = await world.after(app.orchestrator.wait_process("p"))
    await cancelling
    assert run.status is ProcessStatus.CANCELLED
    done = run.steps[0].status.value == "COMPLETED"
    assert agency.done == (["undo 1"] if done else [])


async def test_a_retry_that_is_cancelled_at_once_ends(world: World) -> None:
    """Although the child has not begun to go on yet."""
    agency = Agency()
    agency.broken.add("room")
    app = await world.app(agency.do, agency.undo)
    other = await world.app(agency.do, agency.undo, worker=False)
    last = [{"type": "do", "value": "${run.status}"}]
    process = {"id": "p", "steps": [trip()], "finally": last}
    await world.after(app.orchestrator.run_process(process))
    await other.orchestrator.retry_process("p")
    await other.orchestrator.cancel_process("p", rollback=True)
    run = await world.after(app.orchestrator.wait_process("p"))
    assert run.status is ProcessStatus.CANCELLED


@pytest.mark.parametrize(
    ("tasks", "config", "told"),
    [
        ([{"type": "sleep", "seconds": 0}], ROLLBACK, "rollback undoes nothing"),
        ([{"type": "sleep", "seconds": 0}], {"on_failure": "panic"}, "stop, rollback"),
        ([booking("a", compensate={"type": "sleep", "when": "true"})], {}, "'when' has no meaning"),
        ([booking("a"), {"id": "undo:a", "type": "do"}], {}, "'undo:a' is kept"),
        ([booking("a")], {"finally": [{"id": "undo:a", "type": "do"}]}, "'undo:a' is kept"),
        ([booking("a", compensate={"type": "undo", "continue_on_error": True})], {},
         "'continue_on_error' has no meaning"),
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
