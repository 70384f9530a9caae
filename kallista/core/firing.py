"""When a schedule fires, and what becomes of it then."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from kallista.core.change_overs import ChangeOver, Effect, change_overs
from kallista.core.ids import firing_id
from kallista.core.schedules import CatchUp, Overlap, Schedule
from kallista.core.states import ScheduleStatus
from kallista.core.triggers import Cron, Trigger, parts_of, trigger_from_data
from kallista.core.types import Micros, RunId, ScheduleId

_FIRST_WINDOW: Final = 1_000_000
_WINDOW_GROWTH: Final = 16

IN_TIME: Final = Micros(60_000_000)
"""What starts later than this has been missed, for a schedule that makes up for nothing."""

_Due: TypeAlias = Callable[[Schedule, Trigger, Micros], tuple[Micros | None, Micros | None]]


class Step(Enum):
    """What a look at a due schedule leads to."""

    START = auto()
    SKIP = auto()
    MISS = auto()
    WAIT = auto()
    CANCEL = auto()


class Look(NamedTuple):
    """What comes of a look at a due schedule.

    Args:
        step: START a run, SKIP the firing, MISS what is too old, WAIT for the end of the run of the
            firing before, or CANCEL that run and wait.
        schedule: The schedule afterwards; who waits leaves it as it was.
        run: The id of the run to start.
    """

    step: Step
    schedule: Schedule
    run: RunId | None = None


_WHEN_BUSY: Final[Mapping[Overlap, Step]] = {
    Overlap.SKIP: Step.SKIP,
    Overlap.QUEUE: Step.WAIT,
    Overlap.REPLACE: Step.CANCEL,
    Overlap.ALLOW: Step.START,
}
"""What a firing does that is due while the run of the one before is unfinished."""


def fire(schedule: Schedule, now: Micros, *, busy: bool) -> Look:
    """What becomes of a schedule whose moment has come.

    Which of the moments that have come it fires for is said by its rules; so is what it does while
    the run of the firing before is unfinished. What waits then counts like what was missed. Its
    rhythm is the trigger's own: the next moment counts from the trigger, never from now.

    Args:
        schedule: As it is stored; its ``look_at`` is not in the future.
        now: The moment.
        busy: Whether the run of its last firing is unfinished.
    """
    trigger = trigger_of(schedule)
    due, after = _DUE[schedule.rules.catch_up](schedule, trigger, now)
    if due is None:
        return Look(Step.MISS, waiting_for(schedule, trigger, after))
    step = _WHEN_BUSY[schedule.rules.overlap] if busy else Step.START
    if step in (Step.WAIT, Step.CANCEL):
        return Look(step, schedule)
    if step is Step.SKIP:
        skipped = replace(schedule, skipped=schedule.skipped + 1, last_at=due)
        return Look(step, waiting_for(skipped, trigger, after))
    run = RunId(firing_id(schedule.id, due))
    fired = replace(schedule, fired=schedule.fired + 1, last_at=due, last_run=run)
    return Look(step, waiting_for(fired, trigger, after), run)


def fire_by_hand(schedule: Schedule, now: Micros) -> tuple[Schedule, RunId]:
    """What becomes of a schedule that fires because a user asks for it; its rhythm stays.

    Returns:
        The schedule afterwards, and the id of the task to start.
    """
    task = RunId(firing_id(schedule.id, now))
    fired = replace(schedule, fired=schedule.fired + 1, last_at=now, last_run=task)
    return (over(fired) if _is_exhausted(fired) else fired), task


def waiting_for(schedule: Schedule, trigger: Trigger, moment: Micros | None) -> Schedule:
    """A schedule that fires next at a moment, or is over if it must not or there is none."""
    if moment is None or _is_late(schedule, moment) or _is_exhausted(schedule):
        return over(schedule)
    return replace(schedule, next_at=moment, look_at=starts_at(schedule, trigger, moment))


def paused_by_failures(schedule: Schedule, last: RunId, now: Micros) -> Schedule:
    """A schedule that is to fire no more until somebody has looked at its failures.

    Args:
        schedule: As it is stored.
        last: The run that failed last.
        now: The moment.
    """
    count = schedule.rules.pause_on_failure
    failed = "its last firing has" if count == 1 else f"its last {count} firings have"
    note = f"{failed} failed; explain {last} says why, resuming it lets it fire again"
    return replace(schedule, status=ScheduleStatus.PAUSED, note=note, since=now)


def over(schedule: Schedule) -> Schedule:
    """A schedule that fires no more."""
    return replace(schedule, status=ScheduleStatus.FINISHED, next_at=None, look_at=None)


def starts_at(schedule: Schedule, trigger: Trigger, moment: Micros) -> Micros:
    """When the firing of a moment starts: later by its jitter, but before the moment after it.

    The jitter is a hash, so that every program finds the same one, and it stays within the gap
    between two moments, so that firings start in the order of their moments.
    """
    jitter = schedule.rules.jitter
    if not jitter:
        return moment
    following = trigger.next_after_us(moment)
    span = jitter if following is None else min(jitter, following - moment)
    return Micros(moment + _noise(schedule.id, moment) % span)


def _noise(schedule: ScheduleId, moment: Micros) -> int:
    return int.from_bytes(blake2b(f"{schedule}@{moment}".encode(), digest_size=8).digest(), "big")


def trigger_of(schedule: Schedule) -> Trigger:
    """The trigger of a schedule."""
    return trigger_from_data(json.loads(schedule.trigger))


def _is_late(schedule: Schedule, moment: Micros) -> bool:
    return schedule.until is not None and moment > schedule.until


def _is_exhausted(schedule: Schedule) -> bool:
    return schedule.max_runs is not None and schedule.fired >= schedule.max_runs


def _first(schedule: Schedule, now: Micros) -> Micros:
    """The first moment that has not fired, whose firing should have started."""
    assert schedule.next_at is not None, "only a schedule with a moment can be due"
    assert schedule.look_at is not None, "who has a moment waits for it"
    assert schedule.look_at <= now, "it is not due yet"
    return schedule.next_at


def _latest_due(schedule: Schedule, trigger: Trigger, now: Micros) -> tuple[Micros, Micros | None]:
    """The latest moment whose firing should have started, and the moment after it."""
    first = _first(schedule, now)
    limit = now if schedule.until is None else min(now, schedule.until)
    latest, after = _latest(trigger, first, limit)
    if latest > first and starts_at(schedule, trigger, latest) > now:
        return _latest(trigger, first, Micros(latest - 1))[0], latest
    return latest, after


def _due_in_time(
    schedule: Schedule, trigger: Trigger, now: Micros
) -> tuple[Micros | None, Micros | None]:
    """The latest moment if its firing should have started just now, and the moment after it."""
    due, after = _latest_due(schedule, trigger, now)
    return (due if now - starts_at(schedule, trigger, due) <= IN_TIME else None), after


def _oldest_due(schedule: Schedule, trigger: Trigger, now: Micros) -> tuple[Micros, Micros | None]:
    """The first moment that has not fired, and the one after it."""
    first = _first(schedule, now)
    return first, trigger.next_after_us(first)


def _oldest_due_within(
    schedule: Schedule, trigger: Trigger, now: Micros
) -> tuple[Micros | None, Micros | None]:
    """The first moment that has not fired and is not too old, and the one after it."""
    oldest = Micros(now - schedule.rules.within)
    first: Micros | None = _first(schedule, now)
    if first is not None and first < oldest:
        first = trigger.next_after_us(oldest - 1)
    if first is None or starts_at(schedule, trigger, first) > now or _is_late(schedule, first):
        return None, first
    return first, trigger.next_after_us(first)


_DUE: Final[Mapping[CatchUp, _Due]] = {
    CatchUp.NONE: _due_in_time,
    CatchUp.LATEST: _latest_due,
    CatchUp.ALL: _oldest_due,
    CatchUp.WITHIN: _oldest_due_within,
}
"""For which of the moments that have come a schedule fires, None for none of them, and which moment
it waits for then."""


def _latest(trigger: Trigger, due: Micros, now: Micros) -> tuple[Micros, Micros | None]:
    """The latest due moment, and the one after it.

    Looks back from now in growing windows, so that a long absence costs no more than a short one.
    """
    window = _FIRST_WINDOW
    latest: Micros | None = None
    while latest is None:
        back = now - window
        latest = due if back <= due else trigger.next_after_us(back)
        if latest is not None and latest > now:
            latest = None
        window *= _WINDOW_GROWTH
    after = trigger.next_after_us(latest)
    while after is not None and after <= now:
        latest, after = after, trigger.next_after_us(after)
    return latest, after


class Upcoming(NamedTuple):
    """A firing that lies ahead, or one that a change of the clocks leaves out.

    Args:
        moment: When; of one that is left out, the end of the gap.
        starts_at: When it starts, its jitter included.
        zone: The IANA name of the zone in which it is told; None: UTC.
        change: What a change of the clocks does to it.
    """

    moment: Micros
    starts_at: Micros
    zone: str | None
    change: ChangeOver | None

    @property
    def fires(self) -> bool:
        """Whether it is one that fires."""
        return self.change is None or self.change.effect is not Effect.LEFT_OUT


def upcoming(schedule: Schedule, count: int, now: Micros) -> Sequence[Upcoming]:
    """When it fires next if nothing changes, and what changes of the clocks do to that.

    Args:
        schedule: As it is stored.
        count: How many firings at most; those that are left out between them come on top.
        now: From when on it is told what is left out before the first firing.
    """
    moments = next_moments(schedule, count)
    if not moments:
        return []
    trigger = trigger_of(schedule)
    crons = [part for part in parts_of(trigger) if isinstance(part, Cron)]
    zone = crons[0].timezone if crons else None
    since = min(now, moments[0] - 1)
    changes = [change for cron in crons for change in change_overs(cron, since, moments[-1])]
    lost = [change for change in changes if change.effect is Effect.LEFT_OUT]
    by_moment = {change.moment: change for change in changes if change not in lost}
    rows = [
        Upcoming(moment, starts_at(schedule, trigger, moment), zone, by_moment.get(moment))
        for moment in moments
    ]
    rows += [Upcoming(change.moment, change.moment, zone, change) for change in lost]
    return sorted(rows, key=lambda row: (row.moment, row.fires))


def next_moments(schedule: Schedule, count: int) -> Sequence[Micros]:
    """When it fires next if nothing changes, ``count`` moments at most."""
    found: list[Micros] = []
    left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.fired)
    trigger = trigger_of(schedule)
    moment = schedule.next_at
    while moment is not None and len(found) < left:
        if schedule.until is not None and moment > schedule.until:
            break
        found.append(moment)
        moment = trigger.next_after_us(moment)
    return found
