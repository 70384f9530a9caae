"""What a change has at hand while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from kallista.core.types import WorkerKey
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.records import DefinitionCache
from kallista.store.postgres.statements import statement

_LIVING = statement("living")
_HOLD_WAITS = statement("hold_waits")
_KEEP_WAITS = statement("keep_waits")


class Writing(Struct):
    """One transaction.

    Args:
        db: The session it runs in.
        definitions: Definitions read in it.
        is_hopeful: Whether all fences are taken to hold, and the transaction fails if one does not.
        after: What is to happen in this program once the transaction is durable.
        changed: Whether anything was written.
        concerns_others: Whether another program should look once it is durable.
        keeps_waits: Whether others are kept from beginning to wait for a run until it is committed.
        holds_waits: Whether they are kept from that and from ending a run.
    """

    db: Connection
    definitions: DefinitionCache
    is_hopeful: bool = False
    after: list[Callable[[], None]] = []
    changed: bool = False
    concerns_others: bool = False
    keeps_waits: bool = False
    holds_waits: bool = False

    def changes(self, *, concerns_others: bool = True) -> None:
        """Say that something is written."""
        self.changed = True
        self.concerns_others |= concerns_others

    def keep_waits(self) -> None:
        """Some runs end: let none begin to wait elsewhere until this is committed."""
        if not self.keeps_waits and not self.holds_waits:
            self.db.tell(_KEEP_WAITS)
            self.keeps_waits = True

    def hold_waits(self) -> None:
        """Some runs begin to wait: let none do that elsewhere, nor end, until this is committed."""
        if not self.holds_waits:
            self.db.tell(_HOLD_WAITS)
            self.holds_waits = True

    def living(self, workers: Iterable[WorkerKey]) -> set[WorkerKey]:
        """Those of the workers that count as alive, and do so until this is committed."""
        wanted = sorted(set(workers))
        if not wanted:
            return set()
        return {WorkerKey(key) for (key,) in self.db.ask(_LIVING, (wanted,))}
