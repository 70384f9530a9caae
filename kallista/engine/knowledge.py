"""What this program knows without asking the store, as long as no other program writes."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kallista.core.states import RunKind
from kallista.core.types import RunId, RunKey

_AT_MOST: Final = 20_000


class _Unfinished(Struct, frozen=True, gc=False):
    """A run; unlike a tuple none that the collector looks at, and there may be many."""

    kind: RunKind
    key: RunKey


class Knowledge:
    """Runs that this program has created and not seen end, and whether there are any schedules.

    It spares a question where the answer is known: the store is asked less often by the price of a
    dictionary. Whatever another program writes makes it forget everything.
    """

    def __init__(self) -> None:
        self._unfinished: dict[RunId, _Unfinished] = {}
        self.has_no_schedules = False

    def created(self, id: RunId, kind: RunKind, key: RunKey) -> None:
        """This program has created a run."""
        while len(self._unfinished) >= _AT_MOST:
            del self._unfinished[next(iter(self._unfinished))]
        self._unfinished[id] = _Unfinished(kind, key)

    def ended(self, id: RunId) -> None:
        """A run has ended, or may have."""
        self._unfinished.pop(id, None)

    def unfinished(self, kind: RunKind, id: RunId) -> RunKey | None:
        """The key of a run of which it is known that it has not ended; None: ask."""
        known = self._unfinished.get(id)
        return known.key if known is not None and known.kind is kind else None

    def forget(self) -> None:
        """Another program has written something."""
        self._unfinished.clear()
        self.has_no_schedules = False
