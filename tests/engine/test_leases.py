"""Who is silent for too long loses its work, and who kills its worker is set aside."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from random import Random

import pytest
from flaky import FlakyStore
from msgspec.structs import replace
from world import MemoryWorld

from kallista import Kallista, TaskContext, TaskStatus
from kallista.core.types import Micros, WorkerKey
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import WorkerRecord

pytestmark = pytest.mark.anyio


class MuteStore(MemoryStore):
    """A store that its program cannot reach for a while; its lease is not renewed meanwhile."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self.reachable = asyncio.Event()
        self.reachable.set()

    def beat(self) -> asyncio.Future[bool]:
        """Wait until it is reachable."""

        async def later() -> bool:
            await self.reachable.wait()
            return await MemoryStore.beat(self)

        return asyncio.ensure_future(later())


class StalledStore(MuteStore):
    """A store that can be read all the time; of its writes those that judge others wait too."""

    def release_dead(
        self,
        now: Micros,
        silent: Sequence[tuple[WorkerKey, int]],
        spared: Collection[WorkerKey],
    ) -> asyncio.Future[int]:
        """Wait until it is reachable."""

        async def later() -> int:
            await self.reachable.wait()
            return await MemoryStore.release_dead(self, now, silent, spared)

        return asyncio.ensure_future(later())


class RemoteStore(MemoryStore):
    """A store that sees others' connections only: who is gone may come back."""

    async def workers(self) -> Sequence[WorkerRecord]:
        """All workers, and who may return."""
        there = await super().workers()
        return [replace(worker, may_return=not worker.alive) for worker in there]


