"""Schedules as their users see them: several triggers, when they begin and end, how they fire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from world import World

from kallista import (
    AnyOf,
    At,
    ConflictError,
    Cron,
    Every,
    NotFoundError,
    RunKind,
    ScheduleStatus,
    StateError,
    TaskContext,
    TaskStatus,
    UsageError,
)
from kallista.core.types import Micros
from kallista.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTE = {"type": "note"}


class Log:
    """A handler that remembers what ran, can be held, and fails if asked to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.held: asyncio.Event | None = None
        self.fails = False
        self.running = 0
        self.most = 0
        self.kept: list[tuple[str, datetime]] = []

    async def note(self, ctx: TaskContext) -> str:
        """Note that it ran."""
        self.ran.append(str(ctx.run_id))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.held is not None:
                await self.held.wait()
            if self.fails:
                raise ValueError("as asked")
        finally:
            self.running -= 1
        return "noted"

    async def keep(self, day: str, at: datetime) -> None:
        """Keep what it is told."""
        self.kept.append((day, at))

    def of(self, schedule: str) -> list[str]:
        """The times of day of the firings of one schedule."""
        ids = [id for id in self.ran if id.startswith(f"{schedule}@")]
        return [id.split("T")[1].removesuffix("Z") for id in ids]

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


async def test_missed_firings_are_made_up_for(any_world: World) -> None:
    """After an absence: one for all, each, none, or those that are not too old."""
    log = Log()
    client = await any_world.app(log.note, worker=False)
    for name, catch_up in (("a", None), ("b", "all"), ("c", "none"), ("d", "25m")):
        await client.scheduler.schedule_task(
            name, NOTE, interval="10m", start=at(600), catch_up=catch_up
        )
    await any_world.passes(3_605 + 120)
    await any_world.app(log.note)
    await any_world.app(log.note)
    await any_world.settle()
    made_up = ["00:10:00", "00:20:00", "00:30:00", "00:40:00", "00:50:00", "01:00:00"]
    assert log.of("a") == made_up[-1:]
    assert log.of("b") == made_up
    assert log.of("c") == []
    assert log.of("d") == made_up[-3:]
    await any_world.passes(600)
    assert [log.of(name)[-1] for name in "abcd"] == ["01:10:00"] * 4
    shown = [await client.scheduler.get_schedule(name) for name in "abcd"]
    assert [one.catch_up for one in shown] == ["latest", "all", "none", "25m"]
    assert [one.overlap for one in shown] == ["skip", "queue", "skip", "queue"]


async def test_a_firing_waits_in_line(any_world: World) -> None:
    """With ``queue`` it starts when the one before has ended, whatever program ended that."""
    log = Log()
    log.held = asyncio.Event()
    one = await any_world.app(log.note, alert=True)
    await any_world.app(log.note, alert=True)  # two that wait must not wake each other for ever
    other = await any_world.app(worker=False)
    await one.scheduler.schedule_task("latest", NOTE, interval=10, overlap="queue")
    await one.scheduler.schedule_task("all", NOTE, interval=10, catch_up="all", max_runs=4)
    await any_world.passes(35)
    assert log.of("latest") == log.of("all") == ["00:00:00"]
    told = await one.scheduler.explain("all")
    assert (told.reason, told.waits_for) == ("waits_for_firing", ("all@2026-01-01T00:00:00Z",))
    assert "until its firing 'all@2026-01-01T00:00:00Z' has ended" in str(told)
    await other.scheduler.cancel_task("latest@2026-01-01T00:00:00Z")
    await any_world.passes(0.2)
    assert log.of("latest") == ["00:00:00", "00:00:30"]
    log.held.set()
    await any_world.settle()
    assert log.of("all") == ["00:00:00", "00:00:10", "00:00:20", "00:00:30"]
    assert (await one.scheduler.get_schedule("all")).skipped == 0


