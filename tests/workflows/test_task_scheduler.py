"""Single and recurring tasks as their users see them: when, in which order, how often, how long."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from world import World, ids

from kallista import (
    At,
    ConflictError,
    Cron,
    DefinitionError,
    Every,
    NotFoundError,
    ScheduleStatus,
    StateError,
    TaskContext,
    TaskStatus,
    UsageError,
)
from kallista.tasks import FunctionHandler

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


class Log:
    """Handlers that remember what ran, and can be held."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.held: asyncio.Event | None = None

    async def note(self, ctx: TaskContext) -> str:
        """Note that it ran."""
        self.ran.append(str(ctx.run_id))
        if self.held is not None:
            await self.held.wait()
        return "noted"


NOTE = {"type": "note"}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_a_task_runs_at_its_time(any_world: World) -> None:
    """Not before; SCHEDULED until then; its moment is shown."""
    log = Log()
    app = await any_world.app(log.note)
    scheduler = app.scheduler
    assert await scheduler.schedule_task("t", NOTE, at(10), priority=1) == "t"
    await any_world.passes(9.99)
    task = await scheduler.get_task("t")
    assert (task.status, task.scheduled_time) == (TaskStatus.SCHEDULED, at(10))
    said = await scheduler.explain("t")
    assert (said.reason, said.status) == ("waits_for_moment", "SCHEDULED")
    with pytest.raises(StateError, match="has no result: it is SCHEDULED"):
        await scheduler.get_task_result("t")
    await any_world.passes(0.01)
    assert await scheduler.get_task_status("t") is TaskStatus.COMPLETED
    assert await scheduler.get_task_result("t") == "noted"
    assert await scheduler.schedule_task("t", NOTE, at(99), priority=1) == "t"
    assert log.ran == ["t"]


async def test_priority_then_due_time_then_submission(any_world: World) -> None:
    """Among what is due the highest priority first; equal ones as they became due."""
    log = Log()
    log.held = asyncio.Event()
    app = await any_world.app(log.note, max_concurrency=1)
    schedule = app.scheduler.schedule_task
    await schedule("first", NOTE)
    await any_world.settle()
    for id, seconds, priority in [
        ("low", 1, 0), ("late", 3, 5), ("soon", 2, 5), ("same1", 4, 5), ("same2", 4, 5),
        ("top", 5, 9), ("negative", 1, -1),
    ]:  # fmt: skip
        await schedule(id, NOTE, at(seconds), priority)
    await any_world.passes(10)
    ready = await app.scheduler.get_scheduled_tasks()
    assert {item.status for item in ready.items} == {"READY"}
    assert ids((await app.scheduler.get_running_tasks()).items) == ["first"]
    assert (await app.scheduler.explain("top")).reason == "waits_for_place"
    log.held.set()
    await any_world.settle()
    assert log.ran == ["first", "top", "soon", "late", "same1", "same2", "low", "negative"]