class Work:
    """A handler that waits until it is let through, and remembers who came."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, int]] = []
        self.cancelled: list[str] = []
        self.may_pass = asyncio.Event()

    async def work(self, ctx: TaskContext) -> str:
        """Wait to be let through."""
        self.entered.append((ctx.run_id, ctx.attempt))
        try:
            await self.may_pass.wait()
        except asyncio.CancelledError:
            self.cancelled.append(ctx.run_id)
            raise
        return "done"


async def test_who_is_silent_beyond_its_lease_loses_its_work(world: MemoryWorld) -> None:
    """Others go on after 30 s; when it wakes it stops what it runs, changes nothing, goes on."""
    frozen_work, work = Work(), Work()
    store = MuteStore(world.state)
    await world.app(frozen_work.work, store=store)
    other = await world.app(work.work, alert=True, max_concurrency=1)
    await other.scheduler.schedule_task("first", {"type": "work"})
    await other.scheduler.schedule_task("t", {"type": "work"})
    await world.settle()
    assert (work.entered, frozen_work.entered) == ([("first", 1)], [("t", 1)])
    store.reachable.clear()
    await world.passes(25)
    work.may_pass.set()
    await world.passes(4)
    assert work.entered == [("first", 1)]
    await world.passes(15)
    assert work.entered == [("first", 1), ("t", 2)]
    assert await other.scheduler.get_task_status("t") is TaskStatus.COMPLETED
    before = await other.scheduler.get_history("t")
    store.reachable.set()
    await world.settle()
    assert frozen_work.cancelled == ["t"]
    assert await other.scheduler.get_history("t") == before
    frozen_work.may_pass.set()
    await other.scheduler.schedule_task("u", {"type": "work"})
    await world.passes(1)
    assert await other.scheduler.get_task_status("u") is TaskStatus.COMPLETED
    assert len(await other.workers()) == 2


async def test_who_could_not_write_itself_takes_nothing_from_others(world: MemoryWorld) -> None:
    """A disk stands still beyond the lease: who can write again first leaves time to the others."""
    theirs, work = Work(), Work()
    stores = StalledStore(world.state), StalledStore(world.state)
    await world.app(theirs.work, store=stores[0], alert=True)
    other = await world.app(work.work, store=stores[1], alert=True, max_concurrency=1)
    await other.scheduler.schedule_task("first", {"type": "work"})
    await other.scheduler.schedule_task("t", {"type": "work"})
    await world.settle()
    assert (work.entered, theirs.entered) == ([("first", 1)], [("t", 1)])
    for store in stores:
        store.reachable.clear()
    await world.passes(100)
    work.may_pass.set()
    stores[1].reachable.set()
    await world.passes(9)
    stores[0].reachable.set()
    await world.passes(60)
    assert (theirs.cancelled, work.entered) == ([], [("first", 1)])
    theirs.may_pass.set()
    await world.settle()
    assert await other.scheduler.get_task_status("t") is TaskStatus.COMPLETED


async def test_who_renews_its_lease_keeps_its_work(world: MemoryWorld) -> None:
    """However long a handler takes, its worker lives as long as it renews its lease."""
    slow, other = Work(), Work()
    app = await world.app(slow.work, alert=True)
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.app(other.work, alert=True)
    await world.passes(300)
    assert (slow.entered, slow.cancelled, other.entered) == ([("t", 1)], [], [])
    slow.may_pass.set()


async def test_who_only_connects_again_keeps_its_work(world: MemoryWorld) -> None:
    """A worker whose connection is gone for a moment lives; after 0.15 s it has died."""
    slow, other = Work(), Work()
    app = await world.app(slow.work)
    await app.scheduler.schedule_task("t", {"type": "work"})
    (worker,) = world.state.alive
    await world.app(other.work, store=RemoteStore(world.state), alert=True)
    for _ in range(10):
        await world.passes(0.47)
        world.state.alive.discard(worker)
        await world.passes(0.07)
        world.state.alive.add(worker)
    assert (slow.entered, other.entered) == ([("t", 1)], [])
    world.state.alive.discard(worker)
    await world.passes(0.66)
    assert other.entered == [("t", 2)]
    slow.may_pass.set()
    other.may_pass.set()


async def test_a_clock_that_jumps_ends_no_lease(world: MemoryWorld) -> None:
    """Leases are judged by the time that passes, whatever the wall clock is set to."""
    slow, other = Work(), Work()
    app = await world.app(slow.work, alert=True)
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.app(other.work, alert=True)
    world.clock.jump(3600)
    await world.passes(5)
    world.clock.jump(7200, back=True)
    await world.passes(5)
    assert (slow.cancelled, other.entered) == ([], [])
    slow.may_pass.set()


async def test_what_was_created_by_the_silent_is_not_lost(world: MemoryWorld) -> None:
    """A program that does not know yet that it counts as dead creates all the same."""
    work, other = Work(), Work()
    store = MuteStore(world.state)
    app = await world.app(work.work, store=store)
    await world.app(other.work, alert=True, max_concurrency=1)
    store.reachable.clear()
    await world.passes(60)
    store.reachable.set()
    work.may_pass.set()
    other.may_pass.set()
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.passes(1)
    assert await app.scheduler.get_task_status("t") is TaskStatus.COMPLETED


class Deadly:
    """Programs that die of one task; another one beside it is innocent."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self.alone: list[bool] = []
        self.deaths = 0
        self.may_pass = asyncio.Event()

    async def program(self, *, dies: bool = True) -> Kallista:
        """A program that dies when it executes ``poison``."""
        store = FlakyStore(self._world.state, Random(0))
        running: list[str] = []

        async def poison(ctx: TaskContext) -> None:
            self.alone.append(not running)
            self.deaths += 1
            store.die()
            await asyncio.Event().wait()

        async def fine(ctx: TaskContext) -> str:
            running.append(ctx.run_id)
            try:
                await self.may_pass.wait()
            finally:
                running.remove(ctx.run_id)
            return "done"

        return await self._world.app(poison, fine, store=store, alert=True, dies=dies)


async def test_what_kills_its_worker_is_set_aside(world: MemoryWorld) -> None:
    """After five deaths it is FAILED; the last time it was alone; its neighbours go on."""
    deadly = Deadly(world)
    first = await deadly.program()
    asked = [
        asyncio.ensure_future(first.scheduler.schedule_task(id, {"type": type}))
        for id, type in (("good", "fine"), ("bad", "poison"))
    ]
    for _ in range(4):
        await world.passes(1)
        last = await deadly.program()
    await world.passes(1)
    assert (deadly.deaths, await last.scheduler.get_task_status("bad")) == (4, "READY")
    for answer in asked:
        answer.cancel()
    deadly.may_pass.set()
    await world.passes(1)
    assert deadly.deaths == 5
    assert deadly.alone[-1]
    app = await deadly.program(dies=False)
    await world.passes(1)
    bad = await app.scheduler.get_task("bad")
    assert bad.status is TaskStatus.FAILED
    assert "died 5 times" in str(await app.scheduler.explain("bad"))
    assert await app.scheduler.get_task_status("good") is TaskStatus.COMPLETED
