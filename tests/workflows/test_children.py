"""Tasks of workflows that are workflows or processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from flaky import FlakyStore
from world import MemoryWorld, World, ids

from kallista import (
    DefinitionError,
    Kallista,
    ProcessStatus,
    StateError,
    TaskContext,
    TaskStatus,
    WorkflowStatus,
)
from kallista.cli.tree import TreeReader
from kallista.core.snapshots import WorkflowSnapshot
from kallista.core.states import RunKind
from kallista.engine.embedded import Options
from kallista.testing.running import InlineThreads

pytestmark = pytest.mark.anyio

Data = dict[str, Any]


class Shop:
    """A handler that can be held, can fail, and remembers what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.earlier: dict[str, Mapping[str, Any]] = {}

    async def work(self, ctx: TaskContext, value: Any = None) -> object:
        """Do one thing."""
        id = str(ctx.task_id)
        self.ran.append(id)
        self.earlier[id] = ctx.results
        if id in self.held:
            await self.held[id].wait()
        if id in self.broken:
            raise ValueError(f"{id} is broken")
        return value or id

    def hold(self, *ids: str) -> None:
        """Let these wait until they are released."""
        self.held.update((id, asyncio.Event()) for id in ids)

    def release(self, id: str) -> None:
        """Let one go on."""
        self.held.pop(id).set()


def work(id: str, **more: object) -> Data:
    return {"id": id, "type": "work", **more}


def sub(*tasks: Data, **more: object) -> Data:
    return {"id": "sub", "type": "workflow", "tasks": [*tasks], **more}


async def started(app: Kallista, world: World, *tasks: Data, config: Data | None = None) -> None:
    """A workflow that has gone as far as it can without time passing."""
    await app.workflow_manager.create_workflow("w", list(tasks), config, workflow_id="w")
    await app.workflow_manager.start_workflow("w")
    await world.settle()


async def ended(app: Kallista, world: World) -> WorkflowSnapshot:
    """The same, at its end."""
    return await world.after(app.workflow_manager.wait_workflow("w"))


@pytest.mark.parametrize("kind", [RunKind.WORKFLOW, RunKind.PROCESS])
async def test_a_child_run_among_the_tasks(any_world: World, kind: RunKind) -> None:
    """It takes its turn; what comes before goes into it, and later tasks read what it returned."""
    shop = Shop()
    app = await any_world.app(shop.work)
    own = "tasks" if kind is RunKind.WORKFLOW else "steps"
    child = {
        "id": "sub",
        "type": kind.value,
        own: [work("x", value="${inputs.n + 1}"), work("y")],
        "inputs": {"n": "${tasks.first.result}"},
    }
    last = work("last", value="${tasks.sub.result.x}")
    await started(app, any_world, work("first", value=1), child, last)
    run = await ended(app, any_world)
    assert run.status is WorkflowStatus.COMPLETED, run.errors
    assert shop.ran == ["first", "x", "y", "last"]
    assert run.results == {"first": 1, "sub": {"x": 2, "y": "y"}, "last": 2}
    assert shop.earlier["last"] == {"first": 1, "sub": {"x": 2, "y": "y"}}
    task = run.tasks[1]
    assert (task.kind, task.type, task.child_id) == (kind, None, "w/sub")
    assert await app.kind_of("w/sub") is kind
    tree = await TreeReader(app).read(RunKind.WORKFLOW, "w")
    assert [path for path, _ in tree.walk()] == [
        ("first",), ("sub",), ("sub", "x"), ("sub", "y"), ("last",),
    ]  # fmt: skip
    assert (await any_world.after(app.workflow_manager.replay("w"))).agrees


async def test_it_may_come_first_and_alone(any_world: World) -> None:
    """In the same breath as its run, or in runs that are created together; at any depth."""
    shop = Shop()
    app = await any_world.app(shop.work, max_concurrency=1)
    deep = sub(sub(work("deep"), id="inner"))
    run = await any_world.after(app.workflow_manager.run_workflow("w", [deep]))
    assert run.results == {"sub": {"inner": {"deep": "deep"}}}
    many = [{"name": "w", "tasks": [deep], "workflow_id": id} for id in ("a", "b")]
    for id in await app.workflow_manager.create_workflows(many, start=True):
        assert (await any_world.after(app.workflow_manager.wait_workflow(id))).ok
    assert shop.ran == ["deep"] * 3
    children = await app.workflow_manager.list_workflows(part_of="a")
    assert ids(children.items) == ["a/sub"]


