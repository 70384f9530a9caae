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
    IN_TIME,
    Step,
    fire,
    fire_by_hand,
    next_moments,
    starts_at,
    trigger_of,
    waiting_for,
)
from kallista.core.ids import firing_id
from kallista.core.schedules import CatchUp, FiringRules, Overlap, Schedule
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
    catch_up: CatchUp = CatchUp.LATEST,
    within: int = 0,
    overlap: Overlap = Overlap.SKIP,
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
        rules=FiringRules(Micros(jitter), catch_up, Micros(within), overlap),
        look_at=None,
        note=None,
        since=Micros(START),
        inputs=JsonText("{}"),
    )
    return waiting_for(new, trigger, Micros(next_at))


def firings(schedule: Schedule, most: int) -> Iterator[tuple[int, int]]:
    """The moments that fire, and when, if somebody looks at once whenever it is time."""
    for _ in range(most):
        if schedule.look_at is None:
            return
        now = schedule.look_at
        step, schedule, run = fire(schedule, now, busy=False)
        assert step is Step.START
        assert schedule.last_at is not None
        assert run == firing_id(schedule.id, schedule.last_at)
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
    after = fire(before, now, busy=False).schedule
    assert after.last_at is not None
    assert starts_at(before, trigger_of(before), after.last_at) <= now
    assert after.look_at is not None
    assert after.look_at > now
    assert after.next_at == trigger.next_after_us(after.last_at)


def made_up(schedule: Schedule, now: int) -> list[float]:
    """What fires if somebody looks at a moment, again and again: hours since the start."""
    fired: list[float] = []
    while schedule.look_at is not None and schedule.look_at <= now:
        look = fire(schedule, Micros(now), busy=False)
        schedule = look.schedule
        if look.step is Step.START:
            assert schedule.last_at is not None
            fired.append((schedule.last_at - START) / HOUR)
    return fired


@pytest.mark.parametrize(
    ("catch_up", "within", "late", "expected"),
    [
        # Hourly, and nobody has looked for three hours and a half, or for exactly three.
        (CatchUp.LATEST, 0, 3.5, [3]),
        (CatchUp.ALL, 0, 3.5, [0, 1, 2, 3]),
        (CatchUp.NONE, 0, 3.5, []),
        (CatchUp.NONE, 0, 3, [3]),
        (CatchUp.NONE, 0, 3 + IN_TIME / HOUR, [3]),
        (CatchUp.NONE, 0, 3 + (IN_TIME + 1) / HOUR, []),
        (CatchUp.WITHIN, 2 * HOUR, 3.5, [2, 3]),
        (CatchUp.WITHIN, 2 * HOUR, 3, [1, 2, 3]),
        (CatchUp.WITHIN, HOUR // 4, 3.5, []),
        (CatchUp.WITHIN, 9 * HOUR, 3.5, [0, 1, 2, 3]),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_rules_say(
    catch_up: CatchUp, within: int, late: float, expected: list[float]
) -> None:
    """The latest, all, none that is more than a minute late, or those that are no older."""
    now = START + round(late * HOUR)
    before = schedule(catch_up=catch_up, within=within)
    assert made_up(before, now) == expected
    assert made_up(replace(before, until=Micros(START + 2 * HOUR)), now) == [
        hour for hour in expected if hour <= 2
    ] or (catch_up in (CatchUp.LATEST, CatchUp.NONE))


@given(
    st.sampled_from(CatchUp),
    st.integers(1, 5 * HOUR),
    st.integers(0, 2 * HOUR),
    st.lists(st.integers(0, 6 * HOUR), max_size=8),
    st.sampled_from(TRIGGERS),
)
def test_however_late_somebody_looks_no_moment_fires_twice(
    catch_up: CatchUp, within: int, jitter: int, pauses: list[int], trigger: Trigger
) -> None:
    """Firings are moments of the trigger, ascending; all are made up for if all may be."""
    waiting = schedule(trigger, catch_up=catch_up, within=within, jitter=jitter)
    now, fired = START, []
    for pause in [*pauses, 0]:
        now += pause
        while waiting.look_at is not None and waiting.look_at <= now:
            look = fire(waiting, Micros(now), busy=False)
            waiting = look.schedule
            if look.run is not None:
                fired.append(waiting.last_at)
    moments = [START]
    while (following := trigger.next_after_us(moments[-1])) is not None and following <= now:
        moments.append(following)
    assert [moment for moment in moments if moment in fired] == fired
    if catch_up is CatchUp.ALL:
        started = [m for m in moments if starts_at(waiting, trigger, Micros(m)) <= now]
        assert fired == started


@pytest.mark.parametrize(
    ("overlap", "step"),
    [
        (Overlap.SKIP, Step.SKIP),
        (Overlap.QUEUE, Step.WAIT),
        (Overlap.REPLACE, Step.CANCEL),
        (Overlap.ALLOW, Step.START),
    ],
)
def test_what_a_firing_does_while_the_one_before_is_unfinished(
    overlap: Overlap, step: Step
) -> None:
    """Skipped, it is counted and passed; who waits is left as it is; the others start."""
    before = schedule(overlap=overlap)
    now = Micros(START + HOUR // 2)
    look = fire(before, now, busy=True)
    assert look.step is step
    assert (look.run is not None) is (step is Step.START)
    assert (look.schedule.fired, look.schedule.skipped) == (step is Step.START, step is Step.SKIP)
    if step in (Step.WAIT, Step.CANCEL):
        assert look.schedule == before
    else:
        assert look.schedule.next_at == START + HOUR
    assert fire(before, now, busy=False).step is Step.START


def test_nothing_fires_after_the_end_even_if_it_was_missed() -> None:
    """Of what a stopped program has missed only moments up to ``until`` count."""
    before = schedule(until=START + 2 * HOUR)
    after = fire(before, Micros(START + 9 * HOUR), busy=False).schedule
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
    look = fire(replace(schedule(), status=status), Micros(START), busy=False)
    assert look.schedule.status is status
