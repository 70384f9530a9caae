"""What a change has at hand while it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import apsw
from msgspec import Struct

from kallista.core.types import WorkerKey
from kallista.errors import LeaseLost
from kallista.store.conflicts import worker_gone
from kallista.store.sqlite.records import DefinitionCache
from kallista.store.sqlite.statements import statement

_BEATS = statement("beats")


class Writing(Struct):
    """One transaction.

    Args:
        db: The connection it runs on.
        definitions: Definitions read on it.
        on_commit: What is to happen outside the file once the transaction is durable.
        on_rollback: What is to be taken back outside the file when it is not.
        concerns_others: Whether programs that sleep should look at it at once.
    """

    db: apsw.Connection
    definitions: DefinitionCache
    on_commit: list[Callable[[], None]] = []
    on_rollback: list[Callable[[], None]] = []
    concerns_others: bool = False
    _workers: dict[WorkerKey, int] | None = None

    @property
    def workers(self) -> dict[WorkerKey, int]:
        """Who counts as alive, with the beats; whoever changes that calls ``workers_changed``."""
        if self._workers is None:
            rows = self.db.execute(_BEATS)
            self._workers = {WorkerKey(cast(int, key)): cast(int, beat) for key, beat in rows}
        return self._workers

    def workers_changed(self) -> None:
        """Look again who counts as alive."""
        self._workers = None

    def check_worker(self, worker: WorkerKey | None) -> None:
        """Refuse a worker that has been taken for dead.

        Raises:
            LeaseLost: It is not known any more.
        """
        if worker is not None and worker not in self.workers:
            raise LeaseLost(worker_gone(worker))
