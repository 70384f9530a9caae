"""Workflows as their users see them: order, results, failures, limits, and what can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from world import World, ids

from kallista import (
    ConflictError,
    DefinitionError,
    Kallista,
    NotFoundError,
    RunFailedError,
    StateError,
    TaskContext,
    TaskStatus,
    UsageError,
    WaitTimeoutError,
    WorkflowStatus,
)

pytestmark = pytest.mark.anyio


async def test_what_a_reference_reads_is_there_after_retry_and_resume(any_world: World) -> None:
    """A run that nobody drives any more goes on with the results that it had."""
    seen: list[object] = []

    async def first() -> str:
        return "gold"

    async def second(value: object) -> None:
        seen.append(value)
        if len(seen) == 1:
            raise ValueError("not yet")

    app = await any_world.app(first, second)
    manager = app.workflow_manager
    tasks: list[dict[str, object]] = [
        {"id": "a", "type": "first"},
        {"type": "sleep", "seconds": 5},
        {"type": "second", "value": "${tasks.a.result}"},
    ]
    for id in ("retried", "paused"):
        await manager.create_workflow("w", tasks, workflow_id=id)
        await manager.start_workflow(id)
        await any_world.settle()
        if id == "paused":
            await manager.pause_workflow(id)
        await any_world.passes(6)
    await manager.retry_workflow("retried")
    await manager.resume_workflow("paused")
    await any_world.settle()
    assert seen == ["gold", "gold", "gold"]


Tasks = list[dict[str, object]]


class Gate:
    """A handler that waits until it is let through."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self._open = asyncio.Event()

    async def gate(self, ctx: TaskContext) -> str:
        """Wait at the gate."""
        self.entered.append(str(ctx.task_id))
        await self._open.wait()
        return "through"

    def open(self) -> None:
        """Let everybody through from now on."""
        self._open.set()


def echo(value: object = None) -> object:
    """Return what is given."""
    return value


def boom(message: str = "boom") -> None:
    """Fail."""
    raise ValueError(message)


async def opened(world: World, *more: object, **options: object) -> Kallista:
    return await world.app(echo, boom, *more, **options)  # type: ignore[arg-type]


async def test_tasks_run_one_after_the_other(world: World) -> None:
    """A task starts only when the one before has completed, and sees what it returned."""
    seen: list[tuple[str, Mapping[str, object]]] = []

    async def look(ctx: TaskContext) -> int:
        seen.append((str(ctx.task_id), dict(ctx.results)))
        return len(seen)

    app = await opened(world, look)
    tasks: Tasks = [{"type": "look"}, {"type": "look"}, {"type": "look", "id": "last"}]
    run = await world.after(app.workflow_manager.run_workflow("w", tasks))
    assert run.status is WorkflowStatus.COMPLETED
    assert run.results == {"look": 1, "look-2": 2, "last": 3}
    assert seen == [
        ("look", {}),
        ("look-2", {"look": 1}),
        ("last", {"look": 1, "look-2": 2}),
    ]


async def test_references_reach_into_results_and_inputs(any_world: World) -> None:
    """``${...}`` alone keeps the type of what it reads; ids that are no identifiers are quoted."""
    app = await opened(any_world)
    tasks: Tasks = [
        {"id": "design", "type": "echo", "value": {"views": ["Main", "Order"]}},
        {"id": "my-task", "type": "echo", "value": "${tasks.design.result.views}"},
        {"id": "text", "type": "echo", "value": 'first: ${tasks["my-task"].result[0]}'},
        {"id": "input", "type": "echo", "value": "${inputs.size * 2}"},
    ]
    run = await any_world.after(
        app.workflow_manager.run_workflow(
            "w", tasks, {"inputs": {"size": {"type": "integer"}}}, inputs={"size": 21}
        )
    )
    assert [one.result for one in run.tasks[1:]] == [["Main", "Order"], "first: Main", 42]


async def test_a_failure_ends_the_workflow_and_is_told(any_world: World) -> None:
    """Type, message and traceback are kept; what comes after is skipped."""
    app = await opened(any_world)
    run = await any_world.after(
        app.workflow_manager.run_workflow("w", [{"type": "boom"}, {"type": "echo"}])
    )
    assert run.status is WorkflowStatus.FAILED
    [error] = run.errors
    assert (error.task_id, error.type, error.message) == ("boom", "ValueError", "boom")
    assert error.traceback is not None
    assert "raise ValueError(message)" in error.traceback
    assert [task.status for task in run.tasks] == [TaskStatus.FAILED, TaskStatus.SKIPPED]
    with pytest.raises(RunFailedError, match="boom: ValueError: boom"):
        run.raise_for_status()


