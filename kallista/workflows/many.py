"""Commands to many runs at once: all those that match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Final, TypedDict

from kallista.core.commands import Verb
from kallista.core.snapshots import Commanded, RunSummary
from kallista.core.states import RunKind
from kallista.core.types import RunId
from kallista.errors import UsageError

TOGETHER: Final = 100
"""How many runs are commanded at a time."""

SHOWN: Final = 20
"""How many ids, and how many refusals, are told."""

MEANT: Final[Mapping[tuple[Verb, RunKind], Sequence[str]]] = {
    (Verb.PAUSE, RunKind.WORKFLOW): ("RUNNING",),
    (Verb.PAUSE, RunKind.PROCESS): ("WAITING", "RUNNING"),
    (Verb.RESUME, RunKind.WORKFLOW): ("PAUSED",),
    (Verb.RESUME, RunKind.PROCESS): ("PAUSED",),
    (Verb.CANCEL, RunKind.WORKFLOW): ("PENDING", "RUNNING", "PAUSED"),
    (Verb.CANCEL, RunKind.PROCESS): ("PENDING", "WAITING", "RUNNING", "PAUSED"),
    (Verb.CANCEL, RunKind.TASK): ("SCHEDULED", "READY", "RUNNING", "WAITING"),
    (Verb.RETRY, RunKind.WORKFLOW): ("FAILED",),
    (Verb.RETRY, RunKind.PROCESS): ("FAILED",),
    (Verb.RETRY, RunKind.TASK): ("FAILED",),
}
"""The runs that a command is for where no status is asked for."""


class Which(TypedDict, total=False):
    """Which runs are meant; each as the argument of that name of the method that lists them."""

    status: str | Sequence[str] | None
    name: str | None
    tag: str | None
    created_from: datetime | str | None
    created_until: datetime | str | None
    schedule_id: str | None
    error: str | None


def check_which(which: Which) -> None:
    """Refuse to command all runs there are by mistake.

    Raises:
        UsageError: Nothing is said, or something that there is not.
    """
    for key in which.keys() - Which.__annotations__.keys():
        near = get_close_matches(key, Which.__annotations__, n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"there are {', '.join(Which.__annotations__)}"
        )
        raise UsageError(f"runs cannot be chosen by {key!r}; {hint}")
    if all(value is None for value in which.values()):
        raise UsageError(f"say which runs are meant: by {', '.join(Which.__annotations__)}")


class Tally:
    """Counts what becomes of a command.

    Args:
        verb: What is asked.
    """

    def __init__(self, verb: Verb) -> None:
        self._verb = verb
        self._matched = 0
        self._changed = 0
        self._ids: list[RunId] = []
        self._refused: dict[RunId, str] = {}
        self._refusals = 0

    def match(self, runs: Sequence[RunSummary]) -> None:
        """These are meant."""
        self._matched += len(runs)
        self._ids += [run.id for run in runs[: SHOWN - len(self._ids)]]

    def answer(self, *, changed: bool) -> None:
        """One has been told; whether that changed something."""
        self._changed += changed

    def refuse(self, id: RunId, why: str) -> None:
        """One could not be told."""
        self._refusals += 1
        if len(self._refused) < SHOWN:
            self._refused[id] = why

    @property
    def result(self) -> Commanded:
        """What has become of it."""
        return Commanded(
            self._verb.value, self._matched, self._changed, tuple(self._ids), self._refusals,
            self._refused,
        )  # fmt: skip
