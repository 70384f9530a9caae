"""What happens while a claim is under way: its answer is late, and the world has moved on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from world import MemoryWorld, World, places_taken

from kallista import Kallista, TaskContext, TaskStatus, task
from kallista.core.durations import to_datetime
from kallista.core.plan import Plan
from kallista.engine.embedded import Options
from kallista.errors import StoreUncertainError
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import Begin, Claim, ClaimedEntry, ClaimRequest
from kallista.testing.running import InlineThreads

pytestmark = pytest.mark.anyio


class LateStore(MemoryStore):
    """Claims take effect at once, but their answers can be held back, or be lost."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self.holding = False
        self.in_doubt = False
        self.claims = 0
        self._held: list[Callable[[], None]] = []

    def claim(self, request: ClaimRequest, begin: Begin | None = None) -> asyncio.Future[Claim]:
        """See the port."""
        self.claims += 1
        answer = super().claim(request, begin)
        if self.in_doubt:
            lost: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
            lost.set_exception(StoreUncertainError("nobody knows whether it was written"))
            return lost
        if not self.holding:
            return answer
        late: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._held.append(lambda: late.set_result(answer.result()))
        return late

    def let_go(self) -> None:
        """Give all answers that were held back."""
        self.holding = False
        held, self._held = self._held, []
        for answer in held:
            answer()


class RepeatedStore(MemoryStore):
    """What a claim begins can come to nothing: written anew, it finds nothing left to take."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self.repeating = False
        self.begun = 0

    def claim(self, request: ClaimRequest, begin: Begin | None = None) -> asyncio.Future[Claim]:
        """See the port."""
        if not self.repeating or begin is None:
            return super().claim(request, begin)

        def begin_in_vain(entries: Sequence[ClaimedEntry]) -> Sequence[Plan]:
            self.begun += len(begin(entries))
            return ()

        runs, queue = dict(self._state.runs), set(self._state.queue)
        super().claim(request, begin_in_vain)
        self._state.runs, self._state.queue = runs, queue
        nothing: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        nothing.set_result(Claim([], None, None))
        return nothing


class Work:
    """A handler that waits to be let through, and counts how many are inside."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.inside = self.most = 0
        self.may_pass = asyncio.Event()

    async def work(self, ctx: TaskContext) -> None:
        """Wait inside."""
        self.ran.append(str(ctx.task_id))
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.may_pass.wait()
        finally:
            self.inside -= 1


async def one_place(world: MemoryWorld) -> tuple[Kallista, LateStore, Work]:
    """A program that does one thing at a time, on a store whose claims may be late."""
    store, work = LateStore(world.state), Work()
    app = await world.app(work.work, store=store, max_concurrency=1)
    return app, store, work


async def test_a_place_that_was_taken_meanwhile_is_not_taken_twice(world: MemoryWorld) -> None:
    """What a late claim brings waits for the next place: the limit is never exceeded."""
    app, store, work = await one_place(world)
    looker = await world.app(work.work, worker=False)
    await looker.scheduler.schedule_task("queued", {"type": "work"})
    store.holding = True
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    await app.scheduler.schedule_task("direct", {"type": "work"})
    await world.settle()
    store.let_go()
    await world.settle()
    assert work.ran == ["direct"]
    work.may_pass.set()
    await world.settle()
    assert work.ran == ["direct", "queued"]
    assert work.most == 1


async def test_a_pause_that_overtakes_a_claim(world: MemoryWorld) -> None:
    """What was claimed does not start, its place is free again, and resume brings it back."""
    work, short, store = Work(), asyncio.Event(), LateStore(world.state)

    async def quick() -> None:
        await short.wait()

    app = await world.app(work.work, quick, store=store, max_concurrency=2)
    steps = [
        {"id": id, "type": "task", "task_data": {"type": type}, "depends_on": []}
        for id, type in (("a", "work"), ("q", "quick"), ("b", "work"))
    ]
    id = await app.orchestrator.create_process({"steps": steps})
    await app.orchestrator.start_process(id)
    await world.settle()
    store.holding = True
    short.set()
    await world.settle()
    await app.orchestrator.pause_process(id)
    store.let_go()
    await world.settle()
    assert work.ran == ["a"]
    assert places_taken(app) == 1
    work.may_pass.set()
    await app.orchestrator.resume_process(id)
    await world.settle()
    assert work.ran == ["a", "b"]
    assert (await app.orchestrator.get_process(id)).ok