async def test_continue_on_error_records_and_goes_on(world: World) -> None:
    """The workflow completes, with ``errors`` listing what failed."""
    app = await opened(world)
    tasks: Tasks = [{"type": "boom"}, {"type": "echo", "value": 1}, {"id": "b", "type": "boom"}]
    run = await world.after(
        app.workflow_manager.run_workflow("w", tasks, {"continue_on_error": True})
    )
    assert run.status is WorkflowStatus.COMPLETED
    assert [error.task_id for error in run.errors] == ["boom", "b"]
    assert run.results == {"echo": 1}
    assert run.raise_for_status() is run


async def test_defaults_hold_for_every_task_that_says_nothing_else(world: World) -> None:
    """``retry`` and ``timeout`` of the config are each task's own unless it has one."""
    tries: list[str] = []

    async def flaky(ctx: TaskContext) -> None:
        tries.append(str(ctx.task_id))
        raise OSError

    app = await opened(world, flaky)
    tasks: Tasks = [{"id": "a", "type": "flaky"}, {"id": "b", "type": "flaky", "retry": 2}]
    config = {"retry": {"max_attempts": 3}, "continue_on_error": True}
    await world.after(app.workflow_manager.run_workflow("w", tasks, config))
    assert tries == ["a", "a", "a", "b", "b"]

    gate = Gate()
    other = await world.app(gate.gate)
    id = await other.workflow_manager.create_workflow("t", [{"type": "gate"}], {"timeout": 5})
    await other.workflow_manager.start_workflow(id)
    await world.passes(5)
    run = await other.workflow_manager.get_workflow(id)
    assert run.errors[0].type == "TimeoutError"
    assert "5 s" in run.errors[0].message


async def test_a_deadline_ends_the_whole(any_world: World) -> None:
    """``config.deadline`` limits the run, whatever it is doing; also while it is paused."""
    gate = Gate()
    app = await opened(any_world, gate.gate)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "gate"}], {"deadline": "1m"})
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.pause_workflow(id)
    await any_world.passes(59)
    assert await manager.get_workflow_status(id) is WorkflowStatus.PAUSED
    await any_world.passes(1)
    run = await manager.get_workflow(id)
    assert run.status is WorkflowStatus.FAILED
    assert run.errors[-1].type == "DeadlineExceeded"
    assert run.in_flight == 0


async def test_when_decides_whether_a_task_runs(world: World) -> None:
    """A false condition skips the task alone; what comes after it runs."""
    app = await opened(world)
    tasks: Tasks = [
        {"id": "a", "type": "echo", "value": 3},
        {"id": "big", "type": "echo", "when": "tasks.a.result > 5"},
        {"id": "small", "type": "echo", "value": "s", "when": "tasks.a.result < 5"},
        {"id": "after", "type": "echo", "value": "${tasks.big.status}"},
    ]
    run = await world.after(app.workflow_manager.run_workflow("w", tasks))
    assert run.ok
    assert run.results == {"a": 3, "small": "s", "after": "SKIPPED"}
    assert run.tasks[1].note == "its condition is false"


async def test_an_expression_that_fails_fails_its_task(world: World) -> None:
    """A reference to what is not there names it; the workflow fails and does not hang."""
    app = await opened(world)
    tasks: Tasks = [
        {"id": "a", "type": "echo", "value": {}},
        {"id": "b", "type": "echo", "value": "${tasks.a.result.nothing}"},
    ]
    run = await world.after(app.workflow_manager.run_workflow("w", tasks))
    assert run.status is WorkflowStatus.FAILED
    assert "nothing" in run.errors[0].message


