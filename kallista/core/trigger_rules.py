"""When a step takes its turn: what it asks of the steps before it, as one table.

The names of the rules are Airflow's, with its ``success`` called completed. Unlike there, a step
that was skipped by its own condition stands in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, StrEnum
from functools import cache
from itertools import combinations
from typing import Final, TypeAlias

from kallista.core.events import StepState
from kallista.core.states import TaskStatus


class TriggerRule(StrEnum):
    """What a step asks of the steps before it."""

    ALL_COMPLETED = "all_completed"
    ALL_DONE = "all_done"
    ONE_COMPLETED = "one_completed"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"
    ALL_FAILED = "all_failed"
    ALWAYS = "always"


EARLY: Final = frozenset({TriggerRule.ALWAYS, TriggerRule.ONE_COMPLETED, TriggerRule.ONE_FAILED})
"""The rules by which a step may begin before all steps before it have ended."""


class Upstream(Enum):
    """What has become of a step before another."""

    PENDING = "it has not ended"
    COMPLETED = "it has completed"
    OMITTED = "it was skipped: its own condition or rule was not met"
    TOLERATED = "it has failed, and continue_on_error lets that pass"
    FAILED = "it has failed, or was cancelled"
    BLOCKED = "it was skipped because of a failure before it"


class Verdict(Enum):
    """Whether it is a step's turn."""

    WAIT = "more has to end first"
    RUN = "it is"
    SKIP = "never, because of failures; what depends on it cannot run either"
    OMIT = "never, but nothing is missing: what depends on it goes on"


_Seen: TypeAlias = frozenset[Upstream]

_FAILURES: Final = frozenset({Upstream.FAILED, Upstream.BLOCKED})
_ANY_FAILURES: Final = _FAILURES | {Upstream.TOLERATED}
_SUCCESSES: Final = frozenset({Upstream.COMPLETED, Upstream.OMITTED})


def _unless(blocking: _Seen) -> Callable[[_Seen], Verdict]:
    """Run when all have ended, unless one of them has ended like this."""

    def verdict(seen: _Seen) -> Verdict:
        if seen & blocking:
            return Verdict.SKIP
        return Verdict.WAIT if Upstream.PENDING in seen else Verdict.RUN

    return verdict


def _one(wanted: _Seen, missed: Callable[[_Seen], Verdict]) -> Callable[[_Seen], Verdict]:
    """Run as soon as one has ended like this."""

    def verdict(seen: _Seen) -> Verdict:
        if seen & wanted:
            return Verdict.RUN
        return Verdict.WAIT if Upstream.PENDING in seen else missed(seen)

    return verdict


def _all_failed(seen: _Seen) -> Verdict:
    if seen & _SUCCESSES:
        return Verdict.OMIT
    return Verdict.WAIT if Upstream.PENDING in seen else Verdict.RUN


def _for_failures(seen: _Seen) -> Verdict:
    return Verdict.SKIP if seen & _ANY_FAILURES else Verdict.OMIT


_LAWS: Final[Mapping[TriggerRule, Callable[[_Seen], Verdict]]] = {
    TriggerRule.ALL_COMPLETED: _unless(_FAILURES),
    TriggerRule.ALL_DONE: _unless(frozenset()),
    TriggerRule.ONE_COMPLETED: _one(frozenset({Upstream.COMPLETED}), _for_failures),
    TriggerRule.ONE_FAILED: _one(_ANY_FAILURES, lambda seen: Verdict.OMIT),
    TriggerRule.NONE_FAILED: _unless(_ANY_FAILURES),
    TriggerRule.ALL_FAILED: _all_failed,
    TriggerRule.ALWAYS: lambda seen: Verdict.RUN,
}


@cache
def verdicts() -> Mapping[tuple[TriggerRule, _Seen], Verdict]:
    """By rule and what has become of the steps before: whether it is the step's turn.

    Made when it is first asked for: who uses no rules does not pay for it at start.
    """
    counts = range(len(Upstream) + 1)
    seen_together = [frozenset(some) for count in counts for some in combinations(Upstream, count)]
    return {(rule, seen): law(seen) for rule, law in _LAWS.items() for seen in seen_together}


def verdict(rule: TriggerRule, before: Iterable[StepState]) -> Verdict:
    """Whether it is the turn of a step.

    Args:
        rule: What it asks.
        before: The steps it depends on.
    """
    return verdicts()[rule, frozenset(map(_upstream, before))]


def _upstream(step: StepState) -> Upstream:
    if step.ended_at is None:
        return Upstream.PENDING
    return _ENDED[step.status, step.passed]


_ENDED: Final = {
    (TaskStatus.COMPLETED, True): Upstream.COMPLETED,
    (TaskStatus.SKIPPED, True): Upstream.OMITTED,
    (TaskStatus.SKIPPED, False): Upstream.BLOCKED,
    (TaskStatus.FAILED, True): Upstream.TOLERATED,
    (TaskStatus.FAILED, False): Upstream.FAILED,
    (TaskStatus.CANCELLED, False): Upstream.FAILED,
}
