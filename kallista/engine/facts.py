"""What a decision must be told that only the store knows: other runs, and earlier results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kallista.core.commands import ChildSeen, DependenciesSeen, ParentSeen, Stimulus
from kallista.core.definitions import ChildSpec, Definition
from kallista.core.forking import kept_results
from kallista.core.ids import child_id
from kallista.core.json_text import from_json
from kallista.core.plan import WHOLE_RUN
from kallista.core.run import Run
from kallista.core.states import FINISHED_RUN, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Json, JsonText, RunId, RunKey
from kallista.core.wiring import wiring
from kallista.engine.active import DefinitionCache
from kallista.store.port import RunRecord, Store


class Facts:
    """Looks things up in the store for runs that are decided on.

    Args:
        store: Where everything is kept.
        definitions: Definitions already read.
    """

    def __init__(self, store: Store, definitions: DefinitionCache) -> None:
        self._store = store
        self._definitions = definitions

    async def fill_outputs(self, key: RunKey, run: Run) -> None:
        """Bring the results into memory that expressions of this run read."""
        wanted = [
            position
            for position in wiring(run.definition).read
            if run.steps[position].status is TaskStatus.COMPLETED and position not in run.outputs
        ]
        if not wanted:
            return
        outcomes = await self._store.outcomes(key, wanted)
        for position in wanted:
            run.outputs[position] = await self.result(
                run.definition, position, outcomes.get(position, JsonText("null"))
            )

    async def result(self, definition: Definition, position: int, outcome: JsonText) -> Json:
        """A completed step's result; that of a child run is what its own steps returned."""
        if isinstance(definition.steps[position].work, ChildSpec):
            told = from_json(outcome)
            kept = kept_results(told)
            return await self.results_of(told["run"]) if kept is None else kept
        value: Json = from_json(outcome)
        return value

    async def results_of(self, id: RunId) -> Json:
        """What the completed steps of a run returned, by their ids."""
        record = await self._store.load(id)
        if record is None:
            return None
        definition = self._definitions.get(record.definition, record.definition_content)
        outcomes = await self._store.outcomes(record.key)
        return {
            definition.steps[position].id: await self.result(
                definition, position, outcomes[position]
            )
            for position, step in enumerate(record.steps[: definition.main_count])
            if step.status is TaskStatus.COMPLETED and position in outcomes
        }

    async def of_children(self, run: Run, positions: Iterable[int]) -> Sequence[Stimulus]:
        """Where the child runs are that these steps wait for."""
        waiting = {
            RunId(child_id(run.id, run.definition.steps[position].id, 0)): position
            for position in positions
            if run.steps[position].status is TaskStatus.WAITING
            and isinstance(run.definition.steps[position].work, ChildSpec)
        }
        if not waiting:
            return []
        heads = await self._store.heads(list(waiting))
        return [
            await self._child(run, position, heads[id])
            for id, position in waiting.items()
            if id in heads and heads[id].head.state in FINISHED_RUN
        ]

    async def _child(self, run: Run, position: int, child: RunRecord) -> ChildSeen:
        output: Json = None
        if child.head.state is ProcessStatus.COMPLETED:
            if position in wiring(run.definition).read:
                output = await self.results_of(child.id)
            return ChildSeen(position, child.head.state, child.head.driven, output)
        outcomes = await self._store.outcomes(child.key)
        reasons = [data for data in map(from_json, outcomes.values()) if _is_failure(data)]
        message = "; ".join(f"{data['type']}: {data['message']}" for data in reasons[:3])
        own = from_json(outcomes.get(WHOLE_RUN, JsonText("null")))
        if not message and isinstance(own, dict):
            message = str(own.get("reason", ""))
        return ChildSeen(position, child.head.state, child.head.driven, None, message)

    async def of_parent(self, parent: tuple[RunKey, int] | None) -> Sequence[Stimulus]:
        """Where the run is that started this one, and whether it still waits for it."""
        if parent is None:
            return []
        key, position = parent
        record = await self._store.load(key)
        if record is None:
            return []
        step = record.steps[position]
        waiting = step.status is TaskStatus.WAITING
        head = record.head
        still = head.still_since is not None
        return [ParentSeen(head.state, step.attempt, waiting, record.id, head.ending, still)]

    async def of_dependencies(self, run: Run) -> Sequence[Stimulus]:
        """Where the processes are that this one waits for."""
        if run.head.state is not ProcessStatus.WAITING:
            return []
        wanted = run.definition.dependencies
        heads = await self._store.heads(list(wanted))
        there = {id: head.head.state for id, head in heads.items() if head.kind is RunKind.PROCESS}
        return [DependenciesSeen({id: there.get(id) for id in wanted})]


def _is_failure(data: object) -> bool:
    return isinstance(data, dict) and "type" in data and "message" in data
