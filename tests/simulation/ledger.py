"""The plain model: what handlers did, what became durable, and the laws that both must keep.

It knows nothing of the engine. It looks at what is remembered after each write, and at each attempt
as it begins, and compares them with what the design promises.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from kallista.core.amounts import ONE
from kallista.core.definitions import ChildSpec, Definition, MapSpec, Phase, TaskSpec
from kallista.core.encoding import definition_from_data
from kallista.core.events import Event, StepState
from kallista.core.limits import LimitKind
from kallista.core.run import SKIPPED_BY_SWITCH
from kallista.core.schedules import Overlap, Schedule
from kallista.core.states import (
    FINISHED_RUN,
    FINISHED_STEP,
    EventKind,
    ProcessStatus,
    RunKind,
    TaskStatus,
)
from kallista.core.trigger_rules import TriggerRule
from kallista.core.types import Json, RunId, RunKey, ScheduleId, StepId, WorkerKey
from kallista.store.memory import MemoryState
from kallista.store.port import RunRecord

from . import dependencies
from .loop import SECOND, Machine
from .moments import SKEW, early
from .workload import COINS, LAST, QUIET


class Worker(Protocol):
    """A program, as far as the laws look at it."""

    name: str
    alive: bool
    max_concurrency: int
    machine: Machine

    @property
    def known_as(self) -> WorkerKey:
        """The key that it believes to have."""
        ...

    @property
    def writes_as(self) -> WorkerKey | None:
        """The key that the store knows it by."""
        ...

    def limit_of(self, type: str) -> int | None:
        """How many attempts of a type it may execute at once."""
        ...


@dataclass(slots=True, eq=False)
class Attempt:
    """One call of a handler.

    Args:
        by: Who executes it.
        worker: The key it was begun under.
        run: Of which run.
        task: Of which task.
        number: Which attempt it says it is.
        key: Its idempotency key.
        type: Its task type.
        blocking: Whether it runs on a thread, which nobody can stop.
        heard_at: When it has last said how it is, or else began.
        late: It began after its worker had been taken for dead, which the worker could not know.
        under_way: Whether the handler has not returned yet.
        returned: Whether the handler has come to its end and returned its result.
    """

    by: Worker
    worker: WorkerKey
    run: RunId
    task: str
    number: int
    key: str
    type: str
    blocking: bool
    heard_at: int = 0
    late: bool = False
    under_way: bool = True
    returned: bool = False


_ENDS = {
    EventKind.TASK_COMPLETED,
    EventKind.TASK_FAILED,
    EventKind.TASK_RETRYING,
    EventKind.TASK_SNOOZED,
    EventKind.TASK_INTERRUPTED,
}
"""What only who drives a run may say of an attempt that is under way."""


MONDAY = 1_767_571_200 * SECOND
"""When simulations begin: 2026-01-05 00:00 UTC."""

MAX_CRASHES = 5
"""How often the worker of a task may die before it is set aside."""

_STATES = {
    EventKind.RUN_STARTED: ProcessStatus.RUNNING,
    EventKind.RUN_RESUMED: ProcessStatus.RUNNING,
    EventKind.RUN_RETRIED: ProcessStatus.RUNNING,
    EventKind.RUN_WAITING: ProcessStatus.WAITING,
    EventKind.RUN_PAUSED: ProcessStatus.PAUSED,
    EventKind.RUN_CANCELLED: ProcessStatus.CANCELLED,
    EventKind.RUN_COMPENSATING: ProcessStatus.COMPENSATING,
}
"""The state that an event leads to, which may be over again within the same write."""


class Ledger:
    """All that was seen, and judged at once.

    Args:
        machine: Where a broken promise is told.
        state: What is remembered.
    """

    def __init__(self, machine: Machine, state: MemoryState) -> None:
        self._machine = machine
        self.state = state
        self.tick = 0
        """How many writes there have been."""
        self._wall_offset = MONDAY
        self._set_back: list[tuple[int, int]] = []
        """From where to where all clocks were set back."""
        self.attempts: dict[tuple[RunId, str], list[Attempt]] = defaultdict(list)
        self.under_way: list[Attempt] = []
        self.failed: Counter[str] = Counter()
        self.killed: Counter[str] = Counter()
        self.snoozed: Counter[str] = Counter()
        self.called_off: Counter[str] = Counter()
        self.spends: dict[Attempt, int] = {}
        self.spent: dict[Attempt, int] = {}
        """What attempts have told that they spend, and what they were told to be durable."""
        self.deaths: Counter[tuple[RunId, str]] = Counter()
        self.only_poison_kills = False
        self.born: set[RunId] = set()
        self.deleted: set[RunId] = set()
        self.states: dict[RunId, list[tuple[int, str]]] = defaultdict(list)
        self.schedules: dict[ScheduleId, list[tuple[int, str]]] = defaultdict(list)
        self.deleted_schedules: set[ScheduleId] = set()
        self.fired_by_hand: set[ScheduleId] = set()
        self.changed_at = 0
        self.busy_at: dict[str, int] = {}
        """When each program last began to work, or to execute something, or was done with it."""
        self._runs: dict[RunKey, RunRecord] = {}
        self._events: dict[RunKey, int] = {}
        self._definitions: dict[str, Definition] = {}
        self._fired: dict[ScheduleId, int] = {}
        self._first: dict[tuple[str, str], tuple[RunKey, int]] = {}

    # attempts

    def begin(
        self, attempt: Attempt, results: Mapping[str, Json], left: Json, reads: object
    ) -> None:
        """A handler was called.

        Args:
            attempt: The call.
            results: What it is told of the steps before it.
            left: What it is given of the attempts before it.
            reads: What a reference in its config has become.
        """
        attempt.late = attempt.worker not in self.state.workers
        attempt.heard_at = self._machine.now
        what = f"begins {attempt.run} {attempt.task} {attempt.number}"
        self._machine.note(attempt.by.name, f"{what} (late)" if attempt.late else what)
        earlier = self.attempts[attempt.run, attempt.task]
        if not attempt.late:
            self._judge_number(attempt, earlier)
            self._judge_moment(attempt, results, left, reads)
        earlier.append(attempt)
        self.under_way.append(attempt)
        self.busy_at[attempt.by.name] = self._machine.now
        self._judge_limits(attempt.by, attempt.type)
        if not attempt.late:
            self._judge_key(attempt)

    def end(self, attempt: Attempt) -> None:
        """The handler is over, however it ended."""
        if attempt.under_way:
            attempt.under_way = False
            self.busy_at[attempt.by.name] = self._machine.now
            self.under_way.remove(attempt)

    def abandon(self, by: Worker) -> None:
        """The program is gone, and with it all handlers."""
        for attempt in [attempt for attempt in self.under_way if attempt.by is by]:
            self.end(attempt)

    def _judge_number(self, attempt: Attempt, earlier: list[Attempt]) -> None:
        what = f"attempt {attempt.number} of {attempt.run} {attempt.task}"
        for other in earlier:
            if other.key != attempt.key and not attempt.task.startswith(LAST):
                self._machine.accuse(f"{what} has another idempotency key than one before")
            if other.number >= attempt.number and not other.late:
                self._machine.accuse(f"{what} begins after attempt {other.number}")
            alive = other.worker in self.state.workers
            if other.under_way and not other.blocking and not other.late and alive:
                self._machine.accuse(f"{what} begins while attempt {other.number} is under way")

    def _judge_moment(
        self, attempt: Attempt, results: Mapping[str, Json], left: Json, reads: object
    ) -> None:
        what = f"attempt {attempt.number} of {attempt.run} {attempt.task}"
        key = self.state.keys.get(attempt.run)
        if key is None:
            self._machine.accuse(f"{what} begins, and its run does not exist")
            return
        record = self.state.runs[key]
        definition = self.definition(record)
        position = _steps(record, definition).index(attempt.task)
        step = record.steps[position]
        stored = (step.status, step.attempt, step.worker)
        if stored != (TaskStatus.RUNNING, attempt.number, attempt.worker):
            self._machine.accuse(f"{what} begins at {attempt.worker}, but stored is {stored}")
        self._judge_left(what, attempt, left, (key, position))
        spec = definition.steps[position]
        before = [record.steps[earlier] for earlier in spec.depends_on]
        has_begun = self._has_begun_before(record.key, position, attempt.number)
        if not has_begun and not _RULES[spec.trigger_rule](before):
            self._machine.accuse(f"{what} begins, and {spec.trigger_rule} does not hold: {before}")
        self._judge_phase(what, record, definition, position)
        if not self._is_chosen(record, definition, position):
            self._machine.accuse(f"{what} begins, and its switch did not choose it")
        durable = self._durable_results(record, definition, position)
        # What is still under way before it may complete while it reads: one failure is enough to
        # skip a step, and what follows that waits for nothing else.
        early = any(step.trigger_rule in _EARLY for step in definition.steps)
        early |= any(step.status is TaskStatus.SKIPPED for step in record.steps)
        if early:
            durable = {task: durable[task] for task in results if task in durable}
        if dict(results) != durable:
            self._machine.accuse(f"{what} is given {results}, but durable is {durable}")
        expected = self._read_by(record, definition, position)
        if reads != expected and not (early and reads is None):
            self._machine.accuse(f"{what} reads {reads}, but durable is {expected}")

    def _is_chosen(self, record: RunRecord, definition: Definition, position: int) -> bool:
        """Whether a step is no branch, or one that its switch has chosen."""
        switch = definition.steps[position].branch_of
        if switch is None:
            return True
        if record.steps[switch].status is not TaskStatus.COMPLETED:
            return False
        chosen = self.result(record, definition, switch)
        assert isinstance(chosen, dict)
        then = chosen["then"]
        assert isinstance(then, list)
        return definition.steps[position].id in then

    def _judge_left(
        self, what: str, attempt: Attempt, left: Json, place: tuple[RunKey, int]
    ) -> None:
        """It is given the last details that are durable, which an attempt before it has said."""
        kept = self.state.heartbeats.get(place)
        durable = None if kept is None else json.loads(kept.details or "null")
        if left != durable:
            self._machine.accuse(f"{what} is left {left}, but durable is {durable}")
        if isinstance(left, list) and left[0] >= attempt.number:
            self._machine.accuse(f"{what} is left what only a later attempt can have said: {left}")

    def _has_begun_before(self, key: RunKey, position: int, number: int) -> bool:
        """Whether it is another try of what has begun, and goes on though the run was retried."""
        for event in reversed(self.state.events[key]):
            if event.step == position:
                if event.kind is EventKind.TASK_RESET:
                    return False
                if event.kind is EventKind.TASK_STARTED and event.attempt < number:
                    return True
        return False

    def _judge_phase(
        self, what: str, record: RunRecord, definition: Definition, position: int
    ) -> None:
        """What is done at the end begins when the rest is over, and undoing in reverse order."""
        spec, main = definition.steps[position], definition.main_count
        if spec.phase is Phase.MAIN:
            return  # whoever begins it may not have heard yet that the run is wound up
        if any(step.status not in FINISHED_STEP for step in record.steps[:main]):
            self._machine.accuse(f"{what} begins, and not all has ended")
        if spec.undoes is None:
            return
        undone = record.steps[spec.undoes]
        if not is_ours(undone):
            self._machine.accuse(f"{what} begins, and what it undoes is {undone}")
        for other in range(main, len(definition.steps)):
            undoes = definition.steps[other].undoes
            if undoes is None or not is_ours(record.steps[undoes]):
                continue
            later = (record.steps[undoes].outcome or 0) > (undone.outcome or 0)
            if later and record.steps[other].status not in FINISHED_STEP:
                self._machine.accuse(f"{what} begins before step {other}, which undoes later work")

    def _read_by(self, record: RunRecord, definition: Definition, position: int) -> Json:
        """The result that a task's config refers to, if it refers to one."""
        work = definition.steps[position].work
        assert isinstance(work, TaskSpec)
        item = self._item(record)
        if item is not None and record.kind is RunKind.TASK:
            _, step, index = item
            is_read = "reads" in step.child.inputs
            return index if is_read else None
        reference = str(work.config.get("reads", ""))
        if not reference:
            return None
        if reference.startswith("${inputs."):
            given: Json = json.loads(record.inputs)["reads"]
            return given
        if reference.startswith("${processes."):
            return self._read_of_other(record, reference.split(".")[1])
        earlier = definition.position[StepId(reference.split(".")[1])]
        if record.steps[earlier].status is not TaskStatus.COMPLETED:
            return None
        return self.result(record, definition, earlier)

    def _item(self, record: RunRecord) -> tuple[RunRecord, MapSpec, int] | None:
        """Whose item a run is, and which; None: it is none."""
        if record.parent is None or record.parent[0] not in self.state.runs:
            return None
        parent = self.state.runs[record.parent[0]]
        work = self.definition(parent).steps[record.parent[1]].work
        if not isinstance(work, MapSpec):
            return None
        return parent, work, int(record.id.rpartition("/")[2])

    def _judge_parallel(self, by: Worker, record: RunRecord) -> None:
        """No more items of a list are under way at a time than its step says."""
        item = self._item(record)
        if item is None:
            return
        _, mapped, _ = item
        under_way = [
            other.id
            for other in self.state.runs.values()
            if other.parent == record.parent
            and (other.head.ended_at is None or other.head.in_flight)
        ]
        if len(under_way) > mapped.max_parallel:
            self._machine.accuse(f"{by.name} lets {under_way} be under way together")

    def _read_of_other(self, record: RunRecord, id: str) -> Json:
        """What a process has written down of another one with its first start."""
        events = self.state.events[record.key]
        started = next(event for event in events if event.kind is EventKind.RUN_STARTED)
        return dependencies.found_of(started)[id]["results"][dependencies.FIRST]

    def _first_result(self, record: RunRecord) -> Json:
        """What the step of a process that others read has returned; None: nothing."""
        definition = self.definition(record)
        at = definition.position[StepId(dependencies.FIRST)]
        is_there = record.steps[at].status is TaskStatus.COMPLETED
        return self.result(record, definition, at) if is_there else None

    def _judge_start(self, record: RunRecord, event: Event) -> None:
        definition = self.definition(record)
        if definition.dependencies:
            wrong = dependencies.judge_start(
                record, definition, event, self.states, self.state, self._first_result
            )
            if wrong is not None:
                self._machine.accuse(wrong)

    def _durable_results(
        self, record: RunRecord, definition: Definition, position: int
    ) -> dict[str, Json]:
        spec = definition.steps[position]
        if spec.phase is Phase.FINALLY:
            before = set(range(definition.main_count))
        elif spec.undoes is not None:
            before = {*_before(definition, spec.undoes), spec.undoes}
        else:
            before = _before(definition, position)
        return {
            _steps(record, definition)[earlier]: self.result(record, definition, earlier)
            for earlier in sorted(before)
            if record.steps[earlier].status is TaskStatus.COMPLETED
        }

    def result(self, record: RunRecord, definition: Definition, position: int) -> Json:
        """What is remembered as the result of a completed step."""
        outcome = record.steps[position].outcome
        assert outcome is not None
        data: Json = json.loads(self.state.events[record.key][outcome].data or "null")
        work = definition.steps[position].work
        if isinstance(work, MapSpec):
            assert isinstance(data, dict)
            return data["result"]
        if not isinstance(work, ChildSpec):
            return data
        assert isinstance(data, dict)
        if "results" in data:  # kept by a fork
            return data["results"]
        key = self.state.keys.get(RunId(str(data["run"])))
        if key is None:
            return None
        child = self.state.runs[key]
        of_child = self.definition(child)
        return {
            of_child.steps[step].id: self.result(child, of_child, step)
            for step in range(of_child.main_count)
            if child.steps[step].status is TaskStatus.COMPLETED
        }

    def _judge_limits(self, by: Worker, type: str) -> None:
        here = [attempt for attempt in self.under_way if attempt.by is by]
        if len(here) > by.max_concurrency:
            self._machine.accuse(f"{by.name} executes {len(here)}, more than its limit")
        alike = sum(attempt.type == type for attempt in here)
        limit = by.limit_of(type)
        if limit is not None and alike > limit:
            self._machine.accuse(f"{by.name} executes {alike} of {type}, more than its limit")

    def _judge_key(self, attempt: Attempt) -> None:
        """No more attempts of a key run at once than any of them says.

        Left out are those of workers that have been taken for dead, and threads that are not
        waited for any more.
        """
        key, _ = self._key(attempt)
        if key is None:
            return
        alike = [
            other for other in self.under_way if self._key(other)[0] == key and self._counts(other)
        ]
        number = max(self._key(other)[1] for other in alike)
        if len(alike) > number:
            told = ", ".join(f"{it.run} {it.task} {it.number}" for it in alike)
            self._machine.accuse(f"{len(alike)} of {key!r} run, more than {number}: {told}")

    def _key(self, attempt: Attempt) -> tuple[str | None, int]:
        """The concurrency key of an attempt, resolved here anew, and its number."""
        key = self.state.keys.get(attempt.run)
        if key is None:
            return None, 0
        record = self.state.runs[key]
        definition = self.definition(record)
        work = definition.steps[_steps(record, definition).index(attempt.task)].work
        assert isinstance(work, TaskSpec)
        for limit in work.limits:
            if limit.kind is LimitKind.KEY:
                config = {**work.config, **json.loads(record.inputs)}
                length = str(config.get("length"))
                return limit.key.replace("${config.length}", length), limit.number
        return None, 0

    def _counts(self, attempt: Attempt) -> bool:
        if attempt.late or attempt.worker not in self.state.workers:
            return False
        record = self.state.runs[self.state.keys[attempt.run]]
        step = record.steps[_steps(record, self.definition(record)).index(attempt.task)]
        stored = (step.status, step.attempt, step.worker)
        is_waited_for = stored == (TaskStatus.RUNNING, attempt.number, attempt.worker)
        return is_waited_for or not attempt.blocking

    # what is remembered

    def wrote(self, by: Worker) -> None:
        """A program has written something."""
        self.tick += 1
        state = self.state
        for key, record in state.runs.items():
            before = self._runs.get(key)
            if before is not record:
                self._run_changed(by, before, record)
                self._runs[key] = record
        if len(self._runs) > len(state.runs):
            self._forget_deleted(by)
        for id, schedule in state.schedules.items():
            seen = self.schedules[id]
            if not seen or seen[-1][1] != schedule.status:
                seen.append((self.tick, schedule.status))
                self._machine.note(by.name, f"writes schedule {id} {schedule.status}")
            started = schedule.fired + schedule.backfilled
            if self._fired.get(id) != started:
                self._fired[id] = started
                self._judge_overlap(by, schedule)
                self.changed_at = self._machine.now
        self.deleted_schedules = self.schedules.keys() - state.schedules.keys()

    def _judge_overlap(self, by: Worker, schedule: Schedule) -> None:
        """Unless it may, or somebody asked for it, no firing starts before the last has ended."""
        if schedule.rules.overlap is Overlap.ALLOW or schedule.id in self.fired_by_hand:
            return
        for record in self.state.runs.values():
            newest = (schedule.last_run, schedule.backfill and schedule.backfill.run)
            is_earlier = record.schedule == schedule.id and record.id not in newest
            if is_earlier and (record.head.ended_at is None or record.head.in_flight):
                self._machine.accuse(
                    f"{by.name} fires {schedule.id}, and {record.id} is {record.status}"
                )

    def _forget_deleted(self, by: Worker) -> None:
        for key in self._runs.keys() - self.state.runs.keys():
            record = self._runs.pop(key)
            self.deleted.add(record.id)
            self._machine.note(by.name, f"deletes {record.id}")
            if record.head.ended_at is None or record.head.in_flight:
                self._machine.accuse(f"{record.id} was deleted, and it is {record.status}")

    def _run_changed(self, by: Worker, before: RunRecord | None, record: RunRecord) -> None:
        events = self.state.events[record.key]
        known = 0 if before is None else self._events[record.key]
        new = events[known:]
        self._events[record.key] = len(events)
        if [event.seq for event in new] != list(range(known, len(events))):
            self._machine.accuse(f"the history of {record.id} has a hole or a double line")
        if before is None:
            self.born.add(record.id)
            self._judge_same(record)
        elif (record.version, record.epoch) < (before.version, before.epoch) or (
            record.version == before.version
            and (record.head, record.steps, record.owner)
            != (before.head, before.steps, before.owner)
        ):
            self._machine.accuse(f"{record.id} went back to version {record.version}")
        self._judge_steps(by, before, record)
        self._judge_parallel(by, record)
        for event in new:
            self._judge_event(by, before, record, event)
        status = record.status
        if before is None or new:
            passed = [_STATES[event.kind] for event in new if event.kind in _STATES]
            for state in [*passed, record.head.state]:
                self.states[record.id].append((self.tick, state))
            self.changed_at = self._machine.now
        if not new and (before is None or before.owner != record.owner):
            owner = record.owner or "nobody"
            self._machine.note(by.name, f"writes {record.id} {status}, driven by {owner}")

    def _judge_same(self, record: RunRecord) -> None:
        """Nothing is created while the first of its key is the answer.

        What is written long after it was asked for may come when the time of the first is over.
        """
        found = [(at, same) for at, (key, same) in self.state.same.items() if key == record.key]
        for at, same in found:
            run, until = self._first.get(at, (None, 0))
            first = None if run is None else self.state.runs.get(run)
            is_over = until - SKEW <= max([self.wall, *(shown for shown, _ in self._set_back)])
            if first is not None and record.created_at < until and not is_over:
                came_to_nothing = first.head.state in ("FAILED", "CANCELLED")
                if not came_to_nothing:
                    self._machine.accuse(f"{record.id} is created, and {first.id} is the same")
            self._first[at] = record.key, same.until

    def _judge_steps(self, by: Worker, before: RunRecord | None, record: RunRecord) -> None:
        if before is None:
            return
        if len(record.steps) < len(before.steps):
            self._machine.accuse(f"{record.id} has lost steps")
        for position, (old, now) in enumerate(zip(before.steps, record.steps, strict=False)):
            if old is now:
                continue
            last = self.definition(record).steps[position].phase is Phase.FINALLY
            if old.status is TaskStatus.COMPLETED and old != now and not last:
                self._machine.accuse(f"step {position} of {record.id} was COMPLETED and changed")
            if now.attempt < old.attempt:
                self._machine.accuse(f"step {position} of {record.id} has lost attempts")

    def _judge_event(
        self, by: Worker, before: RunRecord | None, record: RunRecord, event: Event
    ) -> None:
        steps = _steps(record, self.definition(record))
        step = "" if event.step is None else f" {steps[event.step]}"
        number = event.attempt or ""
        what = f"writes {record.id}{step} {event.kind} {number}{_reason(event)}"
        self._machine.note(by.name, what.rstrip())
        self._judge_expiry(what, before, record, event)
        if event.kind is EventKind.TASK_STARTED and before is not None:
            self._judge_budget(what, before, event.step or 0)
        if event.kind is EventKind.RUN_STARTED:
            self._judge_start(record, event)
        if event.step is not None:
            self._judge_poison(record, (record.id, steps[event.step]), event)
            self._judge_silence(record, steps[event.step], event)
        if event.kind is EventKind.TASK_SKIPPED and event.data == SKIPPED_BY_SWITCH:
            assert event.step is not None
            if self._is_chosen(record, self.definition(record), event.step):
                self._machine.accuse(f"{what}, and its switch chose it")
        if event.kind not in _ENDS or before is None or event.step is None:
            return
        was_running = before.steps[event.step].status is TaskStatus.RUNNING
        if was_running and before.owner not in (None, by.writes_as):
            self._machine.accuse(
                f"{by.name} ends an attempt of {record.id}, which {before.owner} drives"
            )

    def _judge_expiry(
        self, what: str, before: RunRecord | None, record: RunRecord, event: Event
    ) -> None:
        """Nothing begins in a run that has expired, and none expires in which something has."""
        expires = self.definition(record).expires
        if expires is None:
            return
        begun = before is not None and any(step.attempt for step in before.steps)
        is_over = event.at >= expires.moment(record.created_at)
        if event.kind is EventKind.TASK_STARTED and not begun and is_over:
            phase = self.definition(record).steps[event.step or 0].phase
            if phase is not Phase.FINALLY:
                self._machine.accuse(f"{what}, and it had expired")
        expired = event.kind is EventKind.RUN_CANCELLED and '"expired:' in (event.data or "")
        if expired and (begun or not is_over):
            self._machine.accuse(f"{what}, and it had begun, or had time left")

    def _judge_budget(self, what: str, before: RunRecord, position: int) -> None:
        """Nothing begins where nothing is left of a budget, but for what is done at the end."""
        is_last = self.definition(before).steps[position].phase is not Phase.MAIN
        if is_last or before.head.ending is not None:
            return
        key: RunKey | None = before.key
        while key is not None and key in self.state.runs:
            limit = self.state.budgets.get(key, {}).get(COINS)
            spent = self.spent_below(key)
            if limit is not None and spent >= limit:
                self._machine.accuse(f"{what}, and {spent} of {limit} are spent")
            parent = self.state.runs[key].parent
            key = None if parent is None else parent[0]

    def spent_below(self, key: RunKey) -> int:
        """What is remembered to be spent by a run and all below it, in billionths."""
        below = {key}
        for other, record in sorted(self.state.runs.items()):
            if record.parent is not None and record.parent[0] in below:
                below.add(other)
        return sum(line.amount for line in self.state.spent.values() if line.run in below)

    def judge_spent(self) -> None:
        """What an attempt was told to be durable is remembered, and nothing that nobody spent."""
        found: Counter[tuple[RunKey, int, int]] = Counter()
        for line in self.state.spent.values():
            found[line.run, line.step, line.attempt] += line.amount // ONE
        told: Counter[tuple[RunKey, int, int]] = Counter()
        for attempt, amount in self.spends.items():
            key = self.state.keys.get(attempt.run)
            if key is None:
                continue
            record = self.state.runs[key]
            position = _steps(record, self.definition(record)).index(attempt.task)
            place = key, position, attempt.number
            told[place] += amount
            if attempt in self.spent and found[place] < self.spent[attempt]:
                self._machine.accuse(f"{attempt.run} {attempt.task} has spent {amount} in vain")
        for place, amount in found.items():
            if amount > told[place]:
                self._machine.accuse(f"{amount} are spent by {place}, which told of {told[place]}")

    def is_budgeted(self, id: RunId) -> bool:
        """Whether a budget holds for a run."""
        key = self.state.keys.get(id)
        return key is not None and self.definition(self.state.runs[key]).is_budgeted

    def has_expired(self, id: RunId) -> bool:
        """Whether a run was of use only until a moment, and nothing of it has begun."""
        key = self.state.keys.get(id)
        record = None if key is None else self.state.runs[key]
        if record is None or self.definition(record).expires is None:
            return False
        return not any(step.attempt for step in record.steps)

    def _judge_silence(self, record: RunRecord, task: str, event: Event) -> None:
        """Only an attempt that was silent for its whole heartbeat_timeout is stopped for that."""
        if event.data is None or '"HeartbeatTimeout"' not in event.data:
            return
        work = self.definition(record).steps[event.step or 0].work
        assert isinstance(work, TaskSpec)
        for attempt in self.attempts[record.id, task]:
            silent = self._machine.now - attempt.heard_at
            if attempt.number == event.attempt and silent < (work.heartbeat_timeout or 0):
                self._machine.accuse(f"{record.id} {task} was stopped, and silent for {silent} µs")

    def _judge_poison(self, record: RunRecord, task: tuple[RunId, str], event: Event) -> None:
        """A task is set aside when its worker has died often enough, and not before."""
        if event.kind is EventKind.TASK_RESET:
            self.deaths[task] = 0
        elif event.kind is EventKind.TASK_INTERRUPTED and event.data is None:
            self.deaths[task] += 1
        if event.kind is EventKind.TASK_FAILED and _was_crashed(event):
            if self.deaths[task] + 1 < MAX_CRASHES:
                self._machine.accuse(f"{task} was set aside after {self.deaths[task] + 1} deaths")
            innocent = not any(self.killed[attempt.key] for attempt in self.attempts[task])
            if innocent and self.only_poison_kills:
                self._machine.accuse(f"{task} was set aside, and others have killed")
        if self.deaths[task] >= MAX_CRASHES:
            self._machine.accuse(f"{task} has taken {self.deaths[task]} programs with it")

    def definition(self, record: RunRecord) -> Definition:
        """What a run runs."""
        known = self._definitions.get(record.definition)
        if known is None:
            known = definition_from_data(json.loads(record.definition_content))
            self._definitions[record.definition] = known
        return known

    # what clients are told

    def was_in(self, id: RunId, states: set[str], since: int) -> bool:
        """Whether a run has been in one of these states at some moment since a tick."""
        seen = self.states[id]
        last_before = [state for tick, state in seen if tick <= since][-1:]
        return not states.isdisjoint(
            [*last_before, *(state for tick, state in seen if tick > since)]
        )

    def schedule_was(self, id: ScheduleId, statuses: set[str], since: int) -> bool:
        """Whether a schedule has had one of these statuses at some moment since a tick."""
        seen = self.schedules[id]
        last_before = [status for tick, status in seen if tick <= since][-1:]
        later = [status for tick, status in seen if tick > since]
        return not statuses.isdisjoint([*last_before, *later])

    # at the end

    def judge_wound_up(self) -> None:
        """Whatever the end, what is to be done at it was done."""
        for record in self.state.runs.values():
            definition = self.definition(record)
            if record.head.state not in FINISHED_RUN or record.head.started_at is None:
                continue
            for position in range(definition.main_count, len(definition.steps)):
                spec, step = definition.steps[position], record.steps[position]
                if spec.undoes is None:
                    owed = True
                else:
                    owed = self._is_undone(record) and is_ours(record.steps[spec.undoes])
                if owed and step.status not in FINISHED_STEP:
                    self._machine.accuse(f"{record.id} is over, and {spec.id} is {step.status}")
                if step.attempt and not owed:
                    self._machine.accuse(f"{spec.id} of {record.id} ran, and nobody asked for it")

    def _is_undone(self, record: RunRecord) -> bool:
        ending = ""
        for event in self.state.events[record.key]:
            if event.kind is EventKind.RUN_RETRIED:
                ending = ""
            elif event.kind is EventKind.RUN_COMPENSATING and event.data is not None:
                ending = str(json.loads(event.data)["ending"])
            elif event.kind is EventKind.RUN_FAILED and '"Undone"' in (event.data or ""):
                ending = "UNDONE"  # a child that its parent would have go on
        return ending.startswith("UNDONE")

    def was_undone(self, id: RunId) -> bool:
        """Whether what a run had done is undone, so that it cannot go on."""
        key = self.state.keys.get(id)
        return key is not None and self._is_undone(self.state.runs[key])

    @property
    def wall(self) -> int:
        """What the clocks show, but for their differences."""
        return self._machine.now + self._wall_offset

    def set_clocks(self, change: int) -> None:
        """All clocks are set."""
        if change < 0:
            self._set_back.append((self.wall, self.wall + change))
        self._wall_offset += change

    def judge_moments(self) -> None:
        """Nothing has begun or ended before its time."""
        for record in self.state.runs.values():
            events = self.state.events[record.key]
            for problem in early(self.definition(record), events, self._set_back):
                self._machine.accuse(f"{record.id}: {problem}")

    def judge_completed(self) -> None:
        """What completed did so by exactly one attempt, whose result is the one remembered."""
        for record in self.state.runs.values():
            definition = self.definition(record)
            completed = Counter(
                event.step
                for event in self.state.events[record.key]
                if event.kind is EventKind.TASK_COMPLETED
            )
            ids = _steps(record, definition)
            for position, spec in enumerate(definition.steps):
                what = f"{record.id} {ids[position]}"
                if self._is_kept(record, position):
                    self._judge_kept(what, record, position, ids[position])
                    continue
                if completed[position] > 1 and spec.phase is not Phase.FINALLY:
                    self._machine.accuse(f"{what} completed {completed[position]} times")
                if record.steps[position].status is not TaskStatus.COMPLETED:
                    continue
                if isinstance(spec.work, MapSpec):
                    self._judge_items(what, record, position, spec.work)
                elif isinstance(spec.work, TaskSpec) and spec.work.type not in QUIET:
                    self._judge_result(what, record, position, ids[position])

    def _is_kept(self, record: RunRecord, position: int) -> bool:
        """Whether another run has completed a step."""
        outcome = record.steps[position].outcome
        kind = None if outcome is None else self.state.events[record.key][outcome].kind
        return kind is EventKind.TASK_KEPT

    def _judge_kept(self, what: str, record: RunRecord, position: int, task: str) -> None:
        """What a fork keeps is what its source has, and is never done by the fork."""
        if record.forked_from is None:
            self._machine.accuse(f"{what} is COMPLETED without an attempt")
            return
        if self.attempts[record.id, task]:
            self._machine.accuse(f"{what} was kept, and runs all the same")
        key = self.state.keys.get(record.forked_from[0])
        source = None if key is None else self.state.runs[key]
        if source is not None:
            there = self.result(source, self.definition(source), position)
            here = self.result(record, self.definition(record), position)
            if here != there:
                self._machine.accuse(f"{what} is kept as {here}, and it was {there}")

    def _judge_items(self, what: str, record: RunRecord, position: int, mapped: MapSpec) -> None:
        """Each item has a run, and what those returned is the result, in the order of the list."""
        runs = sorted(
            (int(run.id.rpartition("/")[2]), run)
            for run in self.state.runs.values()
            if run.parent == (record.key, position)
        )
        if [index for index, _ in runs] != list(range(len(runs))):
            self._machine.accuse(f"{what} has left out an item")
        result = self.result(record, self.definition(record), position)
        if not mapped.collect:
            assert isinstance(result, dict)
            if result["count"] != len(runs):
                self._machine.accuse(f"{what} has {len(runs)} runs, and says {result}")
            return
        returned = [self._returned(run) for _, run in runs]
        if result != returned:
            self._machine.accuse(f"{what} has the result {result}, and its items {returned}")

    def _returned(self, run: RunRecord) -> Json:
        """What the run of an item has come to."""
        if run.head.state is not ProcessStatus.COMPLETED:
            return None
        definition = self.definition(run)
        results = {
            definition.steps[step].id: self.result(run, definition, step)
            for step in range(definition.main_count)
            if run.steps[step].status is TaskStatus.COMPLETED
        }
        return results[StepId("")] if run.kind is RunKind.TASK else dict(results)

    def _judge_result(self, what: str, record: RunRecord, position: int, task: str) -> None:
        number = record.steps[position].attempt
        result = self.result(record, self.definition(record), position)
        if not isinstance(result, dict) or result.get("attempt") != number:
            self._machine.accuse(f"{what}: attempt {number} counts, but the result is {result}")
        returned = [
            attempt
            for attempt in self.attempts[record.id, task]
            if attempt.number == number and attempt.returned
        ]
        if len(returned) != 1:
            self._machine.accuse(f"{what} is COMPLETED, and {len(returned)} attempts returned")