async def test_pause_lets_what_is_in_flight_finish(any_world: World) -> None:
    """PAUSED at once, ``in_flight`` tells when it is drained, nothing new starts until resume."""
    gate = Gate()
    app = await opened(any_world, gate.gate)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "gate"}, {"type": "echo", "value": 1}])
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.pause_workflow(id, "lunch")
    paused = await manager.get_workflow(id)
    assert (paused.status, paused.in_flight) == (WorkflowStatus.PAUSED, 1)
    gate.open()
    await any_world.settle()
    drained = await manager.get_workflow(id)
    assert (drained.status, drained.in_flight) == (WorkflowStatus.PAUSED, 0)
    assert drained.results == {"gate": "through"}
    await manager.pause_workflow(id)
    await manager.resume_workflow(id)
    await any_world.settle()
    done = await manager.get_workflow(id)
    assert done.ok
    kinds = [event.kind for event in await manager.get_history(id)]
    assert kinds.count("run.paused") == kinds.count("run.resumed") == 1
    assert {"reason": "lunch"} in [event.data for event in await manager.get_history(id)]


async def test_sleeps_ripen_while_paused(world: World) -> None:
    """A sleep goes on during a pause, but what follows it waits for resume."""
    app = await opened(world)
    manager = app.workflow_manager
    tasks: Tasks = [{"type": "sleep", "seconds": 10}, {"type": "echo"}]
    id = await manager.create_workflow("w", tasks)
    await manager.start_workflow(id)
    await world.passes(1)
    await manager.pause_workflow(id)
    await world.passes(20)
    assert (await manager.get_workflow(id)).tasks[0].status is TaskStatus.COMPLETED
    await manager.resume_workflow(id)
    await world.settle()
    assert await manager.get_workflow_status(id) is WorkflowStatus.COMPLETED


async def test_cancel_stops_what_runs(any_world: World) -> None:
    """Running async tasks are cancelled, the rest never starts; a repeat changes nothing."""
    gate = Gate()
    app = await opened(any_world, gate.gate)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "gate"}, {"type": "echo"}])
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.cancel_workflow(id, "not needed")
    await manager.cancel_workflow(id)
    await any_world.settle()
    run = await manager.wait_workflow(id)
    assert run.status is WorkflowStatus.CANCELLED
    assert [task.status for task in run.tasks] == [TaskStatus.CANCELLED] * 2
    assert run.in_flight == 0


async def test_retry_goes_on_from_what_failed(any_world: World) -> None:
    """What completed is kept and never runs again; the attempt rises, the key stays."""
    seen: list[tuple[str, int, str]] = []
    broken = True

    async def step(ctx: TaskContext) -> str:
        seen.append((str(ctx.task_id), ctx.attempt, ctx.idempotency_key))
        if broken and ctx.task_id == "b":
            raise OSError("not yet")
        return "ok"

    app = await opened(any_world, step)
    manager = app.workflow_manager
    tasks: Tasks = [{"id": id, "type": "step"} for id in "abc"]
    run = await any_world.after(manager.run_workflow("w", tasks, workflow_id="w"))
    assert run.status is WorkflowStatus.FAILED
    broken = False
    await manager.retry_workflow("w")
    run = await any_world.after(manager.wait_workflow("w"))
    assert run.ok
    assert [(id, attempt) for id, attempt, _ in seen] == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]
    assert seen[1][2] == seen[2][2]
    assert len({key for _, _, key in seen}) == 3


async def test_a_cancelled_workflow_can_be_retried(world: World) -> None:
    """CANCELLED is not the end: retry lets it go on."""
    gate = Gate()
    app = await opened(world, gate.gate)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "gate"}])
    await manager.start_workflow(id)
    await world.settle()
    await manager.cancel_workflow(id)
    await world.settle()
    gate.open()
    await manager.retry_workflow(id)
    assert (await world.after(manager.wait_workflow(id))).ok


@pytest.mark.parametrize(
    ("verb", "possible"), [("pause", "delete"), ("resume", "delete"), ("retry", "delete")]
)
async def test_what_does_not_fit_is_refused(world: World, verb: str, possible: str) -> None:
    """The error names the state and what is possible."""
    app = await opened(world)
    manager = app.workflow_manager
    await world.after(manager.run_workflow("w", [{"type": "echo"}], workflow_id="w"))
    with pytest.raises(StateError, match=f"is COMPLETED, so {verb} does not fit.*{possible}"):
        await getattr(manager, f"{verb}_workflow")("w")
    await manager.start_workflow("w")
    assert (await manager.get_workflow("w")).ok


