"""Handlers on threads, handlers that behave oddly, and a store that fails under them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from flaky import FlakyStore
from world import HeldThreads, MemoryWorld, World, places_taken

from kallista import Kallista, StoreError, TaskContext, TaskStatus
from kallista.core.types import JsonText, Micros, RunKey
from kallista.engine.embedded import Options
from kallista.errors import StoreUncertainError
from kallista.store.memory import MemoryStore
from kallista.store.port import Store
from kallista.testing.running import InlineThreads

pytestmark = pytest.mark.anyio

ResultT = TypeVar("ResultT")


def block() -> str:
    """Return something."""
    return "late"


async def test_a_cancelled_thread_runs_on_and_that_is_said(world: World) -> None:
    """The task is CANCELLED at once; its place is free only when the thread has ended."""
    threads = HeldThreads()
    app = await world.app(block, threads=threads)
    await app.scheduler.schedule_task("t", {"type": "block"})
    await world.settle()
    assert await app.scheduler.cancel_task("t") is True
    await world.settle()
    task = await app.scheduler.get_task("t")
    assert task.status is TaskStatus.CANCELLED
    assert "cannot be stopped" in str(task.note)
    assert places_taken(app) == 1
    threads.end()
    await world.settle()
    assert places_taken(app) == 0
    assert (await app.scheduler.get_task("t")).result is None


async def test_a_retry_waits_for_the_thread_that_timed_out(world: World) -> None:
    """Two attempts of one task never run side by side."""
    threads = HeldThreads()
    app = await world.app(block, threads=threads)
    await app.scheduler.schedule_task("t", {"type": "block", "timeout": 1, "retry": 2})
    await world.passes(1)
    assert len(threads.calls) == 1
    threads.end()
    await world.settle()
    assert len(threads.calls) == 1
    threads.end()
    await world.settle()
    task = await app.scheduler.get_task("t")
    assert (task.status, task.attempt, task.result) == (TaskStatus.COMPLETED, 2, "late")


async def test_a_thread_that_times_out_for_good(world: World) -> None:
    """The failure says that the thread runs on."""
    threads = HeldThreads()
    app = await world.app(block, threads=threads)
    await app.scheduler.schedule_task("t", {"type": "block", "timeout": 1})
    await world.passes(1)
    task = await app.scheduler.get_task("t")
    assert task.error is not None
    assert task.error.type == "TimeoutError"
    assert "runs on" in task.error.message
    threads.end()
    await world.settle()


class Untold(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def fails_untold() -> None:
    """Fail without words."""
    raise Untold


async def leaves() -> None:
    """End the program, it thinks."""
    sys.exit(3)


async def cancels_itself() -> None:
    """Raise what only the loop should raise."""
    raise asyncio.CancelledError


def interrupts() -> None:
    """Raise what Ctrl-C raises, where no Ctrl-C ever comes."""
    raise KeyboardInterrupt


async def returns_nonsense() -> object:
    """Return what is no plain data."""
    return object()


async def raises_a_group() -> None:
    """Fail in several ways."""
    raise ExceptionGroup("many", [ValueError("a"), KeyError("b")])


@pytest.mark.parametrize(
    ("handler", "type"),
    [
        (fails_untold, "Untold"),
        (leaves, "SystemExit"),
        (interrupts, "KeyboardInterrupt"),
        (cancels_itself, "CancelledError"),
        (returns_nonsense, "UsageError"),
        (raises_a_group, "ExceptionGroup"),
    ],
)
async def test_whatever_a_handler_does_is_a_failure_of_its_task(
    world: World, handler: Callable[..., object], type: str
) -> None:
    """Nothing a handler raises or returns hangs the run or harms the program."""
    app = await world.app(handler)
    await app.scheduler.schedule_task("t", {"type": handler.__name__})
    await world.settle()
    task = await app.scheduler.get_task("t")
    assert task.status is TaskStatus.FAILED
    assert task.error is not None
    assert task.error.type.endswith(type)


async def test_secrets_are_masked_in_failures(world: World) -> None:
    """Values under secret keys appear neither in the message nor in the traceback."""

    async def login(password: str, user: str) -> None:
        raise ValueError(f"{user} cannot log in with {password}")

    app = await world.app(login)
    config = {"password": "hunter22-secret", "user": "ann"}
    await app.scheduler.schedule_task("t", {"type": "login", "config": config})
    await world.settle()
    task = await app.scheduler.get_task("t")
    assert task.error is not None
    assert "ann" in task.error.message
    assert "hunter22" not in task.error.message + str(task.error.traceback)


async def failing(
    world: MemoryWorld, *handlers: Callable[..., object]
) -> tuple[Kallista, FlakyStore]:
    """A program whose store can be made to fail."""
    store = FlakyStore(world.state, Random(1))
    app = await world.app(*handlers, store=store)
    return app, store


async def test_a_store_that_fails_is_tried_again(world: MemoryWorld) -> None:
    """A task that has returned is recorded once the store is back, and does not run again."""
    ran: list[int] = []

    async def work(ctx: TaskContext) -> str:
        ran.append(ctx.attempt)
        store.failing = 1
        return "paid for"

    app, store = await failing(world, work)
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.passes(5)
    store.heal()
    await world.passes(2)
    assert await app.scheduler.get_task_result("t") == "paid for"
    assert ran == [1]


async def test_a_store_that_fails_refuses_what_it_cannot_keep(world: MemoryWorld) -> None:
    """Nothing is acknowledged that is not kept; the same request works later."""
    app, store = await failing(world, block)
    store.failing = 1
    with pytest.raises(StoreError):
        await app.scheduler.schedule_task("t", {"type": "block"})
    store.heal()
    await app.scheduler.schedule_task("t", {"type": "block"})
    await world.settle()
    assert await app.scheduler.get_task_result("t") == "late"


async def test_a_creation_that_was_kept_after_all_is_carried_out(world: MemoryWorld) -> None:
    """The program was told "unknown", and the run is there: it is driven all the same."""
    app, store = await failing(world, block)
    store._chance = lambda part: part > 0  # type: ignore[method-assign]
    store.failing = store.doubtful = 1
    with pytest.raises(StoreUncertainError):
        await app.scheduler.schedule_task("t", {"type": "block"})
    store.failing = 0
    await world.passes(3)
    assert await app.scheduler.get_task_result("t") == "late"


async def test_leaving_while_the_store_fails_comes_to_an_end(world: MemoryWorld) -> None:
    """A broken disk does not keep the program from ending."""
    store = FlakyStore(world.state, Random(1))
    finish = asyncio.Event()

    async def work() -> None:
        await finish.wait()

    app = Kallista.assembled(
        store,
        world.clock,
        tasks=[work],
        threads=InlineThreads(),
        options=Options(look_every=Micros(10**17), take_over_every=Micros(10**17)),
    )
    await app.__aenter__()
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.settle()
    store.failing = 1
    finish.set()
    await world.settle()
    leaving = asyncio.ensure_future(app.__aexit__(None, None, None))
    await world.passes(60)
    assert leaving.done()
    with pytest.raises(StoreError):
        await leaving
    store.die()
    world.state.queue.clear()
    world.state.runs.clear()


class MuteStore(MemoryStore):
    """Answers no question about earlier results once it is told so."""

    mute = False

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        if self.mute:
            await asyncio.get_running_loop().create_future()
        return await super().outcomes(run, steps)


async def test_what_was_claimed_and_never_decided_on_holds_no_place(world: MemoryWorld) -> None:
    """A program that leaves while it waits for the store has given back what it claimed for."""

    async def work() -> str:
        return "gold"

    async def fragile(ctx: TaskContext, reads: str) -> str:
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return reads

    store = MuteStore(world.state)
    app = await world.app(work, fragile, store=store, dies=True)
    again = {"max_attempts": 2, "delay": 5}
    tasks: list[dict[str, object]] = [
        {"id": "a", "type": "work"},
        {"id": "b", "type": "fragile", "reads": "${tasks.a.result}", "retry": again},
    ]
    manager = app.workflow_manager
    await manager.start_workflow(await manager.create_workflow("w", tasks, workflow_id="w"))
    await world.settle()
    store.mute = True
    await world.passes(5)
    assert places_taken(app) == 1
    leaving = asyncio.ensure_future(app.__aexit__(None, None, None))
    await world.passes(11)
    await leaving
    assert places_taken(app) == 0
    other = await world.app(work, fragile)
    run = await world.after(other.workflow_manager.wait_workflow("w"))
    assert run.results["b"] == "gold"


def refuse_to_retire(store: Store, times: int) -> Store:
    """The same store, which fails so many times to let its worker go."""
    retire = store.retire_worker
    left = [StoreError("the disk fails") for _ in range(times)]

    async def refuse(now: Micros) -> None:
        if left:
            raise left.pop()
        await retire(now)

    store.retire_worker = refuse  # type: ignore[method-assign,assignment]
    return store


async def test_leaving_is_tried_once_more(
    any_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What has recorded all ends without an error when its last write fails; a log line says so."""
    leaving = await any_world.app(block, store=refuse_to_retire(any_world.store(), 1))
    await leaving.scheduler.schedule_task("t", {"type": "block"})
    await any_world.after(leaving.scheduler.wait_task("t"))
    await any_world.leave(leaving)
    looker = await any_world.app(worker=False)
    assert await any_world.after(looker.workers()) == []
    assert "leaving failed and is tried once more: the disk fails" in caplog.text


