"""What is promised of every run that is remembered, looked at from outside, as an auditor does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from kallista.core.amounts import COUNTED
from kallista.core.decide.order import stands_behind
from kallista.core.definitions import ChildSpec, Definition, MapSpec, Phase, TaskSpec
from kallista.core.dependencies import Verdict, standing
from kallista.core.events import Event, RunHead, StepState
from kallista.core.ids import child_id, item_id
from kallista.core.items import items_in
from kallista.core.limits import told as limit_told
from kallista.core.plan import WAKE, WHOLE_RUN, Entry, Failing, alone, lane
from kallista.core.redefining import followed
from kallista.core.snapshots import Replay
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, HEARD, ProcessStatus, TaskStatus
from kallista.core.types import Micros, RunId, RunKey, StepId, TaskType
from kallista.engine.active import DefinitionCache, has_begun
from kallista.engine.awaited import states_of
from kallista.errors import StateError
from kallista.store.port import RunRecord, Store

HISTORY_PAGE: Final = 1000
_FAILED: Final = TaskStatus.FAILED
UNFOLDABLE: Final = (StateError, ValueError, KeyError, IndexError, TypeError)
"""What folding a history raises that breaks the law, or is damaged."""

LOOKS: Final = 3
"""How often a run is looked at that seems broken: it may have moved on meanwhile."""


class Promises:
    """Looks whether a run is as it has to be.

    Args:
        store: Where everything is.
        definitions: Definitions already read.
    """

    def __init__(self, store: Store, definitions: DefinitionCache) -> None:
        self._store = store
        self._definitions = definitions

    async def broken(self, run: RunKey) -> Sequence[str]:
        """Which promises are broken of a run, a sentence each; workers may go on meanwhile.

        Args:
            run: Its key; one that is gone has no problems.
        """
        for _ in range(LOOKS):
            record = await self._store.load(run)
            if record is None:
                return ()
            problems = [problem async for problem in self._of(record)]
            if not problems:
                return ()
            again = await self._store.load(run)
            if again is not None and again.version == record.version:
                what = f"{record.kind} {record.id!r}"
                return [f"{what}: {problem}" for problem in problems]
        return ()  # whatever moves so fast is driven by somebody

    async def replayed(self, run: RunRecord) -> Replay:
        """What the history of a run leads to; workers may go on meanwhile."""
        for _ in range(LOOKS):
            events = await self._history(run.key)
            again = await self._store.load(run.key)
            if again is None or again.version == run.version:
                break
            run = again
        definition = self._definitions.get(run.definition, run.definition_content)
        told = next(told_otherwise(run, definition, events[: run.head.seq]), None)
        return Replay(run.id, run.status, len(events), told)

    async def _of(self, record: RunRecord) -> AsyncIterator[str]:
        try:
            definition = self._definitions.get(record.definition, record.definition_content)
        except Exception as error:  # whatever a damaged text may lead to
            yield f"its definition cannot be read ({type(error).__name__}: {error})"
            return
        if len(definition.steps) != len(record.steps):
            yield f"it has {len(record.steps)} steps, and its definition {len(definition.steps)}"
            return
        events = await self._history(record.key)
        otherwise = list(told_otherwise(record, definition, events))
        for problem in otherwise:
            yield problem
        if not otherwise and (
            await self._store.failures(record.key) != _failures(record, definition, events)
        ):
            yield "what is listed of its failures is not what its history tells of them"
        spent = await self._store.spent(record.key) if definition.budget else {}
        for line in await self._store.budgets(record.key) if definition.budget else ():
            if line.run == record.id and line.share.spent < min(spent.get(line.unit, 0), COUNTED):
                yield f"less of its budget of {line.unit!r} counts as spent than it has spent"
        if definition.asks:
            async for problem in self._inbox(record, definition):
                yield problem
        async for problem in self._stuck(record, definition):
            yield problem
        for heard in await self._store.heartbeats([record.key]):
            step = record.steps[heard.step]
            if step.status not in HEARD or heard.heartbeat.attempt > step.attempt:
                id = step_id(definition, heard.step, record)
                yield f"a heartbeat is kept of its step {id!r}, which is {step.status}"

    async def _inbox(self, record: RunRecord, definition: Definition) -> AsyncIterator[str]:
        """Signals and questions that are not where history left them, or never come together."""
        inbox = await self._store.inbox(record.key)
        history = await self._history(record.key)
        with suppress(*UNFOLDABLE):  # that is told already
            told = followed(record.id, record.priority, definition, history).run.inbox
            for what, stored, meant in (
                ("signals", inbox.signals, told.signals),
                ("open questions", inbox.asked, told.asked),
            ):
                if stored != meant:
                    yield f"its {what} are {sorted(stored)}, and by its history {sorted(meant)}"
        kept = {signal.name for signal in inbox.kept}
        for position, asked in inbox.asked.items():
            id = step_id(definition, position, record)
            if record.steps[position].status is not TaskStatus.WAITING:
                yield f"its step {id!r} asks something and is {record.steps[position].status}"
            if asked.question.signal in kept:
                yield f"its step {id!r} waits for {asked.question.signal!r}, which is there"

    async def _history(self, run: RunKey) -> Sequence[Event]:
        events: list[Event] = []
        while page := await self._store.history(run, len(events), HISTORY_PAGE):
            events.extend(page)
        return events

    async def _stuck(self, record: RunRecord, definition: Definition) -> AsyncIterator[str]:
        """What nothing would wake. Whoever drives a run knows of it, and who died is noticed."""
        if record.owner is not None:
            return
        running = [step for step in record.steps if step.status is TaskStatus.RUNNING]
        if running:
            yield f"{len(running)} of its steps are RUNNING, and no worker drives it"
        state = record.head.state
        expires = definition.expires
        expires_at = None if expires is None else expires.moment(record.created_at)
        may_expire = expires_at is not None and record.head.ending is None and not has_begun(record)
        if state in FINISHED_RUN or (state is ProcessStatus.PENDING and not may_expire):
            return
        lines = await self._store.lines(record.key)
        deadline = record.head.deadline_at
        looks = [line for line in lines if (line.type, line.step) == (WAKE, WHOLE_RUN)]
        if any(line.ready_at not in (deadline, expires_at) for line in looks):
            return  # whoever claims it looks at all of it
        if may_expire and expires_at not in [line.ready_at for line in looks]:
            yield "nothing would end it when it expires"
        if state is ProcessStatus.PENDING:
            return
        # Being wound up, it is over as far as that goes; and no moment comes to what stands still.
        counts = record.head.ending is None and record.head.still_since is None
        if deadline is not None and counts and not _queued(lines, WAKE, WHOLE_RUN, deadline):
            yield "nothing would end it at its deadline"
        if state is ProcessStatus.WAITING:
            async for problem in self._unheard(record, definition):
                yield problem
        if state in ACTIVE_RUN and not _goes_on(record, definition):
            yield "all its steps are over, and nothing would end it"
        lent = {loan.step for loan in await self._store.loans(record.key)}
        for gate in await self._store.gates(record.key) if definition.limited else ():
            if gate.worker is not None and gate.step not in lent:
                id = step_id(definition, gate.step, record)
                limit = limit_told(gate.limit.name)
                yield f"its step {id!r} holds a place of {limit}, and does not run"
        for position, step in enumerate(record.steps):
            if position not in lent and not await self._moves(record, definition, position, lines):
                id = step_id(definition, position, record)
                yield f"nothing would wake its step {id!r}, which is {step.status}"

    async def _unheard(self, record: RunRecord, definition: Definition) -> AsyncIterator[str]:
        """Processes that it waits for, but whose ends would not wake it."""
        _, states = await states_of(self._store, definition)
        if standing(states, definition.dependency_policies).verdict is not Verdict.WAIT:
            yield "it waits, although nothing that it waits for keeps it"
        awaited = await self._store.awaited(record.key)
        for id, state in states.items():
            if state is not ProcessStatus.COMPLETED and id not in awaited:
                yield f"it waits for process {id!r}, whose end would not wake it"

    async def _moves(
        self, record: RunRecord, definition: Definition, position: int, lines: Sequence[Entry]
    ) -> bool:
        """Whether a step of an unfinished run is over, or something will go on with it."""
        step, spec = record.steps[position], definition.steps[position]
        if step.status is TaskStatus.WAITING:
            if step.ready_at is not None:
                still = record.head.still_since is not None
                return still or _queued(lines, WAKE, position, step.ready_at)
            if isinstance(spec.work, MapSpec):
                return await self._items_move(record, spec.id, position, lines)
            if isinstance(spec.work, ChildSpec):
                id = RunId(child_id(record.id, spec.id, 0))
                return await self._child_moves(record, id, position, lines)
            return position in (await self._store.inbox(record.key)).asked
        if step.status is not TaskStatus.SCHEDULED or record.head.state not in ACTIVE_RUN:
            return True
        if step.ready_at is None and spec.phase is not Phase.MAIN:
            return True  # its turn comes at the end, if at all
        if step.ready_at is None:
            return stands_behind(definition, position, record.steps.__getitem__)
        if not isinstance(spec.work, TaskSpec):
            return True
        return _queued(lines, waits_in(spec.work, step), position, step.ready_at)

    async def _items_move(
        self, record: RunRecord, step: StepId, position: int, lines: Sequence[Entry]
    ) -> bool:
        """Whether each item that has begun is under way, and others will begin."""
        items = items_in((await self._store.outcomes(record.key, [position])).get(position))
        if items is None:
            return False
        if not items.open and record.head.state is not ProcessStatus.PAUSED:
            return _queued(lines, WAKE, position, Micros(0))
        ids = [RunId(item_id(record.id, step, index)) for index in items.open]
        return all([await self._child_moves(record, id, position, lines) for id in ids])

    async def _child_moves(
        self, record: RunRecord, id: RunId, position: int, lines: Sequence[Entry]
    ) -> bool:
        """Whether a child of a step is under way, or its parent is about to learn of its end."""
        child = (await self._store.heads([id])).get(id)
        if child is None:
            return False
        if child.head.state not in FINISHED_RUN or record.head.state is ProcessStatus.PAUSED:
            return True
        if (
            child.owner is not None
            or child.head.in_flight
            or _queued(lines, WAKE, position, Micros(0))
        ):
            return True
        return _queued(await self._store.lines(child.key), WAKE, WHOLE_RUN, Micros(0))


def told_otherwise(
    record: RunRecord, definition: Definition, events: Sequence[Event]
) -> Iterator[str]:
    """Where a run's history tells another story than its state.

    Args:
        record: The run with its steps.
        definition: What it runs.
        events: Its whole history.
    """
    numbers = [event.seq for event in events]
    if numbers != list(range(len(events))):
        missing = next(seq for seq, number in enumerate([*numbers, None]) if seq != number)
        yield f"its history has a gap at event {missing}"
        return
    try:
        folded, _ = followed(record.id, record.priority, definition, events)
    except UNFOLDABLE as error:
        yield f"its history cannot be followed ({error})"
        return
    if folded.head != record.head:
        yield (
            f"its state is {_head(record.head)}, and by its history it would be"
            f" {_head(folded.head)}"
        )
    for position, (stored, told) in enumerate(zip(record.steps, folded.steps, strict=True)):
        if stored != told:
            yield (
                f"its step {step_id(definition, position, record)!r} is {_step(stored)}, and by its"
                f" history it would be {_step(told)}"
            )


def _failures(
    record: RunRecord, definition: Definition, events: Sequence[Event]
) -> Mapping[int, Failing]:
    """What of a run has failed, by its history."""
    head = record.head
    if head.outcome is None and all(step.status is not _FAILED for step in record.steps):
        return {}
    _, failures = followed(record.id, record.priority, definition, events)
    return {at: failing for at, failing in failures.items() if failing is not None}


def _goes_on(record: RunRecord, definition: Definition) -> bool:
    """Whether a run has anything left to do, or still undoes or ends something."""
    main = record.steps[: definition.main_count]
    last = record.steps[definition.main_count :]
    if any(step.ended_at is None for step in main):
        return True
    return record.head.ending is not None and any(map(is_under_way, last))


def is_under_way(step: StepState) -> bool:
    """Whether a step is executed, sleeps, or waits in the queue."""
    waits = step.status is TaskStatus.SCHEDULED and step.ready_at is not None
    return waits or step.status in (TaskStatus.RUNNING, TaskStatus.WAITING)


def step_id(definition: Definition, position: int, record: RunRecord) -> str:
    """What a step is called; that of a single task is called as its run is."""
    return definition.steps[position].id or record.id


def waits_in(task: TaskSpec, step: StepState) -> TaskType:
    """The lane in which a task waits for a worker."""
    served = lane(task.type, task.queue)
    return alone(served) if task.is_suspect(step.crashes) else served


def _queued(lines: Sequence[Entry], type: TaskType, step: int, ready_at: Micros) -> bool:
    wanted = (type, step, ready_at)
    return any((line.type, line.step, line.ready_at) == wanted for line in lines)


def _head(head: RunHead) -> str:
    """What tells two heads apart, for a sentence."""
    return f"{head.state} after {head.seq} events with {head.in_flight} in flight ({_facts(head)})"


def _step(step: StepState) -> str:
    """What tells two steps apart, for a sentence."""
    return f"{step.status} at attempt {step.attempt} ({_facts(step)})"


def _facts(state: RunHead | StepState) -> str:
    """All that is known of it besides."""
    return ", ".join(
        f"{name} {value}"
        for name in state.__struct_fields__
        if name not in ("state", "status", "seq", "in_flight", "attempt")
        and (value := getattr(state, name)) not in (None, False, 0)
    )
