"""Processes as their users see them: graphs, children, dependencies, and recovery from errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from world import World, ids

from kallista import (
    ConflictError,
    DefinitionError,
    Kallista,
    NotFoundError,
    ProcessStatus,
    StateError,
    TaskContext,
    TaskStatus,
)

pytestmark = pytest.mark.anyio


class Shop:
    """Handlers that can be held, can fail, and remember what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}

    async def work(self, ctx: TaskContext, value: object = None) -> object:
        """Do one thing."""
        id = str(ctx.task_id)
        self.ran.append(id)
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
        self.held[id].set()


def step(id: str, before: Sequence[str] | None = None, **more: object) -> dict[str, object]:
    found: dict[str, object] = {"id": id, "type": "task", "task_data": {"type": "work"}, **more}
    return found if before is None else {**found, "depends_on": list(before)}


async def test_a_process_that_begins_with_a_child_beside_a_task_holds_no_place(
    world: World,
) -> None:
    """It only opens where it is created, and the place that its task was to have is free again."""
    shop = Shop()
    app = await world.app(shop.work, max_concurrency=1)
    child = {"id": "child", "type": "workflow", "tasks": [{"id": "inner", "type": "work"}]}
    steps = [{**child, "depends_on": []}, step("beside", [])]
    run = await world.after(app.orchestrator.run_process({"id": "p", "steps": steps}))
    assert run.status is ProcessStatus.COMPLETED
    assert sorted(shop.ran) == ["beside", "inner"]


async def test_a_step_depends_on_the_one_before_it(world: World) -> None:
    """Without ``depends_on`` in the order of the list; with an empty one at once."""
    shop = Shop()
    shop.hold("a", "c")
    app = await world.app(shop.work)
    id = await app.orchestrator.create_process({"steps": [step("a"), step("b"), step("c", [])]})
    await app.orchestrator.start_process(id)
    await world.settle()
    assert shop.ran == ["a", "c"]
    shop.release("a")
    await world.settle()
    assert shop.ran == ["a", "c", "b"]
    shop.release("c")
    run = await world.after(app.orchestrator.wait_process(id))
    assert run.ok
    assert run.steps[1].depends_on == ("a",)


async def test_a_failure_skips_what_depends_on_it_only(any_world: World) -> None:
    """Independent branches finish; the process ends FAILED with every error."""
    shop = Shop()
    shop.broken = {"a", "x"}
    app = await any_world.app(shop.work)
    steps = [step("a", []), step("b", ["a"]), step("c", ["b"]), step("x", []), step("y", [])]
    run = await any_world.after(app.orchestrator.run_process({"id": "p", "steps": steps}))
    assert run.status is ProcessStatus.FAILED
    assert {str(one.id): one.status.value for one in run.steps} == {
        "a": "FAILED", "b": "SKIPPED", "c": "SKIPPED", "x": "FAILED", "y": "COMPLETED",
    }  # fmt: skip
    errors = await app.orchestrator.get_process_errors("p")
    assert sorted(str(error) for error in errors) == [
        "a: ValueError: a is broken",
        "x: ValueError: x is broken",
    ]
    assert run.steps[2].note == "'b' did not complete"
    assert await app.orchestrator.get_process_results("p") == {"y": "y"}