async def test_limits_of_program_and_type_hold(any_world: World) -> None:
    """Neither is ever exceeded, and what waits for one type does not block another."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def work(ctx: TaskContext) -> None:
        for name in (str(ctx.type), "all"):
            running[name] += 1
            most[name] = max(most[name], running[name])
        for _ in range(3):
            await asyncio.sleep(0)
        for name in (str(ctx.type), "all"):
            running[name] -= 1

    narrow = FunctionHandler("narrow", work, max_concurrency=2)
    wide = FunctionHandler("wide", work)
    app = await any_world.app(narrow, wide, max_concurrency=5)  # type: ignore[arg-type]
    for number in range(30):
        type = "narrow" if number % 3 else "wide"
        await app.scheduler.schedule_task(f"t{number}", {"type": type})
    await any_world.settle()
    done = await app.scheduler.list_tasks(status=TaskStatus.COMPLETED)
    assert len(done.items) == 30
    assert most["narrow"] <= 2
    assert most["all"] <= 5


async def test_retries_wait_longer_and_longer(any_world: World) -> None:
    """``delay``, ``backoff`` and ``max_delay``; attempts are numbered; history keeps each error."""
    tries: list[float] = []

    async def flaky(ctx: TaskContext) -> int:
        tries.append((any_world.clock.time() - START).total_seconds())
        if ctx.attempt < 5:
            raise OSError("try again")
        return ctx.attempt

    app = await any_world.app(flaky)
    retry = {"max_attempts": 5, "delay": 1, "backoff": 3, "max_delay": "5s"}
    await app.scheduler.schedule_task("t", {"type": "flaky", "retry": retry})
    await any_world.passes(60)
    assert tries == [0, 1, 4, 9, 14]
    assert await app.scheduler.get_task_result("t") == 5
    history = await app.scheduler.get_history("t")
    assert [event.kind for event in history].count("task.retrying") == 4


async def test_jitter_shortens_and_is_repeatable(world: World) -> None:
    """A retry comes within the delay, at the same moment for the same task."""
    tries: list[float] = []

    async def flaky() -> None:
        tries.append((world.clock.time() - START).total_seconds())
        raise OSError

    app = await world.app(flaky)
    retry = {"max_attempts": 2, "delay": 100, "jitter": 0.5}
    await app.scheduler.schedule_task("t", {"type": "flaky", "retry": retry})
    await world.passes(100)
    assert 50 <= tries[1] < 100


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        ({"retry_on": ["OSError"]}, 3),
        ({"retry_on": ["FileNotFoundError"]}, 3),
        ({"retry_on": ["ValueError"]}, 1),
        ({"give_up_on": ["OSError"]}, 1),
        ({"give_up_on": ["KeyError"]}, 3),
    ],
)
async def test_which_errors_are_tried_again(
    world: World, policy: dict[str, object], attempts: int
) -> None:
    """By the names of the exception and of its bases."""

    async def missing() -> None:
        raise FileNotFoundError

    app = await world.app(missing)
    await app.scheduler.schedule_task(
        "t", {"type": "missing", "retry": {"max_attempts": 3, **policy}}
    )
    await world.settle()
    assert (await app.scheduler.get_task("t")).attempt == attempts


async def test_a_timeout_is_for_one_attempt_a_deadline_for_all(any_world: World) -> None:
    """The attempt is cancelled at its time-out; no attempt begins after the deadline."""
    starts: list[float] = []

    async def slow() -> None:
        starts.append((any_world.clock.time() - START).total_seconds())
        await asyncio.Event().wait()

    app = await any_world.app(slow)
    task = {"type": "slow", "timeout": 10, "deadline": 25, "retry": 9}
    await app.scheduler.schedule_task("t", task)
    await any_world.passes(60)
    assert starts == [0, 10, 20]
    failed = await app.scheduler.get_task("t")
    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None


async def test_when_is_false(world: World) -> None:
    """A single task with a false condition is SKIPPED."""
    log = Log()
    app = await world.app(log.note)
    await app.scheduler.schedule_task("t", {**NOTE, "when": False})
    await world.settle()
    assert await app.scheduler.get_task_status("t") is TaskStatus.SKIPPED
    assert log.ran == []


async def test_cancel_says_whether_something_was_cancelled(any_world: World) -> None:
    """True once, false for what has finished, an error for what never was."""
    log = Log()
    log.held = asyncio.Event()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_task("later", NOTE, at(60))
    await app.scheduler.schedule_task("now", NOTE)
    await any_world.settle()
    assert await app.scheduler.cancel_task("later") is True
    assert await app.scheduler.cancel_task("now") is True
    await any_world.settle()
    assert await app.scheduler.cancel_task("now") is False
    assert await app.scheduler.get_task_status("now") is TaskStatus.CANCELLED
    with pytest.raises(NotFoundError, match="'never'"):
        await app.scheduler.cancel_task("never")
    await any_world.passes(100)
    assert log.ran == ["now"]
    log.held.set()
    await app.scheduler.retry_task("now")
    assert (await any_world.after(app.scheduler.wait_task("now"))).ok
    await app.scheduler.delete_task("now")
    with pytest.raises(NotFoundError, match="it was COMPLETED"):
        await app.scheduler.get_task("now")


async def test_a_periodic_task_does_not_drift(any_world: World) -> None:
    """Each firing is a task named by its moment; the rhythm is the trigger's own."""
    log = Log()
    app = await any_world.app(log.note)
    await app.scheduler.schedule_task(
        "tick", NOTE, at(5), recurring=True, interval="10s", max_runs=3
    )
    await any_world.passes(100)
    assert [id.split("@")[1] for id in log.ran] == [
        "2026-01-01T00:00:05Z", "2026-01-01T00:00:15Z", "2026-01-01T00:00:25Z",
    ]  # fmt: skip
    schedule = await app.scheduler.get_schedule("tick")
    assert (schedule.status, schedule.fired) == (ScheduleStatus.FINISHED, 3)
    assert schedule.next_fire_time is None
    assert (await app.scheduler.explain("tick")).reason == "finished"
    firings = await app.scheduler.list_tasks(schedule_id="tick")
    assert len(firings.items) == 3


