"""How much this program may execute at once: in all, of each task type, and of each queue.

What an attempt takes is a *place*: its task type, with its queue unless that is the default one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from typing import Final

from kallista.core.handlers import Handlers
from kallista.core.plan import (
    DEFAULT_QUEUE,
    alone,
    lane,
    place_in,
    queue_of_lane,
    type_of_lane,
)
from kallista.core.types import Micros, TaskType, WorkerKey

_UNLIMITED: Final = 1_000_000_000

CLAIM_AHEAD: Final = Micros(40_000)
"""How long before its moment a task may be taken from the queue, so as to begin in time."""


class Slots:
    """The places for attempts, free and taken.

    Args:
        handlers: What can be executed at all, and each type's own limit.
        limit: Attempts at once in all.
        queues: The queues whose tasks are executed here.
        queue_limits: Attempts at once of a queue; those that are not named have no limit.
        processes: Attempts at once that have a process of their own.
        on_free: Called when a place becomes free while others wait for one.
    """

    def __init__(
        self,
        handlers: Handlers,
        limit: int,
        queues: Sequence[str],
        queue_limits: Mapping[str, int],
        processes: int,
        on_free: Callable[[], None],
    ) -> None:
        self._handlers = handlers
        self._limit = limit
        self._queues = tuple(queues)
        self._serves_default = DEFAULT_QUEUE in self._queues
        self._queue_limits = queue_limits
        self._processes = processes
        self._on_free = on_free
        self._lock = Lock()
        self._taken: Counter[TaskType] = Counter()
        self._in_use = 0
        self._is_shut = False
        self._begin_alone: tuple[TaskType, Callable[[], None]] | None = None
        self.given_back = 0
        """How many places have been freed so far."""
        self.worker = WorkerKey(0)
        self.open = False
        self.waiting: int | None = None
        """The highest priority that is known to wait in the queue for a place."""

    @property
    def free(self) -> int:
        """How many more attempts may start."""
        return self._limit - self._in_use if self.open and not self._is_shut else 0

    @property
    def spare(self) -> int:
        """How many tasks may take places ahead of their moments: half stay for what is due."""
        return 0 if self.waiting is not None else max(0, self.free - (self._limit + 1) // 2)

    @property
    def in_use(self) -> int:
        """How many attempts have a place."""
        return self._in_use

    def lanes(self) -> Sequence[TaskType]:
        """All that this program executes: its task types, in each of its queues."""
        types = self._handlers.types()
        return [lane(type, queue) for queue in self._queues for type in types]

    def limits(self) -> dict[TaskType, int]:
        """How many more attempts of each lane may start; of those to be alone one after another."""
        limits: dict[TaskType, int] = {}
        for served in self.lanes():
            left = self._left(served)
            limits[served] = left
            limits[alone(served)] = min(left, 1)
        return limits

    def punctual(self) -> Collection[TaskType]:
        """The lanes of which nothing holds a place ahead of its moment.

        What is due would wait for it: for a place of its type or queue, or until it has been alone.
        """
        lanes = self.lanes()
        limited = {served for served in lanes if self._is_limited(served)}
        return limited.union(map(alone, lanes))

    def has_room(self, place: TaskType) -> bool:
        """Whether one more attempt may start."""
        return self.free > 0 and self._left(place) > 0

    def take(self, place: TaskType) -> bool:
        """Take a place if there is one; also from other threads than the event loop's."""
        with self._lock:
            if self._in_use >= self._limit or self._is_shut or not self.open:
                return False
            if self._left(place) <= 0:
                return False
            self._in_use += 1
            self._taken[place] += 1
            return True

    def give_back(self, place: TaskType, *, tell: bool = True) -> None:
        """Free the place of an attempt.

        Args:
            place: The place.
            tell: Whether those are told who wait for one; not from other threads.
        """
        with self._lock:
            self._in_use -= 1
            self._taken[place] -= 1
            self.given_back += 1
        if not tell:
            return
        if self._is_shut:
            self._look_around()
        if self.waiting is not None or self._is_limited(place):
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

    def reserve_alone(self, place: TaskType, begin: Callable[[], None]) -> None:
        """Take a place for an attempt that is to be alone (docs/adr/0009-poisonous-tasks.md).

        Nothing else starts until no place is taken any more.

        Args:
            place: Its place.
            begin: Called once nothing else has a place.
        """
        with self._lock:
            self._in_use += 1
            self._taken[place] += 1
            self._is_shut = True
        self._begin_alone = place, begin
        self._look_around()

    def give_up_alone(self) -> None:
        """Nothing begins here any more: free the place of what still waits to be alone."""
        if self._begin_alone is not None:
            place, _ = self._begin_alone
            self._begin_alone = None
            self.give_back(place)

    def _look_around(self) -> None:
        """Whether the one that is to be alone is so now, or was so and has ended."""
        if self._in_use == 1 and self._begin_alone is not None:
            _, begin = self._begin_alone
            self._begin_alone = None
            begin()
        elif self._in_use == 0:
            self._is_shut = False
            self._on_free()

    def try_take(self, place: TaskType, priority: int, *, going_on: bool) -> bool:
        """Take a place if there is one and nothing in the queue comes first."""
        if self.waiting is not None:
            yields = self.waiting > priority if going_on else self.waiting >= priority
            if yields:
                return False
        return self.take(place)

    def place_here(self, lane: TaskType) -> TaskType | None:
        """The place that an attempt of a lane takes, if its queue is served here."""
        if "@" not in lane:
            return lane if self._serves_default else None
        return place_in(lane) if queue_of_lane(lane) in self._queues else None

    def _left(self, place: TaskType) -> int:
        type = type_of_lane(place) if "@" in place else place
        handler = self._handlers.get(type)
        if handler is None:
            return 0
        left = _UNLIMITED
        if handler.max_concurrency is not None:
            left = handler.max_concurrency - self._taken_of(type_of_lane, type)
        if handler.in_process:
            left = min(left, self._processes - self._taken_of(self._is_in_process, True))
        if self._queue_limits:
            queue = queue_of_lane(place)
            limit = self._queue_limits.get(queue, _UNLIMITED)
            left = min(left, limit - self._taken_of(queue_of_lane, queue))
        return left

    def _taken_of(self, kind: Callable[[TaskType], object], wanted: object) -> int:
        """How many places of a kind are taken; other threads may take some meanwhile."""
        return sum(count for place, count in list(self._taken.items()) if kind(place) == wanted)

    def _is_in_process(self, place: TaskType) -> bool:
        """Whether an attempt that has the place has a process of its own."""
        handler = self._handlers.get(type_of_lane(place))
        return handler is not None and handler.in_process

    def _is_limited(self, place: TaskType) -> bool:
        """Whether work of its type or queue may wait although places of the program are free."""
        handler = self._handlers.get(type_of_lane(place) if "@" in place else place)
        if handler is None:
            return False
        if self._queue_limits and queue_of_lane(place) in self._queue_limits:
            return True
        return handler.max_concurrency is not None or handler.in_process


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
        place = self._slots.place_here(lane)
        if place is None or not self._slots.try_take(place, priority, going_on=self._going_on):
            return False
        self._going_on = False
        self.taken.append(place)
        return True