async def test_others_take_over_from_who_could_not_leave(any_world: World) -> None:
    """It is told the error; others see one of the dead, go on with its runs, and remove it."""
    leaving = await any_world.app(block, store=refuse_to_retire(any_world.store(), 2))
    tasks = [{"id": "nap", "type": "sleep", "seconds": 9}, {"id": "b", "type": "block"}]
    id = await leaving.workflow_manager.create_workflow("w", tasks)
    await leaving.workflow_manager.start_workflow(id)
    await any_world.settle()
    with pytest.raises(StoreError, match="the disk fails"):
        await any_world.leave(leaving)
    looker = await any_world.app(worker=False)
    assert [worker.alive for worker in await any_world.after(looker.workers())] == [False]
    other = await any_world.app(block, alert=True)
    await any_world.passes(10)
    assert (await any_world.after(other.workflow_manager.wait_workflow(id))).ok
    assert [worker.alive for worker in await any_world.after(looker.workers())] == [True]


def test_ctrl_c_within_a_handler_ends_the_program_in_good_order(tmp_path: Path) -> None:
    """It reaches the program, which leaves its store behind with the task handed back."""

    async def interrupted() -> None:
        """Be where Ctrl-C happens to come."""
        raise KeyboardInterrupt

    url = f"sqlite:///{(tmp_path / 'k.db').as_posix()}"
    config = {"logs_dir": str(tmp_path / "logs")}

    async def program() -> None:
        async with Kallista(url, config=config, tasks=[interrupted]) as app:
            await app.scheduler.schedule_task("t", {"type": "interrupted"})
            await app.serve()

    async def look() -> None:
        async with Kallista(url, config=config, worker=False) as app:
            with pytest.raises(TimeoutError, match="'t' is still READY"):
                await app.scheduler.wait_task("t", timeout=0)
            assert await app.workers() == []

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(program())
    asyncio.run(look())


def test_ctrl_c_comes_to_the_main_thread_alone(tmp_path: Path) -> None:
    """Where the event loop has a thread of its own, a handler has raised it itself."""

    async def interrupted() -> None:
        """Raise what Ctrl-C raises."""
        raise KeyboardInterrupt

    url = f"sqlite:///{(tmp_path / 'k.db').as_posix()}"
    config = {"logs_dir": str(tmp_path / "logs")}
    with Kallista.sync(url, config=config, tasks=[interrupted]) as app:
        app.scheduler.schedule_task("t", {"type": "interrupted"})
        assert app.scheduler.wait_task("t", timeout=30).status is TaskStatus.FAILED