async def test_missed_firings_run_once_after_a_restart(any_world: World) -> None:
    """A schedule survives its program; whatever was missed counts as one firing."""
    log = Log()
    looker = await any_world.app(log.note, worker=False)
    await looker.scheduler.schedule_task("tick", NOTE, interval=60)
    await any_world.passes(3600)
    assert log.ran == []
    await any_world.app(log.note)
    await any_world.settle()
    assert len(log.ran) == 1
    await any_world.passes(120)
    assert len(log.ran) == 3


async def test_a_firing_is_skipped_while_the_last_one_runs(world: World) -> None:
    """Overlap is skipped, counted, and over as soon as the slow one has ended."""
    log = Log()
    log.held = asyncio.Event()
    app = await world.app(log.note)
    await app.scheduler.schedule_task("tick", NOTE, interval=10)
    await world.passes(35)
    schedule = await app.scheduler.get_schedule("tick")
    assert (schedule.fired, schedule.skipped) == (1, 3)
    log.held.set()
    await world.passes(10)
    assert (await app.scheduler.get_schedule("tick")).fired == 2


async def test_cron_reads_the_wall_clock_of_its_zone(world: World) -> None:
    """9:00 in Berlin is 8:00 UTC in winter."""
    log = Log()
    app = await world.app(log.note)
    await app.scheduler.schedule_task("c", NOTE, cron="0 9 * * *", timezone="Europe/Berlin")
    times = await app.scheduler.next_fire_times("c", 2)
    assert times == [datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 2, 8, tzinfo=UTC)]
    await world.passes("8h")
    assert log.ran == ["c@2026-01-01T08:00:00Z"]


async def test_a_schedule_keeps_what_it_does_at_change_overs(any_world: World) -> None:
    """The choice is stored with the trigger; another one under the same id is another schedule."""
    app = await any_world.app(Log().note)

    async def early(dst: str | None) -> str:
        return await app.scheduler.schedule_task(
            "early", NOTE, cron="30 2 28,29,30 3 *", timezone="Europe/Berlin", dst=dst
        )

    await early("skip both")
    times = await app.scheduler.next_fire_times("early", 2)
    assert [f"{time:%d %H:%M}" for time in times] == ["28 01:30", "30 00:30"]
    assert (await app.scheduler.get_schedule("early")).trigger.endswith(
        "(Europe/Berlin, skip both)"
    )
    assert await early("both skip") == "early"
    with pytest.raises(ConflictError):
        await early(None)


async def test_triggers_are_values(world: World) -> None:
    """``Every``, ``Cron`` and ``At`` say the same as the arguments."""
    log = Log()
    app = await world.app(log.note)
    schedule = app.scheduler.schedule_task
    await schedule("e", NOTE, trigger=Every("1h", start=at(600)), until=at(4200))
    await schedule("c", NOTE, trigger=Cron("@daily"))
    await schedule("a", NOTE, trigger=At(at(30)))
    assert list(await app.scheduler.next_fire_times("e")) == [at(600), at(4200)]
    assert await app.scheduler.get_task_status("a") is TaskStatus.SCHEDULED
    await world.passes(30)
    assert log.ran == ["a"] or log.ran == ["c@2026-01-01T00:00:00Z", "a"]


async def test_schedules_pause_resume_fire_by_hand_and_go(any_world: World) -> None:
    """A paused one keeps its rhythm; a firing by hand does not change it; deletion keeps tasks."""
    log = Log()
    app = await any_world.app(log.note)
    scheduler = app.scheduler
    await scheduler.schedule_task("tick", NOTE, at(10), interval=10)
    await scheduler.pause_schedule("tick")
    await scheduler.pause_schedule("tick")
    await any_world.passes(25)
    assert log.ran == []
    assert (await scheduler.explain("tick")).reason == "paused"
    fired = await scheduler.trigger_schedule("tick")
    await any_world.settle()
    assert log.ran == [fired]
    await scheduler.resume_schedule("tick")
    await any_world.settle()
    assert len(log.ran) == 2
    await any_world.passes(5)
    assert log.ran[-1] == "tick@2026-01-01T00:00:30Z"
    assert ids((await scheduler.list_schedules(status="active")).items) == ["tick"]
    await scheduler.delete_schedule("tick")
    await any_world.passes(60)
    assert len(log.ran) == 3
    assert (await scheduler.get_task(fired)).schedule_id == "tick"
    for ask in (
        scheduler.get_schedule, scheduler.delete_schedule, scheduler.next_fire_times,
        scheduler.trigger_schedule, scheduler.pause_schedule,
    ):  # fmt: skip
        with pytest.raises(NotFoundError, match="'tick'"):
            await ask("tick")


