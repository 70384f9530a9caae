"""Schedules as their users see them: several triggers, when they begin and end, how they fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from world import World

from kallista import AnyOf, At, ConflictError, Cron, Every, ScheduleStatus, TaskContext, UsageError

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTE = {"type": "note"}


class Log:
    """A handler that remembers what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def note(self, ctx: TaskContext) -> str:
        """Note that it ran."""
        self.ran.append(str(ctx.run_id))
        return "noted"

    @property
    def moments(self) -> list[str]:
        """The times of day of the firings."""
        return [id.split("T")[1].removesuffix("Z") for id in self.ran]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_a_schedule_may_have_several_triggers(any_world: World) -> None:
    """It fires whenever one of them is due, once where several are; naive moments are localized."""
    log = Log()
    app = await any_world.app(log.note)
    triggers = [Every("20m"), Cron("0,30 * * * *"), At("2026-01-01T00:10")]
    await app.scheduler.schedule_task("s", NOTE, trigger=triggers, timezone=None)
    await any_world.passes("1h")
    assert log.moments == ["00:00:00", "00:10:00", "00:20:00", "00:30:00", "00:40:00", "01:00:00"]
    shown = await app.scheduler.get_schedule("s")
    assert shown.trigger.startswith("every 20m, cron 0,30 * * * *")
    assert await app.scheduler.schedule_task("s", NOTE, trigger=AnyOf(*triggers)) == "s"
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("s", NOTE, trigger=triggers[:2])


async def test_a_schedule_begins_and_ends(any_world: World) -> None:
    """Not before ``start``, not after ``until``; both are moments of the trigger's own rhythm."""
    log = Log()
    app = await any_world.app(log.note)
    start, until = at(3_700), at(3 * 3_600)
    cron = app.scheduler.schedule_task("c", NOTE, cron="@hourly", start=start, until=until)
    await cron
    await any_world.passes("4h")
    assert log.moments == ["02:00:00", "03:00:00"]
    assert (await app.scheduler.get_schedule("c")).status is ScheduleStatus.FINISHED
    log.ran.clear()
    await app.scheduler.schedule_task(
        "e", NOTE, interval="1h", start=at(5 * 3_600 - 60), max_runs=2
    )
    await any_world.passes("4h")
    assert log.moments == ["04:59:00", "05:59:00"]


async def test_an_interval_counts_from_a_start_that_is_past(world: World) -> None:
    """What lies before now is not made up for; the rhythm is as if it had begun then."""
    app = await world.app(Log().note)
    await app.scheduler.schedule_task("e", NOTE, interval="1h", start=at(-1_800))
    assert list(await app.scheduler.next_fire_times("e", 2)) == [at(1_800), at(5_400)]


async def test_jitter_spreads_what_is_due_together(any_world: World) -> None:
    """Ten schedules of one moment start at ten; each firing keeps the moment in its name."""
    log = Log()
    app = await any_world.app(log.note)
    for number in range(10):
        await app.scheduler.schedule_task(
            f"s{number}", NOTE, cron="@hourly", start=at(1), jitter="5m"
        )
    await any_world.passes(3_600)
    assert len(log.ran) < 3
    firing = (await app.scheduler.next_firings("s1", 1))[0]
    assert firing.moment == at(3_600)
    assert at(3_600) < firing.starts_at < at(3_900)
    assert f"{firing.starts_at:%H:%M:%S} UTC" in str(await app.scheduler.explain("s1"))
    await any_world.passes(300)
    assert sorted(log.ran) == [f"s{number}@2026-01-01T01:00:00Z" for number in range(10)]
    started = {id: (await app.scheduler.get_task(id)).started_at for id in log.ran}
    assert len({*started.values()}) == 10
    assert started["s1@2026-01-01T01:00:00Z"] == firing.starts_at
    assert (await app.scheduler.get_schedule("s1")).jitter == "5m"


async def test_no_more_firings_than_allowed(any_world: World) -> None:
    """Firings by hand count: the last one ends the schedule."""
    log = Log()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_task("s", NOTE, interval=10, max_runs=2)
    await any_world.settle()
    await any_world.passes(1)
    await app.scheduler.trigger_schedule("s")
    await any_world.passes(60)
    assert log.moments == ["00:00:00", "00:00:01"]
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.FINISHED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trigger": []}, "at least one"),
        ({"trigger": [Every(5), 5]}, "5 is no trigger"),
        ({"interval": 5, "scheduled_time": at(1), "start": at(1)}, "start exclude each other"),
        ({"interval": 5, "start": at(9), "until": at(1)}, "would never fire"),
        ({"interval": 5, "start": "soon"}, "start: "),
        ({"interval": 5, "jitter": "much"}, "jitter: "),
        ({"interval": 5, "jitter": -1}, "jitter: "),
        ({"jitter": 5}, "only a recurring task has jitter"),
        ({"start": at(9)}, "only a recurring task has start"),
    ],
)
async def test_bad_requests_say_what_to_change(
    world: World, arguments: dict[str, object], message: str
) -> None:
    """Nothing is stored of a request that contradicts itself."""
    app = await world.app(Log().note)
    with pytest.raises(UsageError, match=message):
        await app.scheduler.schedule_task("t", NOTE, **arguments)  # type: ignore[arg-type]
    assert (await app.scheduler.list_tasks()).items == ()
    assert (await app.scheduler.list_schedules()).items == ()