async def test_a_failure_below_and_its_retry(any_world: World) -> None:
    """The workflow fails with its child, and a retry goes on in the child with what has failed."""
    shop = Shop()
    shop.broken = {"y"}
    app = await any_world.app(shop.work)
    manager = app.workflow_manager
    await started(app, any_world, sub(work("x"), work("y")), work("last"))
    run = await ended(app, any_world)
    assert run.status is WorkflowStatus.FAILED
    [error] = run.errors
    assert error.type == "ChildFailed"
    assert "y is broken" in error.message
    assert run.tasks[1].status is TaskStatus.SKIPPED
    shop.broken.clear()
    await any_world.after(manager.retry_workflow("w"))
    assert (await ended(app, any_world)).ok
    assert shop.ran == ["x", "y", "y", "last"]


async def test_a_failure_below_may_be_let_pass(any_world: World) -> None:
    """``continue_on_error``, conditions, rules and choices mean what they mean elsewhere."""
    shop = Shop()
    shop.broken = {"x"}
    app = await any_world.app(shop.work)
    choice = {"id": "choice", "switch": [{"when": True, "then": "yes"}], "default": "no"}
    await started(
        app,
        any_world,
        sub(work("x"), continue_on_error=True),
        sub(work("never"), id="unwanted", when='tasks.sub.status == "COMPLETED"'),
        choice,
        sub(work("chosen"), id="yes"),
        sub(work("other"), id="no"),
        sub(work("after"), id="always", trigger_rule="all_done"),
    )
    run = await ended(app, any_world)
    assert run.ok, run.errors
    assert shop.ran == ["x", "chosen", "after"]
    assert [task.status.value for task in run.tasks] == [
        "FAILED", "SKIPPED", "COMPLETED", "COMPLETED", "SKIPPED", "COMPLETED",
    ]  # fmt: skip


async def test_what_it_did_is_undone_by_its_parent(any_world: World) -> None:
    """``compensate`` undoes the child run as one, and may read what that returned."""
    shop = Shop()
    shop.broken = {"last"}
    app = await any_world.app(shop.work)
    undo = {"type": "work", "value": "${tasks.sub.result.x}"}
    config: Data = {"on_failure": "rollback"}
    await started(app, any_world, sub(work("x"), compensate=undo), work("last"), config=config)
    run = await ended(app, any_world)
    assert run.status is WorkflowStatus.FAILED
    assert shop.ran == ["x", "last", "undo:sub"]
    assert run.tasks[-1].result == "x"


async def test_pause_and_cancel_reach_the_child(any_world: World) -> None:
    """It stands still and ends with its parent; a retry takes it up where it was."""
    shop = Shop()
    shop.hold("x")
    app = await any_world.app(shop.work)
    manager = app.workflow_manager
    await started(app, any_world, sub(work("x"), work("y")), work("last"))
    said = await manager.explain("w")
    assert (said.reason, said.waits_for) == ("waits_for_child", ("w/sub",))
    await any_world.after(manager.pause_workflow("w"))
    shop.release("x")
    await any_world.settle()
    assert await manager.get_workflow_status("w/sub") is WorkflowStatus.PAUSED
    assert shop.ran == ["x"]
    shop.hold("y")
    await any_world.after(manager.resume_workflow("w"))
    await any_world.settle()
    assert shop.ran == ["x", "y"]
    await any_world.after(manager.cancel_workflow("w"))
    await any_world.settle()
    for id in ("w", "w/sub"):
        assert await manager.get_workflow_status(id) is WorkflowStatus.CANCELLED
    shop.release("y")
    await any_world.after(manager.retry_workflow("w"))
    assert (await ended(app, any_world)).ok
    assert shop.ran == ["x", "y", "y", "last"]
    with pytest.raises(StateError, match="belongs to 'w'"):
        await manager.delete_workflow("w/sub")
    await any_world.after(manager.delete_workflow("w"))
    assert await app.kind_of("w/sub") is None


async def test_one_child_run_for_each(any_world: World) -> None:
    """Lists lie in lists."""
    shop = Shop()
    app = await any_world.app(shop.work)
    page = work("page", value="${inputs.book}-${item}", for_each=[1, 2])
    each = sub(page, for_each="${tasks.books.result}", inputs={"book": "${item}"})
    await started(app, any_world, work("books", value=["a", "b"]), each)
    run = await ended(app, any_world)
    assert run.results["sub"] == [{"page": ["a-1", "a-2"]}, {"page": ["b-1", "b-2"]}]


