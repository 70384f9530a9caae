"""What a process asks of those it waits for, and how that is written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
from parsing_support import LIMITS, accept, nothing

from kallista.core.definitions import Definition
from kallista.core.dependencies import DependencyPolicy, Verdict, standing, verdict_on
from kallista.core.encoding import definition_from_data, definition_to_data
from kallista.core.parsing import parse_process
from kallista.core.states import ProcessStatus
from kallista.core.types import RunId
from kallista.errors import DefinitionError
from kallista.store.circles import find_circle

WAIT, GO_ON, FAIL = Verdict.WAIT, Verdict.GO_ON, Verdict.FAIL
STATES = (None, *ProcessStatus)


def process(data: Mapping[str, object]) -> Definition:
    """A process that is read."""
    return parse_process(data, nothing, accept, LIMITS)


def expected(state: ProcessStatus | None, policy: DependencyPolicy) -> Verdict:
    """The rule as documentation tells it."""
    if state is ProcessStatus.COMPLETED:
        return GO_ON
    if state not in (ProcessStatus.FAILED, ProcessStatus.CANCELLED):
        return WAIT
    return {"wait": WAIT, "fail": FAIL, "skip": GO_ON}[policy]


def test_the_whole_table() -> None:
    """Each policy gives the verdict that it promises, wherever the other process is."""
    for state, policy in product(STATES, DependencyPolicy):
        assert verdict_on(state, policy) is expected(state, policy), (state, policy)


def test_of_several_the_worst_counts() -> None:
    """One that it fails with is enough, then one that it waits for; those behind it are named."""
    a, b, c = map(RunId, "abc")
    policies = {b: DependencyPolicy.FAIL, c: DependencyPolicy.SKIP}
    failed, completed = ProcessStatus.FAILED, ProcessStatus.COMPLETED
    assert standing({a: None, b: failed, c: failed}, policies) == (FAIL, (b,))
    assert standing({a: None, b: completed, c: failed}, policies) == (WAIT, (a,))
    assert standing({a: completed, b: completed, c: failed}, policies) == (GO_ON, (c,))
    assert standing({}, {}) == (GO_ON, ())


def test_policies_are_read_and_stored() -> None:
    """A text stands for one that is waited for; what is usual takes no room."""
    steps = [{"type": "x"}]
    after: list[object] = ["a", {"process": "b", "on_failure": "skip"}, {"process": "c"}]
    definition = process({"steps": steps, "dependencies": after})
    assert definition.dependencies == ("a", "b", "c")
    assert definition.dependency_policies == {"b": DependencyPolicy.SKIP}
    data = definition_to_data(definition)
    assert definition_from_data(data).dependency_policies == definition.dependency_policies
    assert "dependency_policies" not in definition_to_data(process({"steps": steps}))


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ([{"process": "a", "on_failure": "stop"}], "one of wait, fail, skip, not 'stop'"),
        ([{"process": "a", "on": "skip"}], "there is no key 'on'; there are on_failure, process"),
        ([{"on_failure": "skip"}], "None is no process id"),
        (["a", {"process": "a", "on_failure": "skip"}], "name 'a' twice"),
        ({"process": "a"}, "dependencies must be a list"),
        ([7], "7 is no process id"),
    ],
)
def test_what_is_wrong_is_told(after: object, problem: str) -> None:
    """Unknown policies and keys, and one process with two policies."""
    with pytest.raises(DefinitionError) as told:
        process({"steps": [{"type": "x"}], "dependencies": after})
    assert problem in "; ".join(told.value.problems)


@pytest.mark.parametrize(
    ("waiting", "circle"),
    [
        ({}, ""),
        ({"a": "a"}, "a"),
        ({"a": "bc", "b": "d", "c": "d"}, ""),
        ({"a": "bc", "b": "d", "c": "d", "d": "a"}, "adb"),
        ({"a": "b", "b": "c", "c": "b"}, "bc"),
    ],
)
def test_circles(waiting: dict[str, str], circle: str) -> None:
    """Each waits for the next one; where ways meet again there is none."""
    edges = {RunId(id): [RunId(other) for other in others] for id, others in waiting.items()}
    assert "".join(find_circle([RunId("a")], edges)) == circle