async def test_creating_twice_returns_the_first(any_world: World) -> None:
    """An id is an idempotency key: same content returns it, other content is a conflict."""
    app = await opened(any_world)
    manager = app.workflow_manager
    tasks: Tasks = [{"type": "echo", "value": 1}]
    first = await manager.create_workflow("w", tasks, workflow_id="mine", priority=2)
    assert first == "mine"
    await manager.start_workflow("mine")
    await any_world.settle()
    assert await manager.create_workflow("w", tasks, workflow_id="mine", priority=2) == "mine"
    assert (await manager.get_workflow("mine")).ok
    with pytest.raises(ConflictError, match="mine"):
        await manager.create_workflow("w", tasks, workflow_id="mine", priority=3)
    with pytest.raises(ConflictError, match="mine"):
        await manager.create_workflow("w", [{"type": "echo"}], workflow_id="mine", priority=2)
    again = await any_world.after(manager.run_workflow("w", tasks, workflow_id="mine", priority=2))
    assert again.ok
    assert len((await manager.list_workflows()).items) == 1


async def test_an_id_belongs_to_one_kind(world: World) -> None:
    """A workflow's id is not found as a task's, and cannot be taken by one."""
    app = await opened(world)
    await app.workflow_manager.create_workflow("w", [{"type": "echo"}], workflow_id="x")
    with pytest.raises(NotFoundError, match="it belongs to a workflow"):
        await app.scheduler.get_task("x")
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("x", {"type": "echo"})


async def test_names_stand_for_definitions(any_world: World) -> None:
    """A defined name runs without tasks; runs keep what they were created with."""
    app = await opened(any_world)
    manager = app.workflow_manager
    await manager.define_workflow("Daily", [{"type": "echo", "value": 1}])
    old = await manager.create_workflow("Daily")
    await manager.define_workflow("Daily", [{"type": "echo", "value": 2}])
    new = await any_world.after(manager.run_workflow("Daily"))
    await manager.start_workflow(old)
    kept = await any_world.after(manager.wait_workflow(old))
    assert (kept.results, new.results) == ({"echo": 1}, {"echo": 2})
    with pytest.raises(NotFoundError, match="did you mean 'Daily'"):
        await manager.create_workflow("Dayly")
    with pytest.raises(UsageError, match="config belongs to a definition"):
        await manager.create_workflow("Daily", config={"deadline": 1})


async def test_lists_filter_and_page(any_world: World) -> None:
    """By status, name, tag and time; newest first; a cursor goes on where the page ended."""
    app = await opened(any_world)
    manager = app.workflow_manager
    for number in range(5):
        await manager.create_workflow(
            "even" if number % 2 == 0 else "odd",
            [{"type": "echo"}],
            workflow_id=f"w{number}",
            tags=["all", f"n{number}"],
        )
        await any_world.passes(10)
    await manager.start_workflow("w1")
    await any_world.settle()
    assert ids((await manager.list_workflows()).items) == ["w4", "w3", "w2", "w1", "w0"]
    assert ids((await manager.list_workflows(name="odd")).items) == ["w3", "w1"]
    assert ids((await manager.list_workflows(tag="n2")).items) == ["w2"]
    assert ids((await manager.list_workflows(status="completed")).items) == ["w1"]
    several = await manager.list_workflows(status=["COMPLETED", WorkflowStatus.PENDING])
    assert len(several.items) == 5
    w2, w4 = [(await manager.get_workflow(id)).created_at for id in ("w2", "w4")]
    between = await manager.list_workflows(created_from=w2, created_until=w4)
    assert ids(between.items) == ["w3", "w2"]
    page = await manager.list_workflows(limit=2)
    pages = [ids(page.items)]
    while page.cursor is not None:
        page = await manager.list_workflows(limit=2, cursor=page.cursor)
        pages.append(ids(page.items))
    assert pages == [["w4", "w3"], ["w2", "w1"], ["w0"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status": "DONE"}, "no status of a workflow; there are PENDING"),
        ({"status": "READY"}, "no status of a workflow"),
        ({"cursor": "%%%"}, "no cursor"),
        ({"cursor": "é"}, "no cursor"),
        ({"limit": 0}, "limit must be from 1"),
        ({"limit": 100_000}, "limit must be from 1"),
        ({"created_from": "yesterday"}, "created_from"),
    ],
)
async def test_bad_questions_are_refused(
    world: World, arguments: dict[str, object], message: str
) -> None:
    """A filter that means nothing is an error that says what there is."""
    app = await opened(world)
    with pytest.raises(UsageError, match=message):
        await app.workflow_manager.list_workflows(**arguments)  # type: ignore[arg-type]