async def test_trigger_rules_say_what_a_step_asks_of_those_before_it(any_world: World) -> None:
    """Handlers of failures run where there are some, and what must run whatever happens does."""
    shop = Shop()
    shop.broken = {"a"}
    app = await any_world.app(shop.work)
    steps = [
        step("a", []),
        step("b", []),
        step("mend", ["a", "b"], trigger_rule="one_failed"),
        step("tidy", ["a", "b"], trigger_rule="all_done"),
        step("gather", ["a", "b"], trigger_rule="one_completed"),
        step("all", ["a", "b"]),
        step("despair", ["a", "b"], trigger_rule="all_failed"),
        step("after", ["despair"]),
    ]
    run = await any_world.after(app.orchestrator.run_process({"id": "p", "steps": steps}))
    assert {str(one.id): one.status.value for one in run.steps} == {
        "a": "FAILED", "b": "COMPLETED", "mend": "COMPLETED", "tidy": "COMPLETED",
        "gather": "COMPLETED", "all": "SKIPPED", "despair": "SKIPPED", "after": "COMPLETED",
    }  # fmt: skip
    assert run.steps[6].note == "its trigger rule is not met, and nothing is missing"
    assert run.status is ProcessStatus.FAILED
    shop.broken.clear()
    shop.ran.clear()
    await app.orchestrator.retry_process("p")
    await any_world.after(app.orchestrator.wait_process("p"))
    assert shop.ran == ["a", "all"]


async def test_who_waits_for_one_success_waits_with_reason(any_world: World) -> None:
    """One step before it has failed, the other is under way: the store is sound (it is checked)."""
    shop = Shop()
    shop.broken = {"a"}
    app = await any_world.app(shop.work)
    nap = step("nap", [], task_data={"type": "sleep", "seconds": 60})
    gather = step("gather", ["a", "nap"], trigger_rule="one_completed")
    await app.orchestrator.create_process({"id": "p", "steps": [step("a", []), nap, gather]})
    await app.orchestrator.start_process("p")
    await any_world.settle()
    assert (await app.orchestrator.get_process("p")).steps[2].status == "SCHEDULED"


async def test_a_task_of_a_workflow_may_catch_the_failure_before_it(world: World) -> None:
    """What comes after it goes on; without a failure it is passed over."""
    shop = Shop()
    app = await world.app(shop.work)
    tasks = [
        {"id": "try", "type": "work"},
        {"id": "catch", "type": "work", "trigger_rule": "one_failed"},
        {"id": "then", "type": "work"},
    ]
    run = await world.after(app.workflow_manager.run_workflow("w", tasks))
    assert (run.ok, shop.ran) == (True, ["try", "then"])
    shop.broken, shop.ran = {"try"}, []
    run = await world.after(app.workflow_manager.run_workflow("w", tasks))
    assert (run.status.value, shop.ran) == ("FAILED", ["try", "catch", "then"])


async def test_what_follows_a_skipped_step_waits_for_nothing_else(any_world: World) -> None:
    """One failure is enough to skip a step; what else came before it may still be under way."""
    shop = Shop()
    shop.broken = {"a"}
    shop.hold("b")
    app = await any_world.app(shop.work)
    steps = [
        step("a", []),
        step("b", []),
        step("c", ["a", "b"]),
        step("tidy", ["c"], trigger_rule="all_done"),
    ]
    await app.orchestrator.start_process(
        await app.orchestrator.create_process({"id": "p", "steps": steps})
    )
    await any_world.settle()
    assert sorted(shop.ran) == ["a", "b", "tidy"]
    shop.release("b")
    await any_world.after(app.orchestrator.wait_process("p"))


async def test_after_a_retry_what_comes_later_waits_for_what_runs_again(any_world: World) -> None:
    """Though what lies between has completed: else it would read results that are not there yet."""
    shop = Shop()
    shop.broken = {"try", "use"}
    app = await any_world.app(shop.work)
    tasks = [
        {"id": "try", "type": "work", "value": "tried"},
        {"id": "tidy", "type": "work", "trigger_rule": "all_done"},
        {"id": "check", "type": "work", "trigger_rule": "all_done"},
        {"id": "use", "type": "work", "value": "${tasks.try.result}"},
    ]
    id = await app.workflow_manager.create_workflow("w", tasks)
    await app.workflow_manager.start_workflow(id)
    await any_world.after(app.workflow_manager.wait_workflow(id))
    assert shop.ran == ["try", "tidy", "check", "use"]
    shop.broken.clear()
    shop.ran.clear()
    shop.hold("try")
    await app.workflow_manager.retry_workflow(id)
    await any_world.settle()
    assert shop.ran == ["try"]
    shop.release("try")
    run = await any_world.after(app.workflow_manager.wait_workflow(id))
    assert shop.ran == ["try", "use"]
    assert run.results["use"] == "tried"


