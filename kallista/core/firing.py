"""When a schedule fires, and what becomes of it then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from msgspec.structs import replace

from kallista.core.change_overs import ChangeOver, Effect, change_overs
from kallista.core.ids import firing_id
from kallista.core.schedules import Schedule
from kallista.core.states import ScheduleStatus
from kallista.core.triggers import Cron, Trigger, parts_of, trigger_from_data
from kallista.core.types import Micros, RunId, ScheduleId

_FIRST_WINDOW: Final = 1_000_000
_WINDOW_GROWTH: Final = 16


def fire(schedule: Schedule, now: Micros, *, busy: bool) -> tuple[Schedule, RunId | None]:
    """What becomes of a schedule whose moment has come.

    However many moments were missed, it fires once, for the latest of them; while the task of the
    firing before is unfinished it skips. Its rhythm is the trigger's own: the next moment counts
    from the trigger, never from now.

    Args:
        schedule: As it is stored; its ``look_at`` is not in the future.
        now: The moment.
        busy: Whether the task of its last firing is unfinished.

    Returns:
        The schedule afterwards, and the id of the task to start, None when it skips.
    """
    trigger = trigger_of(schedule)
    due, after = _latest_due(schedule, trigger, now)
    task = None if busy else RunId(firing_id(schedule.id, due))
    fired = replace(
        schedule,
        fired=schedule.fired + (not busy),
        skipped=schedule.skipped + busy,
        last_at=due,
        last_run=schedule.last_run if task is None else task,
    )
    return waiting_for(fired, trigger, after), task


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
    late = moment is not None and schedule.until is not None and moment > schedule.until
    if moment is None or late or _is_exhausted(schedule):
        return over(schedule)
    return replace(schedule, next_at=moment, look_at=starts_at(schedule, trigger, moment))


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


def _is_exhausted(schedule: Schedule) -> bool:
    return schedule.max_runs is not None and schedule.fired >= schedule.max_runs


def _latest_due(schedule: Schedule, trigger: Trigger, now: Micros) -> tuple[Micros, Micros | None]:
    """The latest moment whose firing should have started, and the moment after it."""
    first = schedule.next_at
    assert first is not None, "only a schedule with a moment can be due"
    assert schedule.look_at is not None, "who has a moment waits for it"
    assert schedule.look_at <= now, "it is not due yet"
    limit = now if schedule.until is None else min(now, schedule.until)
    latest, after = _latest(trigger, first, limit)
    if latest > first and starts_at(schedule, trigger, latest) > now:
        return _latest(trigger, first, Micros(latest - 1))[0], latest
    return latest, after


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
