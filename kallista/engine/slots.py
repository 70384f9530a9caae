"""How much this program may execute at once: in all, of each task type, and of which queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from kallista.core.handlers import Handlers
from kallista.core.plan import DEFAULT_QUEUE, lane, type_of_lane
from kallista.core.types import TaskType, WorkerKey

_UNLIMITED: Final = 1_000_000_000


class Slots:
    """The places for attempts, free and taken.

    Args:
        handlers: What can be executed at all, and each type's own limit.
        limit: Attempts at once in all.
        queues: The queues whose tasks are executed here.
        on_free: Called when a place becomes free while others wait for one.
    """

    def __init__(
        self,
        handlers: Handlers,
        limit: int,
        queues: Sequence[str],
        on_free: Callable[[], None],
    ) -> None:
        self._handlers = handlers
        self._limit = limit
        self._queues = tuple(queues)
        self._on_free = on_free
        self._taken: Counter[TaskType] = Counter()
        self._in_use = 0
        self._suspects = 0
        self._changes: list[Callable[[], None]] = []
        self.given_back = 0
        """How many places have been freed so far."""
        self.worker = WorkerKey(0)
        self.open = False
        self.waiting: int | None = None
        """The highest priority that is known to wait in the queue for a place."""

    @property
    def free(self) -> int:
        """How many more attempts may start."""
        return self._limit - self._in_use if self.open and not self._suspects else 0

    @property
    def in_use(self) -> int:
        """How many attempts have a place."""
        return self._in_use

    def lanes(self) -> Sequence[TaskType]:
        """All that this program executes: its task types, in each of its queues."""
        types = self._handlers.types()
        return [lane(type, queue) for queue in self._queues for type in types]

    def limits(self) -> dict[TaskType, int]:
        """How many more attempts of each lane may start."""
        return {lane: self._left(type_of_lane(lane)) for lane in self.lanes()}

    def has_room(self, type: TaskType) -> bool:
        """Whether one more attempt of a type may start."""
        return self.free > 0 and self._left(type) > 0

    def reserve(self, type: TaskType) -> None:
        """Take a place that a claim was granted for."""
        self._in_use += 1
        self._taken[type] += 1

    def give_back(self, type: TaskType) -> None:
        """Free the place of an attempt."""
        self._in_use -= 1
        self._taken[type] -= 1
        self.given_back += 1
        self._tell()
        if self.waiting is not None or self._is_limited(type):
            self._on_free()

    def noted(self, priority: int) -> None:
        """Something of this priority has been queued and may have to wait for a place."""
        if self.waiting is None or priority > self.waiting:
            self.waiting = priority

    def capacity(self, *, going_on: bool) -> LocalCapacity:
        """What one decision may start.

        Args:
            going_on: The run has just freed a place of its own: it keeps it against waiting work
                of the same priority, since nothing is gained by changing runs.
        """
        return LocalCapacity(self, going_on)

    def shut(self, tell: Callable[[], None]) -> None:
        """Nothing else starts until ``reopen``, for an attempt is to be alone.

        Args:
            tell: Called whenever a place becomes free, or another attempt is to be alone too.
        """
        self._suspects += 1
        self._changes.append(tell)
        self._tell()

    def reopen(self, tell: Callable[[], None]) -> None:
        """The attempt that was to be alone has come to its end."""
        self._suspects -= 1
        self._changes.remove(tell)
        self._on_free()

    def _tell(self) -> None:
        for tell in self._changes:
            tell()

    @property
    def only_suspects(self) -> bool:
        """Whether nothing has a place but attempts that are to be alone."""
        return self._in_use <= self._suspects

    def try_take(self, type: TaskType, priority: int, *, going_on: bool) -> bool:
        """Take a place if there is one and nothing in the queue comes first."""
        if self.free <= 0 or self._left(type) <= 0:
            return False
        if self.waiting is not None:
            yields = self.waiting > priority if going_on else self.waiting >= priority
            if yields:
                return False
        self.reserve(type)
        return True

    def type_here(self, lane: TaskType) -> TaskType | None:
        """The task type of a lane, if its queue is served here."""
        if "@" not in lane:
            return lane if DEFAULT_QUEUE in self._queues else None
        return type_of_lane(lane) if lane.partition("@")[2] in self._queues else None

    def _left(self, type: TaskType) -> int:
        handler = self._handlers.get(type)
        if handler is None:
            return 0
        if handler.max_concurrency is None:
            return _UNLIMITED
        return handler.max_concurrency - self._taken[type]

    def _is_limited(self, type: TaskType) -> bool:
        """Whether work of this type may wait although places of the program are free."""
        handler = self._handlers.get(type)
        return handler is not None and handler.max_concurrency is not None


class LocalCapacity:
    """The slots as one decision sees them; remembers what it took, in case it is not written."""

    __slots__ = ("_going_on", "_slots", "taken", "worker")

    def __init__(self, slots: Slots, going_on: bool) -> None:
        self._slots = slots
        self._going_on = going_on
        self.worker = slots.worker
        self.taken: list[TaskType] = []

    def take(self, lane: TaskType, priority: int) -> bool:
        """Take a place if there is one and nothing in the queue comes first."""
        type = self._slots.type_here(lane)
        if type is None:
            return False
        granted = self._slots.try_take(type, priority, going_on=self._going_on)
        if granted:
            self._going_on = False
            self.taken.append(type)
        return granted
