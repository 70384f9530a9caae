"""What the deciding worker could start at once."""

from __future__ import annotations

from typing import Final, Protocol

from kallista.core.types import TaskType, WorkerKey


class Capacity(Protocol):
    """What the deciding worker could start at once."""

    @property
    def worker(self) -> WorkerKey:
        """Who would execute it; 0: nobody."""
        ...

    def take(self, lane: TaskType, priority: int) -> bool:
        """Reserve a place for one attempt, if there is one and nothing more urgent waits."""
        ...


class NoCapacity:
    """Starts nothing: whatever may run is queued."""

    worker = WorkerKey(0)

    def take(self, lane: TaskType, priority: int) -> bool:
        """Never."""
        return False


NO_CAPACITY: Final = NoCapacity()
