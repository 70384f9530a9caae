"""Steps of one process spread over the programs that have room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from flaky import FlakyStore
from world import MemoryWorld, World

from kallista import Kallista, TaskContext
from kallista.cli.views import problems_of
from kallista.core.types import RunKey, TaskType
from kallista.engine.embedded import Options

WORK = TaskType("work")

pytestmark = pytest.mark.anyio


class Work:
    """One program's handler: it waits until it is let through, and remembers who came."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, int, str]] = []
        self.results: list[object] = []
        self.cancelled: list[str] = []
        self.may_pass = asyncio.Event()

    @property
    def steps(self) -> list[str]:
        """Who came, in order."""
        return [step for step, _, _ in self.entered]

    async def work(self, ctx: TaskContext, say: str = "done") -> str:
        """Wait to be let through."""
        self.entered.append((str(ctx.task_id), ctx.attempt, ctx.idempotency_key))
        self.results.append(dict(ctx.results))
        try:
            await self.may_pass.wait()
        except asyncio.CancelledError:
            self.cancelled.append(str(ctx.task_id))
            raise
        return say


def side_by_side(*ids: str, type: str = "work") -> dict[str, object]:
    """A process of steps that wait for nothing."""
    return {"name": "p", "steps": [step(id, type=type) for id in ids]}


def step(
    id: str, depends_on: Sequence[str] = (), *, type: str = "work", **config: object
) -> dict[str, object]:
    """A step that is one task."""
    return {
        "type": "task",
        "id": id,
        "depends_on": [*depends_on],
        "task_data": {"type": type, **config},
    }


async def begun(app: Kallista, world: World, process: dict[str, object]) -> str:
    """A process that the app has started and so drives."""
    id = await app.orchestrator.create_process(process)
    await app.orchestrator.start_process(id)
    await world.passes(1)
    return id


async def test_steps_spread_over_programs(any_world: World) -> None:
    """What the driver has no room for is executed by others, and the process completes."""
    mine, theirs = Work(), Work()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    await any_world.app(theirs.work, max_concurrency=2, alert=True)
    id = await begun(driver, any_world, side_by_side("a", "b", "c"))
    assert mine.steps == ["a"]
    assert sorted(theirs.steps) == ["b", "c"]
    run = await driver.orchestrator.get_process(id)
    assert run.in_flight == 3
    for work in (theirs, mine):
        work.may_pass.set()
        await any_world.passes(1)
    assert (await driver.orchestrator.get_process(id)).ok
    assert len(mine.steps) + len(theirs.steps) == 3


async def test_a_workflow_stays_with_one_program(any_world: World) -> None:
    """Sequential tasks go from hand to hand for nothing, so they don't."""
    mine, theirs = Work(), Work()
    mine.may_pass.set()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    await any_world.app(theirs.work, alert=True)
    id = await driver.workflow_manager.create_workflow("w", [{"type": "work"}] * 5)
    await driver.workflow_manager.start_workflow(id)
    await any_world.passes(1)
    assert (await driver.workflow_manager.get_workflow(id)).ok
    assert (len(mine.steps), len(theirs.steps)) == (5, 0)


async def test_a_borrower_knows_what_came_before(any_world: World) -> None:
    """References and ``ctx.results`` are the same wherever a step runs, and its result is kept."""
    mine, theirs = Work(), Work()
    mine.may_pass.set()
    theirs.may_pass.set()
    driver = await any_world.app(mine.work, alert=True)

    async def far(ctx: TaskContext, say: str) -> str:
        return await theirs.work(ctx, say + "!")

    await any_world.app(far, alert=True)
    steps = [
        step("a", say="hello"),
        step("b", ["a"], type="far", say="${steps.a.result}"),
        step("c", ["b"], say="${steps.b.result}"),
    ]
    id = await driver.orchestrator.create_process({"name": "p", "steps": steps[:1]})
    assert id
    looker = await any_world.app(far, mine.work, worker=False)
    id = await looker.orchestrator.create_process({"name": "p", "steps": steps})
    await looker.orchestrator.start_process(id)
    await any_world.passes(1)
    run = await driver.orchestrator.get_process(id)
    assert run.results == {"a": "hello", "b": "hello!", "c": "hello!"}
    assert theirs.results == [{"a": "hello"}]


async def test_a_step_goes_to_who_has_its_type(any_world: World) -> None:
    """A driver that lacks a task type lends the step while others of the process run here."""
    mine, theirs = Work(), Work()

    async def rare(ctx: TaskContext) -> str:
        return await theirs.work(ctx)

    driver = await any_world.app(mine.work, alert=True)
    await any_world.app(rare, alert=True)
    looker = await any_world.app(mine.work, rare, worker=False)
    process = {"name": "p", "steps": [step("a"), step("b", type="rare")]}
    id = await looker.orchestrator.create_process(process)
    await looker.orchestrator.start_process(id)
    await any_world.passes(1)
    assert (mine.steps, theirs.steps) == (["a"], ["b"])
    theirs.may_pass.set()
    mine.may_pass.set()
    await any_world.passes(1)
    assert (await driver.orchestrator.get_process(id)).ok


