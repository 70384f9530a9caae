"""``for_each``: the same work for each item of a list, so many at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from world import World, ids

from kallista import (
    DefinitionError,
    Kallista,
    NotFoundError,
    ProcessStatus,
    StateError,
    TaskContext,
    WorkflowStatus,
)
from kallista.cli.tree import TreeReader
from kallista.core.snapshots import StepSnapshot, WorkflowSnapshot
from kallista.core.states import RunKind
from kallista.engine.embedded import Options

pytestmark = pytest.mark.anyio

Data = dict[str, Any]


class Press:
    """Prints; remembers what and how many at a time, and may be held or broken."""

    def __init__(self) -> None:
        self.printed: list[object] = []
        self.keys: set[str] = set()
        self.now = 0
        self.most = 0
        self.broken: Counter[object] = Counter()
        self.held: dict[object, asyncio.Event] = {}

    async def list(self, count: int) -> list[str]:
        """Names of files."""
        return [f"f{number}" for number in range(count)]

    async def print(self, ctx: TaskContext, file: Any, n: int = -1, more: object = None) -> str:
        """Print one."""
        self.now += 1
        self.most = max(self.most, self.now)
        self.printed.append(file)
        self.keys.add(ctx.idempotency_key)
        try:
            if file in self.held:
                await self.held[file].wait()
            if self.broken[file]:
                self.broken[file] -= 1
                raise ValueError(f"{file} is jammed")
        finally:
            self.now -= 1
        return f"{file}#{n}"

    def hold(self, *files: object) -> None:
        """Let these wait until they are released."""
        self.held.update((file, asyncio.Event()) for file in files)

    def release(self, *files: object) -> None:
        """Let these go on."""
        for file in files:
            self.held.pop(file).set()


def printing(items: object, **more: object) -> Data:
    """A task that prints each item."""
    config = {"file": "${item}", "n": "${index}"}
    return {"id": "each", "type": "print", "for_each": items, "config": config, **more}


async def started(app: Kallista, world: World, *tasks: Data, config: Data | None = None) -> None:
    """A workflow that has gone as far as it can without time passing."""
    await app.workflow_manager.create_workflow("w", list(tasks), config, workflow_id="w")
    await app.workflow_manager.start_workflow("w")
    await world.settle()


async def ended(app: Kallista, world: World) -> WorkflowSnapshot:
    """The same, at its end."""
    return await world.after(app.workflow_manager.wait_workflow("w"))


def each(run: WorkflowSnapshot) -> StepSnapshot:
    """The task that goes through the list."""
    return next(task for task in run.tasks if task.id == "each")


async def test_each_item_once_and_the_results_in_order(any_world: World) -> None:
    """The list comes from an earlier result, and what the items returned is the result."""
    press = Press()
    press.hold("f0", "f3")
    app = await any_world.app(press.list, press.print)
    then = {"id": "then", "type": "print", "file": "end", "more": "${tasks.each.result}"}
    items = {"id": "files", "type": "list", "count": 7}
    await started(app, any_world, items, printing("${tasks.files.result}", max_parallel=3), then)
    for file in ("f3", "f0"):  # the first is last
        press.release(file)
        await any_world.settle()
    run = await ended(app, any_world)
    assert run.status is WorkflowStatus.COMPLETED
    assert run.results["each"] == [f"f{n}#{n}" for n in range(7)]
    assert sorted(press.printed[:-1]) == [f"f{n}" for n in range(7)]
    assert (len(press.keys), press.most) == (8, 3)
    assert str(each(run).items) == "7 of 7 done"


async def test_the_next_begins_as_soon_as_one_has_ended(any_world: World) -> None:
    """However long another one takes: no more and no fewer than max_parallel are under way."""
    press = Press()
    press.hold(*range(6))
    app = await any_world.app(press.print)
    await started(app, any_world, printing(list(range(6)), max_parallel=2))
    assert press.printed == [0, 1]
    for file in (1, 2, 3, 4):
        press.release(file)
        await any_world.settle()
        assert press.printed == list(range(file + 2))
        assert press.now == 2
    press.release(0, 5)
    assert each(await ended(app, any_world)).result == [f"{n}#{n}" for n in range(6)]
    assert press.most == 2


async def test_who_drives_a_list_keeps_no_task_from_others(any_world: World) -> None:
    """A task beside the list is executed by a worker of its queue before the list has ended."""
    press = Press()
    press.hold("item")
    driver = await any_world.app(press.print, alert=True)
    await any_world.app(press.print, queues=("side",), alert=True)
    beside = {"id": "beside", "type": "print", "queue": "side", "config": {"file": "beside"}}
    await started(driver, any_world, beside, printing(["item"], trigger_rule="always"))
    await any_world.passes(1)
    assert sorted(press.printed, key=str) == ["beside", "item"]
    press.release("item")
    await any_world.passes(1)
    assert (await driver.workflow_manager.get_workflow("w")).ok


async def test_the_bound_holds_over_all_workers(any_world: World) -> None:
    """Two programs with room for all of it execute no more than it says together."""
    press = Press()
    press.hold(*range(9))
    first = await any_world.app(press.print, alert=True)
    await any_world.app(press.print, alert=True)
    await started(first, any_world, printing(list(range(9)), max_parallel=4))
    for file in range(9):
        await any_world.passes(0.2)
        assert press.now == min(4, 9 - file)
        press.release(file)
    await any_world.passes(0.2)
    assert (await ended(first, any_world)).ok
    assert press.most == 4


@pytest.mark.parametrize("kind", ["workflow", "process"])
async def test_an_item_may_be_a_run_of_several_tasks(any_world: World, kind: str) -> None:
    """What each of them returned is the result of the item; tasks read the item by its inputs."""
    press = Press()
    app = await any_world.app(press.print)
    tasks = [
        {"id": "draft", "type": "print", "file": "${inputs.page.name}"},
        {"id": "final", "type": "print", "file": "${inputs.page.name + '!'}"},
    ]
    step = {
        "id": "each", "type": kind, "tasks" if kind == "workflow" else "steps": tasks,
        "for_each": "${inputs.pages}", "inputs": {"page": "${item}"}, "max_parallel": 1,
    }  # fmt: skip
    data = {"id": "p", "steps": [step], "config": {"inputs": {"pages": {"type": "array"}}}}
    pages = [{"name": "a"}, {"name": "b"}]
    await app.orchestrator.create_process(data, inputs={"pages": pages})
    await app.orchestrator.start_process("p")
    run = await any_world.after(app.orchestrator.wait_process("p"))
    assert run.status is ProcessStatus.COMPLETED
    assert press.printed == ["a", "a!", "b", "b!"]
    assert run.results["each"] == [
        {"draft": "a#-1", "final": "a!#-1"}, {"draft": "b#-1", "final": "b!#-1"},
    ]  # fmt: skip


async def test_a_failure_lets_no_other_item_begin(any_world: World) -> None:
    """What is under way ends by itself; then the step fails. A retry runs what did not complete."""
    press = Press()
    press.hold(0, 1)
    press.broken[1] = 1
    app = await any_world.app(press.print)
    await started(app, any_world, printing([0, 1, 2, 3], max_parallel=2))
    press.release(1)
    await any_world.settle()
    assert press.printed == [0, 1]
    assert not (await app.workflow_manager.get_workflow("w")).status.endswith("FAILED")
    press.release(0)
    run = await ended(app, any_world)
    assert run.status is WorkflowStatus.FAILED
    assert str(run.errors[0]) == (
        "each: ItemsFailed: 1 of 4 items did not complete; item 1: ValueError: 1 is jammed"
    )
    assert str(each(run).items) == "1 of 4 done, 1 failed"
    with pytest.raises(StateError, match="'w/each/1' is an item of 'each': retry 'w'"):
        await app.scheduler.retry_task("w/each/1")
    await any_world.leave(app)
    app = await any_world.app(press.print)
    await app.workflow_manager.retry_workflow("w")
    run = await ended(app, any_world)
    assert run.results["each"] == ["0#0", "1#1", "2#2", "3#3"]
    assert sorted(map(str, press.printed)) == ["0", "1", "1", "2", "3"]


async def test_each_item_is_tried_again_on_its_own(world: World) -> None:
    """While another one waits for its next attempt, the others go on."""
    press = Press()
    press.broken[0] = 2
    app = await world.app(press.print)
    retry = {"max_attempts": 3, "delay": 5, "backoff": 1}
    task = printing([0, 1, 2, 3], max_parallel=2, retry=retry, priority=7)
    await started(app, world, task)
    assert (await app.scheduler.get_task("w/each/0")).priority == 7
    assert press.printed == [0, 1, 2, 3]
    await world.passes(11)
    assert each(await ended(app, world)).result == ["0#0", "1#1", "2#2", "3#3"]
    assert press.printed == [0, 1, 2, 3, 0, 0]


async def test_failures_may_be_let_pass(any_world: World) -> None:
    """Then null stands for what has failed, all others run, and a retry leaves that as it is."""
    press = Press()
    press.broken.update({1: 1, "last": 1})
    app = await any_world.app(press.print)
    last = {"id": "last", "type": "print", "file": "last"}
    await started(app, any_world, printing([0, 1, 2], continue_on_error=True), last)
    run = await ended(app, any_world)
    assert each(run).result == ["0#0", None, "2#2"]
    assert str(each(run).items) == "2 of 3 done, 1 failed"
    await app.workflow_manager.retry_workflow("w")
    assert (await ended(app, any_world)).ok
    assert press.printed == [0, 1, 2, "last", "last"]


async def test_what_an_item_cannot_be_given_fails_that_item(any_world: World) -> None:
    """Also where it is the last one, and nothing else is under way."""
    press = Press()
    app = await any_world.app(press.print)
    task = printing([{"x": 1}, {"x": 2}, {}], max_parallel=1, continue_on_error=True)
    await started(app, any_world, {**task, "config": {"file": "${item.x}"}})
    run = await ended(app, any_world)
    assert each(run).result == ["1#-1", "2#-1", None]
    await app.workflow_manager.delete_workflow("w")
    await started(
        app, any_world, {**task, "config": {"file": "${item.x}"}, "continue_on_error": False}
    )
    run = await ended(app, any_world)
    assert "item 2: ${item.x}: item has no 'x'" in str(run.errors[0])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "[]"),
        ({"a": 1}, "for_each goes through a list, and this is an object"),
        (None, "for_each goes through a list, and this is null"),
    ],
)
async def test_what_is_no_list_fails_the_step(world: World, given: object, told: str) -> None:
    """A list without items is one: the step completes with it."""
    app = await world.app(Press().print)
    manager = app.workflow_manager
    tasks = [printing("${inputs.them}")]
    config = {"inputs": {"them": None}}
    work = manager.run_workflow("w", tasks, config, inputs={"them": given})
    run = await world.after(work)
    assert told == str(each(run).result) or told in str(run.errors[0])


async def test_another_list_is_other_work(any_world: World) -> None:
    """A retry that comes to another list does not mix it with what was done for the first."""
    press = Press()
    press.broken.update({"try": 1, "b": 1})
    app = await any_world.app(press.print)
    first = {"id": "try", "type": "print", "file": "try"}
    items = "${tasks.try.status == 'COMPLETED' ? ['x', 'y'] : ['a', 'b']}"
    await started(app, any_world, first, printing(items, max_parallel=1, trigger_rule="all_done"))
    assert not (await ended(app, any_world)).ok
    await app.workflow_manager.retry_workflow("w")
    run = await ended(app, any_world)
    assert "the list is another one than that of which 2 items have begun" in str(run.errors[0])
    assert press.printed == ["try", "a", "b", "try"]


async def test_another_list_is_told_from_the_first_while_something_is_still_in_flight(
    any_world: World,
) -> None:
    """The program that drove the run remembers the list, and asks anew after a retry."""
    press = Press()
    press.broken["try"] = 1
    press.hold("b")
    gate = asyncio.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    app = await any_world.app(press.print, stubborn)
    items = "${steps.try.status == 'COMPLETED' ? ['x', 'y'] : ['a', 'b']}"
    steps: list[Data] = [
        {"id": "stubborn", "type": "stubborn"},
        {"id": "try", "type": "print", "file": "try", "depends_on": []},
        printing(items, max_parallel=1, trigger_rule="all_done"),
    ]
    orchestrator = app.orchestrator
    await orchestrator.create_process({"id": "p", "steps": steps})
    await orchestrator.start_process("p")
    await any_world.settle()
    await orchestrator.cancel_process("p")
    await any_world.settle()
    await orchestrator.retry_process("p")
    await any_world.settle()
    gate.set()
    run = await any_world.after(orchestrator.wait_process("p"))
    assert "the list is another one than that of which 2 items have begun" in str(run.errors[0])
    assert press.printed == ["try", "a", "b", "try"]


async def test_pause_and_cancel_reach_the_items(any_world: World) -> None:
    """Nothing begins while it is paused; a retry after it was cancelled goes on where it was."""
    press = Press()
    press.hold(0, 1, 3)
    app = await any_world.app(press.print)
    manager = app.workflow_manager
    await started(app, any_world, printing([0, 1, 2, 3], max_parallel=2))
    await manager.pause_workflow("w")
    await any_world.settle()
    assert (await app.scheduler.get_task("w/each/0")).in_flight == 1
    press.release(0, 1)
    await any_world.settle()
    assert press.printed == [0, 1]
    await manager.resume_workflow("w")
    await any_world.settle()
    assert press.printed == [0, 1, 2, 3]
    await manager.cancel_workflow("w")
    assert (await ended(app, any_world)).status is WorkflowStatus.CANCELLED
    assert press.now == 0
    press.release(3)
    await manager.retry_workflow("w")
    assert (await ended(app, any_world)).results["each"] == ["0#0", "1#1", "2#2", "3#3"]
    assert press.printed == [0, 1, 2, 3, 3]


async def test_an_item_under_way_when_it_was_cancelled_still_takes_its_place(world: World) -> None:
    """Somebody cancels one item whose handler takes its time: the next one waits for that."""
    press = Press()
    leave = asyncio.Event()

    async def print(file: int) -> int:
        press.printed.append(file)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await leave.wait()
            raise
        return file

    app = await world.app(print)
    task = {**printing([0, 1], max_parallel=1, continue_on_error=True)}
    await started(app, world, {**task, "config": {"file": "${item}"}})
    await app.scheduler.cancel_task("w/each/0")
    await world.settle()
    assert press.printed == [0]
    leave.set()
    await world.settle()
    assert press.printed == [0, 1]
    await app.workflow_manager.cancel_workflow("w")
    await world.settle()


async def test_what_completed_is_undone_as_one(world: World) -> None:
    """What undoes the step is given the whole list; a step that did not complete is not undone."""
    press = Press()
    press.broken["bad"] = 1
    app = await world.app(press.print)
    undo = {"type": "print", "file": "undo", "more": "${tasks.each.result}"}
    bad = {"id": "bad", "type": "print", "file": "bad"}
    task = printing([0, 1], compensate=undo)
    await started(app, world, task, bad, config={"on_failure": "rollback"})
    run = await ended(app, world)
    assert run.status is WorkflowStatus.FAILED
    assert press.printed == [0, 1, "bad", "undo"]


async def test_large_results_stay_with_their_items(world: World) -> None:
    """Where they would be too long together the step fails and says so, before all is done."""
    press = Press()
    app = await world.app(
        press.print, options=Options(max_payload_bytes=60, max_concurrency=9, worker=True)
    )
    await started(app, world, printing(list(range(30)), max_parallel=1))
    run = await ended(app, world)
    assert "say collect: false" in str(run.errors[0])
    assert len(press.printed) < 30
    await app.workflow_manager.retry_workflow("w")
    assert not (await ended(app, world)).ok
    await app.workflow_manager.delete_workflow("w")
    await started(app, world, printing(list(range(30)), collect=False))
    run = await ended(app, world)
    assert run.results["each"] == {"count": 30, "completed": 30, "failed": 0}
    assert (await app.scheduler.get_task("w/each/17")).result == "17#17"


async def test_what_users_see_of_a_long_list(any_world: World) -> None:
    """One line with counts, and the runs of items under way; no list shows the rest."""
    press = Press()
    press.hold(2)
    press.broken[1] = 1
    app = await any_world.app(press.print)
    await started(app, any_world, printing([0, 1, 2, 2], max_parallel=2, continue_on_error=True))
    told = "Workflow 'w' goes through a list with 'each': 1 of 4 done, 1 failed, 2 under way."
    explained = await app.workflow_manager.explain("w")
    assert (str(explained), explained.reason) == (told, "waits_for_items")
    assert explained.waits_for == ("w/each/2", "w/each/3")
    tree = await TreeReader(app).read(RunKind.WORKFLOW, "w")
    [node] = tree.children
    assert (node.children, node.told) == ((), "1 of 4 done, 1 failed, 2 under way")
    assert ids((await app.scheduler.list_tasks()).items) == []
    failed = await app.scheduler.list_tasks(part_of="w", status="FAILED")
    assert ids(failed.items) == ["w/each/1"]
    with pytest.raises(NotFoundError):
        await app.scheduler.list_tasks(part_of="v")
    press.release(2)
    assert (await ended(app, any_world)).ok
    kinds = Counter(event.kind for event in await app.workflow_manager.get_history("w"))
    assert kinds["task.advanced"] >= 1
    assert (await app.workflow_manager.replay("w")).agrees


async def test_expressions_may_call_their_own_items_so(world: World) -> None:
    """Within an iteration ``item`` is what that goes through."""
    press = Press()
    app = await world.app(press.print)
    task = printing("${inputs.all.map(item, item * 2).filter(index, index > 2)}")
    config = {"inputs": {"all": {"type": "array"}}}
    more = {"file": "${inputs.all.map(item, item + index)[0] + item}"}
    work = app.workflow_manager.run_workflow(
        "w", [{**task, "config": more}], config, inputs={"all": [1, 2, 3]}
    )
    assert each(await world.after(work)).result == ["5#-1", "8#-1"]


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (printing("files"), "for_each must be a list or an expression like ${inputs.files}"),
        (printing("${inputs.fles}"), "did you mean 'files'"),
        (printing("${item}"), "item is known in the config, not in for_each itself"),
        (printing([1], when="item > 0"), "when: item is known in the config"),
        (printing([1], max_parallel=0), "max_parallel must be a whole number from 1 to 1,000"),
        (printing([1], collect="no"), "collect must be true or false"),
        ({"id": "each", "type": "print", "file": "${item}"}, "with for_each"),
        (printing([1], compensate={"type": "print", "file": "${item}"}), "with for_each"),
        (printing([1], nonsense=1), "nonsense"),
        (
            printing("${tasks.first.result}", trigger_rule="always"),
            "for_each reads what need not have ended when it is read, by trigger_rule always",
        ),
    ],
)
async def test_wrong_maps_are_told_at_creation(world: World, task: Data, problem: str) -> None:
    """Each with what to do about it."""
    app = await world.app(Press().print)
    config = {"inputs": {"files": {"type": "array"}}}
    first = {"id": "first", "type": "print", "file": "x"}
    manager, inputs = app.workflow_manager, {"files": []}
    with pytest.raises(DefinitionError) as wrong:
        await manager.create_workflow("w", [first, task], config, inputs=inputs)
    assert problem in str(wrong.value)


async def test_a_single_task_has_no_items(world: World) -> None:
    """And what runs at the end of a run has none either."""
    app = await world.app(Press().print)
    with pytest.raises(DefinitionError, match="belongs to the tasks of a workflow"):
        await app.scheduler.schedule_task("t", printing([1]))
    with pytest.raises(DefinitionError, match="belongs to the tasks of a workflow"):
        await app.workflow_manager.create_workflow(
            "w", [{"type": "print", "file": "x"}], {"finally": [printing([1])]}
        )


async def test_the_rest_of_a_long_list_waits_in_nobodys_memory(world: World) -> None:
    """A program holds the runs of what is under way, and the one that goes through the list."""
    press = Press()
    press.hold(*range(2_000, 2_003))
    app = await world.app(press.print)
    most = 0

    async def watch() -> None:
        nonlocal most
        while len(press.printed) < 2_003:
            most = max(most, len(app._engine._driver.driven))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    await started(app, world, printing(list(range(2_003)), max_parallel=20, collect=False))
    await watching
    assert most <= 2 * 20 + 1
    assert len(app._engine._driver.driven) == 4
    press.release(*range(2_000, 2_003))
    assert (await ended(app, world)).ok
    assert app._engine._driver.driven == []
