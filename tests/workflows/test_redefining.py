"""Retries with another definition: what was done stays, and what changes is told."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from kallista import (
    DefinitionError,
    Kallista,
    NotFoundError,
    ProcessStatus,
    StateError,
    TaskContext,
    UsageError,
    WorkflowStatus,
)

pytestmark = pytest.mark.anyio


class Mill:
    """Grinds, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []

    async def grind(self, ctx: TaskContext, what: str = "corn", of: object = None) -> object:
        """Grind something."""
        self.calls.append(f"{ctx.task_id} {what}")
        self.keys.append(ctx.idempotency_key)
        if what == "stone":
            raise ValueError("too hard")
        return {"what": what, "of": of}

    async def undo(self) -> None:
        """Take it back."""
        self.calls.append("undo")


def ground(id: str, what: str = "corn", **more: object) -> dict[str, object]:
    return {"id": id, "type": "grind", "what": what, **more}


BAD = [ground("one"), ground("two", "stone"), ground("three")]
GOOD = [ground("one"), ground("two", "rye"), ground("three", of="${tasks.one.result.what}")]


async def failed(world: World, mill: Mill, tasks: object = BAD, **config: object) -> Kallista:
    """A program in which a workflow has failed."""
    app = await world.app(mill.grind, mill.undo)
    manager = app.workflow_manager
    run = manager.run_workflow("mill", tasks, config or None, workflow_id="w")  # type: ignore[arg-type]
    assert (await world.after(run)).status is WorkflowStatus.FAILED
    return app


async def test_a_failed_run_goes_on_with_the_definition_of_today(any_world: World) -> None:
    """What completed is kept, keys stay, and result, history and explain say what is new."""
    mill = Mill()
    app = await failed(any_world, mill)
    manager = app.workflow_manager
    with pytest.raises(NotFoundError, match="no workflow is defined under the name 'mill'"):
        await any_world.after(manager.retry_workflow("w", definition="current"))
    more = [*GOOD, ground("four", of="${tasks.two.result.what}")]
    await any_world.after(manager.define_workflow("mill", more))
    plan = await any_world.after(manager.retry_workflow("w", definition="current", dry_run=True))
    assert (await any_world.after(manager.get_workflow("w"))).status is WorkflowStatus.FAILED
    told = await any_world.after(manager.retry_workflow("w", "softer", definition="current"))
    assert told == plan
    assert told is not None
    assert (told.changed, told.added, told.again) == (
        ("two", "three"), ("four",), ("two", "three", "four")
    )  # fmt: skip
    assert str(told) == (
        f"with definition {told.after[:12]}: 2 changed (two, three); 1 added (four);"
        " runs again: two, three, four"
    )
    run = await any_world.after(manager.wait_workflow("w"))
    assert run.status is WorkflowStatus.COMPLETED
    assert mill.calls == ["one corn", "two stone", "two rye", "three corn", "four corn"]
    assert mill.keys[1] == mill.keys[2]
    assert run.results["three"] == {"what": "corn", "of": "corn"}
    assert run.results["four"] == {"what": "corn", "of": "rye"}
    events = await any_world.after(manager.get_history("w"))
    [change] = [event for event in events if event.kind == "run.redefined"]
    assert isinstance(change.data, dict)
    assert (change.data["before"], change.data["after"]) == (told.before, told.after)
    explained = str(await any_world.after(manager.explain("w")))
    assert f"with definition {told.after[:12]} since" in explained
    assert "two, three, four, is COMPLETED" in explained
    replayed = await any_world.after(manager.replay("w"))
    assert replayed.agrees, str(replayed)
    # A plain creation under its id is still the same request.
    same = manager.create_workflow("mill", BAD, workflow_id="w")
    assert await any_world.after(same) == "w"


async def test_it_may_be_described_and_changed_more_than_once(any_world: World) -> None:
    """History is followed from each definition to the next, also by another program."""
    mill = Mill()
    first = await failed(any_world, mill)
    worse = {"tasks": [BAD[0], ground("two", "stone", retry=2), ground("three", "wheat")]}
    retry = first.workflow_manager.retry_workflow("w", definition=worse)
    assert (await any_world.after(retry)) is not None
    assert mill.calls == ["one corn", *["two stone"] * 3]
    await any_world.leave(first)
    second = await any_world.app(mill.grind, mill.undo)
    manager = second.workflow_manager
    told = await any_world.after(manager.retry_workflow("w", definition={"tasks": GOOD}))
    assert told is not None
    run = await any_world.after(manager.wait_workflow("w"))
    assert run.status is WorkflowStatus.COMPLETED
    assert mill.calls[-2:] == ["two rye", "three corn"]
    assert (await any_world.after(manager.replay("w"))).agrees


