"""Tasks that run once share what they have in common; what is wrong with one is told in full."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from parsing_support import LIMITS, accept

from kallista.core.birth import Wanted, newborn_all
from kallista.core.definitions import Definition, StepSpec, TaskSpec
from kallista.core.parsing import KnownDefinitions, SingleTask, SingleTasks, divided, parse_task
from kallista.core.plan import NewRun
from kallista.core.run import Run
from kallista.core.states import RunKind
from kallista.core.types import Json, Micros, RunId, StepId, TaskType

NOW = Micros(1_000_000)


class Tasks:
    """What the engine does with a task that a user describes."""

    def __init__(self) -> None:
        self.code = object()
        self.known = SingleTasks(KnownDefinitions(lambda type: self.code), LIMITS)

    def read(self, data: Mapping[str, object]) -> SingleTask:
        """The task, and from now on others like it."""
        task = divided(parse_task("t", data, accept, LIMITS))
        self.known.remember(data, task)
        return task

    def alike(self, data: object, id: object = "t") -> SingleTask | None:
        return self.known.alike(id, data, accept)


def test_tasks_of_one_kind_share_a_definition() -> None:
    """Whatever their configs, and however those are written."""
    tasks = Tasks()
    first = tasks.read({"type": "a", "config": {"n": 1}})
    second = tasks.alike({"type": "a", "m": 2})
    assert second is not None
    assert second.definition is first.definition
    assert (first.config, second.config) == ({"n": 1}, {"m": 2})
    assert tasks.alike({"type": "a"}) == (first.definition, {})
    assert tasks.alike({"type": "a", "retry": 3}) is None
    assert tasks.alike({"type": "b"}) is None


@pytest.mark.parametrize(
    "data",
    [
        {"type": "a", "n": 1, "config": {"n": 1}},
        {"type": "a", "for_each": [1]},
        {"type": "a", "config": 5},
        {"type": "a", "n": object()},
        {"type": "a", "n": "x" * LIMITS.max_payload_bytes},
        {"type": "a", "text": "${1 + 1}"},
        {"type": "a", "id": "t"},
        "a",
    ],
)
def test_what_is_wrong_or_unusual_is_read_in_full(data: object) -> None:
    """There all problems are found, and expressions are read."""
    tasks = Tasks()
    tasks.read({"type": "a"})
    assert tasks.alike(data) is None


def test_a_config_that_does_not_fit_is_read_in_full() -> None:
    """A task is checked against its handler each time, and so is its id."""
    tasks = Tasks()
    tasks.read({"type": "a"})
    data = {"type": "a", "n": 1}
    assert tasks.known.alike("t", data, lambda type, config, unresolved: ["no n"]) is None
    assert tasks.alike(data, "no id") is None
    assert tasks.alike(data) is not None


def test_expressions_stay_in_the_definition() -> None:
    """They are evaluated when the task runs."""
    definition = parse_task("t", {"type": "a", "n": "${1 + 1}"}, accept, LIMITS)
    assert divided(definition) == (definition, {})


def config_of(task: SingleTask) -> Mapping[str, Json]:
    return Run.new(RunId("t"), task.definition, task.config, 0).config(0)


def test_the_config_goes_with_the_run() -> None:
    """It is what it would have been in the definition; inputs of a workflow are no config."""
    data = {"type": "a", "n": 1, "config": {"m": [2]}}
    definition = parse_task("t", data, accept, LIMITS)
    assert config_of(divided(definition)) == config_of(SingleTask(definition, {})) != {}
    step = StepSpec(StepId("s"), "s", TaskSpec(TaskType("a"), {"n": 1}))
    workflow = Definition(RunKind.WORKFLOW, "w", (step,))
    assert config_of(SingleTask(workflow, {"m": 2})) == {"n": 1}


def born(*all_wanted: Wanted) -> list[NewRun]:
    return newborn_all(all_wanted, NOW, start=True)


def test_alike_runs_are_born_as_each_alone_would_be() -> None:
    """Ids, inputs, times, priorities and conditions are each run's own."""
    tasks = Tasks()
    plain = tasks.read({"type": "a", "n": 1}).definition
    condition = parse_task("t", {"type": "a", "when": "1 > 2", "name": "N"}, accept, LIMITS)
    all_wanted = [
        Wanted(RunId(f"t{number}"), definition, inputs, priority, tags, ready_at)
        for number, (definition, inputs, priority, tags, ready_at) in enumerate(
            [
                (plain, {"n": 1}, 0, (), None), (plain, {"n": 2}, 0, (), None),
                (plain, {"n": 2}, 5, (), None), (plain, {"n": 2}, 0, ("x",), None),
                (plain, {}, 0, (), Micros(NOW + 9)), (plain, {}, 0, (), None),
                (condition, {}, 0, (), None), (condition, {}, 0, (), None),
            ]
        )
    ]  # fmt: skip
    assert born(*all_wanted) == [run for wanted in all_wanted for run in born(wanted)]
    assert len({run.content for run in born(*all_wanted)}) == 6