async def test_a_cancel_that_overtakes_a_claim(world: MemoryWorld) -> None:
    """A task cancelled by another program between claim and start never starts."""
    app, store, work = await one_place(world)
    looker = await world.app(work.work, worker=False)
    await looker.scheduler.schedule_task("t", {"type": "work"})
    store.holding = True
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    assert await looker.scheduler.cancel_task("t") is True
    store.let_go()
    await world.settle()
    assert await looker.scheduler.get_task_status("t") is TaskStatus.CANCELLED
    assert work.ran == []


async def test_a_command_that_overtakes_a_claim(world: MemoryWorld) -> None:
    """The program's own command waits for its claim: the run is not driven twice."""
    app, store, work = await one_place(world)
    looker = await world.app(work.work, worker=False)
    id = await looker.workflow_manager.create_workflow("w", [{"type": "work"}, {"type": "work"}])
    await looker.workflow_manager.start_workflow(id)
    store.holding = True
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    pausing = asyncio.ensure_future(app.workflow_manager.pause_workflow(id))
    await world.settle()
    store.let_go()
    await world.settle()
    await pausing
    work.may_pass.set()
    await app.workflow_manager.resume_workflow(id)
    await world.settle()
    assert (await app.workflow_manager.get_workflow(id)).ok
    assert len(work.ran) == 2


async def test_what_is_claimed_begins_with_the_claim(world: MemoryWorld) -> None:
    """A task that waited for a place costs no commit more than one that found one free."""
    app, _, work = await one_place(world)
    work.may_pass.set()

    async def written(*ids: str) -> int:
        before = world.state.writes
        for id in ids:
            await app.scheduler.schedule_task(id, {"type": "work"})
        await world.settle()
        return world.state.writes - before

    alone = await written("first")
    claimed = await written("second", "third") - alone
    assert alone == 2  # made and begun, ended
    assert claimed == 3  # made, claimed and begun, ended
    assert work.ran == ["first", "second", "third"]


async def test_what_a_claim_began_in_vain_takes_no_place(world: MemoryWorld) -> None:
    """A store may write a claim anew, and others may have had what the first try had begun."""
    store, work = RepeatedStore(world.state), Work()
    work.may_pass.set()
    app = await world.app(work.work, store=store, max_concurrency=1)
    await app.scheduler.schedule_task("known", {"type": "work"})
    looker = await world.app(work.work, worker=False)
    await world.settle()
    store.repeating = True
    await looker.scheduler.schedule_task("t", {"type": "work"})
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    assert store.begun
    assert places_taken(app) == 0
    store.repeating = False
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    assert work.ran == ["known", "t"]


async def test_who_leaves_amid_a_claim_hands_back_what_it_has_begun(world: MemoryWorld) -> None:
    """It is no crash, nothing of it is executed, and another program begins it at once."""
    store, work = LateStore(world.state), Work()
    work.may_pass.set()
    app = Kallista.assembled(
        store, world.clock, tasks=[work.work], threads=InlineThreads(), options=Options()
    )
    await app.__aenter__()
    await app.scheduler.schedule_task("known", {"type": "work"})
    looker = await world.app(work.work, worker=False)
    await world.settle()
    store.holding = True
    await looker.scheduler.schedule_task("t", {"type": "work"})
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    assert await looker.scheduler.get_task_status("t") is TaskStatus.RUNNING
    leaving = asyncio.ensure_future(app.__aexit__(None, None, None))
    await world.settle()
    assert not leaving.done()
    store.let_go()
    await world.settle()
    await leaving
    assert work.ran == ["known"]
    assert await looker.scheduler.get_task_status("t") is TaskStatus.READY
    await world.app(work.work)
    await world.settle()
    assert await looker.scheduler.get_task_status("t") is TaskStatus.COMPLETED


