"""What looks after a store sees how it is, and tells what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from world import MemoryWorld, World

from kallista import Kallista
from kallista.core.durations import to_datetime
from kallista.core.plan import WAKE
from kallista.core.states import ProcessStatus
from kallista.core.types import Micros, RunId, RunKey, WorkerKey
from kallista.errors import NotFoundError
from kallista.store.port import RunRecord

pytestmark = pytest.mark.anyio

NOTE = {"type": "note"}
REST = {"type": "sleep", "seconds": 3600}


def note() -> str:
    """Return something."""
    return "noted"


def stumble() -> None:
    """Fail."""
    raise ValueError("it is slippery")


async def filled(world: World) -> Kallista:
    """A worker's store in which something of every kind is, finished and unfinished."""
    app = await world.app(note, stumble)
    manager, orchestrator, scheduler = app.workflow_manager, app.orchestrator, app.scheduler
    await world.after(manager.run_workflow("done", [NOTE, NOTE], workflow_id="done"))
    await world.after(
        manager.run_workflow("failed", [NOTE, {"type": "stumble"}], workflow_id="failed")
    )
    await manager.create_workflow("pending", [NOTE], workflow_id="pending")
    rest = {"id": "rest", **REST}
    await manager.create_workflow("rests", [rest, NOTE], {"deadline": "2h"}, workflow_id="rests")
    await manager.start_workflow("rests")
    inner = {"id": "inner", "type": "workflow", "tasks": [REST]}
    for name, depends_on in (("outer", []), ("waits", ["outer", "nobody"])):
        await orchestrator.create_process(
            {
                "id": name,
                "name": name,
                "dependencies": depends_on,
                "steps": [{"id": "first", **NOTE}, {**inner, "depends_on": ["first"]}],
            }
        )
        await orchestrator.start_process(name)
    await manager.create_workflow("paused", [rest, NOTE], workflow_id="paused")
    await manager.start_workflow("paused")
    await world.settle()
    await manager.pause_workflow("paused")
    tasks = [{"id": "booked", **NOTE, "compensate": REST}, {"type": "stumble"}]
    await manager.create_workflow(
        "undoing", tasks, {"on_failure": "rollback", "deadline": "2h"}, workflow_id="undoing"
    )
    await manager.start_workflow("undoing")
    in_an_hour = to_datetime(Micros(world.clock.now() + 3_600_000_000))
    await scheduler.schedule_task("soon", NOTE, in_an_hour)
    await scheduler.schedule_task("hourly", NOTE, interval="1h")
    await world.settle()
    return app


async def test_a_sound_store_is_told_to_be_sound(any_world: World) -> None:
    """Whatever is under way, asleep, paused, waiting or over: nothing of it is a problem."""
    app = await filled(any_world)
    for quick in (False, True):
        checked = await app.store.check(quick=quick)
        assert checked.problems == ()
        assert checked.ok
        assert checked.runs == (8 if quick else 11), checked
    await any_world.passes(3 * 3600)
    assert (await app.store.check()).problems == ()


async def test_stats_tell_how_much_there_is(any_world: World) -> None:
    """Counts by kind and status, rows, what is queued, and what is unfinished for longest."""
    app = await filled(any_world)
    client = await any_world.app(note, worker=False)
    await any_world.leave(app)
    stats = await client.store.stats()
    assert stats.runs["workflow COMPLETED"] == 1
    assert stats.runs["workflow FAILED"] == 1
    assert stats.rows["runs"] == sum(stats.runs.values()) == 11
    assert stats.rows["events"] > 20
    assert stats.rows["schedules"] == 1
    assert stats.queued == {"note": 1}
    oldest = stats.oldest_unfinished
    assert oldest is not None
    assert (oldest.id, oldest.status) == ("pending", "PENDING")
    assert stats.to_dict()["oldest_unfinished"] == {
        "id": "pending", "kind": "workflow", "status": "PENDING",
        "created_at": oldest.created_at.isoformat(),
    }  # fmt: skip


async def test_an_empty_store_has_stats(world: World) -> None:
    """Nothing is counted, and nothing is unfinished."""
    app = await world.app(worker=False)
    stats = await app.store.stats()
    assert stats.oldest_unfinished is None
    assert not any(stats.rows.values())


async def test_an_export_holds_all_that_is_known(any_world: World) -> None:
    """Definition, inputs, state, steps with results, and the whole history, as JSON."""
    app = await filled(any_world)
    exported: Any = await app.store.export("failed")
    assert exported["run"]["status"] == "FAILED"
    assert exported["run"]["tasks"][0]["result"] == "noted"
    assert exported["run"]["errors"][0]["message"] == "it is slippery"
    assert [event["seq"] for event in exported["history"]] == list(range(len(exported["history"])))
    assert exported["history"][-1]["kind"] == "run.failed"
    assert "stumble" in str(exported["definition"])
    task: Any = await app.store.export("soon")
    assert task["run"]["kind"] == "task"
    with pytest.raises(NotFoundError, match="no run has the id 'nobody'"):
        await app.store.export("nobody")
    await app.workflow_manager.delete_workflow("failed")
    with pytest.raises(NotFoundError, match="'failed' was deleted at .* it was FAILED"):
        await app.store.export("failed")


Harm = Callable[[MemoryWorld, RunRecord], Any]


def lose_the_lines(world: MemoryWorld, run: RunRecord) -> None:
    """Drop all that waits in the queue of it."""
    world.state.queue = {line for line in world.state.queue if line.run != run.key}