async def test_cancelling_reaches_the_borrower(any_world: World) -> None:
    """A handler that runs elsewhere is stopped as one that runs here, and the run is drained."""
    mine, theirs = Work(), Work()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    await any_world.app(theirs.work, alert=True)
    id = await begun(driver, any_world, side_by_side("a", "b"))
    await driver.orchestrator.cancel_process(id)
    await any_world.passes(1)
    assert (mine.cancelled, theirs.cancelled) == (["a"], ["b"])
    run = await driver.orchestrator.get_process(id)
    assert (run.status, run.in_flight) == ("CANCELLED", 0)


async def test_a_paused_process_lends_nothing(any_world: World) -> None:
    """What waits stays where it is while the process is paused, whoever asks for it."""
    mine, theirs = Work(), Work()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    id = await begun(driver, any_world, side_by_side("a", "b"))
    await driver.orchestrator.pause_process(id)
    await any_world.app(theirs.work, alert=True)
    mine.may_pass.set()
    await any_world.passes(2)
    assert (mine.steps, theirs.steps) == (["a"], [])
    await driver.orchestrator.resume_process(id)
    theirs.may_pass.set()
    await any_world.passes(1)
    assert (await driver.orchestrator.get_process(id)).ok


async def test_what_a_dead_borrower_did_begins_again(world: MemoryWorld) -> None:
    """The driver hears of the death: a higher attempt, the same key, and the crash is counted."""
    mine, theirs = Work(), Work()
    driver = await world.app(mine.work, max_concurrency=1, alert=True)
    store = FlakyStore(world.state, Random(0))
    await world.app(theirs.work, store=store, dies=True)
    id = await begun(driver, world, side_by_side("a", "b"))
    assert theirs.entered[0][:2] == ("b", 1)
    store.die()
    mine.may_pass.set()
    await world.passes(2)
    assert [entry[:2] for entry in mine.entered] == [("a", 1), ("b", 2)]
    assert mine.entered[1][2] == theirs.entered[0][2]
    run = await driver.orchestrator.get_process(id)
    assert run.ok
    kinds = [event.kind for event in await driver.orchestrator.get_history(id)]
    assert kinds.count("task.interrupted") == 1


async def test_what_is_lent_outlives_the_driver(world: MemoryWorld) -> None:
    """When the driver dies, a borrower finishes what it began: it does not run twice."""
    mine, theirs = Work(), Work()
    store = FlakyStore(world.state, Random(0))
    dying = await world.app(mine.work, store=store, max_concurrency=1, dies=True)
    other = await world.app(theirs.work, max_concurrency=1, alert=True)
    id = await begun(dying, world, side_by_side("a", "b"))
    assert (mine.steps, theirs.steps) == (["a"], ["b"])
    store.die()
    await world.passes(2)
    theirs.may_pass.set()
    await world.passes(2)
    assert [entry[:2] for entry in theirs.entered] == [("b", 1), ("a", 2)]
    assert (await other.orchestrator.get_process(id)).ok


async def test_who_drives_a_list_keeps_no_task_that_has_to_run_alone(world: MemoryWorld) -> None:
    """Nobody may borrow it; its driver, who waits for the list, does not serve its queue."""
    lost, theirs = Work(), Work()
    driver = await world.app(alert=True)
    store = FlakyStore(world.state, Random(0))
    await world.app(lost.work, store=store, queues=["side"], dies=True)
    asks = {"id": "asks", "type": "wait_for_signal", "for_each": [1], "depends_on": [],
            "config": {"signal": "go"}}  # fmt: skip
    beside = step("beside", queue="side", max_crashes=2)
    id = await begun(driver, world, {"name": "p", "steps": [asks, beside]})
    await world.passes(1)
    assert lost.steps == ["beside"]
    store.die()
    await world.passes(2)
    theirs.may_pass.set()
    await world.app(theirs.work, queues=["side"], alert=True)
    await world.passes(2)
    assert [entry[:2] for entry in theirs.entered] == [("beside", 2)]
    await driver.workflow_manager.send_signal(f"{id}/asks/0", "go")
    await world.passes(1)
    assert (await driver.orchestrator.get_process(id)).ok


async def test_who_leaves_hands_back_what_it_borrowed(any_world: World) -> None:
    """A borrower that closes costs nobody a failure or a crash; the driver starts it again."""
    mine, theirs = Work(), Work()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    leaving = await any_world.app(theirs.work, alert=True)
    id = await begun(driver, any_world, side_by_side("a", "b"))
    assert theirs.steps == ["b"]
    await any_world.leave(leaving)
    mine.may_pass.set()
    await any_world.passes(1)
    assert [entry[:2] for entry in mine.entered] == [("a", 1), ("b", 2)]
    assert (await driver.orchestrator.get_process(id)).ok