async def test_a_claim_in_doubt_takes_no_place_twice(world: MemoryWorld) -> None:
    """What it has begun although it is reported as failed is executed once, in one place."""
    store, work = LateStore(world.state), Work()
    work.may_pass.set()
    app = await world.app(work.work, store=store, max_concurrency=1)
    await app.scheduler.schedule_task("known", {"type": "work"})
    looker = await world.app(work.work, worker=False)
    await world.settle()
    work.may_pass.clear()
    await looker.scheduler.schedule_task("t", {"type": "work"})
    store.in_doubt = True
    app._engine._dispatcher.alarm.ring()
    await world.settle()
    assert await looker.scheduler.get_task_status("t") is TaskStatus.RUNNING
    store.in_doubt = False
    await world.passes(2)
    assert work.ran == ["known", "t"]
    assert places_taken(app) == 1
    work.may_pass.set()
    await world.settle()
    assert await looker.scheduler.get_task_status("t") is TaskStatus.COMPLETED


async def test_tasks_are_taken_ahead_of_their_moments(world: MemoryWorld) -> None:
    """Tasks due one after another are taken together, yet each begins at its moment, not before."""
    began: list[tuple[str, datetime]] = []

    async def note(ctx: TaskContext) -> None:
        began.append((str(ctx.run_id), to_datetime(world.clock.now())))

    store = LateStore(world.state)
    app = await world.app(note, store=store)
    scheduler, start = app.scheduler, to_datetime(world.clock.now())
    due = {f"t{ms}": start + timedelta(milliseconds=ms) for ms in (1_000, 1_005, 1_015)}
    for id, moment in due.items():
        await scheduler.schedule_task(id, {"type": "note"}, moment)
    await world.passes(0.95)
    claims = store.claims
    await world.passes(0.04)
    assert store.claims == claims + 1
    assert places_taken(app) == 3
    listed = (await scheduler.list_tasks()).items
    assert [item.status for item in listed] == ["SCHEDULED"] * 3
    assert (await scheduler.get_task("t1000")).attempt == 0
    assert (await scheduler.explain("t1000")).reason == "waits_for_moment"
    await scheduler.cancel_task("t1005")
    await world.settle()
    cancelled = await scheduler.get_task("t1005")
    assert (cancelled.status, cancelled.attempt) == ("CANCELLED", 0)
    await world.passes(1)
    assert began == [(id, due[id]) for id in ("t1000", "t1015")]
    history = await scheduler.get_history("t1000")
    assert [event.at for event in history if event.kind == "task.started"] == [due["t1000"]]


