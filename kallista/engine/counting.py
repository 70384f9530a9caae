"""Says what steps wait for that are counted over all workers, and how full each limit is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from kallista.core.durations import to_datetime
from kallista.core.limits import Limit, LimitKind, told
from kallista.core.snapshots import LimitInfo
from kallista.core.types import RunKey
from kallista.engine.active import DefinitionCache
from kallista.store.port import GateState, Holder, LimitFigures, Store

_SHOWN_AT_MOST = 3


class Wait(NamedTuple):
    """What a step waits for.

    Args:
        sentence: For people, what comes behind the name of the run.
        names: The limits that are full, for programs.
    """

    sentence: str
    names: tuple[str, ...]


class Counting:
    """Looks at the limits that steps are subject to.

    Args:
        store: Where everything is.
        definitions: Definitions already read.
    """

    def __init__(self, store: Store, definitions: DefinitionCache) -> None:
        self._store = store
        self._definitions = definitions

    async def wait(self, run: RunKey, steps: Collection[int]) -> Wait | None:
        """What the first of some waiting steps waits for under its limits; None: for nothing."""
        gates = [it for it in await self._store.gates(run) if it.step in steps]
        held_back = [gate for gate in gates if gate.held_back]
        # A line that nobody has looked at yet may find no room either.
        for gate in held_back or [it for it in gates if it.worker is None]:
            sentence = await self._sentence(run, gate)
            if sentence is not None:
                return Wait(sentence, (gate.limit.name,))
        return None

    async def _sentence(self, run: RunKey, gate: GateState) -> str | None:
        name = told(gate.limit.name)
        ahead = await self._store.ahead(run, gate.step)
        queue = f"; {ahead} {'is' if ahead == 1 else 'are'} ahead of it" if ahead else ""
        if gate.limit.spacing:
            return f"waits for {name}, which lets one begin every {_length(gate.limit)}{queue}"
        holders = await self._store.holders(gate.limit.name, gate.limit.number)
        if len(holders) < gate.limit.number and not gate.held_back:
            return None
        full = f"{len(holders)} of {gate.limit.number}"
        by = [await self.holder(holder) for holder in holders[:_SHOWN_AT_MOST]]
        more = len(holders) - len(by)
        by += [f"{more} more"] if more > 0 else []
        held = f": held by {' and '.join(by)}" if by else ""
        return f"waits for a place of {name} ({full}){held}{queue}"

    async def holder(self, holder: Holder) -> str:
        """Who holds a place, and since when, for a sentence."""
        record = await self._store.load(holder.run)
        if record is None:
            return repr(holder.run)
        definition = self._definitions.get(record.definition, record.definition_content)
        step = record.steps[holder.step]
        id = definition.steps[holder.step].id or record.id
        what = repr(record.id) if id == record.id else f"{record.id!r}, task {id!r}"
        if step.started_at is None or step.worker is None:
            return f"{what}, which is about to begin"
        return f"{what} since {to_datetime(step.started_at):%Y-%m-%d %H:%M:%S} UTC"


class StoreLimits:
    """The limits that tasks run and wait under, over all workers.

    Args:
        store: Where they are counted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counting = Counting(store, DefinitionCache())

    async def list(self, limit: int = 100) -> Sequence[LimitInfo]:
        """The limits that any task runs or waits under, in order, so many at most."""
        return [await self._info(it) for it in await self._store.limits("", limit)]

    async def _info(self, figures: LimitFigures) -> LimitInfo:
        limit, held, waiting = figures
        kind, _, key = limit.name.partition(":")
        if limit.spacing:
            rate = f"one every {_length(limit)}"
            return LimitInfo(LimitKind(kind), key, None, rate, held, waiting)
        holders = await self._store.holders(limit.name, _SHOWN_AT_MOST)
        by = tuple([await self._counting.holder(holder) for holder in holders])
        return LimitInfo(LimitKind(kind), key, limit.number, None, held, waiting, by)


def _length(limit: Limit) -> str:
    return f"{limit.spacing / 1e6:g} s"