async def test_defined_ones_run_by_name(any_world: World) -> None:
    """Whoever describes a workflow may name them; a run keeps what the name meant for it."""
    shop = Shop()
    app = await any_world.app(shop.work)
    manager = app.workflow_manager
    declared = {"inputs": {"page": {"type": "string"}, "copies": {"default": 2}}}
    both = work("both", value="${inputs.page}*${inputs.copies}")
    await manager.define_workflow("publish", [both], declared)
    await app.orchestrator.define_process("check", {"steps": [work("seen")]})
    publish: Data = {"id": "publish", "type": "workflow", "name": "publish"}
    tasks = [
        {**publish, "for_each": ["a", "b"], "inputs": {"page": "${item}"}},
        sub({"id": "check", "type": "process", "name": "check"}),
    ]
    returned = {"publish": [{"both": "a*2"}, {"both": "b*2"}], "sub": {"check": {"seen": "seen"}}}
    run = await any_world.after(manager.run_workflow("w", tasks, workflow_id="before"))
    assert run.results == returned
    await app.scheduler.schedule_workflow("nightly", "w", tasks, interval="1d")
    await any_world.settle()
    [fired] = [run for run in (await manager.list_workflows()).items if run.schedule_id]
    assert (await manager.get_workflow(fired.id)).results == returned
    checked = await app.check({"id": "file", "tasks": tasks})
    await app.submit(checked, id="file", inputs={})
    assert (await any_world.after(manager.wait_workflow("file"))).results == returned
    await manager.define_workflow("w", tasks)
    await manager.define_workflow("publish", [work("otherwise", value="${inputs.page}")], declared)
    later = {**returned, "publish": [{"otherwise": "a"}, {"otherwise": "b"}]}
    for given, expected in ((None, returned), (tasks, later)):
        run = await any_world.after(manager.run_workflow("w", given))
        assert run.results == expected, "the same description may mean something else by now"


async def test_it_is_changed_by_forks_and_retries(any_world: World) -> None:
    """A fork changes its inputs; a retry with another definition what has not begun."""
    shop = Shop()
    shop.broken = {"last"}
    app = await any_world.app(shop.work)
    manager = app.workflow_manager
    child = sub(work("x", value="${inputs.n}"), inputs={"n": 1})
    await started(app, any_world, work("first"), child, work("last"))
    assert (await ended(app, any_world)).status is WorkflowStatus.FAILED
    await manager.define_workflow("more", [work("z")])
    more = {"id": "more", "type": "workflow", "name": "more"}
    shop.broken.clear()
    tasks = [work("first"), child, work("last"), more]
    await any_world.after(manager.retry_workflow("w", definition={"tasks": tasks}))
    run = await ended(app, any_world)
    assert run.results["more"] == {"z": "z"}, run.errors
    shop.ran.clear()
    fork = manager.fork_workflow("w", "sub", config_changes={"sub": {"n": 5}}, fork_id="again")
    await any_world.after(fork)
    run = await any_world.after(manager.wait_workflow("again"))
    assert run.results["sub"] == {"x": 5}
    assert shop.ran == ["x", "last", "z"]
    await any_world.after(manager.fork_workflow("w", "last", fork_id="kept"))
    run = await any_world.after(manager.wait_workflow("kept"))
    assert run.results["sub"] == {"x": 1}
    assert await app.kind_of("kept/sub") is None


async def test_another_program_goes_on_in_the_middle(any_world: World) -> None:
    """It takes up the parent and the child where they were."""
    shop = Shop()
    shop.hold("y")
    first = await any_world.app(shop.work)
    await started(first, any_world, sub(work("x"), work("y")), work("last"))
    await any_world.leave(first)
    shop.release("y")
    next = await any_world.app(shop.work)
    assert (await ended(next, any_world)).ok
    assert shop.ran == ["x", "y", "y", "last"]


async def test_a_dead_program_is_no_end(world: MemoryWorld) -> None:
    """Who drove the parent and the child dies: both are taken over, and what completed is kept."""
    shop, store = Shop(), FlakyStore(world.state, Random(0))
    shop.hold("y")
    dying = Kallista.assembled(
        store, world.clock, tasks=[shop.work], threads=InlineThreads(), options=Options()
    )
    await dying.__aenter__()
    await started(dying, world, sub(work("x"), work("y")), work("last"))
    store.die()
    shop.release("y")
    next = await world.app(shop.work, alert=True)
    await world.passes(1)
    assert (await next.workflow_manager.get_workflow("w")).ok
    assert shop.ran == ["x", "y", "y", "last"]


