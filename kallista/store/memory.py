"""The executable model of a store: plain dictionaries that show what each method means.

It forgets everything when the program ends. Every write happens at once, so futures are done when
they are returned.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from kallista.core.amounts import Share, Spent
from kallista.core.events import Event, Heartbeat, StepState
from kallista.core.inbox import EMPTY_INBOX, Inbox, InboxChanges
from kallista.core.plan import (
    WAKE,
    WHOLE_RUN,
    Entry,
    Failing,
    Failures,
    Grant,
    NewRun,
    Ownership,
    Plan,
    Redefinition,
    SameKey,
    is_alone,
)
from kallista.core.schedules import Firing, Schedule
from kallista.core.states import ProcessStatus, RunKind, ScheduleStatus, TaskStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import (
    ConflictError,
    KallistaError,
    LeaseLost,
    NotFoundError,
    StateError,
    StoreError,
)
from kallista.store.admission import admit
from kallista.store.births import First
from kallista.store.circles import Waits
from kallista.store.conflicts import (
    id_conflict,
    loan_gone,
    not_counted,
    schedule_conflict,
    worker_gone,
)
from kallista.store.holders import NOBODY
from kallista.store.lines import Line
from kallista.store.memory_gates import Gates, HeldLine
from kallista.store.port import (
    COUNTED,
    NEW_EPOCH,
    NEW_VERSION,
    WAKES_AT_ONCE,
    ApprovalFilter,
    Begin,
    BrokenLink,
    BudgetLine,
    Claim,
    ClaimedEntry,
    ClaimRequest,
    Committed,
    Created,
    FailedStep,
    FailureFilter,
    Figures,
    GateState,
    Heard,
    Holder,
    LimitFigures,
    Loan,
    OldRun,
    OpenApproval,
    RunFilter,
    RunRecord,
    SpendingFilter,
    Sum,
    Tombstone,
    Waiting,
    WorkerRecord,
)

_T = TypeVar("_T")

_NEW_STEP = StepState()


class _Line(NamedTuple):
    """A line of the queue, in the order in which lines are served."""

    rank: int
    ready_at: Micros
    run: RunKey
    step: int
    type: TaskType

    @property
    def entry(self) -> Entry:
        return Entry(self.type, -self.rank, self.ready_at, self.step)

    @property
    def place(self) -> tuple[RunKey, int]:
        return self.run, self.step


def _laid(line: Line) -> _Line:
    """How a line that was met lies in the queue."""
    return _Line(line.rank, line.ready_at, *line.place, line.type)


def _line(run: RunKey, entry: Entry) -> _Line:
    return _Line(-entry.priority, entry.ready_at, run, entry.step, entry.type)


@dataclass(slots=True)
class MemoryState:
    """What several memory stores share, as programs share a file.

    Args:
        runs: All runs, the oldest first.
        keys: Their keys by id.
        events: Their histories.
        waits: For each awaited id the runs that want to be woken.
        queue: All lines.
        loans: All loans, each with the line that was taken for it.
        failures: What of each run has failed, by the position of the step.
        spent: What attempts have spent, by run, step, attempt and line.
        budgets: The limits of each run's budgets, by unit.
        same: The runs that keys stand for, and what makes other requests the same.
        heartbeats: What attempts have said of themselves, by run and step.
        inboxes: What was sent to runs, and what their steps wait for.
        gates: What some lines have to pass, and what is counted.
        alive: The workers whose stores are open.
    """

    runs: dict[RunKey, RunRecord] = field(default_factory=dict)
    keys: dict[RunId, RunKey] = field(default_factory=dict)
    events: dict[RunKey, list[Event]] = field(default_factory=dict)
    waits: dict[RunId, set[RunKey]] = field(default_factory=dict)
    queue: set[_Line] = field(default_factory=set)
    loans: dict[tuple[RunKey, int], tuple[Loan, _Line]] = field(default_factory=dict)
    failures: dict[RunKey, dict[int, Failing]] = field(default_factory=dict)
    spent: dict[tuple[RunKey, int, int, int], Spent] = field(default_factory=dict)
    budgets: dict[RunKey, dict[str, int]] = field(default_factory=dict)
    same: dict[tuple[str, str], tuple[RunKey, SameKey]] = field(default_factory=dict)
    heartbeats: dict[tuple[RunKey, int], Heartbeat] = field(default_factory=dict)
    inboxes: dict[RunKey, Inbox] = field(default_factory=dict)
    gates: Gates = field(default_factory=Gates)
    tombstones: dict[RunId, Tombstone] = field(default_factory=dict)
    definitions: dict[tuple[RunKind, str], JsonText] = field(default_factory=dict)
    schedules: dict[ScheduleId, Schedule] = field(default_factory=dict)
    workers: dict[WorkerKey, WorkerRecord] = field(default_factory=dict)
    alive: set[WorkerKey] = field(default_factory=set)
    schemas: dict[TaskType, JsonText] = field(default_factory=dict)
    run_keys: Iterator[int] = field(default_factory=lambda: count(1))
    worker_keys: Iterator[int] = field(default_factory=lambda: count(1))
    handles: list[MemoryStore] = field(default_factory=list)
    writes: int = 0


class MemoryStore:
    """A store for tests and for trying things out.

    Args:
        state: What other stores see too; None: a state of its own.
    """

    def __init__(self, state: MemoryState | None = None) -> None:
        self._state = MemoryState() if state is None else state
        self._worker: WorkerKey | None = None
        self._open = False
        self._seen = 0
        self._ring: Callable[[], None] | None = None

    async def open(self) -> None:
        """See the port."""
        self._open = True
        self._seen = self._state.writes
        self._state.handles.append(self)

    def hurry(self) -> None:
        """See the port."""

    async def close(self) -> None:
        """See the port."""
        self._open = False
        if self in self._state.handles:
            self._state.handles.remove(self)
        if self._worker is not None:
            self._state.alive.discard(self._worker)
            self._worker = None

    # runs

    def create(self, run: NewRun) -> asyncio.Future[Created]:
        """See the port."""
        return self._write(lambda: self._create_all([run])[0])

    def create_all(self, runs: Sequence[NewRun]) -> asyncio.Future[Sequence[Created]]:
        """See the port."""
        return self._write(lambda: self._create_all(runs))

    def _create_all(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        first: dict[RunId, NewRun] = {}
        for run in runs:
            self._check(run)
            earlier = first.setdefault(run.id, run)
            if (earlier.kind, earlier.content) != (run.kind, run.content):
                raise ConflictError(id_conflict(run, earlier.kind, earlier.name))
        self._refuse_circles(list(first.values()))
        return [self._create(run) for run in runs]

    def _refuse_circles(self, runs: Sequence[NewRun]) -> None:
        known = self._state.keys
        new = [
            run
            for run in runs
            if run.waits_for and run.id not in known and self._first(run) is None
        ]
        Waits(self._waiting_for([run.id for run in new])).add(new)

    def _create(self, run: NewRun) -> Created:
        self._check(run)
        key = self._state.keys.get(run.id)
        if key is not None:
            return Created(key, new=False)
        first = self._first(run)
        if first is not None:
            return Created(first.key, new=False, id=first.id)
        return Created(self._insert(run), new=True)

    def _first(self, run: NewRun) -> First | None:
        """The run that is the answer instead of one that asks for the same."""
        state, same = self._state, run.same
        key, there = state.same.get((same.scope, same.key), (None, None)) if same else (None, None)
        if key is None or there is None:
            return None
        record = state.runs[key]
        first = First(key, record.id, there.until, record.head.state)
        return first if first.answers(run.created_at) else None

    def _check(self, run: NewRun) -> None:
        """Whether the run may be created, or is there already."""
        key = self._state.keys.get(run.id)
        if key is not None:
            there = self._state.runs[key]
            if (there.kind, there.content) != (run.kind, run.content):
                raise ConflictError(id_conflict(run, there.kind, there.name))
            return
        if run.parent is not None and run.parent[0] not in self._state.runs:
            raise NotFoundError(f"the run that was to start {run.id!r} is gone; it was deleted")
        self._check_worker(run.owner)

    def _check_worker(self, worker: WorkerKey | None) -> None:
        if worker is not None and worker not in self._state.workers:
            raise LeaseLost(worker_gone(worker))

    def _insert(self, run: NewRun) -> RunKey:
        state = self._state
        parent = None if run.parent is None else state.runs[run.parent[0]]
        key = RunKey(next(state.run_keys))
        state.runs[key] = RunRecord(
            key=key,
            id=run.id,
            kind=run.kind,
            name=run.name,
            status=_status(run.kind, run.steps, run.head.state),
            definition=run.definition,
            definition_content=run.definition_content,
            content=run.content,
            inputs=run.inputs,
            parent=run.parent,
            parent_id=None if parent is None else parent.id,
            root=key if parent is None else parent.root,
            schedule=run.schedule,
            priority=run.priority,
            tags=run.tags,
            created_at=run.created_at,
            owner=run.owner,
            epoch=0 if run.owner is None else NEW_EPOCH,
            version=NEW_VERSION,
            head=run.head,
            steps=run.steps,
            forked_from=run.forked_from,
        )
        state.keys[run.id] = key
        state.events[key] = list(run.events)
        state.tombstones.pop(run.id, None)
        state.queue.update(_line(key, entry) for entry in run.enqueue)
        state.gates.close(key, run.gates)
        for awaited in run.waits_for:
            state.waits.setdefault(awaited, set()).add(key)
        self._note_failures(key, run.failures)
        if run.budget:
            state.budgets[key] = dict(run.budget)
        if run.same is not None:
            state.same[run.same.scope, run.same.key] = key, run.same
            self._forget_old(run.created_at)
        return key

    def _forget_old(self, now: Micros) -> None:
        """Each new key takes two with it whose time is over, so that they don't pile up."""
        same = self._state.same
        old = sorted((known.until, at) for at, (_, known) in same.items() if known.until <= now)
        for _, at in old[:2]:
            del same[at]

    def _note_failures(self, run: RunKey, failures: Failures) -> None:
        there = self._state.failures
        for step, failing in failures:
            if failing is not None:
                there.setdefault(run, {})[step] = failing
            elif there.get(run, {}).pop(step, None) is not None and not there[run]:
                del there[run]

    def _insert_unless_there(self, run: NewRun) -> None:
        if run.id not in self._state.keys:
            self._insert(run)

    def commit(self, plan: Plan) -> asyncio.Future[Committed]:
        """See the port."""
        return self._write(lambda: self._commit(plan))

    def _commit(self, plan: Plan) -> Committed:
        state = self._state
        run = state.runs.get(plan.run)
        if run is None:
            raise NotFoundError(f"run {plan.run} is gone; it was deleted")
        fence = plan.fence
        if fence.version != run.version or fence.epoch not in (None, run.epoch):
            raise LeaseLost(f"run {run.id!r} has moved on to version {run.version}")
        if plan.ownership is not None:
            self._check_worker(plan.ownership.worker)
        for grant in plan.lend:
            self._check_wish(plan.run, grant)
        if plan.redefine is not None:
            run = _redefined(run, plan.redefine)
        for step, worker in () if plan.gates is None else plan.gates.begun:
            gate = state.gates.of.get((plan.run, step))
            if gate is None or gate.worker != worker:
                raise LeaseLost(not_counted(step, worker))
        steps = list(run.steps)
        for position, changed in plan.steps:
            steps[position] = changed
        there = Ownership(run.owner, run.epoch) if plan.ownership is None else plan.ownership
        state.runs[plan.run] = replace(
            run,
            status=_status(run.kind, steps, plan.head.state),
            owner=there.worker,
            epoch=there.epoch,
            version=run.version + 1,
            head=plan.head,
            steps=tuple(steps),
        )
        state.events[plan.run].extend(plan.events)
        state.queue.difference_update(_line(plan.run, entry) for entry in plan.dequeue)
        followed = self._open_gates(plan.run, () if plan.gates is None else plan.gates.opened)
        state.queue.update(_line(plan.run, entry) for entry in plan.enqueue)
        self._lend(plan)
        self._note_failures(plan.run, plan.failures)
        if plan.budget:
            state.budgets[plan.run].update(plan.budget)
        for position in plan.forget:
            state.heartbeats.pop((plan.run, position), None)
        if plan.inbox is not None:
            self._change_inbox(plan.run, plan.inbox)
        if plan.gates is not None:
            state.gates.close(plan.run, plan.gates.closed)
            self._follow(followed, plan.gates.at)
        self._tell_others(plan, state.runs[plan.run])
        return Committed(run.version + 1)

    def _open_gates(self, run: RunKey, steps: Collection[int]) -> Counter[str]:
        """Count steps no more, and drop all that waits to be taken up of them."""
        state = self._state
        places = {(run, step) for step in steps}
        if places:
            state.queue -= {it for it in state.queue if it.place in places and it.type != WAKE}
            state.loans = {
                place: (loan, line)
                for place, (loan, line) in state.loans.items()
                if place not in places or loan.attempt is not None
            }
        return state.gates.open(run, steps)

    def _follow(self, names: Counter[str], at: Micros) -> None:
        """Of each pile that waits under these names, let so many lines into the queue."""
        for name, many in sorted(names.items()):
            self._lay_back(self._state.gates.next_of(name, many), at)

    def _lay_back(self, lines: Iterable[tuple[HeldLine, Micros]], at: Micros) -> None:
        """Let lines that were held back into the queue."""
        for line, due in lines:
            self._state.queue.add(_Line(line.rank, max(due, at), *line.place, line.type))

    def _check_wish(self, run: RunKey, grant: Grant) -> None:
        loan, _ = self._state.loans.get((run, grant.step), (None, None))
        if loan is None or loan.worker != grant.worker or loan.attempt is not None:
            raise LeaseLost(f"worker {grant.worker} does not wish for step {grant.step} any more")

    def _lend(self, plan: Plan) -> None:
        loans = self._state.loans
        for grant in plan.lend:
            loan, line = loans[plan.run, grant.step]
            loans[plan.run, grant.step] = loan._replace(attempt=grant.attempt), line
        for step in plan.recall:
            if (plan.run, step) in loans:
                loan, line = loans[plan.run, step]
                loans[plan.run, step] = loan._replace(stop=True), line
        for step in plan.settle:
            loans.pop((plan.run, step), None)

    def _change_inbox(self, run: RunKey, changes: InboxChanges) -> None:
        inbox = self._state.inboxes.get(run, EMPTY_INBOX)
        signals = {**inbox.signals, **{signal.seq: signal for signal in changes.signals}}
        asked = {step: asked for step, asked in inbox.asked.items() if step not in changes.closed}
        self._state.inboxes[run] = Inbox(signals, {**asked, **dict(changes.asked)})

    def _tell_others(self, plan: Plan, run: RunRecord) -> None:
        state = self._state
        for child in plan.create:
            self._insert_unless_there(child)
        for id in plan.wake:
            self._wake(state.keys.get(id))
        if plan.wake_parent and run.parent is not None:
            self._wake(*run.parent)
        if plan.announce:
            for waiting in state.waits.get(run.id, ()):
                if state.runs[waiting].head.ended_at is None:
                    self._wake(waiting)
        if plan.tell_owner and run.owner is not None:
            self._wake(run.key)

    def _wake(self, key: RunKey | None, step: int = WHOLE_RUN) -> None:
        run = None if key is None else self._state.runs.get(key)
        if run is not None:
            self._state.queue.add(_Line(-run.priority, Micros(0), run.key, step, WAKE))

    def claim(self, request: ClaimRequest, begin: Begin | None = None) -> asyncio.Future[Claim]:
        """See the port."""
        return self._write(
            lambda: self._claim(request, begin), nothing=lambda claim: not claim.entries
        )

    def _claim(self, request: ClaimRequest, begin: Begin | None) -> Claim:
        self._check_worker(request.worker)
        self._follow_within(request)
        wakes = [line for line in self._due(request) if line.type == WAKE]
        tasks, left = self._pick_tasks(request)
        later = [
            line.ready_at
            for line in self._state.queue
            if self._may_take(request, line) and line.ready_at > self._until(request, line)
        ]
        missed = [line.ready_at for line in wakes[WAKES_AT_ONCE:]]
        entries = [self._take(request, line) for line in [*wakes[:WAKES_AT_ONCE], *tasks]]
        for plan in begin(entries) if begin is not None else ():
            self._commit(plan)
        return Claim(
            entries=entries,
            next_due=missed[0] if missed else min(later, default=None),
            waiting=None if left is None else request.urgency(left.rank, left.ready_at),
        )

    def _follow_within(self, request: ClaimRequest) -> None:
        """Another tree's line may be next, and nobody there to take it."""
        if request.within is not None:
            tree = {run.key for run in self._state.runs.values() if run.root == request.within}
            self._lay_back(self._state.gates.of_runs(tree), request.now)

    def _due(self, request: ClaimRequest) -> list[Line]:
        """What the worker may take now, in the order of service."""
        due = (
            line
            for line in self._state.queue
            if self._may_take(request, line) and line.ready_at <= self._until(request, line)
        )
        gates = self._state.gates.of
        return sorted(
            Line(
                request.turn(line.rank, line.ready_at), *line, NOBODY, None,
                line.type != WAKE and line.place in gates,
            )
            for line in due
        )  # fmt: skip

    def _pick_tasks(self, request: ClaimRequest) -> tuple[list[Line], Line | None]:
        """Pick tasks until the slots are full; those that find no room are held back.

        Returns:
            The lines picked, and the next one that only a free slot was missing for.
        """
        tasks: list[Line] = []
        while True:
            picked, left = self._pick(request, tasks)
            passed = self._pass_gates(request, picked)
            tasks += passed
            if len(passed) == len(picked):
                return tasks, left
            self._follow_within(request)

    def _pick(self, request: ClaimRequest, tasks: list[Line]) -> tuple[list[Line], Line | None]:
        room = dict(request.limits)
        for line in tasks:
            room[line.type] -= 1
        there = {line.place for line in tasks}
        picked: list[Line] = []
        for line in self._due(request):
            if line.type == WAKE or line.place in there or room[line.type] == 0:
                continue
            if len(tasks) + len(picked) == request.slots:
                return picked, line
            picked.append(line)
            room[line.type] -= 1
        return picked, None

    def _pass_gates(self, request: ClaimRequest, picked: list[Line]) -> list[Line]:
        """Let lines take what they need; returns those that found room."""
        gates = self._state.gates
        passings = {line.place: gates.passing(line.place) for line in picked if line.gated}
        admission = admit(picked, passings, gates.held, gates.rates, request.now)
        gates.rates.update(admission.rates)
        queue = self._state.queue
        for line in picked:
            if line.gated:
                queue.remove(_laid(line))
        for line in admission.admitted:
            if line.gated:
                gates.of[line.place].worker = request.worker
                queue.add(_laid(line))  # as it was due first; it is taken now
        for refused in admission.refused:
            if refused.again_at is None:
                gates.hold_back(refused)
            else:
                line = refused.line
                queue.add(_Line(line.rank, refused.again_at, *line.place, line.type))
        self._follow(admission.followed, request.now)
        return admission.admitted

    def _until(self, request: ClaimRequest, line: _Line) -> Micros:
        """Up to which moment lines like this one are taken."""
        shared = self._state.runs[line.run].kind is RunKind.PROCESS
        return request.until(line.type, shared=shared)

    def _may_take(self, request: ClaimRequest, line: _Line) -> bool:
        run = self._state.runs[line.run]
        return (
            (line.type == WAKE or line.type in request.limits)
            and (run.owner in (None, request.worker) or self._may_borrow(run, line))
            and request.within in (None, run.root)
        )

    def _may_borrow(self, run: RunRecord, line: _Line) -> bool:
        """Whether another worker than the driver may execute it."""
        free = (line.run, line.step) not in self._state.loans
        task = line.type != WAKE and not is_alone(line.type)
        return run.kind is RunKind.PROCESS and task and free

    def _take(self, request: ClaimRequest, met: Line) -> ClaimedEntry:
        line = _laid(met)
        self._state.queue.remove(line)
        run = self._state.runs[line.run]
        if run.owner == request.worker:
            return ClaimedEntry(line.run, line.entry, None)
        if run.owner is not None:
            wish = Loan(
                line.run, line.step, request.worker, None, stop=False, lost=False, report=None,
                ready_at=line.ready_at,
            )  # fmt: skip
            self._state.loans[line.run, line.step] = wish, line
            self._wake(line.run, line.step)
            return ClaimedEntry(line.run, line.entry, None, borrowed=True)
        return ClaimedEntry(line.run, line.entry, self._change_owner(run, request.worker))

    def _change_owner(self, run: RunRecord, owner: WorkerKey | None) -> RunRecord:
        changed = replace(run, owner=owner, epoch=run.epoch + 1, version=run.version + 1)
        self._state.runs[run.key] = changed
        return changed

    # signals and questions

    async def inbox(self, run: RunKey) -> Inbox:
        """See the port."""
        return self._read.inboxes.get(run, EMPTY_INBOX)

    async def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """See the port."""
        state = self._read
        found = sorted(
            ((asked.at, run, step), asked)
            for run, inbox in state.inboxes.items()
            for step, asked in inbox.asked.items()
            if asked.question.is_approval and self._is_within(run, wanted.within)
        )
        return [
            OpenApproval(
                run,
                state.runs[run].id,
                state.runs[run].kind,
                state.runs[run].name,
                step,
                state.runs[run].steps[step].ready_at,
                asked,
            )
            for (at, run, step), asked in found
            if (at, run, step) > wanted.after
        ][: wanted.limit]

    def _is_within(self, run: RunKey, top: RunKey | None) -> bool:
        """Whether a run is another one, or lies below it; None: any does."""
        parent = self._state.runs[run].parent if run in self._state.runs else None
        return top in (None, run) or (parent is not None and self._is_within(parent[0], top))

    # loans

    async def loans(self, run: RunKey) -> Sequence[Loan]:
        """See the port."""
        return [loan for (of, _), (loan, _) in sorted(self._read.loans.items()) if of == run]

    async def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """See the port."""
        return sorted(run.key for run in self._read.runs.values() if run.owner == worker)

    async def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """See the port."""
        loans = (loan for _, (loan, _) in sorted(self._read.loans.items()))
        return [loan for loan in loans if loan.worker == worker]

    def report(
        self, run: RunKey, step: int, worker: WorkerKey, attempt: int, report: JsonText
    ) -> asyncio.Future[None]:
        """See the port."""
        return self._write(lambda: self._report(run, step, worker, attempt, report))

    def _report(
        self, run: RunKey, step: int, worker: WorkerKey, attempt: int, report: JsonText
    ) -> None:
        there = self._state.loans.get((run, step))
        if there is None or (there[0].worker, there[0].attempt) != (worker, attempt):
            raise LeaseLost(loan_gone(step, attempt))
        loan, line = there
        if loan.lost:
            raise LeaseLost(loan_gone(step, attempt))
        if loan.report is None:
            self._state.loans[run, step] = loan._replace(report=report), line
            self._wake(run, step)

    # heartbeats

    def hear(self, heard: Sequence[Heard]) -> asyncio.Future[None]:
        """See the port."""
        return self._write(lambda: self._keep(heard))

    def _keep(self, heard: Sequence[Heard]) -> None:
        for run, step, said in heard:
            there = self._state.runs.get(run)
            now = None if there is None else there.steps[step]
            if now is None or now.status is not TaskStatus.RUNNING or now.attempt != said.attempt:
                continue
            before = self._state.heartbeats.get((run, step))
            if said.details is None and before is not None:
                said = replace(said, details=before.details)
            self._state.heartbeats[run, step] = said

    async def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """See the port."""
        return [
            Heard(run, step, said)
            for (run, step), said in sorted(self._read.heartbeats.items(), key=itemgetter(0))
            if run in runs
        ]

    # runs and their histories

    async def load(self, run: RunId | RunKey) -> RunRecord | None:
        """See the port."""
        key = RunKey(run) if isinstance(run, int) else self._read.keys.get(run)
        return None if key is None else self._read.runs.get(key)

    async def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """See the port."""
        state = self._read
        return {
            id: replace(state.runs[state.keys[id]], steps=()) for id in runs if id in state.keys
        }

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        there = self._read.runs.get(run)
        if there is None:
            return {}
        seqs = {position: step.outcome for position, step in enumerate(there.steps)}
        seqs[WHOLE_RUN] = there.head.outcome
        texts = {event.seq: event.data for event in self._read.events[run]}
        return {
            position: text
            for position, seq in seqs.items()
            if (steps is None or position in steps)
            and seq is not None
            and (text := texts.get(seq)) is not None
        }

    async def history(self, run: RunKey, from_seq: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See the port."""
        events = self._read.events.get(run, [])
        return list(islice((event for event in events if event.seq >= from_seq), limit))

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """See the port."""
        matching = (
            run
            for run in reversed(self._read.runs.values())
            if _matches(run, wanted)
            and (wanted.error is None or self._has_failed_by(run.key, wanted.error))
        )
        return [
            run if run.kind is RunKind.TASK else replace(run, steps=())
            for run in islice(matching, wanted.limit)
        ]

    # spending

    def spend(self, lines: Sequence[Spent]) -> asyncio.Future[bool]:
        """See the port."""
        return self._write(lambda: self._spend(lines))

    def _spend(self, lines: Sequence[Spent]) -> bool:
        state, woken = self._state, False
        for line in lines:
            place = (line.run, line.step, line.attempt, line.number)
            if line.run in state.runs and place not in state.spent:
                state.spent[place] = line
                for key in self._line_of(line.run):
                    if line.unit in state.budgets.get(key, {}):
                        woken |= self._look_at_budget(key, line.unit)
        return woken

    def _look_at_budget(self, key: RunKey, unit: str) -> bool:
        """If nothing is left of it, whatever was decided below the run is stale."""
        state = self._state
        if self._sum(state.runs[key], unit) < state.budgets[key][unit]:
            return False
        for run in self._tree(state.runs[key]):
            if run.head.ended_at is None:
                state.runs[run.key] = replace(run, version=run.version + 1)
                self._wake(run.key)
        return True

    def _line_of(self, run: RunKey) -> Iterator[RunKey]:
        """A run, the one that has started it, and so on."""
        key: RunKey | None = run
        while key is not None and key in self._state.runs:
            yield key
            parent = self._state.runs[key].parent
            key = None if parent is None else parent[0]

    def _sum(self, top: RunRecord, unit: str) -> int:
        tree = {run.key for run in self._tree(top)}
        spent = self._state.spent.values()
        return sum(line.amount for line in spent if line.run in tree and line.unit == unit)

    async def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """See the port."""
        state = self._read
        return [
            BudgetLine(state.runs[key].id, unit, Share(self._sum(state.runs[key], unit), limit))
            for key in self._line_of(run)
            for unit, limit in sorted(state.budgets.get(key, {}).items())
        ]

    async def spent(self, run: RunKey) -> Mapping[str, int]:
        """See the port."""
        top = self._read.runs.get(run)
        tree = set() if top is None else {each.key for each in self._tree(top)}
        units = sorted({line.unit for line in self._state.spent.values() if line.run in tree})
        return {unit: self._sum(top, unit) for unit in units if top is not None}

    async def spending(self, wanted: SpendingFilter) -> Sequence[Sum]:
        """See the port."""
        sums: dict[tuple[str, str], int] = {}
        for line in self._read.spent.values():
            if self._counts(line, wanted):
                for of in self._of(line, wanted.by):
                    sums[of, line.unit] = sums.get((of, line.unit), 0) + line.amount
        return [Sum(of, unit, amount) for (of, unit), amount in sorted(sums.items())]

    def _counts(self, line: Spent, wanted: SpendingFilter) -> bool:
        return (
            wanted.unit in (None, line.unit)
            and (wanted.since is None or line.at >= wanted.since)
            and (wanted.until is None or line.at < wanted.until)
        )

    def _of(self, line: Spent, by: str) -> Sequence[str]:
        """What a line is summed up for."""
        top = self._top(line.run)
        match by:
            case "run":
                return [top.id]
            case "tag":
                return top.tags
            case "type":
                return [line.type]
            case _:
                return [line.unit]

    def _top(self, run: RunKey) -> RunRecord:
        """The run at the top of a tree, as far as it is there."""
        record = self._state.runs[run]
        return self._state.runs.get(record.root, record)

    async def same_key(self, run: RunKey) -> SameKey | None:
        """See the port."""
        return next((same for key, same in self._read.same.values() if key == run), None)

    def _has_failed_by(self, run: RunKey, error: str) -> bool:
        """Whether something of a run has failed so, or of the tree below it if it is the top."""
        state = self._state
        return any(
            _is_called(failing.error, error)
            for key, failures in state.failures.items()
            if run in (key, state.runs[key].root)
            for failing in failures.values()
        )

    async def failures(self, run: RunKey) -> Mapping[int, Failing]:
        """See the port."""
        return dict(self._read.failures.get(run, {}))

    async def failure_groups(self, wanted: FailureFilter) -> Sequence[FailedStep]:
        """See the port."""
        groups: dict[tuple[str, str], list[tuple[Micros, RunKey, int, Failing]]] = {}
        for run, failures in self._read.failures.items():
            for step, failing in failures.items():
                if _is_wanted(failing, wanted):
                    group = groups.setdefault((failing.error, failing.type), [])
                    group.append((failing.at, run, step, failing))
        return [
            self._failed_step(len(group), *newest)
            for _, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
            for newest in sorted(group, reverse=True)[: wanted.examples]
        ]

    def _failed_step(
        self, alike: int, at: Micros, key: RunKey, step: int, failing: Failing
    ) -> FailedStep:
        run = self._state.runs[key]
        root = self._state.runs.get(run.root, run)
        data = self._state.events[key][failing.seq].data
        return FailedStep(
            failing.error, failing.type, alike, step, at, run.id, root.id, root.kind, data
        )

    async def count_runs(self) -> Mapping[tuple[RunKind, str], int]:
        """See the port."""
        counts: dict[tuple[RunKind, str], int] = {}
        for run in self._read.runs.values():
            counts[run.kind, run.status] = counts.get((run.kind, run.status), 0) + 1
        return counts

    async def queued_types(self) -> Mapping[TaskType, int]:
        """See the port."""
        counts: dict[TaskType, int] = {}
        state = self._read
        types = [line.type for line in state.queue] + [it.type for it in state.gates.held_lines]
        for type in types:
            if type != WAKE:
                counts[type] = counts.get(type, 0) + 1
        return counts

    def delete_run(self, run: RunKey, version: int, now: Micros) -> asyncio.Future[None]:
        """See the port."""
        return self._write(lambda: self._delete_run(run, version, now))

    def _delete_run(self, key: RunKey, version: int, now: Micros) -> None:
        run = self._state.runs.get(key)
        if run is None:
            raise NotFoundError(f"run {key} is gone; it was deleted already")
        if run.version != version:
            raise LeaseLost(f"run {run.id!r} has moved on to version {run.version}")
        if run.head.ended_at is None:
            raise StateError(f"{run.kind} {run.id!r} is {run.status}; cancel it first")
        self._remove(run, now)

    def purge(
        self, runs: Sequence[RunKey], ended_before: Micros, now: Micros
    ) -> asyncio.Future[int]:
        """See the port."""
        return self._write(
            lambda: self._purge(runs, ended_before, now), nothing=lambda removed: removed == 0
        )

    def _purge(self, runs: Sequence[RunKey], ended_before: Micros, now: Micros) -> int:
        before = len(self._state.runs)
        for key in runs:
            run = self._state.runs.get(key)
            if run is not None and self._may_go(run, ended_before):
                self._remove(run, now)
        return before - len(self._state.runs)

    async def purgeable(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        """See the port."""
        there = [self._read.runs[key] for key in runs if key in self._read.runs]
        return sum(len(self._tree(run)) for run in there if self._may_go(run, ended_before))

    def _may_go(self, run: RunRecord, ended_before: Micros) -> bool:
        """Whether a run and all below it is over, and nobody needs it."""
        has_parent = run.parent is not None and run.parent[0] in self._state.runs
        if run.head.ended_at is None or run.head.ended_at >= ended_before or has_parent:
            return False
        tree = self._tree(run)
        return not any(
            below.head.ended_at is None or below.head.in_flight or self._is_needed(below)
            for below in tree
        )

    def _tree(self, run: RunRecord) -> list[RunRecord]:
        below = [
            self._tree(child)
            for child in self._state.runs.values()
            if child.parent is not None and child.parent[0] == run.key
        ]
        return [run, *(each for tree in below for each in tree)]

    def _is_needed(self, run: RunRecord) -> bool:
        waiting = (self._state.runs[key] for key in self._state.waits.get(run.id, ()))
        return any(
            other.root != run.root and other.head.state is not ProcessStatus.COMPLETED
            for other in waiting
        )

    def _remove(self, run: RunRecord, now: Micros) -> None:
        state = self._state
        children = [
            child
            for child in state.runs.values()
            if child.parent is not None and child.parent[0] == run.key
        ]
        for child in children:
            if child.head.ended_at is not None and not child.head.in_flight:
                self._remove(child, now)
            else:
                state.runs[child.key] = replace(child, parent_id=None)
        opened = [step for of, step in state.gates.of if of == run.key]
        self._follow(state.gates.open(run.key, opened), now)
        del state.runs[run.key], state.keys[run.id], state.events[run.key]
        state.queue = {line for line in state.queue if line.run != run.key}
        state.failures.pop(run.key, None)
        state.budgets.pop(run.key, None)
        state.spent = {place: line for place, line in state.spent.items() if line.run != run.key}
        state.same = {at: same for at, same in state.same.items() if same[0] != run.key}
        state.loans = {place: loan for place, loan in state.loans.items() if place[0] != run.key}
        state.heartbeats = {
            place: said for place, said in state.heartbeats.items() if place[0] != run.key
        }
        state.inboxes.pop(run.key, None)
        for waiting in state.waits.values():
            waiting.discard(run.key)
        state.tombstones[run.id] = Tombstone(run.id, run.kind, run.status, now)

    async def tombstone(self, run: RunId) -> Tombstone | None:
        """See the port."""
        return self._read.tombstones.get(run)

    # named definitions

    def define(
        self, kind: RunKind, name: str, definition: str, content: JsonText, now: Micros
    ) -> asyncio.Future[None]:
        """See the port."""
        return self._write(lambda: self._state.definitions.update({(kind, name): content}))

    async def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """See the port."""
        return self._read.definitions.get((kind, name))

    async def definition_names(self, kind: RunKind) -> Sequence[str]:
        """See the port."""
        return sorted(name for of, name in self._read.definitions if of is kind)

    # schedules

    def create_schedule(self, schedule: Schedule) -> asyncio.Future[bool]:
        """See the port."""
        return self._write(lambda: self._create_schedule(schedule))

    def _create_schedule(self, schedule: Schedule) -> bool:
        there = self._state.schedules.setdefault(schedule.id, schedule)
        if there.content != schedule.content:
            raise ConflictError(schedule_conflict(schedule))
        return there is schedule

    def fire(self, firings: Sequence[Firing]) -> asyncio.Future[Sequence[bool]]:
        """See the port."""
        return self._write(lambda: [self._fire(firing) for firing in firings])

    def _fire(self, firing: Firing) -> bool:
        schedule = firing.schedule
        there = self._state.schedules.get(schedule.id)
        if there is None or there.version != schedule.version:
            return False
        self._state.schedules[schedule.id] = replace(
            there,
            status=schedule.status,
            fired=schedule.fired,
            skipped=schedule.skipped,
            next_at=schedule.next_at,
            last_at=schedule.last_at,
            last_run=schedule.last_run,
            look_at=schedule.look_at,
            note=schedule.note,
            since=schedule.since,
            backfill=schedule.backfill,
            backfilled=schedule.backfilled,
            version=schedule.version + 1,
        )
        if firing.run is not None:
            self._insert_unless_there(firing.run)
        return True

    async def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """See the port."""
        return self._read.schedules.get(schedule)

    async def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """See the port."""
        due = sorted(
            (schedule.look_at, schedule.id, schedule)
            for schedule in self._read.schedules.values()
            if schedule.status is ScheduleStatus.ACTIVE
            and schedule.look_at is not None
            and schedule.look_at <= now
        )
        return [(schedule, self._unfinished(schedule.last_run)) for _, _, schedule in due[:limit]]

    def _unfinished(self, id: RunId | None) -> bool:
        key = None if id is None else self._state.keys.get(id)
        if key is None:
            return False
        head = self._state.runs[key].head
        return head.ended_at is None or head.in_flight > 0

    async def next_schedule_at(self, after: Micros) -> Micros | None:
        """See the port."""
        moments = (
            schedule.look_at
            for schedule in self._read.schedules.values()
            if schedule.status is ScheduleStatus.ACTIVE
            and schedule.look_at is not None
            and schedule.look_at > after
        )
        return min(moments, default=None)

    async def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """See the port."""
        wanted = (
            schedule
            for id, schedule in sorted(self._read.schedules.items())
            if id > (after or "") and status in (None, schedule.status)
        )
        return list(islice(wanted, limit))

    def delete_schedule(self, schedule: ScheduleId) -> asyncio.Future[bool]:
        """See the port."""
        return self._write(lambda: self._state.schedules.pop(schedule, None) is not None)

    # workers

    def register_worker(
        self, name: str, types: Mapping[TaskType, JsonText], now: Micros
    ) -> asyncio.Future[WorkerKey]:
        """See the port."""
        return self._write(lambda: self._register(name, types, now))

    def _register(self, name: str, types: Mapping[TaskType, JsonText], now: Micros) -> WorkerKey:
        state = self._state
        state.schemas.update(types)
        there = None if self._worker is None else state.workers.get(self._worker)
        if there is None:
            if self._worker is not None:
                state.alive.discard(self._worker)
            self._worker = WorkerKey(next(state.worker_keys))
            state.alive.add(self._worker)
            there = WorkerRecord(self._worker, name, {}, now, alive=True)
        state.workers[there.key] = replace(there, name=name, types=dict(types))
        return there.key

    def beat(self) -> asyncio.Future[bool]:
        """See the port."""
        return self._write(self._beat, nothing=lambda _: True)

    def keep_lease(self, every: Micros, longest: Micros) -> None:
        """See the port; here all programs live on one event loop, so none can be busy alone."""

    def _beat(self) -> bool:
        there = None if self._worker is None else self._state.workers.get(self._worker)
        if there is None:
            return False
        self._state.workers[there.key] = replace(there, beat=there.beat + 1)
        return True

    def release_dead(
        self,
        now: Micros,
        silent: Sequence[tuple[WorkerKey, int]] = (),
        spared: Collection[WorkerKey] = (),
    ) -> asyncio.Future[int]:
        """See the port."""
        return self._write(
            lambda: self._release_dead(now, silent, spared), nothing=lambda freed: freed == 0
        )

    def _release_dead(
        self,
        now: Micros,
        silent: Sequence[tuple[WorkerKey, int]],
        spared: Collection[WorkerKey],
    ) -> int:
        workers = self._state.workers
        dead = workers.keys() - self._state.alive - set(spared)
        dead |= {key for key, beat in silent if key in workers and workers[key].beat == beat}
        return sum(self._free(worker, now) for worker in sorted(dead))

    def retire_worker(self, now: Micros) -> asyncio.Future[None]:
        """See the port."""
        return self._write(lambda: self._retire(now))

    def _retire(self, now: Micros) -> None:
        if self._worker is not None:
            self._free(self._worker, now)
            self._state.alive.discard(self._worker)
            self._worker = None

    def _free(self, worker: WorkerKey, now: Micros) -> int:
        """Take from a worker what it drives and what it has borrowed, and forget it."""
        state = self._state
        driven = [run for run in state.runs.values() if run.owner == worker]
        for run in driven:
            self._change_owner(run, None)
            self._wake(run.key)
        borrowed = [
            (place, loan, line)
            for place, (loan, line) in state.loans.items()
            if loan.worker == worker and loan.report is None
        ]
        for place, loan, line in borrowed:
            if loan.attempt is None:
                del state.loans[place]
                state.queue.add(line)
            else:
                state.loans[place] = loan._replace(lost=True), line
                self._wake(*place)
        self._follow(state.gates.let_go(worker), now)
        state.workers.pop(worker, None)
        return len(driven) + len(borrowed)

    async def workers(self) -> Sequence[WorkerRecord]:
        """See the port."""
        state = self._read
        return [
            replace(worker, alive=key in state.alive)
            for key, worker in sorted(state.workers.items())
        ]

    async def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """See the port."""
        return dict(self._read.schemas)

    async def describe(self) -> Mapping[str, str]:
        """What there is to know of it."""
        return {"kind": "memory"}

    # care

    async def figures(self) -> Figures:
        """See the port."""
        state = self._read
        definitions = {run.definition_content for run in state.runs.values()}
        definitions |= {schedule.definition_content for schedule in state.schedules.values()}
        definitions |= set(state.definitions.values())
        counts = (
            len(state.runs),
            sum(
                step != _NEW_STEP
                for run in state.runs.values()
                for step in run.steps
                if run.kind is not RunKind.TASK
            ),
            sum(map(len, state.events.values())),
            len(state.queue) + len(state.gates.held_lines),
            sum(map(len, state.waits.values())),
            len(state.loans),
            len(definitions),
            len(state.schedules),
            len(state.tombstones),
            len(state.workers),
            sum(map(len, state.failures.values())),
            len(state.heartbeats),
            sum(len(inbox.signals) for inbox in state.inboxes.values()),
            sum(len(inbox.asked) for inbox in state.inboxes.values()),
        )
        return Figures(dict(zip(COUNTED, counts, strict=True)), 0, None)

    async def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        """See the port."""
        runs = self._read.runs
        found = (
            run
            for key, run in sorted(runs.items())
            if key > after and (run.kind, run.status) == (kind, status)
        )
        return [
            OldRun(
                run.key,
                run.created_at,
                run.head.ended_at,
                run.parent is not None and run.parent[0] in runs,
            )
            for run in islice(found, limit)
        ]

    async def lines(self, run: RunKey) -> Sequence[Entry]:
        """See the port."""
        gates = self._read.gates
        back = [
            _Line(line.rank, line.ready_at, *line.place, line.type)
            for line in gates.held_lines
            if line.run == run
        ]
        laid = [
            line._replace(ready_at=gates.of[line.place].ready_at)
            if line.type != WAKE and line.place in gates.of
            else line
            for line in self._read.queue
            if line.run == run
        ]
        return [line.entry for line in sorted([*laid, *back])]

    async def gates(self, run: RunKey) -> Sequence[GateState]:
        """See the port."""
        return self._read.gates.states(run)

    async def holders(self, name: str, limit: int) -> Sequence[Holder]:
        """See the port."""
        state = self._read
        found = (
            Holder(state.runs[run].id, step, gate.worker)
            for (run, step), gate in sorted(state.gates.of.items(), key=lambda item: item[0])
            if gate.worker is not None and name in (it.name for it in gate.limits)
        )
        return list(islice(found, limit))

    async def ahead(self, run: RunKey, step: int) -> int:
        """See the port."""
        lines = self._read.gates.held_lines
        mine = next((line for line in lines if line.place == (run, step)), None)
        if mine is None:
            return 0
        return sum(line.name == mine.name and line[3:] < mine[3:] for line in lines)

    async def limits(self, after: str, limit: int) -> Sequence[LimitFigures]:
        """See the port."""
        found = (it for it in self._read.gates.figures() if it.limit.name > after)
        return list(islice(found, limit))

    async def awaited(self, run: RunKey) -> Sequence[RunId]:
        """See the port."""
        return sorted(id for id, waiting in self._read.waits.items() if run in waiting)

    async def waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        """See the port."""
        return self._waiting_for(runs)

    def _waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        found: dict[Waiting, None] = {}
        ids = list(runs)
        for id in ids:  # it grows on the way
            for waiting in self._waiting_itself(id):
                if Waiting(id, waiting.id) not in found:
                    found[Waiting(id, waiting.id)] = None
                    ids.append(waiting.id)
        return list(found)

    def _waiting_itself(self, id: RunId) -> Iterator[RunRecord]:
        """Who waits for a run by itself."""
        state = self._read
        waiting = (state.runs[key] for key in state.waits.get(id, ()))
        yield from (run for run in waiting if run.head.started_at is None)
        key = state.keys.get(id)
        parent = None if key is None else state.runs[key].parent
        above = None if parent is None else state.runs.get(parent[0])
        if above is not None and above.head.ended_at is None:
            yield above

    async def broken_links(self, limit: int) -> Sequence[BrokenLink]:
        """See the port; here only lines, loans, owners and heartbeats could point to nothing."""
        state = self._read
        found = [
            BrokenLink("owner", run.key, None, run.id)
            for run in state.runs.values()
            if run.owner is not None and run.owner not in state.workers
        ]
        found += [
            BrokenLink("line", line.run, line.step, line.type)
            for line in sorted(state.queue)
            if line.run not in state.runs
        ]
        found += [
            BrokenLink("gate", run, step, None)
            for run, step in sorted(state.gates.of)
            if run not in state.runs
        ]
        found += [
            BrokenLink("loan", run, step, line.type)
            for (run, step), (_, line) in sorted(state.loans.items())
            if run not in state.runs
        ]
        found += [
            BrokenLink("heartbeat", run, step, None)
            for run, step in sorted(state.heartbeats)
            if run not in state.runs
        ]
        return found[:limit]

    async def damage(self, *, quick: bool) -> Sequence[str]:
        """See the port; memory is not damaged."""
        return []

    async def back_up(self, target: Path) -> None:
        """See the port; there is nothing that a file could be a backup of."""
        raise StoreError("what is kept in memory has no backup; export runs, or use a file")

    # changes by others

    def listen(self, ring: Callable[[], None]) -> None:
        """See the port."""
        self._ring = ring

    def changed(self) -> bool:
        """See the port."""
        changed = self._state.writes != self._seen
        self._seen = self._state.writes
        return changed

    @property
    def _read(self) -> MemoryState:
        if not self._open:
            raise _closed()
        return self._state

    def _write(
        self, change: Callable[[], _T], nothing: Callable[[_T], bool] = lambda _: False
    ) -> asyncio.Future[_T]:
        """Do it at once.

        Args:
            change: Does it, or raises.
            nothing: Whether its answer says that it changed nothing.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._carry_out(change, nothing))
        except KallistaError as error:
            future.set_exception(error)
        return future

    def _carry_out(self, change: Callable[[], _T], nothing: Callable[[_T], bool]) -> _T:
        if not self._open:
            raise _closed()
        answer = change()
        if not nothing(answer):
            self._state.writes += 1
            self._seen += 1
            self._ring_others()
        return answer

    def _ring_others(self) -> None:
        loop = asyncio.get_running_loop()
        for other in self._state.handles:
            if other is not self and other._ring is not None:
                loop.call_soon(other._ring)


