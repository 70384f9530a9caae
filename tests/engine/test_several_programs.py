"""Several programs on one store: they command each other's runs, and take over from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from flaky import FlakyStore
from servers import new_database
from world import MemoryWorld, PostgresWorld, World

from kallista import Kallista, StateError, TaskContext, TaskStatus, WorkflowStatus
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.statements import Statement, Values
from kallista.store.rows import Row
from kallista.testing.running import InlineThreads

pytestmark = pytest.mark.anyio


class Work:
    """A handler that waits until it is let through, and remembers who came."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, int, str]] = []
        self.cancelled = 0
        self.may_pass = asyncio.Event()

    async def work(self, ctx: TaskContext) -> str:
        """Wait to be let through."""
        self.entered.append((str(ctx.task_id), ctx.attempt, ctx.idempotency_key))
        try:
            await self.may_pass.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "done"


TWO = [{"id": "a", "type": "work"}, {"id": "b", "type": "work"}]


async def started(world: World, work: Work) -> tuple[Kallista, Kallista, str]:
    """A program that drives a workflow, one that only looks, and the workflow."""
    driver = await world.app(work.work, alert=True)
    other = await world.app(work.work, worker=False, alert=True)
    id = await driver.workflow_manager.create_workflow("w", TWO)
    await driver.workflow_manager.start_workflow(id)
    await world.settle()
    assert [task for task, _, _ in work.entered] == ["a"]
    return driver, other, id


async def test_pause_and_resume_from_another_program(any_world: World) -> None:
    """The driver hears of it by itself: nothing new starts, and then it goes on."""
    work = Work()
    _, other, id = await started(any_world, work)
    await other.workflow_manager.pause_workflow(id)
    await any_world.passes(0.2)
    work.may_pass.set()
    await any_world.passes(0.2)
    run = await other.workflow_manager.get_workflow(id)
    assert (run.status, run.in_flight) == (WorkflowStatus.PAUSED, 0)
    assert run.results == {"a": "done"}
    await other.workflow_manager.resume_workflow(id)
    waiting = asyncio.ensure_future(other.workflow_manager.wait_workflow(id))
    await any_world.passes(0.2)
    assert waiting.done()
    assert (await waiting).ok


async def test_cancel_and_retry_from_another_program(any_world: World) -> None:
    """What runs in the driver is stopped, and goes on after a retry."""
    work = Work()
    _, other, id = await started(any_world, work)
    await other.workflow_manager.cancel_workflow(id)
    await any_world.passes(0.2)
    assert work.cancelled == 1
    run = await other.workflow_manager.wait_workflow(id)
    assert run.status is WorkflowStatus.CANCELLED
    with pytest.raises(StateError, match="CANCELLED"):
        await other.workflow_manager.pause_workflow(id)
    work.may_pass.set()
    await other.workflow_manager.retry_workflow(id)
    await any_world.passes(0.2)
    assert (await other.workflow_manager.get_workflow(id)).ok
    assert [attempt for task, attempt, _ in work.entered if task == "a"] == [1, 2]


async def test_a_retry_that_overtakes_the_cancelled_attempt(any_world: World) -> None:
    """Cancel and retry before the driver has looked: the run still comes to its end."""
    work = Work()
    _, other, id = await started(any_world, work)
    await other.workflow_manager.cancel_workflow(id)
    await other.workflow_manager.retry_workflow(id)
    work.may_pass.set()
    await any_world.passes(0.5)
    assert (await other.workflow_manager.get_workflow(id)).ok


async def test_a_program_that_only_looks_executes_nothing(any_world: World) -> None:
    """Its runs wait for a worker, and explain says that none is alive."""
    work = Work()
    work.may_pass.set()
    looker = await any_world.app(work.work, worker=False, alert=True)
    id = await looker.workflow_manager.create_workflow("w", TWO)
    await looker.workflow_manager.start_workflow(id)
    await any_world.passes(5)
    assert work.entered == []
    said = await looker.workflow_manager.explain(id)
    assert said.reason == "waits_for_worker"
    assert "none is alive" in str(said)
    await any_world.app(work.work, alert=True)
    await any_world.passes(1)
    assert (await looker.workflow_manager.get_workflow(id)).ok


