"""What a step asks of the steps before it."""

from __future__ import annotations

from itertools import combinations

import pytest

from kallista.core.events import StepState
from kallista.core.states import TaskStatus
from kallista.core.trigger_rules import TriggerRule, Upstream, Verdict, verdict, verdicts

P, C, S, T, F, B = Upstream
WAIT, RUN, SKIP, OMIT = Verdict


def expected(rule: TriggerRule, seen: frozenset[Upstream]) -> Verdict:
    """The rules as documentation tells them, one sentence after the other."""
    pending, failed = P in seen, bool(seen & {F, B})
    match rule.value:
        case "always":
            return RUN
        case "all_done":
            return WAIT if pending else RUN
        case "all_completed":
            return SKIP if failed else WAIT if pending else RUN
        case "none_failed":
            return SKIP if failed or T in seen else WAIT if pending else RUN
        case "one_completed" if C in seen:
            return RUN
        case "one_completed":
            return WAIT if pending else SKIP if failed or T in seen else OMIT
        case "one_failed" if failed or T in seen:
            return RUN
        case "one_failed":
            return WAIT if pending else OMIT
        case "all_failed" if C in seen or S in seen:
            return OMIT
        case _:
            return WAIT if pending else RUN


@pytest.mark.parametrize("rule", TriggerRule)
def test_the_whole_table(rule: TriggerRule) -> None:
    """Each rule gives the verdict that it promises, for every combination of ends."""
    for count in range(len(Upstream) + 1):
        for some in combinations(Upstream, count):
            seen = frozenset(some)
            assert verdicts()[rule, seen] is expected(rule, seen), (rule, seen)


def test_nobody_waits_for_ever() -> None:
    """Where all steps before have ended, every rule has made up its mind."""
    assert not [seen for (_, seen), told in verdicts().items() if told is WAIT and P not in seen]


@pytest.mark.parametrize(
    ("status", "passed", "rule", "told"),
    [
        (TaskStatus.COMPLETED, True, "one_failed", OMIT),
        (TaskStatus.SKIPPED, True, "all_completed", RUN),
        (TaskStatus.SKIPPED, True, "one_completed", OMIT),
        (TaskStatus.SKIPPED, False, "one_failed", RUN),
        (TaskStatus.FAILED, True, "all_completed", RUN),
        (TaskStatus.FAILED, True, "none_failed", SKIP),
        (TaskStatus.FAILED, False, "all_completed", SKIP),
        (TaskStatus.CANCELLED, False, "all_failed", RUN),
    ],
)
def test_how_a_step_has_ended(status: TaskStatus, passed: bool, rule: str, told: Verdict) -> None:
    """Skipped by its own condition, skipped because of others, and failures let pass differ."""
    before = StepState(status, ended_at=1, passed=passed)  # type: ignore[arg-type]
    assert verdict(TriggerRule(rule), [before]) is told
