"""For how long runs are kept once they are over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from kallista.core.durations import parse_duration
from kallista.core.states import FINISHED_RUN, FINISHED_STEP, RunKind
from kallista.core.types import Micros
from kallista.errors import UsageError

OVER: Final[Mapping[RunKind, tuple[str, ...]]] = {
    RunKind.WORKFLOW: tuple(sorted(FINISHED_RUN)),
    RunKind.PROCESS: tuple(sorted(FINISHED_RUN)),
    RunKind.TASK: tuple(sorted(FINISHED_STEP)),
}
"""The statuses in which a run of each kind is over."""


class Rule(NamedTuple):
    """For how long runs of one kind that have ended in one status are kept.

    Args:
        kind: Of this kind.
        status: In this status.
        length: So long after their end.
    """

    kind: RunKind
    status: str
    length: Micros


def parse_retention(given: Sequence[tuple[str, object]]) -> tuple[Rule, ...]:
    """Read the setting ``retention``.

    Args:
        given: Pairs of what is kept (``""`` for all, ``workflow``, ``workflow.FAILED``) and for
            how long, in any form that ``parse_duration`` reads. What is said of less wins over
            what is said of more.

    Returns:
        A rule for each kind and status of which something is said.

    Raises:
        UsageError: Something in it is wrong; ``problems`` lists everything.
    """
    found: dict[tuple[RunKind, str], Rule] = {}
    problems: list[str] = []
    for key, length in sorted(given, key=lambda pair: (pair[0].count("."), bool(pair[0]))):
        try:
            parsed = parse_duration(length)
            found.update({place: Rule(*place, parsed) for place in places(key)})
        except UsageError as problem:
            problems.append(f"retention{'.' * bool(key)}{key}: {problem}")
    if problems:
        raise UsageError("the retention has problems", problems)
    return tuple(found.values())


def places(key: str) -> Iterator[tuple[RunKind, str]]:
    """The kinds and statuses that a key of ``retention`` speaks of.

    Args:
        key: ``""``, a kind, or a kind and a status, with a dot between them.

    Raises:
        UsageError: There is no such kind, or none of it is over in such a status.
    """
    name, dot, status = key.partition(".")
    kinds = list(RunKind) if not key else [_kind(name)]
    for kind in kinds:
        if dot and status not in OVER[kind]:
            near = get_close_matches(status.upper(), OVER[kind], n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OVER[kind])}"
            raise UsageError(f"no {kind} is over in the status {status!r}; {hint}")
        yield from ((kind, each) for each in ([status] if dot else OVER[kind]))


def _kind(name: str) -> RunKind:
    known = [kind.value for kind in RunKind]
    if name in known:
        return RunKind(name)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise UsageError(f"there is no kind of run called {name!r}; {hint}")