async def test_cancelling_a_recurring_task_ends_it_and_its_firing(world: World) -> None:
    """The schedule is over, the firing under way is cancelled."""
    log = Log()
    log.held = asyncio.Event()
    app = await world.app(log.note)
    await app.scheduler.schedule_task("tick", NOTE, interval=10)
    await world.settle()
    assert await app.scheduler.cancel_task("tick") is True
    await world.passes(60)
    assert len(log.ran) == 1
    assert await app.scheduler.get_task_status(log.ran[0]) is TaskStatus.CANCELLED
    assert await app.scheduler.cancel_task("tick") is False
    with pytest.raises(StateError, match="is over"):
        await app.scheduler.resume_schedule("tick")


async def test_two_programs_fire_once(any_world: World) -> None:
    """A firing is named by its moment: any number of programs may try."""
    log = Log()
    one = await any_world.app(log.note, alert=True)
    await any_world.app(log.note, alert=True)
    await one.scheduler.schedule_task("tick", NOTE, at(1), interval=1, max_runs=5)
    await any_world.passes(10)
    assert len(log.ran) == len(set(log.ran)) == 5


async def test_a_durable_sleep_holds_no_place(any_world: World) -> None:
    """Many sleeps and one place: others work meanwhile, and all wake in time."""
    log = Log()
    app = await any_world.app(log.note, max_concurrency=1)
    for number in range(20):
        await app.scheduler.schedule_task(f"s{number}", {"type": "sleep", "seconds": 60})
    await any_world.passes(1)
    await app.scheduler.schedule_task("t", NOTE)
    await any_world.settle()
    assert log.ran == ["t"]
    assert await app.scheduler.get_task_status("s0") is TaskStatus.WAITING
    await any_world.passes(59)
    done = await app.scheduler.list_tasks(status="COMPLETED")
    assert len(done.items) == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 5, "cron": "* * * * *"}, "interval and cron exclude each other"),
        ({"interval": 5, "trigger": Every(5)}, "interval and trigger exclude each other"),
        ({"recurring": True}, "needs interval=, cron= or a trigger"),
        ({"recurring": True, "trigger": At(START)}, "a trigger that recurs"),
        ({"max_runs": 3}, "only a recurring task has max_runs"),
        ({"timezone": "UTC"}, "only a recurring task has timezone"),
        ({"interval": -1}, "interval|length"),
        ({"interval": 0}, "millisecond"),
        ({"interval": "soon"}, "length"),
        ({"cron": "61 * * * *"}, "minute|61"),
        ({"cron": "nonsense"}, "cron|field"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "Mars/Base"),
        ({"cron": "@daily", "dst": "never"}, "after, skip .* first, second, both"),
        ({"interval": 5, "dst": "skip"}, r"dst belongs to cron=.*Cron\(…, dst=…\)"),
        ({"dst": "skip"}, "dst belongs to cron="),
        (
            {"trigger": Cron("0 3 * * *"), "timezone": "Europe/Berlin"},
            r"timezone belongs to cron=.*Cron\(…, timezone=…\)",
        ),
        ({"interval": 5, "max_runs": 0}, "max_runs must be at least 1"),
        ({"interval": 5, "until": START - timedelta(1)}, "would never fire"),
        ({"priority": "high"}, "priority"),
        ({"scheduled_time": "tomorrow"}, "scheduled_time"),
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


async def test_bad_task_data_lists_all_problems(world: World) -> None:
    """A missing type, reserved keys, unknown keys."""
    app = await world.app(Log().note)
    with pytest.raises(DefinitionError) as caught:
        await app.scheduler.schedule_task("t", {"rate_limit": "x", "retry": -1})
    text = str(caught.value)
    assert "type is missing" in text
    assert "rate_limit" in text
    assert "retry" in text


