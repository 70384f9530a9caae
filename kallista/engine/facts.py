"""What a decision must be told that only the store knows: other runs, and earlier results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kallista.core.amounts import Budgets
from kallista.core.commands import (
    BudgetSeen,
    ChildSeen,
    ItemSeen,
    ItemsSeen,
    ParentSeen,
    Stimulus,
)
from kallista.core.definitions import ChildSpec, Definition, MapSpec
from kallista.core.forking import kept_results
from kallista.core.ids import child_id, item_id
from kallista.core.items import items_in
from kallista.core.json_text import NULL, from_json, to_json
from kallista.core.plan import WHOLE_RUN
from kallista.core.run import Run
from kallista.core.states import FINISHED_RUN, EventKind, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import MAX_PAYLOAD_BYTES, Json, JsonText, RunId, RunKey
from kallista.core.wiring import wiring
from kallista.engine.active import DefinitionCache
from kallista.engine.awaited import Awaited
from kallista.store.port import RunRecord, Store


class Facts:
    """Looks things up in the store for runs that are decided on.

    Args:
        store: Where everything is kept.
        definitions: Definitions already read.
        max_payload_bytes: How long the list of what items returned may be, encoded.
    """

    def __init__(
        self, store: Store, definitions: DefinitionCache, max_payload_bytes: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._most = max_payload_bytes
        self.awaited = Awaited(store, definitions, self)

    async def fill_outputs(self, key: RunKey, run: Run) -> None:
        """Bring into memory what expressions of this run read, and how far it is with lists."""
        if run.definition.maps:
            await self._fill_items(key, run)
        missing = wiring(run.definition).read - run.outputs.keys()
        if WHOLE_RUN in missing and run.head.started_at is not None:
            run.outputs[WHOLE_RUN] = await self.awaited.recorded(key)
        wanted = [
            position
            for position in missing - {WHOLE_RUN}
            if run.steps[position].status is TaskStatus.COMPLETED
        ]
        if not wanted:
            return
        outcomes = await self._store.outcomes(key, wanted)
        for position, outcome in outcomes.items():  # none of them where the run is gone meanwhile
            run.outputs[position] = await self.result(run.definition, position, outcome)

    async def fill_inbox(self, key: RunKey, run: Run) -> None:
        """Bring into memory what was sent to this run, if any of its steps may wait for that."""
        if run.definition.asks:
            run.inbox = await self._store.inbox(key)

    async def result(self, definition: Definition, position: int, outcome: JsonText) -> Json:
        """A completed step's result; that of a child run is what its own steps returned."""
        value: Json = from_json(outcome)
        match definition.steps[position].work:
            case ChildSpec():
                told = _told(value)
                kept = kept_results(told)
                return await self.results_of(told["run"]) if kept is None else kept
            case MapSpec():
                result: Json = _told(value)["result"]
                return result
            case _:
                return value

    async def _fill_items(self, key: RunKey, run: Run) -> None:
        wanted = [
            position
            for position in run.definition.maps
            if run.steps[position].outcome is not None and position not in run.items
        ]
        if wanted:
            outcomes = await self._store.outcomes(key, wanted)
            found = {position: items_in(outcomes.get(position)) for position in wanted}
            known = {position: items for position, items in found.items() if items is not None}
            run.items = {**run.items, **known}

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

    async def of_children(
        self, key: RunKey, run: Run, positions: Iterable[int]
    ) -> Sequence[Stimulus]:
        """Where the child runs are that these steps wait for."""
        waiting: dict[RunId, int] = {}
        seen: list[Stimulus] = []
        for position in positions:
            if run.steps[position].status is not TaskStatus.WAITING:
                continue
            spec = run.definition.steps[position]
            if isinstance(spec.work, ChildSpec):
                waiting[RunId(child_id(run.id, spec.id, 0))] = position
            elif isinstance(spec.work, MapSpec) and position in run.items:
                seen.append(await self._of_items(key, run, position, spec.work))
        if not waiting:
            return seen
        heads = await self._store.heads(list(waiting))
        children = [
            await self._child(run, position, heads[id])
            for id, position in waiting.items()
            if id in heads and heads[id].head.state in FINISHED_RUN
        ]
        return [*seen, *children]

    async def _of_items(self, key: RunKey, run: Run, position: int, mapped: MapSpec) -> Stimulus:
        """Which items have ended; one of which something is in flight is still under way."""
        items, step_id = run.items[position], run.definition.steps[position].id
        ids = {RunId(item_id(run.id, step_id, index)): index for index in items.open}
        heads = await self._store.heads(list(ids)) if ids else {}
        ended = [
            await self._item(ids[id], record, mapped)
            for id, record in heads.items()
            if record.head.state in FINISHED_RUN and not record.head.in_flight
        ]
        is_last = len(ended) == len(items.open) and items.begun == items.count and mapped.collect
        earlier = await self._results_of_items(key, position) if is_last else None
        ended.sort(key=lambda item: item.index)
        return ItemsSeen(position, tuple(ended), earlier, self._most)

    async def _item(self, index: int, record: RunRecord, mapped: MapSpec) -> ItemSeen:
        state, attempt = record.head.state, record.head.driven
        if state is not ProcessStatus.COMPLETED:
            return ItemSeen(index, state, attempt, None, await self.why(record.key))
        if not mapped.collect:
            return ItemSeen(index, state, attempt)
        if record.kind is RunKind.TASK:
            result = (await self._store.outcomes(record.key, [0])).get(0, NULL)
        else:
            result = to_json(await self.results_of(record.id))
        return ItemSeen(index, state, attempt, result)

    async def _results_of_items(self, key: RunKey, position: int) -> Mapping[int, JsonText]:
        """What the items of a step returned, as its history tells."""
        found: dict[int, JsonText] = {}
        seq = 0
        while events := await self._store.history(key, seq):
            for event in events:
                if event.step == position and event.kind is EventKind.TASK_ADVANCED:
                    told = from_json(event.data or "{}").get("results", {})
                    found.update((int(index), to_json(value)) for index, value in told.items())
            seq = events[-1].seq + 1
        return found

    async def _child(self, run: Run, position: int, child: RunRecord) -> ChildSeen:
        output: Json = None
        if child.head.state is ProcessStatus.COMPLETED:
            if position in wiring(run.definition).read:
                output = await self.results_of(child.id)
            return ChildSeen(position, child.head.state, child.head.driven, output)
        message = await self.why(child.key)
        return ChildSeen(position, child.head.state, child.head.driven, None, message)

    async def why(self, key: RunKey) -> str:
        """What has failed in a run, in one line; nothing where it is gone."""
        outcomes, record = await self._store.outcomes(key), await self._store.load(key)
        failures = [] if record is None else failures_told(record, outcomes)
        if failures:
            return "; ".join(failures[:3])
        own = from_json(outcomes.get(WHOLE_RUN, NULL))
        return str(own.get("reason", "")) if isinstance(own, dict) else ""

    async def of_parent(self, parent: tuple[RunKey, int] | None) -> Sequence[Stimulus]:
        """Where the run is that started this one, and whether it still waits for it.

        What was deleted had ended, so it waits for nothing.
        """
        if parent is None:
            return []
        key, position = parent
        record = await self._store.load(key)
        if record is None:
            return [ParentSeen(ProcessStatus.CANCELLED, 0, waiting=False, cause=None)]
        step = record.steps[position]
        waiting = step.status is TaskStatus.WAITING
        head = record.head
        still = head.still_since is not None
        return [ParentSeen(head.state, step.attempt, waiting, record.id, head.ending, still)]

    async def of_budget(self, key: RunKey, run: Run) -> Sequence[Stimulus]:
        """What is spent of the budgets that hold for a run, which remembers it."""
        if not run.definition.is_budgeted:
            return []
        lines = await self._store.budgets(key)
        above = (line for line in lines if line.run != run.id and line.share.is_used_up)
        run.budget = Budgets(
            {line.unit: line.share for line in lines if line.run == run.id},
            next(((line.run, line.unit, line.share) for line in above), None),
        )
        return [] if run.budget.allow else [BudgetSeen()]

    async def of_dependencies(self, run: Run) -> Sequence[Stimulus]:
        """Where the processes are that this one waits for, and what it reads of them."""
        if run.head.state is not ProcessStatus.WAITING:
            return []
        return [await self.awaited.seen(run)]


def _told(value: Json) -> dict[str, Any]:
    assert isinstance(value, dict), "what a step that started child runs has completed with"
    return value


def failures_told(record: RunRecord, outcomes: Mapping[int, JsonText]) -> Sequence[str]:
    """What has failed in a run; what its tasks returned may look the same.

    Args:
        record: The run, with its steps.
        outcomes: What ended it and its steps, by position.
    """
    told = [
        from_json(data)
        for position, data in outcomes.items()
        if position == WHOLE_RUN or record.steps[position].status is TaskStatus.FAILED
    ]
    failures = [data for data in told if isinstance(data, dict) and "message" in data]
    return [f"{data['type']}: {data['message']}" for data in failures]
