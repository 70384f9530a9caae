"""Lets go of runs that are over, a few at a time, so that nobody who writes is held up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from kallista.core.retention import Rule
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunKey
from kallista.engine.clock import Clock
from kallista.store.port import Store

_log = logging.getLogger("kallista.engine")

LOOKED_AT_ONCE: Final = 500
REMOVED_AT_ONCE: Final = 50
"""How many trees of runs go in one transaction."""

EVERY: Final = Micros(60_000_000)
"""How often retention is applied."""

REST: Final = 50
"""How many times as long as a pass has taken it rests at least, however much there is."""


class Purger:
    """Removes runs that are over, with the runs they have started.

    Args:
        store: Where they are.
        now: What time it is.
        dry_run: Only count them.
    """

    def __init__(self, store: Store, now: Callable[[], Micros], *, dry_run: bool = False) -> None:
        self._store = store
        self._now = now
        self._dry_run = dry_run

    async def remove(self, kind: RunKind, status: str, ended_before: Micros) -> int:
        """Remove runs of one kind that ended in one status, the oldest first.

        What others could still wait for stays, as do children without their parents, and trees of
        which anything is unfinished.

        Args:
            kind: Of this kind.
            status: In this status, as it is stored.
            ended_before: Only those that had ended before this moment.

        Returns:
            How many runs are gone, those below them included.
        """
        removed, after = 0, RunKey(0)
        while page := await self._store.oldest_runs(kind, status, after, LOOKED_AT_ONCE):
            over = [
                run.key
                for run in page
                if run.ended_at is not None and run.ended_at < ended_before and not run.has_parent
            ]
            for start in range(0, len(over), REMOVED_AT_ONCE):
                batch = over[start : start + REMOVED_AT_ONCE]
                removed += await self._remove(batch, ended_before)
            # Keys rise with the time of creation: whatever comes later is younger still.
            if all(run.created_at >= ended_before for run in page):
                break
            after = page[-1].key
        return removed

    async def _remove(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        if self._dry_run:
            return await self._store.purgeable(runs, ended_before)
        return await self._store.purge(runs, ended_before, self._now())


class Retention:
    """Applies the setting ``retention`` from time to time; any number of workers may do so.

    Args:
        store: Where runs are.
        clock: What time it is.
        rules: For how long they are kept.
    """

    def __init__(self, store: Store, clock: Clock, rules: Sequence[Rule]) -> None:
        self._purger = Purger(store, clock.now)
        self._clock = clock
        self._rules = rules

    async def once(self) -> Micros:
        """Remove all that has been kept for long enough; returns when to look again."""
        began = self._clock.monotonic()
        removed = 0
        for kind, status, length in self._rules:
            before = Micros(self._clock.now() - length)
            removed += await self._purger.remove(kind, status, before)
        if removed:
            _log.info("%d runs were kept for long enough and are gone", removed)
        took = self._clock.monotonic() - began
        return Micros(self._clock.now() + max(EVERY, REST * took))
