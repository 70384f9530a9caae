"""What becomes of a schedule when it is looked at, and when that is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kallista.core.durations import to_micros
from kallista.core.firing import (
    fire,
    fire_by_hand,
    next_moments,
    starts_at,
    trigger_of,
    waiting_for,
)
from kallista.core.ids import firing_id
from kallista.core.schedules import FiringRules, Schedule
from kallista.core.states import ScheduleStatus
from kallista.core.triggers import AnyOf, Cron, Every, Trigger
from kallista.core.types import JsonText, Micros, ScheduleId

SECOND = 1_000_000
HOUR = 3_600 * SECOND
START = to_micros(datetime(2024, 1, 1, tzinfo=UTC))
HOURLY = Every("1h", "2024-01-01T00:00:00Z")
ZONE = "Europe/Berlin"
TRIGGERS = [HOURLY, Cron("*/20 * * * *", ZONE), AnyOf(HOURLY, Cron("5 * * * *", ZONE))]


def schedule(
    trigger: Trigger = HOURLY,
    *,
    id: str = "s",
    jitter: int = 0,
    max_runs: int | None = None,
    until: int | None = None,
    next_at: int = START,
) -> Schedule:
    """A schedule that waits for its first moment."""
    new = Schedule(
        id=ScheduleId(id),
        status=ScheduleStatus.ACTIVE,
        trigger=JsonText(json.dumps(trigger.to_data())),
        definition="d",
        definition_content=JsonText("{}"),
        content="c",
        priority=0,
        tags=(),
        max_runs=max_runs,
        until=None if until is None else Micros(until),
        fired=0,
        skipped=0,
        next_at=None,
        last_at=None,
        last_run=None,
        created_at=Micros(START),
        rules=FiringRules(jitter=Micros(jitter)),
        look_at=None,
    )
    return waiting_for(new, trigger, Micros(next_at))


def firings(schedule: Schedule, most: int) -> Iterator[tuple[int, int]]:
    """The moments that fire, and when, if somebody looks at once whenever it is time."""
    for _ in range(most):
        if schedule.look_at is None:
            return
        now = schedule.look_at
        schedule, task = fire(schedule, now, busy=False)
        assert schedule.last_at is not None
        assert task == firing_id(schedule.id, schedule.last_at)
        yield schedule.last_at, now


@given(st.sampled_from(TRIGGERS), st.integers(1, 5 * HOUR), st.sampled_from("abc"))
def test_jitter_delays_and_neither_loses_nor_turns_round(
    trigger: Trigger, jitter: int, id: str
) -> None:
    """Every moment fires once, in order, no more than the jitter late, before the next moment."""
    jittered = schedule(trigger, id=id, jitter=jitter)
    found = list(firings(jittered, 12))
    moments = [moment for moment, _ in found]
    assert moments == [moment for moment, _ in firings(schedule(trigger, id=id), 12)]
    for (moment, at), following in zip(found, [*moments[1:], None], strict=True):
        assert moment <= at < moment + jitter
        assert following is None or at < following


def test_jitter_is_the_same_for_whoever_fires_and_another_for_each_firing() -> None:
    """Programs agree on it without talking; schedules of one moment do not start together."""

    def delays(id: str) -> list[int]:
        return [at - moment for moment, at in firings(schedule(id=id, jitter=600 * SECOND), 20)]

    assert delays("a") == delays("a")
    assert len({*delays("a"), *delays("b")}) == 40


@given(st.sampled_from(TRIGGERS), st.integers(0, 2 * HOUR), st.integers(0, 50 * HOUR))
def test_after_an_absence_the_latest_firing_starts_that_should_have(
    trigger: Trigger, jitter: int, absence: int
) -> None:
    """Neither a moment whose jitter is not over yet, nor an older one than need be."""
    before = schedule(trigger, jitter=jitter)
    assert before.look_at is not None
    now = Micros(before.look_at + absence)
    after, _ = fire(before, now, busy=False)
    assert after.last_at is not None
    assert starts_at(before, trigger_of(before), after.last_at) <= now
    assert after.look_at is not None
    assert after.look_at > now
    assert after.next_at == trigger.next_after_us(after.last_at)


def test_nothing_fires_after_the_end_even_if_it_was_missed() -> None:
    """Of what a stopped program has missed only moments up to ``until`` count."""
    before = schedule(until=START + 2 * HOUR)
    after, _ = fire(before, Micros(START + 9 * HOUR), busy=False)
    assert (after.last_at, after.status) == (START + 2 * HOUR, ScheduleStatus.FINISHED)
    assert (after.next_at, after.look_at) == (None, None)


def test_firings_by_hand_count() -> None:
    """No more firings than allowed, whoever asks for them."""
    once = schedule(max_runs=2)
    by_hand, task = fire_by_hand(once, Micros(START - 5))
    assert task == firing_id("s", START - 5)
    assert (by_hand.status, by_hand.next_at) == (ScheduleStatus.ACTIVE, START)
    assert list(next_moments(by_hand, 9)) == [START]
    again, _ = fire_by_hand(by_hand, Micros(START - 4))
    assert (again.status, again.next_at, again.look_at) == (ScheduleStatus.FINISHED, None, None)


@pytest.mark.parametrize("status", [ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED])
def test_a_firing_leaves_the_status_as_it_is(status: ScheduleStatus) -> None:
    """Only the end changes it."""
    after, _ = fire(replace(schedule(), status=status), Micros(START), busy=False)
    assert after.status is status