def lose_an_event(world: MemoryWorld, run: RunRecord) -> None:
    """Drop a line of its history."""
    del world.state.events[run.key][1]


def swap_events(world: MemoryWorld, run: RunRecord) -> None:
    """Let its history tell something that the law does not allow."""
    events = world.state.events[run.key]
    events[1] = replace(events[-1], seq=1)


def call_it(state: ProcessStatus) -> Harm:
    """Put another state into its row."""

    def harm(world: MemoryWorld, run: RunRecord) -> None:
        head = replace(run.head, state=state)
        world.state.runs[run.key] = replace(run, head=head)

    return harm


def raise_an_attempt(world: MemoryWorld, run: RunRecord) -> None:
    """Put another attempt into its first step."""
    steps = (replace(run.steps[0], attempt=7), *run.steps[1:])
    world.state.runs[run.key] = replace(run, steps=steps)


def give_it_away(world: MemoryWorld, run: RunRecord) -> None:
    """Let a worker drive it that does not exist."""
    world.state.runs[run.key] = replace(run, owner=WorkerKey(99))


def lose_what_it_waits_for(world: MemoryWorld, run: RunRecord) -> None:
    """Nobody is to wake it."""
    world.state.waits.clear()


def lose_its_child(world: MemoryWorld, run: RunRecord) -> None:
    """Drop the run that it has started."""
    (child,) = [other for other in world.state.runs.values() if other.parent_id == run.id]
    del world.state.runs[child.key], world.state.keys[child.id]
    world.state.queue = {line for line in world.state.queue if line.run != child.key}


def spoil_its_definition(world: MemoryWorld, run: RunRecord) -> None:
    """What it runs cannot be read any more."""
    content = type(run.definition_content)('{"kind": "workflow", "steps')
    world.state.runs[run.key] = replace(run, definition="spoilt", definition_content=content)


def point_nowhere(world: MemoryWorld, run: RunRecord) -> None:
    """A line of the queue that belongs to nothing."""
    line = next(iter(world.state.queue))
    world.state.queue.add(line._replace(run=RunKey(999)))


@pytest.mark.parametrize(
    ("id", "harm", "told"),
    [
        ("soon", lose_the_lines, "task 'soon': nothing would wake its step 'soon', which is SCH"),
        ("rests", lose_the_lines, "nothing would end it at its deadline"),
        ("rests", lose_the_lines, "nothing would wake its step 'rest', which is WAITING"),
        ("undoing", lose_the_lines, "nothing would wake its step 'undo:booked', which is WAITING"),
        ("done", lose_an_event, "workflow 'done': its history has a gap at event 1"),
        ("done", swap_events, "workflow 'done': its history cannot be followed"),
        ("done", call_it(ProcessStatus.FAILED), "its state is FAILED after"),
        ("done", call_it(ProcessStatus.RUNNING), "all its steps are over, and nothing would end"),
        ("failed", raise_an_attempt, "its step 'note' is COMPLETED at attempt 7"),
        ("done", give_it_away, "run 'done' (1) is driven by a worker that does not exist"),
        ("waits", lose_what_it_waits_for, "it waits for process 'nobody', whose end would not"),
        ("outer", lose_its_child, "nothing would wake its step 'inner', which is WAITING"),
        ("done", spoil_its_definition, "workflow 'done': its definition cannot be read"),
        ("done", point_nowhere, "is of a run (999) that has none there"),
    ],
)
async def test_each_broken_promise_is_told(id: str, harm: Harm, told: str) -> None:
    """Whoever or whatever has broken it: which run it is, and what is wrong with it."""
    world = MemoryWorld()
    app = await filled(world)
    run = world.state.runs[world.state.keys[RunId(id)]]
    before = dict(world.state.runs)
    harm(world, run)
    checked = await app.store.check()
    assert not checked.ok
    assert [problem for problem in checked.problems if told in problem], checked.problems
    assert len(checked.problems) <= 3, "one thing that is wrong is not told of others"
    world.state.runs.update(before)
    world.state.queue.clear()
    await app.__aexit__(None, None, None)


async def test_a_run_that_moves_on_meanwhile_is_no_problem() -> None:
    """A worker writes between two questions: what was read in pieces is read again."""
    world = MemoryWorld()
    app = await filled(world)
    key = world.state.keys[RunId("rests")]
    there, lines = world.state.runs[key], app._store.lines

    async def claimed(run: RunKey) -> Any:
        """What the queue holds of it just after a worker has taken it on."""
        if run == key:
            world.state.runs[key] = replace(there, version=there.version + 1, owner=WorkerKey(1))
            return []
        return await lines(run)

    app._store.lines = claimed  # type: ignore[method-assign]
    assert (await app.store.check()).problems == ()
    world.state.runs[key] = there
    await app.__aexit__(None, None, None)


async def test_looks_of_the_whole_run_are_enough() -> None:
    """A run that somebody is asked to look at, whole, needs no other line."""
    world = MemoryWorld()
    app = await filled(world)
    run = world.state.runs[world.state.keys[RunId("rests")]]
    mine = [line for line in world.state.queue if line.run == run.key]
    look = mine[0]._replace(type=WAKE, step=-1, ready_at=Micros(0))
    world.state.queue = {*world.state.queue} - {*mine} | {look}
    assert (await app.store.check()).problems == ()
    await app.__aexit__(None, None, None)
