"""Many runs asked for at once: in one commit, all or none, every problem told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from world import World, ids

from kallista import (
    ConflictError,
    DefinitionError,
    Kallista,
    ProcessStatus,
    TaskContext,
    TaskStatus,
    WorkflowStatus,
)

pytestmark = pytest.mark.anyio

NOTE = {"type": "note"}


class Log:
    """A handler that remembers in which order it ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def note(self, ctx: TaskContext, text: str = "") -> str:
        """Note that it ran."""
        self.ran.append(ctx.task_id)
        return text


async def stored(app: Kallista) -> int:
    """How many runs there are."""
    lists = [
        await app.scheduler.list_tasks(),
        await app.workflow_manager.list_workflows(),
        await app.orchestrator.list_processes(),
    ]
    return sum(len(page.items) for page in lists)


async def test_tasks_are_scheduled_together(any_world: World) -> None:
    """Each as ``schedule_task`` would; the ids come in the order of the list."""
    log = Log()
    app = await any_world.app(log.note, max_concurrency=1)
    later = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=60)
    scheduled = await app.scheduler.schedule_tasks(
        [
            {"task_id": "low", "task_data": NOTE, "tags": ["x"]},
            {"task_id": "high", "task_data": {**NOTE, "text": "hi"}, "priority": 5},
            {"task_id": "later", "task_data": NOTE, "scheduled_time": later, "priority": 9},
        ]
    )
    assert scheduled == ["low", "high", "later"]
    await any_world.settle()
    assert log.ran == ["high", "low"]
    assert await app.scheduler.get_task_result("high") == "hi"
    assert ids((await app.scheduler.list_tasks(tag="x")).items) == ["low"]
    assert await app.scheduler.get_task_status("later") is TaskStatus.SCHEDULED
    await any_world.passes(60)
    assert log.ran == ["high", "low", "later"]


async def test_a_task_may_stand_in_the_list_as_it_is(any_world: World) -> None:
    """Its own id is its id; without one it gets a generated one."""
    log = Log()
    app = await any_world.app(log.note)
    named, generated = await app.scheduler.schedule_tasks([{**NOTE, "id": "own"}, NOTE])
    await any_world.settle()
    assert named == "own"
    assert log.ran == ["own", generated]
    assert (await app.scheduler.get_task(generated)).name == generated


async def test_workflows_are_created_together(any_world: World) -> None:
    """They are PENDING, or RUNNING if asked for, with all that ``create_workflow`` takes."""
    app = await any_world.app(Log().note)
    manager = app.workflow_manager
    tasks = [{"type": "note", "text": "${inputs.text}"}]
    config = {"inputs": {"text": {"type": "string"}}}
    described = {"name": "w", "tasks": tasks, "config": config}
    await manager.define_workflow("defined", [NOTE])
    [first, second] = await manager.create_workflows(
        [{**described, "workflow_id": "a", "inputs": {"text": "A"}}, {"name": "defined"}]
    )
    assert first == "a"
    assert await manager.get_workflow_status(second) is WorkflowStatus.PENDING
    started = await manager.create_workflows(
        [{**described, "inputs": {"text": str(number)}} for number in range(3)], start=True
    )
    await any_world.settle()
    ended = [await manager.get_workflow(id) for id in started]
    assert [run.results["note"] for run in ended] == ["0", "1", "2"]
    assert await manager.get_workflow_status("a") is WorkflowStatus.PENDING
    assert await manager.create_workflows([{"name": "defined", "workflow_id": "b"}], start=True)


async def test_processes_are_created_together(any_world: World) -> None:
    """By their description, as it is or among other arguments."""
    app = await any_world.app(Log().note)
    steps = [{"id": "one", **NOTE}, {"id": "two", **NOTE}]
    created = await app.orchestrator.create_processes(
        [{"id": "a", "steps": steps}, {"definition": {"steps": steps}, "process_id": "b"}],
        start=True,
    )
    assert created == ["a", "b"]
    await any_world.settle()
    for id in created:
        assert await app.orchestrator.get_process_status(id) is ProcessStatus.COMPLETED