_EARLY: Final = {TriggerRule.ALWAYS, TriggerRule.ONE_COMPLETED, TriggerRule.ONE_FAILED}
"""The rules by which a step may begin while others before it are under way."""


def is_ours(step: StepState) -> bool:
    """Whether a run itself has completed a step."""
    return step.status is TaskStatus.COMPLETED and step.attempt > 0


def _has_ended(step: StepState) -> bool:
    return step.status in FINISHED_STEP


def _has_failed(step: StepState) -> bool:
    """By itself, or because of another one's failure."""
    failed = step.status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
    return failed or (step.status is TaskStatus.SKIPPED and not step.passed)


_RULES: Final[Mapping[TriggerRule, Callable[[list[StepState]], bool]]] = {
    TriggerRule.ALL_COMPLETED: lambda before: all(step.passed for step in before),
    TriggerRule.ALL_DONE: lambda before: all(map(_has_ended, before)),
    TriggerRule.ONE_COMPLETED: lambda before: any(
        step.status is TaskStatus.COMPLETED for step in before
    ),
    TriggerRule.ONE_FAILED: lambda before: any(map(_has_failed, before)),
    TriggerRule.NONE_FAILED: lambda before: (
        all(map(_has_ended, before)) and not any(map(_has_failed, before))
    ),
    TriggerRule.ALL_FAILED: lambda before: all(map(_has_failed, before)),
    TriggerRule.ALWAYS: lambda before: True,
}
"""What each rule promises of the steps before one that begins, in plain words."""


def _before(definition: Definition, position: int) -> set[int]:
    """The steps of the main phase that one comes after."""
    if definition.kind is RunKind.WORKFLOW:
        return set(range(position))
    before = {position}
    for earlier in range(position, -1, -1):
        if earlier in before:
            before.update(definition.steps[earlier].depends_on)
    return before - {position}


def _reason(event: Event) -> str:
    """Why something failed, in a few words."""
    data = json.loads(event.data) if event.data is not None else None
    if event.kind is EventKind.TASK_RETRYING and isinstance(data, dict):
        data = data.get("error")
    message = data.get("message") if isinstance(data, dict) else None
    return "" if message is None else f" ({str(message)[:80]})"


def _was_crashed(event: Event) -> bool:
    """Whether a task failed because its worker died each time."""
    data = json.loads(event.data or "null")
    return isinstance(data, dict) and data.get("type") == "WorkerCrashed"


def _steps(record: RunRecord, definition: Definition) -> list[str]:
    """The ids of a run's steps; the one of a single task is its run's."""
    return [spec.id or record.id for spec in definition.steps]
