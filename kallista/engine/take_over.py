"""Takes over from workers that have died, or have been silent for too long."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from kallista.core.types import Micros, WorkerKey
from kallista.engine.clock import Clock
from kallista.store.port import Store, WorkerRecord

RETURNS_WITHIN = Micros(100_000)
"""Who has lost its connection and not its life has the next one by then, if there is one."""

LOOKS_AGAIN_AFTER = Micros(RETURNS_WITHIN + 5_000)
"""When to see whether it has; a timer may come a little early."""


class TakeOver:
    """Frees the runs of workers that have died, so that somebody goes on with them.

    A worker whose program is gone is seen to be dead. One that is frozen, or cut off, has not
    renewed its lease: that is judged by this program's own monotonic clock, and only while this
    program itself was awake to look, and could renew its own.

    Args:
        store: Whose workers they are.
        clock: What time it is.
        every: How often to look, as long as there are other workers.
        lease: For how long a worker may be silent.
        own: Which of them this program is.
        on_freed: Called when runs were freed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        every: Micros,
        lease: Micros,
        own: Callable[[], WorkerKey | None],
        on_freed: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._every = every
        self._lease = lease
        self._own = own
        self._on_freed = on_freed
        self._looked_at: Micros | None = None
        self._silences: dict[WorkerKey, _Silence] = {}
        self._gone: dict[WorkerKey, Micros] = {}
        self.is_alone = False

    async def once(self) -> Micros | None:
        """Look for the dead; returns when to look again, if there is anybody who could die.

        Freeing is a write, so after the first time it is left out while everybody lives.
        """
        workers = await self._store.workers()
        silent = self._silent(workers)
        spared = self._may_return(workers)
        died = any(not worker.alive and worker.key not in spared for worker in workers)
        if (silent or died or self._looked_at is None) and await self._store.release_dead(
            self._clock.now(), silent, spared
        ):
            self._on_freed()
        self._looked_at = self._clock.monotonic()
        self.is_alone = len(workers) <= 1
        if self.is_alone:
            return None
        return Micros(self._clock.now() + (LOOKS_AGAIN_AFTER if spared else self._every))

    def _may_return(self, workers: Sequence[WorkerRecord]) -> Collection[WorkerKey]:
        """Who has been gone for so short a time that it may only be connecting again."""
        now = self._clock.monotonic()
        gone = [worker.key for worker in workers if worker.may_return]
        self._gone = {key: self._gone.get(key, now) for key in gone}
        return [key for key, since in self._gone.items() if now - since < RETURNS_WITHIN]

    def _silent(self, workers: Sequence[WorkerRecord]) -> Sequence[tuple[WorkerKey, int]]:
        """Whose lease is over, with the last beat that was seen."""
        now = self._clock.monotonic()
        since = now if self._looked_at is None else self._looked_at
        awake = min(now - since, 2 * self._every)
        before, self._silences = self._silences, {}
        for worker in workers:
            last = before.get(worker.key)
            same = last is not None and last.beat == worker.beat
            length = Micros(last.length + awake) if last is not None and same else Micros(0)
            self._silences[worker.key] = _Silence(worker.beat, length)
        self._trust_those_who_cannot_write()
        return [
            (key, silence.beat)
            for key, silence in self._silences.items()
            if silence.length >= self._lease and key != self._own()
        ]

    def _trust_those_who_cannot_write(self) -> None:
        """Count nobody's silence while this program cannot renew its own lease.

        Whatever keeps it from writing, a program that holds the store open or a disk that stands
        still, may keep all others from it too. They get a whole lease once it is over, or the first
        one to write again would take the work of all the rest.
        """
        own = self._own()
        silence = None if own is None else self._silences.get(own)
        if own is not None and silence is not None and silence.length >= self._lease // 2:
            self._silences = {own: silence}


class _Silence(NamedTuple):
    """For how long a worker has been seen at one beat."""

    beat: int
    length: Micros