async def test_ids_of_tasks_and_schedules_do_not_mix(world: World) -> None:
    """A schedule cannot take a task's id, nor a task a schedule's."""
    app = await world.app(Log().note)
    await app.scheduler.schedule_task("t", NOTE, at(9))
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("t", NOTE, interval=5)
    await app.scheduler.schedule_task("s", NOTE, interval=5)
    assert await app.scheduler.schedule_task("s", NOTE, interval=5) == "s"
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("s", NOTE, interval=6)
    with pytest.raises(ConflictError):
        await app.scheduler.schedule_task("s", NOTE)


async def test_explain_names_a_type_that_nobody_has(world: World) -> None:
    """A client without the code may ask for it once a worker has shown it; then that one goes."""
    log = Log()
    app = await world.app(log.note, max_concurrency=1)
    looker = await world.app(worker=False)
    log.held = asyncio.Event()
    await app.scheduler.schedule_task("busy", NOTE)
    await world.settle()
    said = await looker.scheduler.explain("busy")
    assert (said.reason, said.status) == ("running", "RUNNING")
    assert (str(said), said.waits_for) == ("Task 'busy' is running.", ("busy",))
    await app.scheduler.schedule_task("next", NOTE)
    await world.settle()
    told = "Task 'next' waits for a free place on a worker to start it."
    assert str(await looker.scheduler.explain("next")) == told
    with pytest.raises(NotFoundError, match="nothing|no run or schedule has the id 'x'"):
        await looker.scheduler.explain("x")
    log.held.set()
    await world.settle()
    assert (await looker.scheduler.explain("busy")).reason == "finished"


@pytest.mark.parametrize("id", ["\x00", "\ud800", "größe", "", "a b", 1])
async def test_what_cannot_exist_is_not_found(any_world: World, id: str) -> None:
    """Whatever is asked for, every store gives the same answer, and keys inside are no ids."""
    app = await any_world.app(Log().note)
    await app.scheduler.schedule_task("t", NOTE, at(10))
    for answer in (
        app.scheduler.get_task(id),
        app.scheduler.wait_task(id),
        app.scheduler.cancel_task(id),
        app.scheduler.delete_task(id),
        app.scheduler.explain(id),
        app.scheduler.get_schedule(id),
        app.scheduler.delete_schedule(id),
    ):
        with pytest.raises(NotFoundError):
            await answer
    if isinstance(id, str) and id:
        assert (await app.scheduler.list_tasks(tag=id)).items == ()
        assert (await app.workflow_manager.list_workflows(name=id)).items == ()
        assert (await app.scheduler.list_tasks(schedule_id=id)).items == ()


@pytest.mark.parametrize("text", ["", "x", "99999999999999999999", "-99999999999999999999"])
async def test_a_cursor_that_nobody_gave_is_told(any_world: World, text: str) -> None:
    """It never reaches a store, which might not understand it."""
    app = await any_world.app()
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    with pytest.raises(UsageError, match="is no cursor"):
        await app.scheduler.list_tasks(cursor=cursor)
    with pytest.raises(UsageError, match="is no cursor"):
        await app.scheduler.list_schedules(cursor=base64.urlsafe_b64encode(b"\0").decode())


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -1e300])
async def test_a_time_out_that_is_none_is_told(any_world: World, timeout: float) -> None:
    """Instead of an error about numbers from within."""
    app = await any_world.app(Log().note)
    await app.scheduler.schedule_task("t", NOTE, at(10))
    with pytest.raises(UsageError, match="timeout must be a number of seconds, or None"):
        await app.scheduler.wait_task("t", timeout=timeout)


async def test_what_users_change_of_a_snapshot_is_their_own(world: World) -> None:
    """A snapshot that is taken later shows what was scheduled, whatever became of earlier ones."""

    async def count(of: list[int]) -> None: ...

    app = await world.app(count)
    scheduler, task = app.scheduler, {"type": "count", "of": [1]}
    await scheduler.schedule_task("tick", task, interval=60)
    await scheduler.trigger_schedule("tick")
    (firing,) = (await scheduler.list_tasks()).items
    for _ in range(2):
        shown: Any = [await scheduler.get_schedule("tick"), await scheduler.get_task(firing.id)]
        for snapshot in shown:
            assert snapshot.config == {"of": [1]}
            snapshot.config["of"].append(2)
            snapshot.config["more"] = 3