async def test_a_waiter_in_one_program_learns_of_an_end_in_another(any_world: World) -> None:
    """``wait`` needs no polling by its user, wherever the run is driven."""
    work = Work()
    _, other, id = await started(any_world, work)
    waiting = asyncio.ensure_future(other.workflow_manager.wait_workflow(id))
    await any_world.passes(1)
    assert not waiting.done()
    work.may_pass.set()
    await any_world.passes(1)
    assert waiting.done()
    assert (await waiting).ok


async def test_an_idle_worker_asks_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is alone less than one statement a second, beside others less than two."""
    asked: list[bytes] = []
    send = Connection.later

    def later(db: Connection, what: Statement, values: Values = ()) -> Callable[[], list[Row]]:
        asked.append(what.query)
        return send(db, what, values)

    def tell(db: Connection, what: Statement, values: Values = ()) -> None:
        later(db, what, values)

    monkeypatch.setattr(Connection, "later", later)
    monkeypatch.setattr(Connection, "tell", tell)
    async with PostgresWorld(new_database()) as world:
        for others, most in ((0, 1.0), (1, 2.0)):
            await world.app(Work().work, options=Options())
            await world.passes(20)
            asked.clear()
            await world.passes(60)
            assert len(asked) < 60 * most * (1 + others)


async def test_what_a_dead_program_did_is_taken_over(world: MemoryWorld) -> None:
    """The next program goes on: a higher attempt, the same key, and the crash is counted."""
    work, store = Work(), FlakyStore(world.state, Random(0))
    dying = Kallista.assembled(
        store,
        world.clock,
        tasks=[work.work],
        threads=InlineThreads(),
        options=Options(grace=Micros(0)),
    )
    await dying.__aenter__()
    id = await dying.workflow_manager.create_workflow("w", TWO, {"retry": 1})
    await dying.workflow_manager.start_workflow(id)
    await world.settle()
    assert len(work.entered) == 1
    store.die()
    work.may_pass.set()
    next = await world.app(work.work, alert=True)
    await world.passes(1)
    run = await next.workflow_manager.get_workflow(id)
    assert run.ok
    first, again, last = work.entered
    assert (first[:2], again[:2], last[:2]) == (("a", 1), ("a", 2), ("b", 1))
    assert first[2] == again[2]
    kinds = [event.kind for event in await next.workflow_manager.get_history(id)]
    assert kinds.count("task.interrupted") == 1


@pytest.mark.parametrize("known", [False, True])
async def test_what_was_claimed_and_not_executed_is_taken_over(
    world: MemoryWorld, known: bool
) -> None:
    """A program that dies between its claim and what comes next takes nothing with it.

    It begins with the claim what it knows already, and later what it has to read first.
    """
    work, store = Work(), FlakyStore(world.state, Random(0))
    work.may_pass.set()
    dying = Kallista.assembled(
        store,
        world.clock,
        tasks=[work.work],
        threads=InlineThreads(),
        options=Options(grace=Micros(0)),
    )
    await dying.__aenter__()
    if known:
        await dying.scheduler.schedule_task("before", {"type": "work"})
        await world.settle()
    ran = list(work.entered)
    looker = await world.app(work.work, worker=False)
    await looker.scheduler.schedule_task("t", {"type": "work"}, world.clock.time())
    await looker.scheduler.schedule_task("nap", {"type": "sleep", "seconds": 5})
    claim = store._claim

    def claim_and_die(*asked: object) -> object:
        answer = claim(*asked)  # type: ignore[arg-type]
        if answer.entries:
            store.die()
        return answer

    store._claim = claim_and_die  # type: ignore[assignment,method-assign]
    dying._engine._dispatcher.alarm.ring()
    await world.settle()
    assert store.dead
    assert work.entered == ran
    began = await looker.scheduler.get_task_status("t") is TaskStatus.RUNNING
    assert began is known
    await world.app(work.work, alert=True)
    await world.passes(10)
    for id in ("t", "nap"):
        assert await looker.scheduler.get_task_status(id) is TaskStatus.COMPLETED


async def test_leaving_hands_back_what_does_not_finish(any_world: World) -> None:
    """In-flight attempts get the grace time; then another program starts them again at once."""
    work = Work()
    leaving = Kallista.assembled(
        any_world.store(),
        any_world.clock,
        tasks=[work.work],
        threads=InlineThreads(),
        options=Options(grace=Micros(3_000_000), look_every=Micros(10**17)),
    )
    await leaving.__aenter__()
    id = await leaving.workflow_manager.create_workflow("w", TWO)
    await leaving.workflow_manager.start_workflow(id)
    await any_world.settle()
    ending = asyncio.ensure_future(leaving.__aexit__(None, None, None))
    await any_world.passes(2.9)
    assert not ending.done()
    await any_world.passes(0.1)
    await ending
    assert work.cancelled == 1
    work.may_pass.set()
    next = await any_world.app(work.work)
    run = await any_world.after(next.workflow_manager.wait_workflow(id))
    assert run.ok
    assert [attempt for task, attempt, _ in work.entered if task == "a"] == [1, 2]
    assert run.tasks[0].attempt == 2


async def test_who_waits_gets_what_an_earlier_program_brought_to_an_end(any_world: World) -> None:
    """A run that two programs have driven ends with the results of both."""
    work, options = Work(), Options(grace=Micros(0), look_every=Micros(10**17))
    work.may_pass.set()
    first = await any_world.app(work.work, options=options)
    tasks = [TWO[0], {"id": "pause", "type": "sleep", "seconds": 9}, TWO[1]]
    id = await first.workflow_manager.create_workflow("w", tasks)
    await first.workflow_manager.start_workflow(id)
    await any_world.settle()
    assert [task for task, _, _ in work.entered] == ["a"]
    await any_world.leave(first)
    second = await any_world.app(work.work, options=options)
    waiting = asyncio.create_task(second.workflow_manager.wait_workflow(id))
    await any_world.passes(10)
    assert [task.result for task in (await waiting).tasks] == ["done", None, "done"]


async def test_leaving_records_what_finishes_in_time(any_world: World) -> None:
    """What ends within the grace time is kept; what would come next waits for another program."""
    work = Work()
    leaving = Kallista.assembled(
        any_world.store(),
        any_world.clock,
        tasks=[work.work],
        threads=InlineThreads(),
        options=Options(look_every=Micros(10**17)),
    )
    await leaving.__aenter__()
    id = await leaving.workflow_manager.create_workflow("w", TWO)
    await leaving.workflow_manager.start_workflow(id)
    await any_world.settle()
    ending = asyncio.ensure_future(leaving.__aexit__(None, None, None))
    await any_world.settle()
    work.may_pass.set()
    await any_world.settle()
    await ending
    assert [task for task, _, _ in work.entered] == ["a"]
    next = await any_world.app(work.work)
    run = await any_world.after(next.workflow_manager.wait_workflow(id))
    assert run.ok
    assert [task for task, _, _ in work.entered] == ["a", "b"]


async def test_a_dependency_completed_by_another_program(any_world: World) -> None:
    """A process that waits goes on wherever the other one completes, also when created later."""
    work = Work()
    work.may_pass.set()
    one = await any_world.app(work.work, alert=True)
    other = await any_world.app(work.work, alert=True)
    step = {"id": "s", "type": "task", "task_data": {"type": "work"}}
    await one.orchestrator.create_process(
        {"id": "later", "steps": [step], "dependencies": ["first"]}
    )
    await one.orchestrator.start_process("later")
    await any_world.passes(1)
    said = await one.orchestrator.explain("later")
    assert (said.status, said.reason, said.waits_for) == (
        "WAITING",
        "waits_for_process",
        ("first",),
    )
    assert "does not exist yet" in str(said)
    await other.orchestrator.create_process({"id": "first", "steps": [step]})
    assert "which is PENDING" in str(await one.orchestrator.explain("later"))
    await other.orchestrator.start_process("first")
    await any_world.passes(1)
    assert (await one.orchestrator.get_process("later")).ok
