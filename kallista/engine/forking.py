"""Forks runs: says what is kept and what runs again, and creates the new run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Final

from kallista.core.definitions import ChildSpec, Definition
from kallista.core.events import StepState
from kallista.core.forking import Fork, Kept, before, changed, kept, longest, of_child
from kallista.core.json_text import NULL, from_json
from kallista.core.plain import some
from kallista.core.snapshots import Forked, TaskAgain
from kallista.core.states import FINISHED_RUN, UNDOING, RunKind, TaskStatus, status_after
from kallista.core.types import JsonText, Micros, RunId, StepId
from kallista.engine.active import DefinitionCache
from kallista.engine.facts import Facts
from kallista.engine.nowhere import nothing
from kallista.engine.port import ForkRequest, RunRequest
from kallista.errors import StateError, UsageError
from kallista.store.port import RunRecord, Store

_WORDS: Final[Mapping[RunKind, str]] = {RunKind.WORKFLOW: "task", RunKind.PROCESS: "step"}


class Forker:
    """Makes forks.

    Args:
        store: Where results are.
        definitions: Definitions already read.
        facts: What child runs returned.
        create: Creates a run, which starts.
    """

    def __init__(
        self,
        store: Store,
        definitions: DefinitionCache,
        facts: Facts,
        create: Callable[[RunRequest], Awaitable[RunId]],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._facts = facts
        self._create = create

    async def fork(self, record: RunRecord, request: ForkRequest) -> Forked:
        """Create a fork of a run, or say what it would do.

        Args:
            record: The run, with its steps.
            request: What is wanted.

        Raises:
            UsageError: There is no such step to go on from, or what is changed is kept.
            StateError: The run has still to do what comes before the step, or to undo it.
            NotFoundError: The run is deleted just now, and its results with it.
        """
        source = self._definitions.get(record.definition, record.definition_content)
        definition = request.definition
        task = _position(record, definition, request.task)
        keeps = kept(source, record.steps, definition, task)
        _refuse_unfinished(record, definition, task, keeps)
        _refuse_changes_of(request, [definition.steps[position].id for position in keeps])
        differs = changed(source, definition)
        forked = _preview(record, source, definition, task, keeps, differs)
        if request.dry_run:
            return forked
        fork = Fork(
            source=record.id,
            task=definition.steps[task].id,
            kept=await self._kept(record, source, keeps),
            changed=differs,
            reason=request.reason,
        )
        id = await self._create(
            RunRequest(
                id=request.id,
                definition=definition,
                inputs=request.inputs,
                priority=record.priority,
                tags=record.tags,
                fork=fork,
            )
        )
        return Forked(id, *(getattr(forked, name) for name in forked.__struct_fields__[1:]))

    async def _kept(
        self, record: RunRecord, source: Definition, keeps: Mapping[int, int]
    ) -> tuple[Kept, ...]:
        outcomes = await self._store.outcomes(record.key, list(keeps.values()))
        found: list[Kept] = []
        for position, there in keeps.items():
            status, data = record.steps[there].status, outcomes.get(there, NULL)
            if status is TaskStatus.COMPLETED and there not in outcomes:
                raise await nothing(self._store, record.kind.value, record.id)
            if status is TaskStatus.COMPLETED and isinstance(source.steps[there].work, ChildSpec):
                data = await self._of_child(source, there, data)
            found.append(Kept(position, status, data))
        return tuple(found)

    async def _of_child(self, source: Definition, position: int, outcome: JsonText) -> JsonText:
        results = await self._facts.result(source, position, outcome)
        return of_child(from_json(outcome)["run"], results)


def _position(record: RunRecord, definition: Definition, task: str) -> int:
    """Where the step stands from which on everything is done again. Raises ``UsageError``."""
    word, main = _WORDS[record.kind], definition.steps[: definition.main_count]
    position = definition.position.get(StepId(task))
    if position is None:
        ids = [step.id for step in main]
        near = get_close_matches(str(task), ids, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {some(ids)}"
        raise UsageError(f"{record.kind} {record.id!r} has no {word} {task!r}; {hint}")
    if position >= len(main):
        raise UsageError(
            f"{task!r} of {record.id!r} is done at the end of the run; fork from one of its {word}s"
        )
    return position


def _refuse_unfinished(
    record: RunRecord, definition: Definition, task: int, keeps: Mapping[int, int]
) -> None:
    """What a run is still to do or to undo, or does right now, is not done in two runs at once."""
    if record.head.state in FINISHED_RUN:
        return
    if record.head.ending in UNDOING:
        raise StateError(
            f"{record.kind} {record.id!r} is undoing what it has done; fork it once it is"
            f" {status_after(record.head.ending)}"
        )
    left = [
        definition.steps[position].id
        for position in sorted(before(definition, task))
        if position not in keeps
    ]
    if left:
        raise StateError(
            f"{record.kind} {record.id!r} is {record.status} and has still to complete"
            f" {some(left)}, which {definition.steps[task].id!r} comes after; wait for that, or"
            f" fork from {left[0]!r}"
        )


def _refuse_changes_of(request: ForkRequest, ids: list[StepId]) -> None:
    for id in ids:
        if id in request.changes:
            raise UsageError(
                f"{id!r} is kept and does not run again, so it cannot be changed; fork from"
                f" {id!r}, or leave the change out"
            )


def _preview(
    record: RunRecord,
    source: Definition,
    definition: Definition,
    task: int,
    keeps: Mapping[int, int],
    differs: tuple[StepId, ...],
) -> Forked:
    """What a fork does, and how long that took in the source."""
    specs = definition.steps
    again = [position for position in range(definition.main_count) if position not in keeps]
    took = {
        position: length
        for position in again
        if specs[position].id in source.position
        and (length := _length(record.steps[source.position[specs[position].id]])) is not None
    }
    return Forked(
        id=None,
        source_id=record.id,
        from_task=specs[task].id,
        kept=tuple(specs[position].id for position in keeps),
        again=tuple(
            TaskAgain(
                id=specs[position].id,
                changed=specs[position].id in differs,
                last_seconds=took[position] / 1e6 if position in took else None,
            )
            for position in again
        ),
        estimated_seconds=longest(definition, again, took) / 1e6,
    )


def _length(step: StepState) -> Micros | None:
    """How long a step's last attempt took; None: it has not ended, or never begun."""
    if step.ended_at is None or step.started_at is None:
        return None
    return Micros(max(step.ended_at - step.started_at, 0))