async def test_all_problems_of_all_items_are_told(any_world: World) -> None:
    """Each with the index of its item; nothing is written."""
    app = await any_world.app(Log().note)
    with pytest.raises(DefinitionError) as caught:
        await app.scheduler.schedule_tasks(
            [
                {"task_id": "good", "task_data": NOTE},
                {"task_id": "not good", "task_data": {"type": "nota", "timeout": -1}},
                {"task_id": "t", "task_data": NOTE, "interval": 5},
                {"task_id": "t", "task_data": NOTE, "priority": "high"},
                {"task_id": "t", "task_data": NOTE, "scheduled_time": "soon"},
                "note",  # type: ignore[list-item]
            ]
        )
    problems = caught.value.problems
    for index, word in [
        (1, "is no task id"), (1, "did you mean 'note'"), (1, "timeout"), (2, "interval"),
        (3, "priority"), (4, "scheduled_time"), (5, "must be a mapping"),
    ]:  # fmt: skip
        place = f"tasks[{index}]: "
        assert any(line.startswith(place) and word in line for line in problems)
    assert not any("tasks[0]" in line for line in problems)
    with pytest.raises(DefinitionError) as caught:
        await app.workflow_manager.create_workflows(
            [{"tasks": [NOTE]}, {"name": "unknown"}, {"name": 5}, {"name": "w", "tasks": []}]
        )
    assert [line[:12] for line in caught.value.problems] == [f"workflows[{n}]" for n in range(4)]
    assert await stored(app) == 0


async def test_what_is_no_list_is_refused(any_world: World) -> None:
    """Nothing is guessed, and an empty list is done at once."""
    app = await any_world.app(Log().note)
    with pytest.raises(DefinitionError, match="tasks must be a list"):
        await app.scheduler.schedule_tasks({"task_id": "a", "task_data": NOTE})  # type: ignore[arg-type]
    assert await app.scheduler.schedule_tasks([]) == []
    assert await app.workflow_manager.create_workflows([], start=True) == []


async def test_the_same_again_is_the_first(any_world: World) -> None:
    """In the store or in the list itself: one run, and it executes once."""
    log = Log()
    app = await any_world.app(log.note)
    item = {"task_id": "a", "task_data": NOTE}
    assert await app.scheduler.schedule_tasks([item, item]) == ["a", "a"]
    await any_world.settle()
    again = await app.scheduler.schedule_tasks([item, {"task_id": "b", "task_data": NOTE}])
    await any_world.settle()
    assert again == ["a", "b"]
    assert log.ran == ["a", "b"]


@pytest.mark.parametrize("there", ["store", "list"])
async def test_a_conflict_leaves_nothing_behind(any_world: World, there: str) -> None:
    """Another task under one of the ids, in the store or in the list: none is scheduled."""
    log = Log()
    app = await any_world.app(log.note)
    taken = {"task_id": "taken", "task_data": NOTE}
    if there == "store":
        await app.scheduler.schedule_tasks([taken])
    other = {"task_id": "taken", "task_data": {**NOTE, "text": "another"}}
    new = {"task_id": "new", "task_data": NOTE}
    with pytest.raises(ConflictError, match="taken"):
        await app.scheduler.schedule_tasks([new, taken, other])
    await any_world.settle()
    assert await stored(app) == (1 if there == "store" else 0)
    assert "new" not in log.ran


async def test_equal_tasks_keep_their_own_names(any_world: World) -> None:
    """They share a definition, and each is still called after itself everywhere."""
    log = Log()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_tasks([{**NOTE, "id": "a"}, {**NOTE, "id": "b", "name": "B"}])
    await app.scheduler.schedule_task("c", NOTE)
    await any_world.settle()
    assert sorted(log.ran) == ["a", "b", "c"]
    assert [(await app.scheduler.get_task(id)).name for id in "abc"] == ["a", "B", "c"]
    history = await app.scheduler.get_history("c")
    assert {event.task_id for event in history} == {None, "c"}
    assert ids((await app.scheduler.list_tasks(name="c")).items) == ["c"]


async def test_each_task_has_its_own_config(any_world: World) -> None:
    """Alike tasks share all but that; the same id with another config is a conflict."""
    app = await any_world.app(Log().note)
    for id in "abc":
        await app.scheduler.schedule_task(id, {**NOTE, "text": f"${id}"})
    await app.scheduler.schedule_task("d", {**NOTE, "text": "$${1}"})
    await any_world.settle()
    seen = [await app.scheduler.get_task(id) for id in "abcd"]
    assert [task.result for task in seen] == ["$a", "$b", "$c", "${1}"]
    assert [task.config["text"] for task in seen] == ["$a", "$b", "$c", "$${1}"]
    assert [task.inputs for task in seen] == [{}] * 4
    assert await app.scheduler.schedule_task("a", {**NOTE, "text": "$a"}) == "a"
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("a", {**NOTE, "text": "$b"})
    for _ in range(2):
        with pytest.raises(DefinitionError) as caught:
            await app.scheduler.schedule_task("not good", {**NOTE, "txt": "", "timeout": 0})
        assert len(caught.value.problems) == 3
