"""The setting ``retention``: for how long runs are kept once they are over."""

from __future__ import annotations

import pytest

from kallista.core.retention import OVER, parse_retention
from kallista.core.states import RunKind
from kallista.errors import UsageError

DAY = 86_400_000_000


def rules(*given: tuple[str, object]) -> dict[tuple[str, str], int]:
    """The lengths by kind and status."""
    return {(rule.kind.value, rule.status): rule.length for rule in parse_retention(given)}


def test_nothing_is_said() -> None:
    """Then all is kept."""
    assert parse_retention([]) == ()


def test_one_length_for_all() -> None:
    """Every kind and every status in which a run can be over."""
    found = rules(("", "90d"))
    assert set(found) == {(kind.value, status) for kind in RunKind for status in OVER[kind]}
    assert set(found.values()) == {90 * DAY}


def test_what_is_said_of_less_wins() -> None:
    """A status over its kind, a kind over all, in whatever order they are written."""
    given = [("workflow.FAILED", "9d"), ("workflow", "5d"), ("", "1d")]
    for order in (given, given[::-1]):
        found = rules(*order)
        assert found["workflow", "FAILED"] == 9 * DAY
        assert found["workflow", "COMPLETED"] == 5 * DAY
        assert found["task", "COMPLETED"] == DAY


@pytest.mark.parametrize(
    ("key", "length", "told"),
    [
        ("workflows", "1d", "retention.workflows: there is no kind of run called 'workflows'; did"),
        ("x", "1d", "there are workflow, process, task"),
        ("task.COMPLETE", "1d", "did you mean COMPLETED?"),
        ("task.RUNNING", "1d", "no task is over in the status 'RUNNING'"),
        ("task", "soon", "retention.task: 'soon' is no length of time"),
        ("", None, "retention: "),
        ("task", "-1d", "retention.task: "),
    ],
)
def test_problems(key: str, length: object, told: str) -> None:
    """What is wrong is told with its place."""
    with pytest.raises(UsageError) as caught:
        parse_retention([(key, length)])
    assert told in caught.value.problems[0]


def test_all_problems_are_told() -> None:
    """Not one after the other."""
    with pytest.raises(UsageError) as caught:
        parse_retention([("a", "1d"), ("task", "x"), ("workflow", "1d")])
    assert len(caught.value.problems) == 2
