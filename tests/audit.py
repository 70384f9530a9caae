"""The laws that hold for what is remembered, after any story, once everything is at rest."""

from __future__ import annotations

import json

from kallista.core.decide.order import stands_behind
from kallista.core.definitions import ChildSpec, Definition, MapSpec, Phase, TaskSpec
from kallista.core.encoding import definition_from_data
from kallista.core.ids import child_id, item_id
from kallista.core.inbox import EMPTY_INBOX
from kallista.core.items import items_in
from kallista.core.plan import WAKE, WHOLE_RUN
from kallista.core.redefining import followed
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, HEARD, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Micros, RunId, RunKey, TaskType
from kallista.engine.promises import is_under_way, waits_in
from kallista.store.memory import MemoryState
from kallista.store.port import RunRecord


def audit(state: MemoryState) -> None:
    """Check every run.

    Raises:
        AssertionError: A law is broken; the message says by which run.
    """
    lines = {(line.run, line.type, line.step, line.ready_at) for line in state.queue}
    lines |= _lines_with_limits(state)
    _limits_are_kept(state)
    for record in state.runs.values():
        definition = definition_from_data(json.loads(record.definition_content))
        _history_tells_the_state(state, record, definition)
        _driver_is_alive_and_busy(state, record, definition)
        _waits_in_no_circle(state, record)
        for (run, position), said in state.heartbeats.items():
            if run == record.key:
                step = record.steps[position]
                assert step.status in HEARD, record.id
                assert said.attempt <= step.attempt, record.id
        if record.head.state not in FINISHED_RUN:
            _Moving(state, record, definition, lines).check()


def _lines_with_limits(state: MemoryState) -> set[tuple[RunKey, TaskType, int, Micros]]:
    """Lines that are held back, or due again later, as they were due first."""
    of = state.gates.of
    again = {
        (line.run, line.type, line.step, of[line.place].ready_at)
        for line in state.queue
        if line.type != WAKE and line.place in of
    }
    return again | {(it.run, it.type, it.step, it.ready_at) for it in state.gates.held_lines}


def _limits_are_kept(state: MemoryState) -> None:
    """What is counted is executed, no limit is exceeded, and nobody waits while there is room."""
    gates = state.gates
    numbers: dict[str, int] = {}
    for (run, position), gate in gates.of.items():
        where = f"step {position} of {state.runs[run].id}"
        step = state.runs[run].steps[position]
        if gate.worker is not None:
            stored = (step.status, step.worker)
            assert stored == (TaskStatus.RUNNING, gate.worker), f"{where} is counted: {stored}"
        else:
            assert step.status is TaskStatus.SCHEDULED, f"{where} waits, and is {step.status}"
        for limit in gate.limits:
            numbers[limit.name] = max(numbers.get(limit.name, 0), limit.number)
    for name, held in gates.held.items():
        if not any(
            it.spacing for gate in gates.of.values() for it in gate.limits if it.name == name
        ):
            assert held <= numbers[name], f"{held} are counted under {name}"
    for back in gates.held_lines:
        (limit,) = [it for it in gates.of[back.place].limits if it.name == back.name]
        candidates = sum(
            line.type == back.type and limit in gates.of[line.place].limits
            for line in state.queue
            if line.type != WAKE and line.place in gates.of
        )
        room = 1 if limit.spacing else limit.number - gates.held[limit.name]
        assert candidates >= room, f"{state.runs[back.run].id} waits for {limit}, which has room"


def _history_tells_the_state(state: MemoryState, record: RunRecord, definition: Definition) -> None:
    events = state.events[record.key]
    assert [event.seq for event in events] == list(range(len(events))), record.id
    folded, failures = followed(record.id, 0, definition, events)
    told = {at: failing for at, failing in failures.items() if failing is not None}
    assert state.failures.get(record.key, {}) == told, record.id
    assert folded.head == record.head, record.id
    assert tuple(folded.steps) == record.steps, record.id
    assert folded.inbox == state.inboxes.get(record.key, EMPTY_INBOX), record.id
    waiting = {signal.name for signal in folded.inbox.kept}
    for step, asked in folded.inbox.asked.items():
        assert record.steps[step].status is TaskStatus.WAITING, f"{record.id}: {step} asks"
        assert asked.question.signal not in waiting, f"{record.id}: {step} waits for what is there"


def _waits_in_no_circle(state: MemoryState, record: RunRecord) -> None:
    waiting, seen = [record.key], {record.key}
    for key in waiting:  # it grows on the way
        run = state.runs[key]
        found = {
            other for other in state.waits.get(run.id, ())
            if state.runs[other].head.started_at is None
        }  # fmt: skip
        assert record.key not in found, f"{record.id} waits for itself"
        waiting += found - seen
        seen |= found


def _driver_is_alive_and_busy(
    state: MemoryState, record: RunRecord, definition: Definition
) -> None:
    running = [step for step in record.steps if step.status is TaskStatus.RUNNING]
    assert record.head.in_flight == len(running), record.id
    if record.owner is None:
        assert not running, f"{record.id} executes something, and nobody drives it"
    else:
        assert record.owner in state.alive, f"{record.id} is held by a dead worker"
        maps = [record.steps[position] for position in definition.maps]
        goes_through = any(step.status is TaskStatus.WAITING for step in maps)
        assert running or goes_through, f"{record.id} is held, and nothing of it is in flight"