async def test_a_trigger_rule_needs_something_before_it(world: World) -> None:
    """What makes no sense is told when the run is created."""
    app = await world.app()
    first = {"type": "sleep", "seconds": 0, "trigger_rule": "all_done"}
    second = {"type": "sleep", "seconds": 0, "trigger_rule": "some"}
    with pytest.raises(DefinitionError) as told:
        await app.workflow_manager.create_workflow("w", [first, second])
    first_told, second_told = map(str, told.value.problems)
    assert "'sleep': trigger_rule asks something of the steps before, and there are" in first_told
    assert "'sleep-2': trigger_rule must be one of all_completed, all_done, one" in second_told


async def test_retry_runs_again_only_what_failed_or_was_skipped(any_world: World) -> None:
    """What completed is kept."""
    shop = Shop()
    shop.broken = {"b"}
    app = await any_world.app(shop.work)
    steps = [step("a"), step("b"), step("c"), step("d", [])]
    await any_world.after(app.orchestrator.run_process({"id": "p", "steps": steps}))
    shop.broken.clear()
    shop.ran.clear()
    await app.orchestrator.retry_process("p")
    run = await any_world.after(app.orchestrator.wait_process("p"))
    assert run.ok
    assert run.errors == ()
    assert shop.ran == ["b", "c"]


@pytest.mark.parametrize("where", ["step", "process"])
async def test_continue_on_error(world: World, where: str) -> None:
    """On a step or on the process: what depends on a failed step runs all the same."""
    shop = Shop()
    shop.broken = {"a"}
    app = await world.app(shop.work)
    on_step: dict[str, Any] = {"continue_on_error": True} if where == "step" else {}
    data: dict[str, object] = {"steps": [step("a", **on_step), step("b")]}
    if where == "process":
        data["config"] = {"continue_on_error": True}
    run = await world.after(app.orchestrator.run_process(data))
    assert run.status is ProcessStatus.COMPLETED
    assert shop.ran == ["a", "b"]
    assert [error.task_id for error in run.errors] == ["a"]


def nested() -> dict[str, object]:
    inner = {"id": "inner", "type": "process", "steps": [step("deep"), step("deeper")]}
    flow = {"id": "flow", "type": "workflow", "name": "W", "tasks": [{"id": "t", "type": "work"}]}
    return {"id": "p", "steps": [inner, flow, step("last")]}


async def test_a_process_and_a_workflow_as_steps(any_world: World) -> None:
    """Their results are what their own steps returned; references reach into them."""
    shop = Shop()
    app = await any_world.app(shop.work)
    data = nested()
    data["steps"][2] = step(  # type: ignore[index]
        "last", task_data={"type": "work", "value": "${steps.inner.result.deeper}"}
    )
    run = await any_world.after(app.orchestrator.run_process(data))
    assert run.ok, run.errors
    assert shop.ran == ["deep", "deeper", "t", "last"]
    assert run.results == {
        "inner": {"deep": "deep", "deeper": "deeper"},
        "flow": {"t": "t"},
        "last": "deeper",
    }
    child = await app.orchestrator.get_process(str(run.steps[0].child_id))
    assert (child.parent_id, child.status) == ("p", ProcessStatus.COMPLETED)
    workflows = await app.workflow_manager.list_workflows()
    assert ids(workflows.items) == [str(run.steps[1].child_id)]
    with pytest.raises(StateError, match="belongs to 'p'"):
        await app.orchestrator.delete_process(str(run.steps[0].child_id))
    await app.orchestrator.delete_process("p")
    with pytest.raises(NotFoundError, match="was deleted"):
        await app.orchestrator.get_process(str(run.steps[0].child_id))


