"""When a schedule fires and what that writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kallista.core.change_overs import ChangeOver, Effect, change_overs
from kallista.core.ids import firing_id
from kallista.core.plan import NewRun
from kallista.core.states import ScheduleStatus
from kallista.core.triggers import Cron, Trigger, trigger_from_data
from kallista.core.types import JsonText, Micros, RunId, ScheduleId

_FIRST_WINDOW = 1_000_000
_WINDOW_GROWTH = 16


class Schedule(Struct, frozen=True, gc=False):
    """A trigger and what it starts.

    Args:
        id: Unique over schedules.
        status: ACTIVE fires, PAUSED keeps its rhythm but fires nothing, FINISHED is over.
        trigger: The trigger as data (``trigger_from_data`` reads it).
        definition: The hash of the task it starts.
        definition_content: That definition itself.
        content: The hash of the request; the same id with another content is a conflict.
        priority: Of the tasks it starts.
        tags: Of the tasks it starts.
        max_runs: After so many firings it is FINISHED.
        until: No firing after this moment.
        fired: How many firings have started a task.
        skipped: How many were left out because the one before was still unfinished.
        next_at: The next due moment; None when there is none.
        last_at: The moment of the last firing.
        last_run: The run that the last firing started.
        created_at: When.
        version: Rises with every change; shown by who changes it.
    """

    id: ScheduleId
    status: ScheduleStatus
    trigger: JsonText
    definition: str
    definition_content: JsonText
    content: str
    priority: int
    tags: tuple[str, ...]
    max_runs: int | None
    until: Micros | None
    fired: int
    skipped: int
    next_at: Micros | None
    last_at: Micros | None
    last_run: RunId | None
    created_at: Micros
    version: int = 0


class Firing(Struct, frozen=True, gc=False):
    """What one look at a due schedule writes.

    Args:
        schedule: The schedule afterwards, its version not yet raised.
        run: The task to create, which nobody drives yet; None when the firing is skipped. One that
            exists under this id already is left as it is: a firing is named by its moment.
    """

    schedule: Schedule
    run: NewRun | None


def fire(schedule: Schedule, now: Micros, *, busy: bool) -> tuple[Schedule, RunId | None]:
    """What becomes of a schedule whose moment has come.

    However many moments were missed, it fires once, for the latest of them; while the task of the
    firing before is unfinished it skips. Its rhythm is the trigger's own: the next moment counts
    from the trigger, never from now.

    Args:
        schedule: As it is stored; its ``next_at`` is not in the future.
        now: The moment.
        busy: Whether the task of its last firing is unfinished.

    Returns:
        The schedule afterwards, and the id of the task to start, None when it skips.
    """
    assert schedule.next_at is not None, "only a schedule with a moment can be due"
    assert schedule.next_at <= now, "it is not due yet"
    trigger = trigger_from_data(json.loads(schedule.trigger))
    due, after = _latest(trigger, schedule.next_at, now)
    fired = schedule.fired + (not busy)
    exhausted = schedule.max_runs is not None and fired >= schedule.max_runs
    late = after is not None and schedule.until is not None and after > schedule.until
    over = exhausted or late or after is None
    task = None if busy else RunId(firing_id(schedule.id, due))
    changed = replace(
        schedule,
        status=ScheduleStatus.FINISHED if over else schedule.status,
        fired=fired,
        skipped=schedule.skipped + busy,
        next_at=None if over else after,
        last_at=due,
        last_run=schedule.last_run if task is None else task,
    )
    return changed, task


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
        zone: The IANA name of the zone in which it is told; None: UTC.
        change: What a change of the clocks does to it.
    """

    moment: Micros
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
    trigger = trigger_from_data(json.loads(schedule.trigger))
    if not isinstance(trigger, Cron):
        return [Upcoming(moment, None, None) for moment in moments]
    changes = change_overs(trigger, min(now, moments[0] - 1), moments[-1])
    lost = [change for change in changes if change.effect is Effect.LEFT_OUT]
    by_moment = {change.moment: change for change in changes if change not in lost}
    rows = [Upcoming(moment, trigger.timezone, by_moment.get(moment)) for moment in moments]
    rows += [Upcoming(change.moment, trigger.timezone, change) for change in lost]
    return sorted(rows, key=lambda row: (row.moment, row.fires))


def next_moments(schedule: Schedule, count: int) -> Sequence[Micros]:
    """When it fires next if nothing changes, ``count`` moments at most."""
    found: list[Micros] = []
    left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.fired)
    trigger = trigger_from_data(json.loads(schedule.trigger))
    moment = schedule.next_at
    while moment is not None and len(found) < left:
        if schedule.until is not None and moment > schedule.until:
            break
        found.append(moment)
        moment = trigger.next_after_us(moment)
    return found