async def test_tasks_go_to_the_queue_that_they_name(any_world: World) -> None:
    """Only a program that serves a queue executes its tasks, and explain says what is missing."""
    mine, theirs = Work(), Work()
    mine.may_pass.set()
    theirs.may_pass.set()
    app = await any_world.app(mine.work, alert=True)
    await app.scheduler.schedule_task("t", {"type": "work", "queue": "gpu"})
    await app.scheduler.schedule_task("u", {"type": "work"})
    await any_world.passes(1)
    assert mine.steps == ["u"]
    assert "'work' that serves queue 'gpu'" in str(await app.scheduler.explain("t"))
    await any_world.app(theirs.work, queues=["gpu", "slow"], alert=True)
    await any_world.passes(1)
    assert (mine.steps, theirs.steps) == (["u"], ["t"])


async def test_of_a_queue_no_more_run_at_once_than_its_worker_says(any_world: World) -> None:
    """Whatever their type and whoever drives them; tasks of other queues are not held up by it."""
    work = Work()
    options = Options(queues=("default", "gpu"), queue_limits={"gpu": 2})
    app = await any_world.app(work.work, options=options)
    gpu = [
        {"id": f"g{number}", "type": "work", "depends_on": [], "queue": "gpu"}
        for number in range(4)
    ]
    await app.orchestrator.start_process(
        await app.orchestrator.create_process({"id": "p", "steps": gpu})
    )
    await app.scheduler.schedule_tasks(
        [{"id": f"t{number}", "type": "work", "queue": "gpu"} for number in range(3)]
        + [{"id": f"u{number}", "type": "work"} for number in range(3)]
    )
    await any_world.settle()
    assert sum(step[0] in "gt" for step in work.steps) == 2
    assert sum(step[0] == "u" for step in work.steps) == 3
    work.may_pass.set()
    assert (await any_world.after(app.orchestrator.wait_process("p"))).ok
    for number in range(3):
        assert (await any_world.after(app.scheduler.wait_task(f"t{number}"))).ok


async def test_a_queue_that_nobody_serves_is_told(any_world: World) -> None:
    """Whoever starts another worker with the same task types should know that it does not help."""
    app = await any_world.app(Work().work, queues=["gpu"], alert=True)
    await app.scheduler.schedule_task("t", {"type": "work"})
    await any_world.passes(1)
    assert "'work' that serves queue 'default'" in str(await app.scheduler.explain("t"))
    (problem,) = problems_of(await app.diagnose())
    assert "kallista worker --queue default" in problem


async def test_the_most_urgent_runs_first_over_all_programs(any_world: World) -> None:
    """A place that becomes free goes to the highest priority in the store, whoever drives it."""
    mine, theirs = Work(), Work()
    driver = await any_world.app(mine.work, max_concurrency=1, alert=True)
    await begun(driver, any_world, side_by_side("a", "b", "c"))
    await driver.scheduler.schedule_task("low", {"type": "work"}, priority=-1)
    await driver.scheduler.schedule_task("high", {"type": "work"}, priority=1)
    theirs.may_pass.set()
    await any_world.app(theirs.work, max_concurrency=1, alert=True)
    await any_world.passes(2)
    assert theirs.steps == ["high", "b", "c", "low"]
    mine.may_pass.set()
    await any_world.passes(1)


async def test_a_borrower_that_drove_the_run_afterwards_dies_with_all_it_had(
    world: MemoryWorld,
) -> None:
    """What it executed as the driver begins again too, not only what it had borrowed before."""
    first, second, third = Work(), Work(), Work()
    stores = [FlakyStore(world.state, Random(0)) for _ in range(2)]
    driver = await world.app(first.work, store=stores[0], max_concurrency=1, dies=True)
    await world.app(second.work, store=stores[1], max_concurrency=2, dies=True, alert=True)
    id = await begun(driver, world, side_by_side("a", "b"))
    stores[0].die()
    await world.passes(2)
    assert [entry[:2] for entry in second.entered] == [("b", 1), ("a", 2)]
    stores[1].die()
    third.may_pass.set()
    app = await world.app(third.work, alert=True)
    await world.passes(2)
    assert sorted(entry[:2] for entry in third.entered) == [("a", 3), ("b", 2)]
    assert (await app.orchestrator.get_process(id)).ok


async def test_a_wish_that_is_repeated_takes_one_place(world: MemoryWorld) -> None:
    """A loan may end and begin anew before the borrower looks: it must not take two places."""
    app = await world.app(Work().work, max_concurrency=2)
    slots, borrower = app._engine._slots, app._engine._borrower
    for _ in range(2):
        assert slots.take(WORK)
        borrower.wish(RunKey(1), 0, WORK)
    assert slots.in_use == 1