async def test_what_is_paused_before_its_moment_does_not_begin(world: MemoryWorld) -> None:
    """A paused run starts nothing new, also what was taken ahead; it begins when it is resumed."""
    began: list[int] = []

    async def fail_once(ctx: TaskContext) -> None:
        began.append(ctx.attempt)
        if len(began) == 1:
            raise ValueError

    app = await world.app(fail_once)
    manager = app.workflow_manager
    tasks = [{"type": "fail_once", "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}]
    id = await manager.create_workflow("w", tasks)
    await manager.start_workflow(id)
    await world.passes(0.99)
    assert (places_taken(app), began) == (1, [1])
    await manager.pause_workflow(id)
    await world.passes(1)
    paused = await manager.get_workflow(id)
    assert (paused.status, paused.in_flight, began) == ("PAUSED", 0, [1])
    await manager.resume_workflow(id)
    assert (await manager.wait_workflow(id)).status == "COMPLETED"
    assert len(began) == 2


async def test_what_is_cancelled_before_its_moment_has_not_begun(world: MemoryWorld) -> None:
    """Nobody sees an attempt that was taken ahead and never made, or that ends before it begins."""

    async def fail(ctx: TaskContext) -> None:
        raise ValueError

    app = await world.app(fail)
    manager = app.workflow_manager
    tasks = [{"type": "fail", "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}]
    id = await manager.create_workflow("w", tasks)
    await manager.start_workflow(id)
    await world.passes(0.98)
    assert places_taken(app) == 1
    await manager.cancel_workflow(id)
    await world.settle()
    (step,) = (await manager.get_workflow(id)).tasks
    assert (step.status, step.attempt, step.started_at) == ("CANCELLED", 1, None)


async def test_who_leaves_begins_nothing_that_it_took_ahead(world: MemoryWorld) -> None:
    """A program that ends waits for what it executes, but starts nothing new meanwhile."""
    began: list[str] = []

    async def note(ctx: TaskContext) -> None:
        began.append(f"{ctx.run_id} {ctx.attempt}")
        if ctx.run_id == "long":
            await may_end.wait()

    may_end = asyncio.Event()
    leaving = await world.app(note, grace=9, dies=True)
    due = to_datetime(world.clock.now()) + timedelta(seconds=1)
    await leaving.scheduler.schedule_task("long", {"type": "note"})
    await leaving.scheduler.schedule_task("t", {"type": "note"}, due)
    await world.passes(0.99)
    assert (places_taken(leaving), began) == (2, ["long 1"])
    ending = asyncio.ensure_future(leaving.__aexit__(None, None, None))
    await world.passes(0.02)
    may_end.set()
    await ending
    assert began == ["long 1"]
    await world.app(note)
    await world.settle()
    assert began == ["long 1", "t 2"]


async def test_nothing_is_taken_ahead_where_places_are_scarce(world: MemoryWorld) -> None:
    """A task that is to begin soon holds no place that one could have which is due now."""
    began: list[str] = []

    async def note(ctx: TaskContext) -> None:
        began.append(str(ctx.run_id))

    app = await world.app(note, max_concurrency=2)
    now = to_datetime(world.clock.now())
    for id, ms in (("a", 1_000), ("b", 1_010), ("c", 1_010)):
        await app.scheduler.schedule_task(id, {"type": "note"}, now + timedelta(milliseconds=ms))
    await world.passes(0.99)
    assert (places_taken(app), began) == (1, [])
    await world.passes(0.01)
    assert (places_taken(app), began) == (0, ["a"])
    await world.passes(0.01)
    assert began == ["a", "b", "c"]


async def test_nothing_of_a_limited_type_is_taken_ahead(world: MemoryWorld) -> None:
    """The only place of a type is for what is due, not for what of a lower priority is so soon."""
    began: list[str] = []
    may_end = asyncio.Event()

    @task("one", max_concurrency=1)
    async def one(ctx: TaskContext) -> None:
        began.append(str(ctx.run_id))
        await may_end.wait()

    app = await world.app(one)
    due = to_datetime(world.clock.now()) + timedelta(seconds=1)
    await app.scheduler.schedule_task("low", {"type": "one"}, due)
    await world.passes(0.99)
    await app.scheduler.schedule_task("high", {"type": "one"}, priority=9)
    await world.settle()
    assert began == ["high"]
    await world.passes(1)
    may_end.set()
    await world.settle()
    assert began == ["high", "low"]


async def test_tasks_that_begin_alike_are_each_their_own(any_world: World) -> None:
    """What is decided once for all that a claim took leaves each its id, config and history."""
    ran: list[tuple[str, int]] = []

    async def work(ctx: TaskContext, number: int) -> int:
        ran.append((str(ctx.run_id), number))
        return number

    app = await any_world.app(work)
    tasks = [{"id": f"t{number}", "type": "work", "number": number} for number in range(5)]
    tasks[3]["retry"] = 2
    await app.scheduler.schedule_tasks(tasks)
    await any_world.settle()
    assert sorted(ran) == [(f"t{number}", number) for number in range(5)]
    for number in range(5):
        task = await app.scheduler.get_task(f"t{number}")
        assert (task.status, task.attempt, task.result) == (TaskStatus.COMPLETED, 1, number)
        history = await app.scheduler.get_history(f"t{number}")
        assert [event.seq for event in history] == list(range(len(history)))
        assert [event.kind for event in history].count("task.started") == 1