async def test_cancel_reaches_the_children(any_world: World) -> None:
    """Cancelling a process cancels what it started, however deep; a retry brings all back."""
    shop = Shop()
    shop.hold("deep")
    app = await any_world.app(shop.work)
    await app.orchestrator.create_process(nested())
    await app.orchestrator.start_process("p")
    await any_world.settle()
    child = str((await app.orchestrator.get_process("p")).steps[0].child_id)
    assert (await app.orchestrator.explain("p")).reason.startswith("waits_for")
    await app.orchestrator.cancel_process("p")
    await any_world.settle()
    inner = await app.orchestrator.get_process(child)
    assert inner.status is ProcessStatus.CANCELLED
    assert inner.in_flight == 0
    shop.held.clear()
    await app.orchestrator.retry_process("p")
    run = await any_world.after(app.orchestrator.wait_process("p"))
    assert run.ok
    assert shop.ran == ["deep", "deep", "deeper", "t", "last"]


async def test_pause_reaches_the_children(any_world: World) -> None:
    """Nothing new starts in them until the parent resumes."""
    shop = Shop()
    shop.hold("deep")
    app = await any_world.app(shop.work)
    await app.orchestrator.create_process(nested())
    await app.orchestrator.start_process("p")
    await any_world.settle()
    await app.orchestrator.pause_process("p")
    await any_world.settle()
    shop.release("deep")
    await any_world.settle()
    assert shop.ran == ["deep"]
    await app.orchestrator.resume_process("p")
    assert (await any_world.after(app.orchestrator.wait_process("p"))).ok


async def test_a_child_that_was_paused_by_itself_stays_so(world: World) -> None:
    """Resuming the parent does not undo what a user asked of the child."""
    shop = Shop()
    shop.hold("deep")
    app = await world.app(shop.work)
    orchestrator = app.orchestrator
    await orchestrator.create_process(nested())
    await orchestrator.start_process("p")
    await world.settle()
    child = str((await orchestrator.get_process("p")).steps[0].child_id)
    await orchestrator.pause_process(child)
    await orchestrator.pause_process("p")
    await orchestrator.resume_process("p")
    await world.settle()
    assert await orchestrator.get_process_status(child) is ProcessStatus.PAUSED
    shop.release("deep")
    await orchestrator.resume_process(child)
    assert (await world.after(orchestrator.wait_process("p"))).ok


async def test_a_child_is_retried_with_its_parent_and_not_alone(any_world: World) -> None:
    """Alone it would end with its parent, as soon as anybody looked at that: it has to go on."""
    shop = Shop()
    shop.broken = {"inner"}
    app = await any_world.app(shop.work)
    child = {"id": "sub", "type": "workflow", "tasks": [{"id": "inner", "type": "work"}]}
    each = {**child, "id": "each", "for_each": [1], "depends_on": []}
    await any_world.after(app.orchestrator.run_process({"id": "p", "steps": [child, each]}))
    shop.broken = set()
    manager = app.workflow_manager
    other = {"tasks": [{"id": "inner", "type": "work", "value": 7}]}
    for definition in (None, other):
        retry = manager.retry_workflow("p/sub", definition=definition)
        with pytest.raises(StateError, match="is part of 'p', which does not wait .* retry 'p'"):
            await any_world.after(retry)
        retry = manager.retry_workflow("p/each/0", definition=definition)
        with pytest.raises(StateError, match="is an item of 'each': retry 'p'"):
            await any_world.after(retry)
    assert (await any_world.after(manager.get_workflow("p/sub"))).status == "FAILED"
    assert "retry 'p' once it has failed" in str(await any_world.after(manager.explain("p/sub")))
    await any_world.after(app.orchestrator.retry_process("p"))
    run = await any_world.after(app.orchestrator.wait_process("p"))
    assert run.results == {"sub": {"inner": "inner"}, "each": [{"inner": "inner"}]}
    with pytest.raises(StateError, match="is COMPLETED, so retry does not fit"):
        await any_world.after(manager.retry_workflow("p/sub"))