async def test_what_is_left_of_a_deleted_parent_is_cancelled(world: MemoryWorld) -> None:
    """Its worker has died amid a task of it, and the parent was cancelled and deleted since."""
    shop, store = Shop(), FlakyStore(world.state, Random(0))
    shop.hold("x")
    driver = await world.app()
    dying = Kallista.assembled(
        store, world.clock, tasks=[shop.work], threads=InlineThreads(),
        options=Options(queues=("side",)),
    )  # fmt: skip
    await dying.__aenter__()
    await started(driver, world, sub(work("x", queue="side")))
    await world.passes(1)
    assert shop.ran == ["x"]
    store.die()
    manager = driver.workflow_manager
    await manager.cancel_workflow("w")
    await world.settle()
    await manager.delete_workflow("w")
    await world.app(shop.work, queues=["side"], alert=True)
    await world.passes(2)
    assert shop.ran == ["x"]
    assert await manager.get_workflow_status("w/sub") == "CANCELLED"
    assert "part of was deleted" in str(await manager.explain("w/sub"))
    with pytest.raises(StateError, match="part of a run that was deleted; fork it"):
        await manager.retry_workflow("w/sub")


async def test_its_budget_holds_for_the_child(any_world: World) -> None:
    """What the child spends is spent by its parent, and nothing begins once that is used up."""
    paid: list[str] = []

    async def pay(ctx: TaskContext) -> None:
        paid.append(ctx.task_id)
        await ctx.spend(2, "usd")

    app = await any_world.app(pay)
    manager = app.workflow_manager
    paying = [{"id": id, "type": "pay"} for id in ("a", "b")]
    await started(app, any_world, sub(*paying), config={"budget": {"usd": 1}})
    assert await manager.get_workflow_status("w") is WorkflowStatus.PAUSED
    assert paid == ["a"]
    await any_world.after(manager.resume_workflow("w", budget={"usd": 9}))
    assert (await ended(app, any_world)).ok
    assert paid == ["a", "b"]
    assert await app.reports.spent("w") == {"usd": Decimal(4)}


async def test_a_child_process_waits_for_others(any_world: World) -> None:
    """A process among the tasks of a workflow has dependencies of its own."""
    shop = Shop()
    app = await any_world.app(shop.work)
    child = {"id": "sub", "type": "process", "steps": [work("x")], "dependencies": ["setup"]}
    await started(app, any_world, child)
    status = await app.orchestrator.get_process_status("w/sub")
    assert (status, shop.ran) == (ProcessStatus.WAITING, [])
    setup = {"id": "setup", "steps": [work("ready")]}
    assert (await any_world.after(app.orchestrator.run_process(setup))).ok
    assert (await ended(app, any_world)).ok
    assert shop.ran == ["ready", "x"]


WRONG: Sequence[tuple[list[Data], str]] = [
    ([{"type": "workflow"}], "'workflow': type workflow needs tasks, or the name of a"),
    ([{"type": "workflow", "name": "publsh"}], "no workflow is defined under the name 'publsh'"),
    ([sub(work("x"), retry=3)], "task 'sub': there is no key 'retry'"),
    ([sub(work("x"), tags=["a"])], "there is no key 'tags'"),
    ([sub(work("x"), depends_on=[])], "run one after the other"),
    ([sub(work("x", value="${inputs.n}"))], "task 'sub': task 'x': inputs.n is no input"),
    ([sub(work("x")), work("y", value="${tasks.x.result}")], "tasks.x is no task of this workflow"),
    ([sub({"type": "wrk"})], "did you mean 'work'?"),
    ([{"type": "process", "name": "p", "dependencies": []}], "belongs beside steps that are given"),
    ([{"type": "task", "task_data": work("x")}], "only steps of a process can be of type task"),
    ([work("x", compensate={"type": "workflow", "name": "w"})], "'workflow' is no task type; only"),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "told"), WRONG, ids=[told for _, told in WRONG])
async def test_what_is_wrong_is_told(world: World, tasks: list[Data], told: str) -> None:
    """At the creation, with a word on what would be right."""
    app = await world.app(Shop().work)
    with pytest.raises(DefinitionError) as caught:
        await app.workflow_manager.create_workflow("w", tasks)
    assert told in "\n".join(caught.value.problems)


async def test_where_only_a_task_can_stand(world: World) -> None:
    """Single tasks, ``finally`` and ``task_data`` start no child run."""
    app = await world.app(Shop().work)
    finally_: Data = {"finally": [sub(work("x"))]}
    with pytest.raises(DefinitionError, match="only a task of a workflow or a step of a process"):
        await app.workflow_manager.create_workflow("w", [work("y")], finally_)
    with pytest.raises(DefinitionError, match="only a task of a workflow or a step of a process"):
        await app.scheduler.schedule_task("t", sub(work("x"), id="t"))
    step = {"id": "s", "type": "task", "task_data": sub(work("x"), id="s")}
    with pytest.raises(DefinitionError, match="without task_data"):
        await app.orchestrator.create_process({"steps": [step]})