async def test_deleting_leaves_a_tombstone(any_world: World) -> None:
    """Only what has finished can go; asking for it later tells how it ended."""
    app = await opened(any_world)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "echo"}], workflow_id="w")
    with pytest.raises(StateError, match="cannot be deleted; cancel it first"):
        await manager.delete_workflow(id)
    await manager.start_workflow(id)
    await any_world.settle()
    await manager.delete_workflow(id)
    for ask in (manager.get_workflow, manager.get_history, manager.explain, manager.wait_workflow):
        with pytest.raises(NotFoundError, match="was deleted at 2026-01-01.*it was COMPLETED"):
            await ask("w")
    assert await manager.create_workflow("w", [{"type": "echo"}], workflow_id="w") == "w"
    assert await manager.get_workflow_status("w") is WorkflowStatus.PENDING


async def test_who_waits_for_a_deleted_run_learns_how_it_ended(world: World) -> None:
    """A waiter in another program does not hang when the run goes away under it."""
    app, other = await opened(world), await opened(world, worker=False)
    id = await app.workflow_manager.create_workflow("w", [{"type": "echo"}])
    waiting = asyncio.ensure_future(other.workflow_manager.wait_workflow(id))
    await world.settle()
    await app.workflow_manager.cancel_workflow(id)
    await app.workflow_manager.delete_workflow(id)
    other._engine._notices.tell_all()
    await world.settle()
    with pytest.raises(NotFoundError, match="it was CANCELLED"):
        await waiting


async def test_waiting_has_a_limit(any_world: World) -> None:
    """The time-out says where the run is; the run itself goes on."""
    app = await opened(any_world)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "sleep", "seconds": 60}])
    await manager.start_workflow(id)
    waiting = asyncio.ensure_future(manager.wait_workflow(id, timeout=5))
    await any_world.passes(5)
    with pytest.raises(WaitTimeoutError, match="still RUNNING after 5 s; it goes on"):
        await waiting
    await any_world.passes(60)
    assert await manager.get_workflow_status(id) is WorkflowStatus.COMPLETED


async def test_watch_starts_at_the_beginning_and_ends_with_the_run(any_world: World) -> None:
    """History so far, then live, without gaps or repeats."""
    gate = Gate()
    app = await opened(any_world, gate.gate)
    manager = app.workflow_manager
    id = await manager.create_workflow("w", [{"type": "echo"}, {"type": "gate"}])
    await manager.start_workflow(id)
    await any_world.settle()
    seen: list[str] = []

    async def watch() -> None:
        async for event in manager.watch(id):
            seen.append(event.kind)  # noqa: PERF401  # it is read while it grows

    watching = asyncio.ensure_future(watch())
    await any_world.settle()
    assert seen == ["run.started", "task.started", "task.completed", "task.started"]
    gate.open()
    await any_world.settle()
    await watching
    assert seen[4:] == ["task.completed", "run.completed"]
    assert seen == [event.kind for event in await manager.get_history(id)]
    with pytest.raises(NotFoundError):
        async for _ in manager.watch("nothing"):
            pass


async def test_snapshots_have_a_plain_form(world: World) -> None:
    """``to_dict`` is JSON data, moments as ISO 8601."""
    import json

    app = await opened(world)
    run = await world.after(app.workflow_manager.run_workflow("w", [{"type": "boom"}]))
    data = run.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["created_at"] == "2026-01-01T00:00:00+00:00"
    assert data["status"] == "FAILED"


async def test_priority_and_tags_agree(world: World) -> None:
    """In ``config`` or as arguments; both at once must agree."""
    app = await opened(world)
    manager = app.workflow_manager
    task: Tasks = [{"type": "echo"}]
    id = await manager.create_workflow("w", task, {"priority": 5, "tags": ["a"]})
    run = await manager.get_workflow(id)
    assert (run.priority, run.tags) == (5, ("a",))
    await manager.create_workflow("w", task, {"priority": 5}, priority=5)
    with pytest.raises(UsageError, match="priority is given twice"):
        await manager.create_workflow("w", task, {"priority": 5}, priority=6)