async def test_a_failed_child_says_why_and_goes_on_with_its_parent(any_world: World) -> None:
    """The parent's error names the child's; its retry retries the child, not what it completed."""
    shop = Shop()
    shop.broken = {"deeper"}
    app = await any_world.app(shop.work)
    run = await any_world.after(app.orchestrator.run_process(nested()))
    assert run.status is ProcessStatus.FAILED
    [error] = run.errors
    assert error.type == "ChildFailed"
    assert "deeper is broken" in error.message
    shop.broken.clear()
    await app.orchestrator.retry_process("p")
    assert (await any_world.after(app.orchestrator.wait_process("p"))).ok
    assert shop.ran == ["deep", "deeper", "deeper", "t", "last"]


async def test_dependencies_hold_a_process(any_world: World) -> None:
    """WAITING through absence, failure and retry of the other, and on as soon as it completes."""
    shop = Shop()
    shop.broken = {"setup"}
    app = await any_world.app(shop.work)
    orchestrator = app.orchestrator
    data = {"id": "main", "steps": [step("go")], "dependencies": ["env"]}
    await orchestrator.create_process(data)
    await orchestrator.start_process("main")
    await any_world.settle()
    assert await orchestrator.get_process_status("main") is ProcessStatus.WAITING
    said = await orchestrator.explain("main")
    assert (said.reason, said.waits_for) == ("waits_for_process", ("env",))
    assert "'env', which does not exist yet" in str(said)
    await any_world.after(orchestrator.run_process({"id": "env", "steps": [step("setup")]}))
    await any_world.settle()
    assert await orchestrator.get_process_status("main") is ProcessStatus.WAITING
    assert "which is FAILED: retry it" in str(await orchestrator.explain("main"))
    shop.broken.clear()
    await orchestrator.retry_process("env")
    await any_world.settle()
    assert (await orchestrator.get_process("main")).ok
    assert shop.ran == ["setup", "setup", "go"]


async def test_a_waiting_process_can_be_paused_and_cancelled(world: World) -> None:
    """A pause outlasts the end of the dependency; cancel ends the waiting."""
    shop = Shop()
    app = await world.app(shop.work)
    orchestrator = app.orchestrator
    for id in ("one", "two"):
        await orchestrator.create_process({"id": id, "steps": [step(id)], "dependencies": ["env"]})
        await orchestrator.start_process(id)
    await world.settle()
    await orchestrator.pause_process("one")
    await orchestrator.cancel_process("two")
    await world.after(orchestrator.run_process({"id": "env", "steps": [step("setup")]}))
    await world.settle()
    assert shop.ran == ["setup"]
    await orchestrator.resume_process("one")
    await world.settle()
    assert (await orchestrator.get_process("one")).ok
    assert await orchestrator.get_process_status("two") is ProcessStatus.CANCELLED
    await orchestrator.retry_process("two")
    await world.settle()
    assert (await orchestrator.get_process("two")).ok


async def test_defined_processes_run_by_name(any_world: World) -> None:
    """As runs and as steps; the run keeps the content that the name had."""
    shop = Shop()
    app = await any_world.app(shop.work)
    orchestrator = app.orchestrator
    await orchestrator.define_process("Setup", {"steps": [step("s")]})
    outer = {"steps": [{"id": "x", "type": "process", "name": "Setup"}]}
    created = await orchestrator.create_process(outer)
    await orchestrator.define_process("Setup", {"steps": [step("changed")]})
    await orchestrator.start_process(created)
    await any_world.settle()
    assert shop.ran == ["s"]
    await any_world.after(orchestrator.run_process("Setup", process_id="mine"))
    assert shop.ran == ["s", "changed"]
    with pytest.raises(ConflictError):
        await orchestrator.create_process({"id": "mine", "steps": [step("s")]})


