"""What a process learns of those it waits for: where they are, and what it reads of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from kallista.core.commands import DependenciesSeen
from kallista.core.definitions import Definition
from kallista.core.dependencies import Verdict, standing
from kallista.core.ids import is_id
from kallista.core.json_text import from_json
from kallista.core.outcomes import Failure
from kallista.core.parsing.dependencies import unknown_steps
from kallista.core.run import Run
from kallista.core.states import EventKind, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Json, JsonText, RunId, RunKey, StepId
from kallista.core.wiring import RESULTS, STATUS, wiring
from kallista.engine.active import DefinitionCache
from kallista.store.circles import circle_text, find_circle
from kallista.store.port import RunRecord, Store

_PAGE: Final = 10

Read = Mapping[RunId, frozenset[StepId] | None]
"""The processes that are read, each with the steps whose results are; None: all."""


class Results(Protocol):
    """What is known of results."""

    async def result(self, definition: Definition, position: int, outcome: JsonText) -> Json:
        """A completed step's result."""
        ...

    async def why(self, key: RunKey) -> str:
        """What has failed in a run, in one line."""
        ...


class Awaited:
    """Looks at the processes that another one waits for.

    Args:
        store: Where everything is.
        definitions: Definitions already read.
        results: Knows what steps returned.
    """

    def __init__(self, store: Store, definitions: DefinitionCache, results: Results) -> None:
        self._store = store
        self._definitions = definitions
        self._results = results

    async def seen(self, run: Run) -> DependenciesSeen:
        """Where the processes are that a WAITING one waits for, and what it reads of them."""
        definition = run.definition
        there, states = await states_of(self._store, definition)
        verdict, because_of = standing(states, definition.dependency_policies)
        if verdict is Verdict.FAIL:
            reasons = {id: await self.why(there[id]) for id in because_of if id in there}
            return DependenciesSeen(states, reasons=reasons)
        if verdict is Verdict.WAIT:
            return DependenciesSeen(states, failure=await self._circle(run.id))
        return await self._read(definition, there, states)

    async def why(self, head: RunRecord) -> str:
        """What has failed in a process, in one line."""
        return await self._results.why(head.key)

    async def recorded(self, run: RunKey) -> Json:
        """What a process has found of those it waited for, as its history tells."""
        at = 0
        while events := await self._store.history(run, at, _PAGE):
            for event in events:
                if event.kind is EventKind.RUN_STARTED:
                    told = {} if event.data is None else from_json(event.data)
                    found: Json = told.get("processes")
                    return found
            at += len(events)
        return None

    async def problems(
        self, reader: Definition, made_with: Mapping[RunId, Definition]
    ) -> Sequence[str]:
        """What a process reads of others that will never be there, as far as those are known.

        Args:
            reader: Who reads.
            made_with: What is created together with it, by its id.
        """
        read = wiring(reader).others
        if not any(steps for steps in read.values()):
            return []
        heads = await self._store.heads([id for id in read if id not in made_with])
        known = {
            id: self._definition(head) for id, head in heads.items() if head.kind is RunKind.PROCESS
        }
        known |= {id: made_with[id] for id in read if id in made_with}
        return [problem for id in known for problem in unknown_steps(reader, id, known[id])]

    async def _read(
        self,
        definition: Definition,
        there: Mapping[RunId, RunRecord],
        states: Mapping[RunId, ProcessStatus | None],
    ) -> DependenciesSeen:
        read = wiring(definition).others
        if not read:
            return DependenciesSeen(states)
        values: dict[str, Json] = {}
        problems: list[str] = []
        for id, steps in read.items():
            results: dict[str, Json] | None = dict.fromkeys(sorted(steps or ()))
            if states[id] is ProcessStatus.COMPLETED and (steps is None or steps):
                if id in there:
                    problems += unknown_steps(definition, id, self._definition(there[id]))
                results = await self._results_of(there.get(id), steps)
                if results is None:
                    problems.append(
                        f"process {id!r} was deleted after it had COMPLETED, and its results with"
                        " it; create and run it again, then retry this one"
                    )
            values[id] = {STATUS: str(states[id]), RESULTS: results}
        if problems:
            failure = Failure("DependencyNotReadable", "; ".join(problems), None, ())
            return DependenciesSeen(states, failure=failure)
        return DependenciesSeen(states, values)

    async def _results_of(
        self, head: RunRecord | None, wanted: frozenset[StepId] | None
    ) -> dict[str, Json] | None:
        """What the steps of a process returned, null where they did not; None: it is gone."""
        record = None if head is None else await self._store.load(head.key)
        if record is None:
            return None
        definition = self._definition(record)
        positions = {
            definition.steps[position].id: position
            for position in range(definition.main_count)
            if wanted is None or definition.steps[position].id in wanted
        }
        outcomes = await self._store.outcomes(record.key, list(positions.values()))
        results: dict[str, Json] = dict.fromkeys(sorted(wanted or ()))
        for id, position in positions.items():
            if record.steps[position].status is TaskStatus.COMPLETED and position in outcomes:
                results[id] = await self._results.result(definition, position, outcomes[position])
        return results

    async def _circle(self, id: RunId) -> Failure | None:
        """Whether a run that nobody created, a child or a firing, waits for itself.

        Whoever creates one has been told so.
        """
        if is_id(id):
            return None
        waiting: dict[RunId, dict[RunId, None]] = {}
        for awaited, run in await self._store.waiting_for([id]):
            waiting.setdefault(awaited, {})[run] = None
        circle = find_circle([id], waiting)
        return Failure("DependencyCycle", circle_text(circle), None, ()) if circle else None

    def _definition(self, record: RunRecord) -> Definition:
        return self._definitions.get(record.definition, record.definition_content)


async def states_of(
    store: Store, definition: Definition
) -> tuple[Mapping[RunId, RunRecord], Mapping[RunId, ProcessStatus | None]]:
    """The processes that the runs of a definition wait for, and where they are, gone ones too.

    Args:
        store: Where they are looked for.
        definition: Who waits.

    Returns:
        Those that are there, and the state of each; None: there is no such process.
    """
    heads = await store.heads(list(definition.dependencies))
    there = {id: head for id, head in heads.items() if head.kind is RunKind.PROCESS}
    states: dict[RunId, ProcessStatus | None] = {}
    for id in definition.dependencies:
        if id in heads:
            states[id] = there[id].head.state if id in there else None
        else:
            gone = await store.tombstone(id)
            was_process = gone is not None and gone.kind is RunKind.PROCESS
            states[id] = ProcessStatus(gone.status) if gone and was_process else None
    return there, states