class _Moving:
    """An unfinished run, and what will move it."""

    def __init__(
        self,
        state: MemoryState,
        record: RunRecord,
        definition: Definition,
        lines: set[tuple[RunKey, TaskType, int, Micros]],
    ) -> None:
        self.state = state
        self.record = record
        self.definition = definition
        self.lines = lines
        self.will_be_looked_at = any(
            line.run == record.key and line.type == WAKE and line.step == WHOLE_RUN
            and line.ready_at == 0
            for line in state.queue
        )  # fmt: skip

    def check(self) -> None:
        """Whether something will."""
        record, head = self.record, self.record.head
        if self.will_be_looked_at:
            return
        expires = self.definition.expires
        if expires and head.ending is None and not any(step.attempt for step in record.steps):
            expires_at = expires.moment(record.created_at)
            assert self._line(WAKE, WHOLE_RUN, expires_at), f"{record.id}: does not expire"
        if head.state is ProcessStatus.PENDING:
            return
        self._agrees_with_its_parent()
        if head.state is ProcessStatus.WAITING:
            self._waits_for_something()
        if head.deadline_at is not None and head.ending is None and head.still_since is None:
            assert self._line(WAKE, WHOLE_RUN, head.deadline_at), f"{record.id}: no deadline"
        for position in range(len(record.steps)):
            self._step(position)
        if head.state in ACTIVE_RUN:
            main = record.steps[: self.definition.main_count]
            last = record.steps[self.definition.main_count :]
            moves = any(step.ended_at is None for step in main) or (
                head.ending is not None and any(map(is_under_way, last))
            )
            assert moves, f"{record.id}: no end"

    def _line(self, type: TaskType, step: int, ready_at: Micros) -> bool:
        return (self.record.key, type, step, ready_at) in self.lines

    def _step(self, position: int) -> None:
        record, spec = self.record, self.definition.steps[position]
        step = record.steps[position]
        where = f"{record.id} {spec.id} {step}"
        if step.status is TaskStatus.WAITING and step.ready_at is not None:
            if record.head.still_since is not None:
                return  # until it is resumed
            assert self._line(WAKE, position, step.ready_at), f"{where}: sleeps for ever"
        elif step.status is TaskStatus.WAITING and isinstance(spec.work, TaskSpec):
            inbox = self.state.inboxes.get(record.key, EMPTY_INBOX)
            assert position in inbox.asked, f"{where}: asks nothing"
        elif step.status is TaskStatus.WAITING:
            self._child_moves(position, where)
        elif step.status is TaskStatus.SCHEDULED and record.head.state in ACTIVE_RUN:
            if step.ready_at is None and spec.phase is not Phase.MAIN:
                pass  # its turn comes at the end, if at all
            elif step.ready_at is None:
                behind = stands_behind(self.definition, position, record.steps.__getitem__)
                assert behind, f"{where}: no turn"
            else:
                assert isinstance(spec.work, TaskSpec)
                queued = self._line(waits_in(spec.work, step), position, step.ready_at)
                parked = spec.work.is_suspect(step.crashes) and record.owner is not None
                assert queued or parked, f"{where}: not queued"

    def _child_moves(self, position: int, where: str) -> None:
        spec = self.definition.steps[position]
        if not isinstance(spec.work, MapSpec):
            assert isinstance(spec.work, ChildSpec)
            self._is_under_way(RunId(child_id(self.record.id, spec.id, 0)), position, where)
            return
        outcome = self.record.steps[position].outcome
        assert outcome is not None, f"{where}: nobody knows how far it is"
        items = items_in(self.state.events[self.record.key][outcome].data)
        assert items is not None, f"{where}: nobody knows how far it is"
        is_held = self.record.head.state is ProcessStatus.PAUSED
        told = self._line(WAKE, position, Micros(0))
        assert items.open or is_held or told, f"{where}: no item is under way"
        for index in items.open:
            self._is_under_way(RunId(item_id(self.record.id, spec.id, index)), position, where)

    def _is_under_way(self, id: RunId, position: int, where: str) -> None:
        key = self.state.keys.get(id)
        assert key is not None, f"{where}: no child"
        child = self.state.runs[key]
        is_held = self.record.head.state is ProcessStatus.PAUSED  # resume tells the child
        if child.head.state in FINISHED_RUN and not child.head.in_flight and not is_held:
            told = (self.record.key, WAKE, position, Micros(0)) in self.lines
            looked_at = (key, WAKE, WHOLE_RUN, Micros(0)) in self.lines
            assert told or looked_at, f"{where}: its child is {child.head.state}, and it waits"

    def _agrees_with_its_parent(self) -> None:
        record = self.record
        parent = None if record.parent is None else self.state.runs.get(record.parent[0])
        if parent is None or record.parent is None:
            return
        assert parent.head.state not in FINISHED_RUN, f"{record.id} outlives {parent.id}"
        if parent.head.state in ACTIVE_RUN:
            assert not record.head.held, f"{record.id} is held by {parent.id}, which runs"

    def _waits_for_something(self) -> None:
        missing = False
        for id in self.definition.dependencies:
            state, policy = self._end_of(id), self.definition.policy_on(id)
            is_bad = state in (ProcessStatus.FAILED, ProcessStatus.CANCELLED)
            assert not (is_bad and policy == "fail"), f"{self.record.id} should fail with {id}"
            missing |= state != ProcessStatus.COMPLETED and not (is_bad and policy == "skip")
        now_due = any(
            line.run == self.record.key and line.type == WAKE for line in self.state.queue
        )
        assert missing or now_due, f"{self.record.id} waits for nothing"

    def _end_of(self, id: RunId) -> str | None:
        """Where a process is, or how it ended before it was deleted."""
        key, gone = self.state.keys.get(id), self.state.tombstones.get(id)
        if key is None:
            return gone.status if gone is not None and gone.kind is RunKind.PROCESS else None
        run = self.state.runs[key]
        return run.head.state if run.kind is RunKind.PROCESS else None
