"""Switches: which branch runs, what is told of the choice, and what cannot be chosen."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from kallista import DefinitionError, Kallista, ProcessStatus, WorkflowStatus
from kallista.cli.tree import TreeReader
from kallista.core.states import RunKind

pytestmark = pytest.mark.anyio

Data = dict[str, Any]


class Clerk:
    """Says back what it is told, and remembers it; some of it fails at first."""

    def __init__(self, *failing: str) -> None:
        self.said: list[str] = []
        self.failing = set(failing)

    async def say(self, text: str) -> str:
        """Say one thing."""
        self.said.append(text)
        if text in self.failing:
            self.failing.remove(text)
            raise ValueError(f"{text} at first")
        return text


def say(id: str, **more: object) -> Data:
    """A task that says its own name."""
    return {"id": id, "type": "say", "text": id, **more}


def triage(value: str) -> list[Data]:
    """A workflow that goes one of three ways."""
    return [
        say("read", text=value),
        {
            "id": "route",
            "switch": [
                {"when": "tasks.read.result == 'bug'", "then": ["reproduce", "fix"]},
                {"when": "tasks.read.result.startsWith('q')", "then": "answer"},
            ],
            "default": "forward",
        },
        say("reproduce"),
        say("fix"),
        say("answer"),
        say("forward"),
        say("close"),
    ]


def statuses(steps: Any) -> Data:
    return {step.id: step.status.value for step in steps}


@pytest.mark.parametrize(
    ("value", "branch", "why"),
    [
        ("bug", ["reproduce", "fix"], "tasks.read.result == 'bug'"),
        ("question", ["answer"], "tasks.read.result.startsWith('q')"),
        ("praise", ["forward"], None),
    ],
)
async def test_the_first_case_that_holds_decides(
    any_world: World, value: str, branch: list[str], why: str | None
) -> None:
    """Its steps run, those of the others are skipped, and what comes behind all of them goes on.

    The choice is the step's result, stands in the history, and is told by explain and the tree.
    """
    clerk = Clerk()
    app = await any_world.app(clerk.say)
    manager = app.workflow_manager
    run = await any_world.after(manager.run_workflow("w", triage(value), workflow_id="w"))
    assert run.status is WorkflowStatus.COMPLETED
    assert clerk.said == [value, *branch, "close"]
    assert run.results["route"] == {"when": why, "then": branch}
    skipped = {"reproduce", "fix", "answer", "forward"} - set(branch)
    assert {task.id for task in run.tasks if task.status == "SKIPPED"} == skipped
    assert {task.note for task in run.tasks if task.id in skipped} == {
        "its switch did not choose it"
    }
    chosen = [e for e in await manager.get_history("w") if e.kind == "task.chosen"]
    assert [event.data for event in chosen] == [{"when": why, "then": branch}]
    told = f"chose {', '.join(map(repr, branch))}: " + (
        "no condition holds" if why is None else f"{why} holds"
    )
    assert f"'route' {told}." in str(await manager.explain("w"))
    tree = await TreeReader(app).read(RunKind.WORKFLOW, "w")
    assert [node.told for node in tree.children if node.id == "route"] == [told]


def fork(**more: object) -> list[Data]:
    """A process that goes left or right, and meets again."""
    return [
        {"id": "route", "switch": [{"when": "inputs.left", "then": "left"}], "default": "right",
         "depends_on": [], **more},
        {"id": "left", "type": "workflow", "tasks": [say("l")], "depends_on": "route"},
        say("right", depends_on=["route"]),
        say("end", depends_on=["left", "right"]),
    ]  # fmt: skip


async def run_fork(app: Kallista, world: World, steps: list[Data], left: object) -> Any:
    """Run a process that is given one input."""
    data = {"id": "p", "steps": steps, "config": {"inputs": {"left": None}}}
    await app.orchestrator.create_process(data, inputs={"left": left})
    await app.orchestrator.start_process("p")
    return await world.after(app.orchestrator.wait_process("p"))


@pytest.mark.parametrize("left", [True, False])
async def test_branches_of_a_process_meet_again(any_world: World, left: bool) -> None:
    """A switch that nothing comes before chooses as the process starts; a branch may be a child."""
    clerk = Clerk()
    app = await any_world.app(clerk.say)
    run = await run_fork(app, any_world, fork(), left)
    assert (run.status, clerk.said) == (
        ProcessStatus.COMPLETED,
        ["l" if left else "right", "end"],
    )


async def test_a_switch_that_is_skipped_chooses_nothing(world: World) -> None:
    """Whatever it would have chosen of: all its branches are skipped with it."""
    clerk = Clerk()
    app = await world.app(clerk.say)
    run = await run_fork(app, world, fork(when=False), left=True)
    assert statuses(run.steps) == {
        "route": "SKIPPED", "left": "SKIPPED", "right": "SKIPPED", "end": "COMPLETED",
    }  # fmt: skip


async def test_a_condition_that_cannot_be_told_fails_the_switch(world: World) -> None:
    """And what waits for its choice cannot run, unless its failure is let pass."""
    clerk = Clerk()
    app = await world.app(clerk.say)
    run = await run_fork(app, world, fork(), left="perhaps")
    assert statuses(run.steps) == {
        "route": "FAILED", "left": "SKIPPED", "right": "SKIPPED", "end": "SKIPPED",
    }  # fmt: skip
    assert "a condition must be true or false" in str(run.errors[0])
    await app.orchestrator.delete_process("p")
    run = await run_fork(app, world, fork(continue_on_error=True), left="perhaps")
    assert statuses(run.steps)["end"] == "COMPLETED"
    assert clerk.said == ["end"]


async def test_a_choice_is_made_once(any_world: World) -> None:
    """Whoever goes on with the run, and whoever retries it, stays with it."""
    clerk = Clerk("fix")
    first = await any_world.app(clerk.say)
    run = await any_world.after(
        first.workflow_manager.run_workflow("w", triage("bug"), workflow_id="w")
    )
    assert run.status is WorkflowStatus.FAILED
    await any_world.leave(first)
    manager = (await any_world.app(clerk.say)).workflow_manager
    await manager.retry_workflow("w")
    run = await any_world.after(manager.wait_workflow("w"))
    assert run.status is WorkflowStatus.COMPLETED
    assert clerk.said == ["bug", "reproduce", "fix", "fix", "close"]
    kinds = [event.kind for event in await manager.get_history("w")]
    assert kinds.count("task.chosen") == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"switch": []}, "switch is empty"),
        ({"switch": [{"when": "inputs.left", "then": "lft"}]}, "did you mean 'left'"),
        ({"switch": [{"then": "left"}]}, "told by default, beside switch"),
        ({"switch": [{"when": "inputs.lft", "then": "left"}]}, "did you mean 'left'"),
        ({"switch": [{"when": "inputs.left &", "then": "left"}]}, "switch[0]: when"),
        ({"default": ["route"]}, "a switch cannot choose itself"),
        ({"default": "first"}, "'first' does not wait for the switch; add 'route'"),
        ({"default": "early"}, "'early' would not wait for the choice"),
        ({"default": "other"}, "'other' is a branch of another switch already"),
        ({"type": "say"}, "there is no key 'type'"),
        ({"compensate": {"type": "say", "text": "no"}}, "there is no key 'compensate'"),
    ],
)  # fmt: skip
async def test_wrong_switches_are_told_at_creation(
    world: World, change: Data, problem: str
) -> None:
    """Each with what to do about it."""
    app = await world.app(Clerk().say)
    switch = {
        "id": "route", "depends_on": ["first"],
        "switch": [{"when": "inputs.left", "then": "left"}], **change,
    }  # fmt: skip
    steps = [
        say("first"),
        {"id": "before", "depends_on": [], "switch": [{"when": True, "then": "other"}]},
        switch,
        say("left"),
        say("early", depends_on=["route", "left"], trigger_rule="one_completed"),
        say("other", depends_on=["before", "route"]),
    ]
    data = {"id": "p", "steps": steps, "config": {"inputs": {"left": {"type": "boolean"}}}}
    with pytest.raises(DefinitionError) as wrong:
        await app.orchestrator.create_process(data, inputs={"left": True})
    assert problem in str(wrong.value)


async def test_a_switch_belongs_among_other_steps(world: World) -> None:
    """A workflow's branches are listed behind it; elsewhere there is nothing to choose from."""
    app = await world.app(Clerk().say)
    choice = {"switch": [{"when": True, "then": "a"}]}
    for tasks, config, problem in (
        ([say("a"), choice], {}, "task 'switch': 'a' runs before the switch; list it behind"),
        ([say("a")], {"finally": [choice]}, "belongs to the tasks of a workflow"),
        ([say("a", compensate={"type": "say", **choice})], {}, "belongs to the tasks of a workf"),
    ):
        with pytest.raises(DefinitionError) as wrong:
            await app.workflow_manager.create_workflow("w", tasks, config)
        assert problem in str(wrong.value)
    with pytest.raises(DefinitionError, match="belongs to the tasks of a workflow"):
        await app.scheduler.schedule_task("t", {"type": "say", **choice})