async def test_all_problems_are_told_at_once_and_nothing_is_stored(world: World) -> None:
    """Each problem names the task and the key."""
    app = await opened(world)
    tasks: Tasks = [
        {"type": "ecko"},
        {"id": "a", "type": "echo", "valu": 1},
        {"id": "a", "type": "echo"},
        {"id": "c", "type": "echo", "value": "${tasks.d.result}"},
        {"id": "d", "type": "boom", "message": 3, "retry": {"max_attempts": 0}},
        {"type": "echo", "timeout": "soon"},
    ]
    with pytest.raises(DefinitionError) as caught:
        await app.workflow_manager.create_workflow("w", tasks)
    text = "\n".join(caught.value.problems)
    for expected in ("'echo'", "valu", "'a'", "'d'", "message", "max_attempts", "timeout"):
        assert expected in text, text
    assert len(caught.value.problems) == 6
    assert (await app.workflow_manager.list_workflows()).items == ()


@pytest.mark.parametrize("id", ["", " ", "a b", "ä", "../x", "-a", "a" * 201, "a/b", "a\n"])
async def test_odd_ids_are_refused(world: World, id: str) -> None:
    """Ids are words that fit into a URL; the message says which."""
    app = await opened(world)
    with pytest.raises(UsageError, match="id"):
        await app.workflow_manager.create_workflow("w", [{"type": "echo"}], workflow_id=id)


async def test_anything_plain_comes_back_as_it_was(any_world: World) -> None:
    """Unicode, deep nesting, empty things and long texts survive the way through the store."""
    deep: object = "end"
    for _ in range(50):
        deep = [deep]
    value = {"": "", "ключ": "значение 🚀", "list": [], "none": None, "deep": deep, "x": "é" * 9999}
    app = await opened(any_world)
    run = await any_world.after(
        app.workflow_manager.run_workflow("Gerar ✨", [{"type": "echo", "value": value}])
    )
    assert run.results == {"echo": value}
    assert run.name == "Gerar ✨"


async def test_limits_of_size_are_told(world: World) -> None:
    """Too many tasks, too large a payload: refused with the limit named."""
    app = await opened(world)
    manager = app.workflow_manager
    with pytest.raises(DefinitionError, match="10,001 tasks.*10,000.*max_steps"):
        await manager.create_workflow("w", [{"type": "echo"}] * 10_001)
    with pytest.raises(DefinitionError, match="MiB|bytes"):
        await manager.create_workflow("w", [{"type": "echo", "value": "x" * 2_000_000}])
    with pytest.raises(DefinitionError, match="empty"):
        await manager.create_workflow("w", [])


async def test_ten_thousand_tasks_run(world: World) -> None:
    """The largest workflow allowed completes, in order, without quadratic cost."""
    app = await opened(world)
    tasks: Tasks = [{"id": f"t{n}", "type": "echo"} for n in range(10_000)]
    id = await app.workflow_manager.create_workflow("w", tasks)
    await app.workflow_manager.start_workflow(id)
    await world.settle()
    assert await app.workflow_manager.get_workflow_status(id) is WorkflowStatus.COMPLETED


async def test_what_a_handler_changes_of_its_config_is_its_own(world: World) -> None:
    """Attempts and runs share what was defined, so each gets a config that is as it was given."""

    async def grow(items, how):  # type: ignore[no-untyped-def]
        items.append(how.setdefault("size", len(items)))
        if len(items) == 2:
            raise ValueError
        return items

    async def append(items):  # type: ignore[no-untyped-def]
        items.append("b")
        return items

    app = await world.app(grow, append)
    tasks: Tasks = [
        {"type": "grow", "items": [], "how": {}},
        {"id": "one", "type": "append", "items": "${tasks.grow.result}"},
        {"id": "two", "type": "append", "items": "${tasks.grow.result}"},
    ]
    for _ in range(2):
        run = await app.workflow_manager.run_workflow("w", tasks)
        assert run.results == {"grow": [0], "one": [0, "b"], "two": [0, "b"]}


async def test_a_run_that_has_nothing_to_do_is_over_at_once(any_world: World) -> None:
    """Who waits for it is told, also where all of it is decided as it is created."""

    async def work() -> None:
        raise AssertionError

    app = await any_world.app(work)
    running = app.workflow_manager.run_workflow("w", [{"type": "work", "when": False}])
    assert (await any_world.after(running)).ok