async def test_an_end_amid_a_look_is_not_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found to be under way, and ended before the look was over, is looked at again."""
    log = Log()
    log.held = asyncio.Event()
    app = await world.app(log.note)
    await app.scheduler.schedule_task("s", NOTE, interval=10, overlap="queue")
    await world.settle()
    due = MemoryStore.due_schedules

    async def due_and_then_it_ends(self: MemoryStore, now: Micros, limit: int) -> object:
        found = await due(self, now, limit)
        assert log.held is not None
        log.held.set()
        for _ in range(50):  # turns of the loop, in which the run ends and its end is written
            await asyncio.sleep(0)
        assert not log.running
        return found

    monkeypatch.setattr(MemoryStore, "due_schedules", due_and_then_it_ends)
    await world.passes(10)
    assert log.of("s") == ["00:00:00", "00:00:10"]


async def test_a_firing_takes_the_place_of_the_one_before(any_world: World) -> None:
    """With ``replace`` that is cancelled, and says for what; two never run at once."""
    log = Log()
    log.held = asyncio.Event()
    app = await any_world.app(log.note, alert=True)
    await any_world.app(log.note, alert=True)
    await app.scheduler.schedule_task("s", NOTE, interval=10, overlap="replace", max_runs=3)
    await any_world.passes(25)
    assert log.of("s") == ["00:00:00", "00:00:10", "00:00:20"]
    states = [(await app.scheduler.get_task(id)).status for id in log.ran]
    assert states == [TaskStatus.CANCELLED, TaskStatus.CANCELLED, TaskStatus.RUNNING]
    history = await app.scheduler.get_history(log.ran[0])
    assert "the next firing of 's' is due" in str([event.data for event in history])
    log.held.set()
    await any_world.settle()
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.FINISHED
    assert log.most == 1


async def test_firings_may_overlap(any_world: World) -> None:
    """With ``allow`` each starts at its moment."""
    log = Log()
    log.held = asyncio.Event()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_task("s", NOTE, interval=10, overlap="allow")
    await any_world.passes(25)
    assert log.most == 3
    assert (await app.scheduler.get_schedule("s")).skipped == 0


async def test_a_schedule_that_fails_again_and_again_pauses(any_world: World) -> None:
    """As soon as the last failure is known; a success between breaks the row; resuming forgets."""
    log = Log()
    app = await any_world.app(log.note, alert=True)
    await any_world.app(log.note, alert=True)
    await app.scheduler.schedule_task("s", NOTE, interval=10, pause_on_failure=2)
    log.fails = True
    await any_world.passes(1)
    log.fails = False
    await any_world.passes(10)
    log.fails = True
    await any_world.passes(20)
    assert len(log.ran) == 4
    shown = await app.scheduler.get_schedule("s")
    assert (shown.status, shown.pause_on_failure) == (ScheduleStatus.PAUSED, 2)
    assert shown.note is not None
    assert shown.note.startswith("its last 2 firings have failed; explain s@2026-01-01T00:00:30Z")
    assert shown.note in str(await app.scheduler.explain("s"))
    await any_world.passes(60)
    assert len(log.ran) == 4
    await app.scheduler.resume_schedule("s", "mended")
    await any_world.passes(0.5)
    assert len(log.ran) == 5
    shown = await app.scheduler.get_schedule("s")
    assert (shown.status, shown.note) == (ScheduleStatus.ACTIVE, "mended")
    await any_world.passes(10)
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.PAUSED
    assert len(log.ran) == 6


async def test_failures_that_nobody_saw_pause_a_schedule_at_its_next_moment(
    any_world: World,
) -> None:
    """A program that dies after the last failure leaves it to whoever fires next."""
    log = Log()
    log.fails = True
    app = await any_world.app(log.note)
    app._engine._notices.on_over = None  # type: ignore[attr-defined]  # it ends before it looks
    await app.scheduler.schedule_task("s", NOTE, interval=10, pause_on_failure=2)
    await any_world.passes(11)
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.ACTIVE
    await any_world.passes(10)
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.PAUSED
    assert len(log.ran) == 2


async def test_pausing_leaves_a_note(any_world: World) -> None:
    """Who finds a paused schedule reads why, and since when; a repeat changes neither."""
    app = await any_world.app(Log().note)
    await app.scheduler.schedule_task("s", NOTE, interval=10, start=at(10))
    await any_world.passes(1)
    await app.scheduler.pause_schedule("s", "the printer is on fire")
    await any_world.passes(1)
    await app.scheduler.pause_schedule("s", "again")
    shown = await app.scheduler.get_schedule("s")
    assert (shown.note, shown.since) == ("the printer is on fire", at(1))
    assert "fires nothing: the printer is on fire" in str(await app.scheduler.explain("s"))
    await app.scheduler.resume_schedule("s")
    shown = await app.scheduler.get_schedule("s")
    assert (shown.note, shown.since) == (None, at(2))


async def test_any_number_of_programs_fires_each_moment_once(any_world: World) -> None:
    """Whatever the rules, four programs that all try make one run of each moment."""
    log = Log()
    apps = [await any_world.app(log.note, alert=True) for _ in range(4)]
    for number, (catch_up, overlap) in enumerate(
        [("latest", "skip"), ("all", "queue"), ("none", "replace"), ("5s", "allow")]
    ):
        await apps[number].scheduler.schedule_task(
            f"s{number}", NOTE, interval=2, catch_up=catch_up, overlap=overlap, jitter=1, max_runs=5
        )
    await any_world.passes(20)
    assert len(log.ran) == len(set(log.ran)) == 20
    assert all(log.of(f"s{n}")[0] == "00:00:00" for n in range(4))


async def test_a_task_is_told_the_moment_of_its_firing(any_world: World) -> None:
    """In its config, checked when it is scheduled; a firing by hand has a moment too."""
    log = Log()
    app = await any_world.app(log.keep)
    keep = {"type": "keep", "config": {"day": "${firing.date}"}, "at": "${firing.moment}"}
    await app.scheduler.schedule_task("s", keep, cron="0 1 * * *", timezone="Asia/Tokyo")
    assert await app.scheduler.schedule_task("s", keep, cron="0 1 * * *", timezone="Asia/Tokyo")
    other = {"type": "keep", "config": {"day": "${firing.local}"}, "at": "${firing.moment}"}
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("s", other, cron="0 1 * * *", timezone="Asia/Tokyo")
    shown = await app.scheduler.get_schedule("s")
    assert (shown.kind, shown.name, shown.type) == (RunKind.TASK, "keep", "keep")
    assert shown.config == {"day": "${firing.date}", "at": "${firing.moment}"}
    await any_world.passes("16h")
    await app.scheduler.trigger_schedule("s")
    await any_world.settle()
    assert set(log.kept) == {("2026-01-02", datetime(2026, 1, 1, 16, tzinfo=UTC))}
    await any_world.passes(5)
    by_hand = await app.scheduler.trigger_schedule("s")
    await any_world.settle()
    assert log.kept[-1] == ("2026-01-02", datetime(2026, 1, 1, 16, 0, 5, tzinfo=UTC))
    assert (await app.scheduler.get_task(by_hand)).config["at"] == "2026-01-01T16:00:05Z"


async def test_a_late_firing_is_told_its_moment(any_world: World) -> None:
    """Not when it starts: what is made up for is the work of that day."""
    log = Log()
    client = await any_world.app(log.keep, worker=False)
    keep = {"type": "keep", "day": "${firing.date}", "at": "${firing.moment}"}
    await client.scheduler.schedule_task("s", keep, cron="@daily", start=at(60), catch_up="all")
    await any_world.passes("60h")
    await any_world.app(log.keep)
    await any_world.settle()
    assert [day for day, _ in log.kept] == ["2026-01-02", "2026-01-03"]


async def test_a_schedule_starts_workflows(any_world: World) -> None:
    """Each firing is a workflow with its own inputs; rules hold for them as they do for tasks."""
    log = Log()
    app = await any_world.app(log.keep)
    tasks = [
        {"id": "a", "type": "keep", "day": "${inputs.day}", "at": "${inputs.at}"},
        {"id": "b", "type": "sleep", "seconds": 25},
    ]
    declared = {"inputs": {"day": {"type": "string"}, "at": {"default": "2026-01-01T00:00:00Z"}}}
    await app.scheduler.schedule_workflow(
        "s", "report", tasks, declared, inputs={"day": "${firing.date}"}, interval=10, max_runs=2
    )
    await any_world.passes(60)
    done = await app.workflow_manager.list_workflows(schedule_id="s")
    assert [run.id for run in done.items] == [
        "s@2026-01-01T00:00:30Z", "s@2026-01-01T00:00:00Z",
    ]  # fmt: skip
    assert {run.status for run in done.items} == {"COMPLETED"}
    assert {run.name for run in done.items} == {"report"}
    assert [day for day, _ in log.kept] == ["2026-01-01", "2026-01-01"]
    shown = await app.scheduler.get_schedule("s")
    assert (shown.kind, shown.name, shown.type) == (RunKind.WORKFLOW, "report", None)
    assert shown.inputs == {"day": "${firing.date}", "at": "2026-01-01T00:00:00Z"}
    assert (shown.fired, shown.skipped) == (2, 2)


async def test_a_schedule_starts_processes(any_world: World) -> None:
    """Described or defined, with child runs, and once if it has only a time."""
    log = Log()
    app = await any_world.app(log.note, log.keep)
    steps = [
        {"id": "a", "type": "note"},
        {"id": "b", "type": "workflow", "tasks": [NOTE], "depends_on": ["a"]},
    ]
    await app.scheduler.schedule_process(
        "s", {"name": "p", "steps": steps}, at(10), overlap="allow"
    )
    await any_world.passes(9)
    assert log.ran == []
    await any_world.passes(1)
    assert len(log.ran) == 2
    [run] = (await app.orchestrator.list_processes(schedule_id="s")).items
    assert (run.id, run.status) == ("s@2026-01-01T00:00:10Z", "COMPLETED")
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.FINISHED


async def test_failing_workflows_pause_their_schedule(any_world: World) -> None:
    """The rules look at the run that a firing starts, of whatever kind."""
    log = Log()
    log.fails = True
    app = await any_world.app(log.note)
    await app.scheduler.schedule_workflow("s", "w", [NOTE], interval=10, pause_on_failure=2)
    await any_world.passes(60)
    assert len(log.ran) == 2
    assert (await app.scheduler.get_schedule("s")).status is ScheduleStatus.PAUSED


async def test_cancelling_ends_a_schedule_of_workflows_and_its_firing(any_world: World) -> None:
    """Whatever it has started is cancelled with it."""
    app = await any_world.app(Log().note)
    nap = {"type": "sleep", "seconds": 60}
    await app.scheduler.schedule_workflow("s", "w", [nap], interval=10)
    await any_world.settle()
    assert await app.scheduler.cancel_task("s", "enough") is True
    await any_world.settle()
    [run] = (await app.workflow_manager.list_workflows(schedule_id="s")).items
    assert run.status == "CANCELLED"
    assert (await app.scheduler.get_schedule("s")).note == "enough"


async def test_a_backfill_fires_for_moments_of_the_past(any_world: World) -> None:
    """Each gets the run its firing would have had, one after the other, below what is due."""
    log = Log()
    app = await any_world.app(log.note, alert=True)
    await any_world.app(log.note, alert=True)
    scheduler = app.scheduler
    await scheduler.schedule_task("s", NOTE, cron="*/10 * * * * *", start=at(60), priority=5)
    await any_world.passes(61)
    assert log.of("s") == ["00:01:00"]
    shown = await scheduler.preview_backfill("s", at(30), at(61), 100)
    assert [(f"{one.moment:%M:%S}", one.status) for one in shown] == [
        ("00:30", None), ("00:40", None), ("00:50", None), ("01:00", "COMPLETED"),
    ]  # fmt: skip
    assert shown[0].run_id == "s@2026-01-01T00:00:30Z"
    assert len(await scheduler.preview_backfill("s", at(0), at(61), 2)) == 2
    log.held = asyncio.Event()
    assert await scheduler.backfill_schedule("s", at(30), at(61)) is True
    assert await scheduler.backfill_schedule("s", at(30), at(61)) is False
    await any_world.passes(0.2)
    assert log.of("s") == ["00:01:00", "00:00:30"]
    first = await scheduler.get_task("s@2026-01-01T00:00:30Z")
    assert (first.priority, first.schedule_id) == (4, "s")
    told = str(await scheduler.explain("s"))
    assert "its next firing at 2026-01-01 00:01:10 UTC" in told
    assert "for moments of the past until 2026-01-01 00:01:01 UTC, the next is that of" in told
    assert "00:00:40" in told
    backfill = (await scheduler.get_schedule("s")).backfill
    assert backfill is not None
    assert (backfill.until, backfill.next_fire_time) == (at(61), at(40))
    with pytest.raises(StateError, match="still backfilling until .* cancel_backfill"):
        await scheduler.backfill_schedule("s", at(0), at(61))
    await any_world.passes(10)
    assert log.of("s") == ["00:01:00", "00:00:30"], "its own firing waits too"
    log.held.set()
    await any_world.passes(1)
    assert log.of("s") == ["00:01:00", "00:00:30", "00:01:10", "00:00:40", "00:00:50"]
    after = await scheduler.get_schedule("s")
    assert (after.backfill, after.backfilled, after.fired, after.skipped) == (None, 3, 2, 0)
    assert log.most == 1
    await any_world.passes(10)
    assert log.of("s")[-1] == "00:01:20"


async def test_a_backfill_does_nothing_twice(any_world: World) -> None:
    """What has run stays as it is, also if it was deleted meanwhile."""
    log = Log()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_task("s", NOTE, cron="*/10 * * * * *", start=at(10))
    await any_world.passes(35)
    await app.scheduler.delete_task("s@2026-01-01T00:00:20Z")
    shown = await app.scheduler.preview_backfill("s", at(0), at(30))
    assert [one.status for one in shown] == [None, "COMPLETED", "COMPLETED", "COMPLETED"]
    await app.scheduler.backfill_schedule("s", at(0), at(30))
    await any_world.passes(1)
    assert log.of("s") == ["00:00:10", "00:00:20", "00:00:30", "00:00:00"]
    after = await app.scheduler.get_schedule("s")
    assert (after.backfill, after.backfilled) == (None, 1)


async def test_a_backfill_may_overlap_if_firings_may(any_world: World) -> None:
    """With ``allow`` all of them start; a priority can be given."""
    log = Log()
    log.held = asyncio.Event()
    app = await any_world.app(log.keep, log.note)
    await app.scheduler.schedule_task("s", NOTE, cron="@hourly", start=at(9), overlap="allow")
    await any_world.passes("3h")
    log.held.set()
    assert await app.scheduler.backfill_schedule("s", at(-4 * 3_600), at(0), priority=-7)
    await any_world.passes(1)
    assert sorted(log.of("s")) == [
        "00:00:00", "01:00:00", "02:00:00", "03:00:00", "20:00:00", "21:00:00", "22:00:00",
        "23:00:00",
    ]  # fmt: skip
    assert (await app.scheduler.get_task("s@2025-12-31T21:00:00Z")).priority == -7


async def test_a_backfill_is_told_its_moments(any_world: World) -> None:
    """What is made up for is the work of that day; also by workflows."""
    log = Log()
    app = await any_world.app(log.keep)
    tasks = [{"type": "keep", "day": "${inputs.day}", "at": "2026-01-01T00:00:00Z"}]
    declared = {"inputs": {"day": {"type": "string"}}}
    await app.scheduler.schedule_workflow(
        "s", "w", tasks, declared, inputs={"day": "${firing.date}"}, cron="@daily", start=at(9)
    )
    await app.scheduler.backfill_schedule("s", "2025-12-29", "2025-12-31T12:00:00")
    await any_world.passes(1)
    assert [day for day, _ in log.kept] == ["2025-12-29", "2025-12-30", "2025-12-31"]


async def test_a_backfill_stops_with_its_schedule(any_world: World) -> None:
    """Paused it waits, cancelled it is left out; ended with the schedule; failures pause both."""
    log = Log()
    app = await any_world.app(log.note)
    scheduler = app.scheduler
    await scheduler.schedule_task("s", NOTE, cron="@hourly", start=at(9), pause_on_failure=2)
    await scheduler.pause_schedule("s")
    await scheduler.backfill_schedule("s", at(-9 * 3_600), at(0))
    await any_world.passes(60)
    assert log.ran == []
    log.fails = True
    await scheduler.resume_schedule("s")
    await any_world.passes(10)
    assert len(log.ran) == 2
    assert (await scheduler.get_schedule("s")).status is ScheduleStatus.PAUSED
    assert await scheduler.cancel_backfill("s") is True
    assert await scheduler.cancel_backfill("s") is False
    log.fails = False
    await scheduler.resume_schedule("s")
    await any_world.passes(60)
    assert len(log.ran) == 2
    await scheduler.backfill_schedule("s", at(-99 * 3_600), at(-90 * 3_600))
    await scheduler.cancel_task("s")
    shown = await scheduler.get_schedule("s")
    assert (shown.status, shown.backfill) == (ScheduleStatus.FINISHED, None)
    with pytest.raises(StateError, match="is over"):
        await scheduler.backfill_schedule("s", at(-9 * 3_600), at(0))


@pytest.mark.parametrize(
    ("start", "until", "priority", "message"),
    [
        (at(-60), at(60), None, "moments of the past, and .* has not come yet"),
        (at(0), at(-60), None, "lies before start"),
        (at(-60), at(-1), None, "has no moment between"),
        ("soon", at(-1), None, "start: "),
        (at(-9_000), at(-1), "low", "priority"),
    ],
)
async def test_bad_backfills_say_what_to_change(
    world: World, start: datetime | str, until: datetime, priority: int | None, message: str
) -> None:
    """Nothing is begun of what makes no sense."""
    app = await world.app(Log().note)
    await app.scheduler.schedule_task("s", NOTE, cron="@hourly", start=at(9))
    with pytest.raises(UsageError, match=message):
        await app.scheduler.backfill_schedule("s", start, until, priority=priority)
    assert (await app.scheduler.get_schedule("s")).backfill is None
    with pytest.raises(NotFoundError):
        await app.scheduler.preview_backfill("t", at(-60), at(-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "has no trigger; give interval=, cron= or trigger=, or a scheduled_time"),
        ({"intervall": 5}, "no option 'intervall'; did you mean 'interval'?"),
        ({"interval": 5, "inputs": {"x": 1}}, "x"),
        ({"interval": 5, "inputs": {"day": "${firing.day}"}}, "firing.day means nothing here"),
        ({"interval": 5, "inputs": {"day": 5}}, "day"),
        ({"interval": 5, "inputs": {"day": "x"}, "start": at(1), "scheduled_time": at(1)}, "exclu"),
        ({"trigger": At(at(-5)), "inputs": {"day": "x"}}, "would never fire"),
    ],
)
async def test_bad_schedules_of_workflows_say_what_to_change(
    world: World, arguments: dict[str, object], message: str
) -> None:
    """Nothing is stored of what could not be started, or never would be."""
    app = await world.app(Log().note)
    declared = {"inputs": {"day": {"type": "string"}}}
    with pytest.raises(UsageError) as caught:
        await app.scheduler.schedule_workflow("s", "w", [NOTE], declared, **arguments)  # type: ignore[arg-type]
    assert message in "\n".join([str(caught.value), *getattr(caught.value, "problems", ())])
    assert (await app.scheduler.list_schedules()).items == ()


async def test_a_task_that_could_not_be_started_is_refused(world: World) -> None:
    """Its config is checked as one firing would have it."""
    app = await world.app(Log().keep)
    for config in ({"day": "${firing.date}"}, {"day": "${firing.date}", "at": "x", "y": 1}):
        with pytest.raises(UsageError):
            await app.scheduler.schedule_task("s", {"type": "keep", "config": config}, interval=5)
    both = {"type": "keep", "day": "$${1} ${firing.date}", "at": "2026-01-01T00:00:00Z"}
    with pytest.raises(UsageError, match=r"holds a plain \$\{ too"):
        await app.scheduler.schedule_task("s", both, interval=5)
    assert (await app.scheduler.list_schedules()).items == ()


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
        ({"catch_up": "all"}, "only a recurring task has catch_up"),
        ({"interval": 5, "catch_up": "some"}, "catch_up is none, latest, all or a length"),
        ({"interval": 5, "catch_up": 0}, "greater than 0"),
        ({"interval": 5, "overlap": "wait"}, "overlap is one of skip, queue, replace, allow"),
        ({"interval": 5, "catch_up": "all", "overlap": "skip"}, "choose overlap='queue'"),
        ({"interval": 5, "catch_up": 60, "overlap": "skip"}, "choose overlap='queue'"),
        ({"interval": 5, "pause_on_failure": 0}, "at least 1, not 0"),
        ({"interval": 5, "pause_on_failure": True}, "at least 1, not True"),
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
