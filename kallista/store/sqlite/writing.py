"""What a change has at hand while it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import apsw

from kallista.store.sqlite.rows import DefinitionCache


@dataclass(slots=True)
class Writing:
    """One transaction.

    Args:
        db: The connection it runs on.
        definitions: Definitions read on it.
        on_commit: What is to happen outside the file once the transaction is durable.
        on_rollback: What is to be taken back outside the file when it is not.
    """

    db: apsw.Connection
    definitions: DefinitionCache
    on_commit: list[Callable[[], None]] = field(default_factory=list)
    on_rollback: list[Callable[[], None]] = field(default_factory=list)
