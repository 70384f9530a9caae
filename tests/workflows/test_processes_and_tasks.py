"""Processes and tasks through their public doors, as users see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from world import World

from kallista import (
    At,
    Cron,
    DefinitionError,
    Every,
    Kallista,
    NotFoundError,
    ProcessStatus,
    ScheduleStatus,
    StateError,
    TaskContext,
    TaskStatus,
    UsageError,
    WorkflowStatus,
)

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Story:
    """What a handler named ``note`` has seen, and what it does to whom."""

    seen: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def handler(self) -> Callable[..., object]:
        async def note(ctx: TaskContext, say: str = "") -> str:
            self.seen.append(ctx.task_id)
            if ctx.task_id in self.gates:
                await self.gates[ctx.task_id].wait()
            if ctx.task_id in self.broken:
                raise ValueError(f"{ctx.task_id} is broken")
            return say or ctx.task_id

        return note

    def gate(self, *ids: str) -> None:
        for id in ids:
            self.gates[id] = asyncio.Event()


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
async def app(world: World, story: Story) -> Kallista:
    return await world.app(story.handler())


def notes(*ids: str) -> list[dict[str, object]]:
    return [{"id": id, "type": "note"} for id in ids]


class TestProcesses:
    async def test_independent_steps_run_at_the_same_time(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Without depends_on a step follows the one before; ``[]`` starts at once."""
        story.gate("a", "b")
        steps = [
            {"id": "a", "type": "note"},
            {"id": "b", "type": "note", "depends_on": []},
            {"id": "c", "type": "note"},
        ]
        id = await app.orchestrator.create_process({"steps": steps})
        await app.orchestrator.start_process(id)
        await world.settle()
        assert sorted(story.seen) == ["a", "b"]
        story.gates["b"].set()
        await world.settle()
        assert story.seen[-1] == "c"
        story.gates["a"].set()
        assert (await world.after(app.orchestrator.wait_process(id))).ok

    async def test_a_failure_skips_what_depends_on_it_and_a_retry_runs_only_that(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Independent branches finish; the process FAILED with every error; retry goes on."""
        story.broken.update({"a", "x"})
        steps = [
            *notes("a", "b"),
            {"id": "x", "type": "note", "depends_on": []},
            {"id": "free", "type": "note", "depends_on": []},
        ]
        run = await world.after(app.orchestrator.run_process({"id": "p", "steps": steps}))
        assert run.status is ProcessStatus.FAILED
        assert [step.status.value for step in run.steps] == [
            "FAILED", "SKIPPED", "FAILED", "COMPLETED",
        ]  # fmt: skip
        assert {error.task_id for error in await app.orchestrator.get_process_errors("p")} == {
            "a", "x",
        }  # fmt: skip
        story.broken.clear()
        story.seen.clear()
        await app.orchestrator.retry_process("p")
        assert (await world.after(app.orchestrator.wait_process("p"))).ok
        assert sorted(story.seen) == ["a", "b", "x"]

    async def test_steps_may_be_workflows_and_processes(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """The result of a child run is what its own steps returned, and references reach it."""
        steps = [
            {"id": "w", "type": "workflow", "tasks": notes("in_w"), "inputs": {}},
            {"id": "p", "type": "process", "steps": notes("in_p")},
            {"id": "end", "type": "note", "say": "${steps.w.result.in_w}${steps.p.result.in_p}"},
        ]
        run = await world.after(app.orchestrator.run_process({"steps": steps}))
        assert run.results == {"w": {"in_w": "in_w"}, "p": {"in_p": "in_p"}, "end": "in_win_p"}
        assert await app.orchestrator.get_process_results(run.id) == run.results

    async def test_cancel_pause_and_retry_reach_the_children(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """What a process has started is held, resumed, cancelled and retried with it."""
        story.gate("a")
        orchestrator, manager = app.orchestrator, app.workflow_manager
        steps = [{"id": "w", "type": "workflow", "tasks": notes("a", "b")}]
        id = await orchestrator.create_process({"id": "p", "steps": steps})
        await orchestrator.start_process(id)
        await world.settle()
        child = (await orchestrator.get_process(id)).steps[0].child_id or ""
        await orchestrator.pause_process(id)
        await world.settle()
        assert await manager.get_workflow_status(child) is WorkflowStatus.PAUSED
        await orchestrator.resume_process(id)
        await world.settle()
        assert await manager.get_workflow_status(child) is WorkflowStatus.RUNNING
        await orchestrator.cancel_process(id)
        await world.settle()
        assert await manager.get_workflow_status(child) is WorkflowStatus.CANCELLED
        story.gates.clear()
        await orchestrator.retry_process(id)
        assert (await world.after(orchestrator.wait_process(id))).ok
        assert await manager.get_workflow_status(child) is WorkflowStatus.COMPLETED

    async def test_a_process_waits_for_another_through_its_failure_and_retry(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """WAITING until the other has completed, whenever that is created; explain says so."""
        orchestrator = app.orchestrator
        id = await orchestrator.create_process(
            {"id": "p", "steps": notes("a"), "dependencies": ["setup"]}
        )
        await orchestrator.start_process(id)
        await world.settle()
        assert await orchestrator.get_process_status(id) is ProcessStatus.WAITING
        assert "does not exist yet" in str(await orchestrator.explain(id))
        story.broken.add("s")
        await world.after(orchestrator.run_process({"id": "setup", "steps": notes("s")}))
        told = await orchestrator.explain(id)
        assert (told.reason, told.waits_for) == ("waits_for_process", ("setup",))
        assert "FAILED" in str(told)
        story.broken.clear()
        await orchestrator.retry_process("setup")
        assert (await world.after(orchestrator.wait_process(id))).ok

    async def test_all_problems_are_told_at_once_and_nothing_is_stored(self, app: Kallista) -> None:
        """Unknown types, keys, dependencies and references, each with its place."""
        steps = [
            {"id": "a", "type": "notte"},
            {"id": "b", "type": "note", "sya": 1, "depends_on": ["zz"]},
            {"id": "c", "type": "note", "say": "${steps.d.result}"},
            {"id": "d", "type": "note"},
        ]
        with pytest.raises(DefinitionError) as told:
            await app.orchestrator.create_process({"id": "p", "steps": steps})
        text = "\n".join(told.value.problems)
        assert all(word in text for word in ("notte", "note", "sya", "zz", "steps.d"))
        assert (await app.orchestrator.list_processes()).items == ()

    async def test_a_cycle_is_shown(self, app: Kallista) -> None:
        """The steps of a cycle are named in order."""
        steps = [
            {"id": "a", "type": "note", "depends_on": ["b"]},
            {"id": "b", "type": "note", "depends_on": ["a"]},
        ]
        with pytest.raises(DefinitionError, match=r"a -> b -> a|b -> a -> b"):
            await app.orchestrator.create_process({"steps": steps})


class TestTasks:
    async def test_higher_priority_first_then_due_time_then_submission(
        self, world: World, story: Story
    ) -> None:
        """With one place, what is due runs by priority, then by its time, then as it came."""
        story.gate("first")
        app = await world.app(story.handler(), max_concurrency=1)
        schedule = app.scheduler.schedule_task
        data = {"type": "note"}
        await schedule("first", data)
        await world.settle()
        await schedule("later", data, START + timedelta(seconds=2))
        await schedule("sooner", data, START + timedelta(seconds=1))
        await schedule("low-1", data)
        await schedule("low-2", data)
        await schedule("high", data, priority=9)
        await world.passes(3)
        story.gates["first"].set()
        await world.settle()
        assert story.seen == ["first", "high", "low-1", "low-2", "sooner", "later"]

    async def test_a_retry_waits_and_gives_up_on_what_it_should(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Delay and backoff pass between attempts; ``give_up_on`` ends them at once."""
        story.broken.update({"tried", "given_up"})
        retry = {"max_attempts": 3, "delay": "10s", "backoff": 2}
        await app.scheduler.schedule_task("tried", {"type": "note", "retry": retry})
        give_up = {**retry, "give_up_on": ["ValueError"]}
        await app.scheduler.schedule_task("given_up", {"type": "note", "retry": give_up})
        await world.passes(9)
        assert story.seen.count("tried") == 1
        await world.passes(1)
        assert story.seen.count("tried") == 2
        await world.passes(20)
        assert story.seen.count("tried") == 3
        assert story.seen.count("given_up") == 1
        with pytest.raises(StateError, match="FAILED"):
            await app.scheduler.get_task_result("tried")

    async def test_a_time_out_ends_an_attempt(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """The attempt is cancelled and fails with TimeoutError."""
        story.gate("t")
        await app.scheduler.schedule_task("t", {"type": "note", "timeout": "5s"})
        await world.passes(5)
        failed = await app.scheduler.get_task("t")
        assert failed.status is TaskStatus.FAILED
        assert failed.error is not None
        assert failed.error.type == "TimeoutError"

    async def test_a_limit_of_a_type_is_never_exceeded(self, world: World) -> None:
        """``max_concurrency`` of a task type holds while places of the program are free."""
        from kallista.tasks import FunctionHandler

        running, most = 0, 0
        gate = asyncio.Event()

        async def few() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await gate.wait()
            running -= 1

        app = await world.app(FunctionHandler("few", few, max_concurrency=2))
        for number in range(7):
            await app.scheduler.schedule_task(f"few-{number}", {"type": "few"})
        await world.settle()
        gate.set()
        await world.settle()
        done = await app.scheduler.list_tasks(status="COMPLETED")
        assert (most, len(done.items)) == (2, 7)

    async def test_a_recurring_task_keeps_its_rhythm_and_ends_after_max_runs(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Firings are named by their moments, which do not drift."""
        await app.scheduler.schedule_task("tick", {"type": "note"}, interval="1m", max_runs=3)
        await world.passes("10m")
        schedule = await app.scheduler.get_schedule("tick")
        assert (schedule.status, schedule.fired) == (ScheduleStatus.FINISHED, 3)
        fired = await app.scheduler.list_tasks(schedule_id="tick")
        moments = sorted(run.scheduled_time for run in fired.items if run.scheduled_time)
        assert moments == [START + timedelta(minutes=n) for n in range(3)]

    async def test_missed_firings_count_as_one(self, world: World, story: Story) -> None:
        """However many moments passed while nothing ran, it runs once for all of them."""
        looker = await world.app(story.handler(), worker=False)
        await looker.scheduler.schedule_task("tick", {"type": "note"}, interval="1m")
        await world.passes("1h")
        app = await world.app(story.handler())
        await world.settle()
        assert len((await app.scheduler.list_tasks(schedule_id="tick")).items) == 1
        [next_one] = await app.scheduler.next_fire_times("tick", 1)
        assert next_one == START + timedelta(minutes=61)

    async def test_a_firing_is_skipped_while_the_one_before_is_unfinished(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Overlap is skip; the schedule counts what it skipped."""
        story.gate(f"tick@{START.isoformat().replace('+00:00', 'Z')}", "tick")
        await app.scheduler.schedule_task("tick", {"type": "note"}, interval="1m")
        await world.passes("5m")
        schedule = await app.scheduler.get_schedule("tick")
        assert (schedule.fired, schedule.skipped) == (1, 5)
        for gate in story.gates.values():
            gate.set()

    async def test_schedules_pause_resume_fire_by_hand_and_end(
        self, world: World, app: Kallista, story: Story
    ) -> None:
        """Each verb does what it says; cancel_task ends a recurring task."""
        scheduler = app.scheduler
        await scheduler.schedule_task("tick", {"type": "note"}, interval="1m")
        await world.settle()
        await scheduler.pause_schedule("tick")
        await world.passes("5m")
        assert (await scheduler.get_schedule("tick")).fired == 1
        fired = await scheduler.trigger_schedule("tick")
        assert (await world.after(scheduler.wait_task(fired))).ok
        await scheduler.resume_schedule("tick")
        await world.settle()
        assert (await scheduler.get_schedule("tick")).fired == 3
        assert await scheduler.cancel_task("tick")
        assert not await scheduler.cancel_task("tick")
        with pytest.raises(StateError, match="over"):
            await scheduler.resume_schedule("tick")
        await scheduler.delete_schedule("tick")
        with pytest.raises(NotFoundError):
            await scheduler.get_schedule("tick")

    async def test_triggers_are_values(self, world: World, app: Kallista) -> None:
        """``At`` is once; ``Cron`` and ``Every`` recur; two kinds at once are an error."""
        scheduler = app.scheduler
        data = {"type": "note"}
        await scheduler.schedule_task("at", data, trigger=At(START + timedelta(hours=1)))
        assert (await scheduler.get_task_status("at")) is TaskStatus.SCHEDULED
        await scheduler.schedule_task("cron", data, trigger=Cron("0 9 * * *", "Europe/Berlin"))
        [moment] = await scheduler.next_fire_times("cron", 1)
        assert moment == datetime(2026, 1, 1, 8, tzinfo=UTC)
        await scheduler.schedule_task("every", data, trigger=Every("2h"))
        with pytest.raises(UsageError, match="exclude"):
            await scheduler.schedule_task("both", data, cron="* * * * *", interval=5)

    async def test_a_durable_sleep_holds_no_place(self, world: World, story: Story) -> None:
        """While a task sleeps, the only place of the program is free for others."""
        app = await world.app(story.handler(), max_concurrency=1)
        await app.scheduler.schedule_task("nap", {"type": "sleep", "seconds": 60})
        await world.settle()
        assert await app.scheduler.get_task_status("nap") is TaskStatus.WAITING
        await app.scheduler.schedule_task("other", {"type": "note"})
        await world.settle()
        assert story.seen == ["other"]
        await world.passes(60)
        assert await app.scheduler.get_task_status("nap") is TaskStatus.COMPLETED
