"""What a process asks of those it waits for, as one table: whether it goes on, waits, or fails."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from kallista.core.states import ProcessStatus
from kallista.core.types import RunId


class DependencyPolicy(StrEnum):
    """What a process does about one that it waits for and that is FAILED or CANCELLED."""

    WAIT = "wait"
    FAIL = "fail"
    SKIP = "skip"


class Verdict(Enum):
    """What one of the processes that another waits for means to it."""

    WAIT = "it is waited for"
    GO_ON = "it stands in nobody's way"
    FAIL = "who waits for it fails with it"


class _End(Enum):
    NONE = "it does not exist yet, or has not ended"
    GOOD = "it has completed"
    BAD = "it has failed, or was cancelled"


_P, _V = DependencyPolicy, Verdict

_VERDICTS: Final[Mapping[tuple[_End, DependencyPolicy], Verdict]] = {
    (_End.NONE, _P.WAIT): _V.WAIT,
    (_End.NONE, _P.FAIL): _V.WAIT,
    (_End.NONE, _P.SKIP): _V.WAIT,
    (_End.GOOD, _P.WAIT): _V.GO_ON,
    (_End.GOOD, _P.FAIL): _V.GO_ON,
    (_End.GOOD, _P.SKIP): _V.GO_ON,
    (_End.BAD, _P.WAIT): _V.WAIT,
    (_End.BAD, _P.FAIL): _V.FAIL,
    (_End.BAD, _P.SKIP): _V.GO_ON,
}

_ENDS: Final = {
    ProcessStatus.COMPLETED: _End.GOOD,
    ProcessStatus.FAILED: _End.BAD,
    ProcessStatus.CANCELLED: _End.BAD,
}

_Policies = Mapping[RunId, DependencyPolicy]


def verdict_on(state: ProcessStatus | None, policy: DependencyPolicy) -> Verdict:
    """What one of the processes means to the one that waits for it.

    Args:
        state: Where it is; None: it does not exist yet.
        policy: What is asked of it.
    """
    end = _End.NONE if state is None else _ENDS.get(state, _End.NONE)
    return _VERDICTS[end, policy]


class Standing(NamedTuple):
    """How a process stands to those it waits for.

    Args:
        verdict: Whether it goes on, waits, or fails; one that it fails with is enough.
        because_of: Those that it waits for, or fails with, or goes on without; in their order.
    """

    verdict: Verdict
    because_of: tuple[RunId, ...]


def standing(states: Mapping[RunId, ProcessStatus | None], policies: _Policies) -> Standing:
    """How a process stands to those it waits for.

    Args:
        states: Where they are; None: it does not exist yet.
        policies: What is asked of them, where that is not to wait.
    """
    verdicts = {
        id: verdict_on(state, policies.get(id, DependencyPolicy.WAIT))
        for id, state in states.items()
    }
    for verdict in (Verdict.FAIL, Verdict.WAIT):
        if verdict in verdicts.values():
            return Standing(verdict, tuple(id for id in verdicts if verdicts[id] is verdict))
    passed_over = (id for id, state in states.items() if state is not ProcessStatus.COMPLETED)
    return Standing(Verdict.GO_ON, tuple(passed_over))