def _closed() -> StoreError:
    return StoreError("the memory store is closed; open it first")


def _redefined(run: RunRecord, redefine: Redefinition) -> RunRecord:
    new = (StepState(),) * (redefine.steps - len(run.steps))
    return replace(
        run,
        definition=redefine.definition,
        definition_content=redefine.content,
        steps=(*run.steps, *new),
    )


def _status(kind: RunKind, steps: Sequence[StepState], state: str) -> str:
    """The word that users see: a single task's is its step's."""
    return steps[0].status if kind is RunKind.TASK and steps else state


def _is_wanted(failing: Failing, wanted: FailureFilter) -> bool:
    return (
        (wanted.error is None or _is_called(failing.error, wanted.error))
        and wanted.type in (None, failing.type)
        and (wanted.since is None or failing.at >= wanted.since)
        and (wanted.until is None or failing.at < wanted.until)
    )


def _is_called(error: str, name: str) -> bool:
    """Whether an error has a name, which may leave its module out."""
    return name == error if "." in name else name == error.rpartition(".")[2]


def _matches(run: RunRecord, wanted: RunFilter) -> bool:
    status = run.status
    if run.kind is RunKind.TASK and status == TaskStatus.SCHEDULED:
        ready_at = run.steps[0].ready_at
        if ready_at is not None and ready_at <= wanted.now:
            status = TaskStatus.READY
    return (
        wanted.kind in (None, run.kind)
        and (wanted.statuses is None or status in wanted.statuses)
        and wanted.name in (None, run.name)
        and (wanted.tag is None or wanted.tag in run.tags)
        and (wanted.created_from is None or run.created_at >= wanted.created_from)
        and (wanted.created_until is None or run.created_at < wanted.created_until)
        and wanted.schedule in (None, run.schedule)
        and (wanted.parent is None or (run.parent is not None and run.parent[0] == wanted.parent))
        and not (wanted.roots and run.parent is not None)
        and (wanted.after is None or run.key < wanted.after)
    )