async def test_what_is_done_is_not_changed_any_more(world: World) -> None:
    """It is told that the change comes too late."""
    mill = Mill()
    app = await failed(world, mill)
    other = {"tasks": [ground("one", "oats"), ground("two", "rye"), ground("three")]}
    told = await world.after(app.workflow_manager.retry_workflow("w", definition=other))
    assert told is not None
    assert (told.changed, told.too_late) == (("two",), ("one",))
    run = await world.after(app.workflow_manager.wait_workflow("w"))
    assert run.results["one"] == {"what": "corn", "of": None}


async def test_a_definition_that_does_not_fit_is_refused_with_all_reasons(world: World) -> None:
    """Nothing is written, and a fork is offered."""
    mill = Mill()
    app = await failed(world, mill)
    manager = app.workflow_manager
    before = await world.after(manager.get_history("w"))
    for tasks, config, message in (
        ([BAD[0], ground("new"), *BAD[1:]], {}, "two, three would stand elsewhere"),
        (BAD[:2], {}, "it has no three any more"),
        (GOOD, {"inputs": {"grain": {"default": "rye"}}}, "inputs that the run was not given"),
    ):
        other = {"tasks": tasks, "config": config}
        with pytest.raises(StateError, match=message) as refused:
            await world.after(manager.retry_workflow("w", definition=other))
        assert "fork it instead" in str(refused.value)
    assert await world.after(manager.get_history("w")) == before
    steps = {"kind": "process", "steps": [ground("one")]}
    with pytest.raises(UsageError, match="describes a process"):
        await world.after(manager.retry_workflow("w", definition=steps))
    with pytest.raises(DefinitionError, match="a description must be a mapping, not .*list"):
        await world.after(manager.retry_workflow("w", definition=GOOD))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="give a definition"):
        await world.after(manager.retry_workflow("w", dry_run=True))
    await world.after(manager.retry_workflow("w", definition={"tasks": GOOD}))
    with pytest.raises(StateError, match="is COMPLETED"):
        await world.after(manager.retry_workflow("w", definition={"tasks": BAD}))


async def test_what_was_undone_goes_on_with_no_definition(world: World) -> None:
    """Its results are there, and its effects are not."""
    mill = Mill()
    undone = [ground("one", compensate={"type": "undo"}), ground("two", "stone")]
    app = await failed(world, mill, undone, on_failure="rollback")
    other = {"tasks": [undone[0], ground("two")], "config": {"on_failure": "rollback"}}
    with pytest.raises(StateError, match="that definition: what it had done is undone"):
        await world.after(app.workflow_manager.retry_workflow("w", definition=other))


async def test_steps_of_a_process_keep_what_they_came_after(any_world: World) -> None:
    """A step that is done cannot come after one that is not, nor a child that has begun change."""
    mill = Mill()
    app = await any_world.app(mill.grind)
    orchestrator = app.orchestrator
    child = {"id": "child", "type": "workflow", "tasks": [ground("inner", "stone")]}
    steps: list[dict[str, object]] = [
        ground("done", depends_on=[]), ground("bad", "stone", depends_on=[]),
        {**child, "depends_on": []}, ground("last", depends_on=["done", "bad"]),
    ]  # fmt: skip
    await any_world.after(orchestrator.run_process({"id": "p", "steps": steps}))
    for changed, message in (
        ([ground("done", depends_on=["bad"]), *steps[1:]], "'done' is done, and would come after"),
        ([*steps[:2], {**child, "depends_on": [], "tasks": [ground("inner")]}, steps[3]],
         "what 'child' has started has begun"),
    ):  # fmt: skip
        with pytest.raises(StateError, match=message):
            await any_world.after(orchestrator.retry_process("p", definition={"steps": changed}))
    last = ground("last", of="${steps.bad.result.what}", depends_on=["done", "bad"])
    better = [steps[0], ground("bad", "rye", depends_on=[]), steps[2], last]
    await any_world.after(orchestrator.retry_process("p", definition={"steps": better}))
    run = await any_world.after(orchestrator.get_process("p"))
    assert run.status is ProcessStatus.FAILED, "its child is as broken as it was"
    assert run.results["last"] == {"what": "corn", "of": "rye"}
    assert (await any_world.after(orchestrator.replay("p"))).agrees


async def test_while_something_is_in_flight_the_definition_stays(world: World) -> None:
    """Whoever executes it was told what it is when it began."""
    gate = asyncio.Event()

    async def wait(ctx: TaskContext) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await gate.wait()

    async def fail() -> None:
        raise ValueError("no")

    app = await world.app(wait, fail)
    manager = app.workflow_manager
    await manager.create_workflow("w", [{"type": "wait"}, {"type": "fail"}], workflow_id="w")
    await world.after(manager.start_workflow("w"))
    await world.after(manager.cancel_workflow("w"))
    other = {"tasks": [{"type": "wait"}, {"id": "fail", "type": "sleep", "seconds": 0}]}
    with pytest.raises(StateError, match="1 of its attempts are still in flight"):
        await world.after(manager.retry_workflow("w", definition=other))
    gate.set()
    await world.settle()
    await world.after(manager.retry_workflow("w", definition=other))
    assert (await world.after(manager.get_workflow("w"))).status is WorkflowStatus.COMPLETED
