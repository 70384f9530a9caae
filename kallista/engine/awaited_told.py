"""Says of a process what it waits for, and what that waits for in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kallista.core.definitions import Definition
from kallista.core.dependencies import Verdict, verdict_on
from kallista.core.snapshots import DependencySnapshot
from kallista.core.states import ProcessStatus
from kallista.core.types import RunId
from kallista.engine.active import DefinitionCache
from kallista.engine.awaited import Awaited, states_of
from kallista.store.port import RunRecord, Store

MOST: Final = 100
"""How many processes a tree shows."""

_NOT_STARTED: Final = (ProcessStatus.PENDING, ProcessStatus.WAITING, ProcessStatus.PAUSED)
_FAILED: Final = (ProcessStatus.FAILED, ProcessStatus.CANCELLED)


class AwaitedTold:
    """Puts into words what processes wait for.

    Args:
        store: Where everything is.
        definitions: Definitions already read.
        awaited: Looks at what processes wait for.
    """

    def __init__(self, store: Store, definitions: DefinitionCache, awaited: Awaited) -> None:
        self._store = store
        self._definitions = definitions
        self._awaited = awaited

    async def missing(self, definition: Definition) -> Mapping[RunId, str]:
        """The processes that a definition's run still waits for, each with its story."""
        there, states = await states_of(self._store, definition)
        return {
            id: await self._story(id, there.get(id), state)
            for id, state in states.items()
            if verdict_on(state, definition.policy_on(id)) is Verdict.WAIT
        }

    async def _story(self, id: RunId, head: RunRecord | None, state: ProcessStatus | None) -> str:
        if head is None:
            return f"{id!r}, {await self._absent(id, state)}"
        if state not in _FAILED:
            return f"{id!r}, which is {state}"
        why = await self._awaited.why(head)
        because = f"; it failed because of {why}" if why else ""
        return (
            f"{id!r}, which is {state}: retry it to go on (kallista process retry {id}), or cancel"
            f" this one{because}"
        )

    async def _absent(self, id: RunId, state: ProcessStatus | None) -> str:
        """Why a process that another waits for is not there."""
        if state is not None:
            return f"which was deleted when it was {state}: create it again, or cancel this one"
        other = (await self._store.heads([id])).get(id)
        if other is not None:
            return f"but that is the id of a {other.kind}"
        return "which does not exist yet"

    async def awaited_by(self, id: RunId) -> tuple[RunId, ...]:
        """The processes that wait for one."""
        waiting = await self._store.waiting_for([id])
        runs = [run for awaited, run in waiting if awaited == id]
        heads = await self._store.heads(runs) if runs else {}
        return tuple(sorted(run for run, head in heads.items() if head.head.state in _NOT_STARTED))

    async def tree(self, id: RunId, definition: Definition) -> tuple[DependencySnapshot, ...]:
        """What a process waits for, and what that waits for in turn; of very many the first."""
        found: list[DependencySnapshot] = []
        await self._grow(found, id, definition, 1)
        return tuple(found)

    async def _grow(
        self, found: list[DependencySnapshot], by: RunId, definition: Definition, depth: int
    ) -> None:
        there, states = await states_of(self._store, definition)
        for id, state in states.items():
            if len(found) == MOST:
                return
            is_told = any(other.id == id for other in found)
            policy = definition.policy_on(id)
            found.append(DependencySnapshot(id, state, policy, by, depth))
            head = there.get(id)
            if head is not None and head.head.started_at is None and not is_told:
                known = self._definitions.get(head.definition, head.definition_content)
                await self._grow(found, id, known, depth + 1)
