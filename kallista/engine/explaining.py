"""Says why a run is where it is, in a sentence and as data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec.structs import replace

from kallista.core.birth import content_of
from kallista.core.definitions import ChildSpec, Definition, Phase, SwitchSpec, TaskSpec, Work
from kallista.core.durations import format_duration, to_datetime
from kallista.core.events import Heartbeat, StepState
from kallista.core.ids import child_id
from kallista.core.json_text import from_json
from kallista.core.plain import some
from kallista.core.plan import (
    DEFAULT_QUEUE,
    WHOLE_RUN,
    SameKey,
    lane,
    queue_of_lane,
    type_of_lane,
)
from kallista.core.schedules import Overlap, Schedule
from kallista.core.snapshots import Explanation
from kallista.core.states import (
    UNDOING,
    EventKind,
    ProcessStatus,
    RunKind,
    ScheduleStatus,
    TaskStatus,
    status_after,
)
from kallista.core.types import JsonText, Micros, RunId, TaskType
from kallista.engine.active import DefinitionCache, has_begun
from kallista.engine.asking import told_questions
from kallista.engine.awaited import Awaited
from kallista.engine.awaited_told import AwaitedTold
from kallista.engine.counting import Counting
from kallista.engine.facts import failures_told
from kallista.engine.heartbeats import Hearing
from kallista.engine.snapshots import as_seen, choice_told, items_snapshot, shown
from kallista.store.port import RunRecord, Store

_SHOWN_AT_MOST = 3
_HISTORY_PAGE = 1000

_WAITS: Final = (Overlap.QUEUE, Overlap.REPLACE)
"""What lets a firing wait for the end of the one before."""


def _awaits(schedule: Schedule) -> str:
    """What an ACTIVE schedule does that waits for no run."""
    starts = _starts(schedule)
    told = [] if starts is None else [f"waits for its next firing at {_shown(starts)}"]
    if schedule.backfill is not None:
        at, until = schedule.backfill.at, _shown(schedule.backfill.until)
        what = "the last has started" if at is None else f"the next is that of {_shown(at)}"
        told.append(f"fires for moments of the past until {until}, {what}")
    return " and ".join(told)


def _starts(schedule: Schedule) -> Micros | None:
    """When its next firing starts, also on a machine that does not know its zone."""
    return schedule.look_at if schedule.backfill is None else schedule.next_at


def _shown(moment: Micros) -> str:
    return f"{to_datetime(moment):%Y-%m-%d %H:%M:%S} UTC"


class Explainer:
    """Looks at a run, and at what it waits for.

    Args:
        store: Where everything is.
        definitions: Definitions already read.
        awaited: Looks at what processes wait for.
        hearing: What running attempts say.
        now: What time it is.
    """

    def __init__(
        self,
        store: Store,
        definitions: DefinitionCache,
        awaited: Awaited,
        hearing: Hearing,
        now: Callable[[], Micros],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._awaited_told = AwaitedTold(store, definitions, awaited)
        self._hearing = hearing
        self._now = now
        self._counting = Counting(store, definitions)

    async def run(self, record: RunRecord) -> Explanation:
        """Why a run is where it is, and who waits for it."""
        record = as_seen(record, self._now())
        definition = self._definitions.get(record.definition, record.definition_content)
        explained = await self._where(record, definition)
        explained = await self._with_choices(explained, record, definition)
        if record.kind is not RunKind.PROCESS:
            return explained
        return replace(explained, awaited_by=await self._awaited_told.awaited_by(record.id))

    async def _where(self, record: RunRecord, definition: Definition) -> Explanation:
        what = f"{record.kind.value.capitalize()} {record.id!r}{_origin(record)}"
        what += await self._redefined(record)
        explained = _with_expiry(await self._of(record, definition, what), record, definition)
        return _with_same(explained, await self._store.same_key(record.key), self._now())

    async def _of(self, record: RunRecord, definition: Definition, what: str) -> Explanation:
        match record.head.state:
            case ProcessStatus.PENDING:
                return self._said(record, f"{what} waits to be started", "not_started")
            case ProcessStatus.WAITING:
                return await self._dependencies(record, definition, what)
            case ProcessStatus.PAUSED:
                why = await self._used_up(record, definition)
                told = f"{what} is paused{_in_flight(record)}{_stands_still(record)}{why}"
                paused = self._said(record, told, "paused")
                return _with_ending(paused, record)
            case ProcessStatus.COMPLETED | ProcessStatus.FAILED | ProcessStatus.CANCELLED:
                return await self._finished(record, definition, what)
            case _:
                explained = await self._running(record, definition, what)
                return _with_ending(explained, record)

    async def _redefined(self, record: RunRecord) -> str:
        """Since when a run has had another definition than it was asked for with, if it has."""
        asked = content_of(
            record.kind, record.definition, from_json(record.inputs), record.priority, record.tags,
            record.forked_from,
        )  # fmt: skip
        if asked == record.content:
            return ""
        seen, last = 0, None
        while page := await self._store.history(record.key, seen, _HISTORY_PAGE):
            seen += len(page)
            changes = [event for event in page if event.kind is EventKind.RUN_REDEFINED]
            last = changes[-1] if changes else last
        if last is None:
            return ""
        told = from_json(last.data or "{}")
        ids = [*told["changed"], *told["added"]]
        changed = f": {some(ids)}" if ids else ""
        return f", with definition {told['after'][:12]} since {_shown(last.at)}{changed},"

    async def _with_choices(
        self, explained: Explanation, record: RunRecord, definition: Definition
    ) -> Explanation:
        """The same, and what the switches of a run have chosen, which decides what it skips."""
        made = [
            position
            for position, (spec, step) in enumerate(
                zip(definition.steps, record.steps, strict=True)
            )
            if isinstance(spec.work, SwitchSpec) and step.status is TaskStatus.COMPLETED
        ]
        if not made:
            return explained
        outcomes = await self._store.outcomes(record.key, made)
        told = "; ".join(
            f"{definition.steps[position].id!r} {choice_told(from_json(outcomes[position]))}"
            for position in made[:_SHOWN_AT_MOST]
        )
        return replace(explained, sentence=f"{explained.sentence[:-1]}; {told}.")

    async def schedule(self, schedule: Schedule) -> Explanation:
        """Why a schedule is where it is."""
        what = f"Schedule {schedule.id!r}"
        match schedule.status:
            case ScheduleStatus.PAUSED:
                why = f": {schedule.note}" if schedule.note else ""
                sentence, reason = f"{what} is paused and fires nothing{why}", "paused"
            case ScheduleStatus.FINISHED:
                sentence, reason = f"{what} is over and fires no more", "finished"
            case ScheduleStatus.ACTIVE:
                waits_for = await self._waits_for(schedule)
                if waits_for is not None:
                    sentence = f"{what} waits until its firing {waits_for!r} has ended"
                    return Explanation(
                        schedule.id, schedule.status.value, f"{sentence}.", "waits_for_firing",
                        (waits_for,),
                    )  # fmt: skip
                sentence, reason = f"{what} {_awaits(schedule)}", "waits_for_moment"
        return Explanation(schedule.id, schedule.status.value, f"{sentence}.", reason)

    async def _waits_for(self, schedule: Schedule) -> RunId | None:
        """The unfinished run that a firing waits for whose moment has come."""
        starts = _starts(schedule)
        is_due = starts is not None and starts <= self._now()
        if schedule.last_run is None or not is_due or schedule.rules.overlap not in _WAITS:
            return None
        last = await self._store.load(schedule.last_run)
        is_over = last is None or (last.head.ended_at is not None and not last.head.in_flight)
        return None if is_over else schedule.last_run

    def _said(
        self, record: RunRecord, sentence: str, reason: str, waits_for: Sequence[str] = ()
    ) -> Explanation:
        status = record.status
        if record.kind is RunKind.TASK and record.steps:
            status = shown(record.steps[0], self._now()).value
        return Explanation(record.id, status, f"{sentence}.", reason, tuple(waits_for))

    async def _used_up(self, record: RunRecord, definition: Definition) -> str:
        """Which budget a paused run has used up, and how it goes on."""
        lines = await self._store.budgets(record.key) if definition.is_budgeted else ()
        used_up = [line for line in lines if line.share.is_used_up]
        if not used_up:
            return ""
        told = ", ".join(line.share.told(line.unit) for line in used_up)
        whose = "its budget" if used_up[0].run == record.id else f"the budget of {used_up[0].run!r}"
        return f": {whose} is used up, {told}; resume {used_up[0].run!r} with a higher one"

    async def _dependencies(
        self, record: RunRecord, definition: Definition, what: str
    ) -> Explanation:
        missing = await self._awaited_told.missing(definition)
        if missing:
            sentence = f"{what} waits for process {' and for '.join(missing.values())}"
            said = self._said(record, sentence, "waits_for_process", list(missing))
        else:
            is_alive = any(worker.alive for worker in await self._store.workers())
            nobody = "" if is_alive else "; none is alive"
            sentence = f"{what} waits for a worker to look at it{nobody}"
            said = self._said(record, sentence, "waits_for_worker")
        return replace(said, dependencies=await self._awaited_told.tree(record.id, definition))

    async def _finished(self, record: RunRecord, definition: Definition, what: str) -> Explanation:
        state = record.head.state.value
        outcomes = await self._store.outcomes(record.key)
        told = failures_told(record, outcomes)
        why = ""
        if state == "FAILED" and told:
            why = f" because of {'; '.join(told[:_SHOWN_AT_MOST])}"
        elif state == "CANCELLED":
            why = _reason(outcomes.get(WHOLE_RUN))
        how = ""
        if state in ("FAILED", "CANCELLED"):
            how = _what_next(record, definition, self._now())
        if how == _GOES_ON and record.parent is not None:
            root = await self._root(record)
            how = f"; retry {root!r} once it has failed, and this goes on with it"
        sentence = f"{what} is {state}{why}{_in_flight(record)}{how}"
        return self._said(record, sentence, "finished")

    async def _root(self, record: RunRecord) -> RunId:
        """The run that nobody has begun as a part of it."""
        while record.parent is not None and (above := await self._store.load(record.parent[0])):
            record = above
        return record.id

    async def _running(self, record: RunRecord, definition: Definition, what: str) -> Explanation:
        """The most telling of its steps: executed, asleep, a child, or waiting for a worker."""
        steps = list(enumerate(record.steps))
        running = [position for position, step in steps if step.status is TaskStatus.RUNNING]
        if running:
            executing = f"executing {_names(definition, running)}"
            if record.kind is RunKind.TASK:
                executing = "running"
            if await self._owner_is_dead(record):
                sentence = f"{what} was {executing} when its worker died; another goes on"
                return self._said(record, sentence, "waits_for_worker")
            ids = [definition.steps[position].id or record.id for position in running]
            signs = await self._signs(record, definition, running)
            return self._said(record, f"{what} is {executing}{signs}", "running", ids)
        if definition.asks:
            questions = told_questions(record, await self._store.inbox(record.key))
            if questions is not None:
                sentence, reason, names = questions
                return self._said(record, f"{what} waits {sentence}", reason, names)
        children = [
            position
            for position, step in steps
            if step.status is TaskStatus.WAITING
            and not isinstance(definition.steps[position].work, TaskSpec)
        ]
        if children:
            return await self._children(record, definition, what, children)
        asleep = [step for _, step in steps if step.status is TaskStatus.WAITING]
        queued = [
            (position, step)
            for position, step in steps
            if step.status is TaskStatus.SCHEDULED and step.ready_at is not None
        ]
        if any(step.ready_at is not None and step.ready_at <= self._now() for _, step in queued):
            return await self._queued(record, definition, what, queued)
        return self._moment(record, what, [*asleep, *(step for _, step in queued)])

    async def _signs(self, record: RunRecord, definition: Definition, running: list[int]) -> str:
        """What is known of those running attempts that say something of themselves."""
        heard = await self._hearing.of([record])
        signs = [
            _sign(_names(definition, [position]), said, definition.steps[position].work)
            for position in running
            if (said := heard.get((record.key, position))) is not None
            and said.attempt == record.steps[position].attempt
        ]
        return "".join(f"; {sign}" for sign in signs[:_SHOWN_AT_MOST])

    async def _owner_is_dead(self, record: RunRecord) -> bool:
        workers = {worker.key: worker for worker in await self._store.workers()}
        owner = None if record.owner is None else workers.get(record.owner)
        return owner is None or not owner.alive

    async def _children(
        self, record: RunRecord, definition: Definition, what: str, positions: list[int]
    ) -> Explanation:
        maps = [position for position in positions if position in definition.maps]
        if maps:
            return await self._items(record, definition, what, maps[0])
        ids = [
            RunId(child_id(record.id, definition.steps[position].id, 0))
            for position in positions
            if isinstance(definition.steps[position].work, ChildSpec)
        ]
        told = ", ".join(repr(id) for id in ids[:_SHOWN_AT_MOST])
        return self._said(record, f"{what} waits for its child {told}", "waits_for_child", ids)

    async def _items(
        self, record: RunRecord, definition: Definition, what: str, position: int
    ) -> Explanation:
        """How far a run is with a list."""
        outcomes = await self._store.outcomes(record.key, [position])
        step = definition.steps[position].id
        items = items_snapshot(record.id, step, outcomes.get(position))
        if items is None:
            return self._said(
                record, f"{what} waits for a worker to look at it", "waits_for_worker"
            )
        sentence = f"{what} goes through a list with {step!r}: {items}"
        return self._said(record, sentence, "waits_for_items", items.under_way_ids)

    async def _queued(
        self,
        record: RunRecord,
        definition: Definition,
        what: str,
        queued: list[tuple[int, StepState]],
    ) -> Explanation:
        due = [
            position
            for position, step in queued
            if step.ready_at is not None and step.ready_at <= self._now()
        ]
        types: list[TaskType] = []
        for position in due:
            work = definition.steps[position].work
            if isinstance(work, TaskSpec) and lane(work.type, work.queue) not in types:
                types.append(lane(work.type, work.queue))
        alive = [worker for worker in await self._store.workers() if worker.alive]
        known = {type for worker in alive for type in worker.types}
        unknown = [type for type in types if type not in known]
        names = _names(definition, due)
        if not alive:
            sentence = f"{what} waits for a worker to start {names}; none is alive"
            return self._said(record, sentence, "waits_for_worker", types)
        if unknown:
            elsewhere = {type_of_lane(type) for type in known}
            told = ", ".join(_lane_told(type, elsewhere) for type in unknown)
            sentence = f"{what} waits for a worker with task type {told}; none is alive"
            return self._said(record, sentence, "waits_for_task_type", unknown)
        wait = await self._counting.wait(record.key, due) if definition.limited else None
        if wait is not None:
            which = "" if record.kind is RunKind.TASK else f" to start {names}"
            sentence = f"{what} {wait.sentence}{which}"
            return self._said(record, sentence, "waits_for_limit", wait.names)
        sentence = f"{what} waits for a free place on a worker to start {names}"
        return self._said(record, sentence, "waits_for_place", types)

    def _moment(self, record: RunRecord, what: str, steps: list[StepState]) -> Explanation:
        moments = [step.ready_at for step in steps if step.ready_at is not None]
        if not moments:
            sentence = f"{what} waits for a worker to look at it"
            return self._said(record, sentence, "waits_for_worker")
        at = f"{to_datetime(min(moments)):%Y-%m-%d %H:%M:%S} UTC"
        return self._said(record, f"{what} waits until {at}", "waits_for_moment", [at])


def _reason(told: JsonText | None) -> str:
    """Why a run was cancelled, if somebody or something said so."""
    data = {} if told is None else from_json(told)
    return f" ({data['reason']})" if "reason" in data else ""


def _sign(name: str, said: Heartbeat, work: Work) -> str:
    """What a running attempt has said of itself, and when."""
    told = "" if said.fraction is None else f" is {said.fraction:.0%} done"
    told += f" ({said.message})" if said.message else ""
    limit = work.heartbeat_timeout if isinstance(work, TaskSpec) else None
    stopped = f", and is stopped when silent for {format_duration(limit)}" if limit else ""
    also = " and" if told else ""
    return f"{name}{told}{also} was last heard of at {_shown(said.at)}{stopped}"


_GOES_ON: Final = "; retry lets it go on"


def _what_next(record: RunRecord, definition: Definition, now: Micros) -> str:
    """What a retry would do."""
    expires = definition.expires
    if expires is not None and expires.moment(record.created_at) <= now and not has_begun(record):
        return "; create another one"
    undoing = [
        step
        for spec, step in zip(definition.steps, record.steps, strict=True)
        if spec.phase is Phase.UNDO and step.ended_at is not None
    ]
    if not any(step.attempt for step in undoing):
        return _GOES_ON
    if all(step.passed for step in undoing):
        return "; what it had done is undone"
    return "; retry undoes what could not be undone"


def _with_ending(explained: Explanation, record: RunRecord) -> Explanation:
    """The same, and how a run will end that is being wound up."""
    ending = record.head.ending
    if ending is None:
        return explained
    undoes = "what it did is undone, and then " if ending in UNDOING else "then "
    sentence = f"{explained.sentence[:-1]}; {undoes}it will be {status_after(ending)}."
    return replace(explained, sentence=sentence)


def _with_expiry(explained: Explanation, record: RunRecord, definition: Definition) -> Explanation:
    """The same, and when it expires if nothing of it has begun by then."""
    expires, head = definition.expires, record.head
    if expires is None or head.ended_at is not None or has_begun(record):
        return explained
    at = _shown(expires.moment(record.created_at))
    return replace(explained, sentence=f"{explained.sentence[:-1]}; it expires at {at}.")


def _with_same(explained: Explanation, same: SameKey | None, now: Micros) -> Explanation:
    """The same, and for how long it is the answer to those who ask for the same."""
    if same is None or same.until <= now or explained.status in ("FAILED", "CANCELLED"):
        return explained
    who = f"who asks for the same (key {same.key!r}) before {_shown(same.until)} gets this one"
    return replace(explained, sentence=f"{explained.sentence[:-1]}; {who}.")


def _lane_told(lane: TaskType, elsewhere: Collection[TaskType]) -> str:
    """A task type, with the queue unless that goes without saying."""
    type, queue = type_of_lane(lane), queue_of_lane(lane)
    if queue == DEFAULT_QUEUE and type not in elsewhere:
        return repr(type)
    return f"{type!r} that serves queue {queue!r}"


def _in_flight(record: RunRecord) -> str:
    count = record.head.in_flight
    return f"; {count} still in flight" if count else ""


def _origin(record: RunRecord) -> str:
    if record.forked_from is None:
        return ""
    source, task = record.forked_from
    return f", forked from {source!r} at {task!r},"


def _stands_still(record: RunRecord) -> str:
    since = record.head.still_since
    return "" if since is None else f"; its clocks stand still since {_shown(since)}"


def _names(definition: Definition, positions: list[int]) -> str:
    """What steps are called in a sentence; the only one of a single task has no name."""
    ids = [definition.steps[position].id for position in positions]
    if ids == [""]:
        return "it"
    told = ", ".join(repr(id) for id in ids[:_SHOWN_AT_MOST])
    more = len(ids) - _SHOWN_AT_MOST
    return f"{told} and {more} more" if more > 0 else told
