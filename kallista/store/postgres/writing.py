"""What a change has at hand while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from kallista.core.types import WorkerKey
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.records import DefinitionCache
from kallista.store.postgres.statements import statement

_LIVING = statement("living")


class Writing(Struct):
    """One transaction.

    Args:
        db: The session it runs in.
        definitions: Definitions read in it.
        is_hopeful: Whether all fences are taken to hold, and the transaction fails if one does not.
        after: What is to happen in this program once the transaction is durable.
        changed: Whether anything was written.
        concerns_others: Whether another program should look once it is durable.
    """

    db: Connection
    definitions: DefinitionCache
    is_hopeful: bool = False
    after: list[Callable[[], None]] = []
    changed: bool = False
    concerns_others: bool = False

    def changes(self, *, concerns_others: bool = True) -> None:
        """Say that something is written."""
        self.changed = True
        self.concerns_others |= concerns_others

    def living(self, workers: Iterable[WorkerKey]) -> set[WorkerKey]:
        """Those of the workers that count as alive, and do so until this is committed."""
        wanted = sorted(set(workers))
        if not wanted:
            return set()
        return {WorkerKey(key) for (key,) in self.db.ask(_LIVING, (wanted,))}