async def test_all_problems_at_once_and_cycles_are_shown(world: World) -> None:
    """Unknown steps, cycles, unknown types and names: each told, nothing stored."""
    app = await world.app(Shop().work)
    steps = [
        step("a", ["c"]),
        step("b", ["a"]),
        step("c", ["b"]),
        step("d", ["nobody"]),
        {"id": "e", "type": "workflow", "name": "Sistem Design"},
        {"id": "f", "type": "task", "task_data": {"type": "wrk"}, "depends_on": []},
    ]
    with pytest.raises(DefinitionError) as caught:
        await app.orchestrator.create_process({"steps": steps})
    text = "\n".join(caught.value.problems)
    for expected in ("circle: b -> c -> a -> b", "nobody", "'Sistem Design'", "'work'"):
        assert expected in text, text
    assert (await app.orchestrator.list_processes()).items == ()


@pytest.mark.parametrize("data", [{}, {"steps": []}, {"steps": None}, {"steps": [{}]}, {"x": 1}])
async def test_nothing_is_not_a_process(world: World, data: dict[str, object]) -> None:
    """Empty descriptions are refused with a word on what is missing."""
    app = await world.app()
    with pytest.raises(DefinitionError):
        await app.orchestrator.create_process(data)


async def test_a_wide_process_keeps_to_the_limit(any_world: World) -> None:
    """A thousand independent steps, three places: never more than three at once, all complete."""
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    app = await any_world.app(work, max_concurrency=3)
    steps = [step(f"s{number}", []) for number in range(300)]
    id = await app.orchestrator.create_process({"steps": steps})
    await app.orchestrator.start_process(id)
    await any_world.settle()
    assert await app.orchestrator.get_process_status(id) is ProcessStatus.COMPLETED
    assert most == 3


async def test_a_step_sees_the_results_of_all_before_it(world: World) -> None:
    """``ctx.results`` holds what comes before in the graph, and nothing else."""
    seen: dict[str, list[str]] = {}

    async def work(ctx: TaskContext) -> str:
        seen[str(ctx.task_id)] = list(map(str, ctx.results))
        return "r"

    app = await world.app(work)
    steps = [step("a", []), step("b", ["a"]), step("x", []), step("c", ["b"])]
    await world.after(app.orchestrator.run_process({"steps": steps}))
    assert seen == {"a": [], "x": [], "b": ["a"], "c": ["a", "b"]}


async def test_watch_and_history_of_a_process(world: World) -> None:
    """Events come in order, without gaps, and name the step."""
    app: Kallista = await world.app(Shop().work)
    await app.orchestrator.create_process({"id": "p", "steps": [step("a"), step("b")]})
    await app.orchestrator.start_process("p")
    seen = [event async for event in app.orchestrator.watch("p")]
    assert [event.seq for event in seen] == list(range(len(seen)))
    assert seen == list(await app.orchestrator.get_history("p"))
    assert [event.task_id for event in seen if event.kind == "task.completed"] == ["a", "b"]
    run = await app.orchestrator.get_process("p")
    assert [one.status for one in run.steps] == [TaskStatus.COMPLETED] * 2


async def test_a_child_with_nothing_to_do_lets_its_parent_go_on(any_world: World) -> None:
    """It is over as soon as it exists, and so is a process that others wait for."""
    shop = Shop()
    app = await any_world.app(shop.work)
    idle = {"id": "nothing", "type": "work", "when": False}
    steps = [{"id": "child", "type": "workflow", "tasks": [idle]}, {"id": "then", "type": "work"}]
    await app.orchestrator.create_process({"id": "later", "steps": steps, "dependencies": ["p"]})
    await app.orchestrator.start_process("later")
    await app.orchestrator.create_processes([{"id": "p", "steps": [idle]}], start=True)
    run = await any_world.after(app.orchestrator.wait_process("later"))
    assert (run.status.value, shop.ran) == ("COMPLETED", ["then"])
