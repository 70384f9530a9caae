"""What running attempts say of themselves: seen everywhere, left for the next, and missed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from world import HeldThreads, World

from kallista import DefinitionError, Kallista, TaskContext, TaskStatus, UsageError
from kallista.core.snapshots import ProcessSnapshot, StepSnapshot, TaskSnapshot
from kallista.core.types import Json

pytestmark = pytest.mark.anyio

WAITS: Mapping[str, Json] = {"type": "walk", "heartbeat_timeout": 10, "retry": 2}


class Walk:
    """A handler that goes on when it is told to.

    Its attempts come in ``began``, each with what it was left.
    """

    def __init__(self) -> None:
        self.contexts: list[TaskContext] = []
        self.began: list[tuple[int, Json]] = []
        self.ends: list[asyncio.Future[object]] = []

    async def walk(self, ctx: TaskContext) -> object:
        """Wait for how to end."""
        self.contexts.append(ctx)
        self.began.append((ctx.attempt, ctx.heartbeat_details))
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]

    @property
    def ctx(self) -> TaskContext:
        """The newest attempt."""
        return self.contexts[-1]

    def fail(self) -> None:
        """Let the newest attempt fail."""
        self.ends[-1].set_exception(LookupError("lost"))


async def rows(app: Kallista) -> int:
    """How many heartbeats are stored."""
    return (await app.store.stats()).rows["heartbeats"]


async def task(app: Kallista, id: str = "t") -> TaskSnapshot:
    """A task as a program sees it."""
    return await app.scheduler.get_task(id)


async def test_it_is_seen_in_every_program(any_world: World) -> None:
    """In the program at once, in others within a second; get, list and explain all say it."""
    walk = Walk()
    app = await any_world.app(walk.walk)
    looker = await any_world.app(worker=False)
    await app.scheduler.schedule_task("t", {"type": "walk"})
    await any_world.settle()
    walk.ctx.progress(0.25, "at\0 the bridge")
    walk.ctx.heartbeat({"mile": 3})
    walk.ctx.heartbeat()
    here = await task(app)
    assert (here.progress, here.heartbeat_details) == (0.25, {"mile": 3})
    assert (await task(looker)).progress is None
    await any_world.passes(1)
    for program in (app, looker):
        seen = await task(program)
        assert (seen.progress, seen.progress_message) == (0.25, "at the bridge")
        assert seen.heartbeat_details == {"mile": 3}
        assert seen.heartbeat_at == here.heartbeat_at
        (line,) = (await program.scheduler.list_tasks()).items
        assert (line.progress, line.progress_message) == (0.25, "at the bridge")
        told = str(await program.scheduler.explain("t"))
        assert "it is 25% done (at the bridge) and was last heard of at" in told
    walk.ends[0].set_result(None)
    await any_world.settle()
    ended = await task(looker)
    assert (ended.progress, ended.heartbeat_at, ended.heartbeat_details) == (None, None, None)
    assert await rows(looker) == 0


async def test_saying_much_writes_little(world: World) -> None:
    """However often attempts speak, one write a second carries all, and none what is over."""
    walk = Walk()
    app = await world.app(walk.walk)
    for number in range(20):
        await app.scheduler.schedule_task(f"t{number}", {"type": "walk"})
    await world.settle()
    store = app._store
    writes: list[int] = []
    hear = store.hear

    def heard(said: object) -> object:
        writes.append(len(said))  # type: ignore[arg-type]
        return hear(said)  # type: ignore[arg-type]

    store.hear = heard  # type: ignore[method-assign, assignment]
    for _ in range(3):
        for ctx in walk.contexts:
            for step in range(50):
                ctx.progress(step / 50)
                ctx.heartbeat(step)
        await world.passes(1)
    assert writes == [20, 20, 20]
    for ctx in walk.contexts:
        ctx.progress(1)
    for end in walk.ends:
        end.set_result(None)
    await world.passes(5)
    assert writes == [20, 20, 20]


@pytest.mark.parametrize("kind", ["task", "workflow", "process"])
async def test_the_next_attempt_gets_the_last_details(any_world: World, kind: str) -> None:
    """Whatever ends an attempt; they stay until there are others, or no attempt comes any more."""
    walk = Walk()
    app = await any_world.app(walk.walk)
    step = {"type": "walk", "retry": {"max_attempts": 9, "delay": 60}}
    match kind:
        case "task":
            await app.scheduler.schedule_task("r", step)
        case "workflow":
            await app.workflow_manager.create_workflow("w", [step], workflow_id="r")
            await app.workflow_manager.start_workflow("r")
        case _:
            await app.orchestrator.create_process({"id": "r", "name": "p", "steps": [step]})
            await app.orchestrator.start_process("r")
    await any_world.settle()
    walk.ctx.heartbeat({"mile": 1})
    walk.ctx.heartbeat({"mile": 2})
    walk.fail()
    await any_world.settle()
    assert await rows(app) == 1
    await any_world.passes(61)
    walk.ctx.progress(0.9)
    walk.fail()
    await any_world.passes(121)
    walk.ctx.heartbeat([3])
    await any_world.leave(app)
    other = await any_world.app(walk.walk)
    await any_world.settle()
    assert walk.began == [(1, None), (2, {"mile": 2}), (3, {"mile": 2}), (4, [3])]
    walk.ends[-1].set_result("there")
    await any_world.settle()
    assert await rows(other) == 0


async def test_what_was_written_outlives_its_worker(any_world: World) -> None:
    """After a crash the next attempt, elsewhere, gets the details that had been written."""
    walk, other_walk = Walk(), Walk()
    app = await any_world.app(walk.walk)
    await app.scheduler.schedule_task("t", {"type": "walk"})
    await any_world.settle()
    walk.ctx.heartbeat("written")
    await any_world.passes(1)
    walk.ctx.heartbeat("newer")
    other = await any_world.app(other_walk.walk)
    workers = {worker.key: worker.beat for worker in await other._store.workers()}
    stale = app._engine._slots.worker
    await other._store.release_dead(other._clock.now(), [(stale, workers[stale])])
    await any_world.settle()
    other._engine._place_is_free()
    await any_world.settle()
    # The worker that was taken for dead may learn of it in time to begin anew.
    ((attempt, left),) = [*walk.began[1:], *other_walk.began]
    assert attempt == 2
    assert left in ("written", "newer"), "its last word counts while no other attempt has begun"
    walk.contexts[0].heartbeat("too late")
    await any_world.passes(2)
    assert (await task(other)).heartbeat_details == left, "a stale attempt changes nothing"
    next_walk = other_walk if other_walk.began else walk
    next_walk.ends[-1].set_result(None)
    await any_world.settle()
    assert await rows(other) == 0


async def test_a_silent_attempt_is_stopped(world: World) -> None:
    """It has failed with HeartbeatTimeout, which is a TimeoutError; every sign puts that off."""
    walk = Walk()
    app = await world.app(walk.walk)
    await app.scheduler.schedule_task("t", {**WAITS, "retry": {"max_attempts": 2, "delay": 0}})
    await world.passes(9)
    walk.ctx.heartbeat(1)
    await world.passes(9)
    walk.ctx.progress(0.5)
    await world.passes(9)
    assert "is stopped when silent for 10s" in str(await app.scheduler.explain("t"))
    assert len(walk.began) == 1
    await world.passes(1)
    assert walk.began == [(1, None), (2, 1)]
    await world.passes(10)
    found = await task(app)
    assert (found.status, found.attempt) == (TaskStatus.FAILED, 2)
    assert found.error is not None
    assert found.error.type == "HeartbeatTimeout"
    assert "not heard of for 10 s (heartbeat_timeout)" in found.error.message
    kinds = [event.kind for event in await app.scheduler.get_history("t")]
    assert kinds.count("task.retrying") == 1


async def test_a_policy_can_name_it(world: World) -> None:
    """``retry_on`` and ``give_up_on`` know it by its own name and as a TimeoutError."""
    for name, attempts in (("HeartbeatTimeout", 1), ("TimeoutError", 1), ("LookupError", 2)):
        walk = Walk()
        app = await world.app(walk.walk)
        retry = {"max_attempts": 2, "delay": 0, "give_up_on": [name]}
        await app.scheduler.schedule_task(name, {**WAITS, "retry": retry})
        await world.passes(30)
        assert (await task(app, name)).attempt == attempts
        await world.leave(app)


async def test_a_silent_thread_keeps_its_place(world: World) -> None:
    """A thread that is left behind says nothing for the attempt after it, which waits for it."""
    threads = HeldThreads()
    contexts: list[TaskContext] = []

    def crawl(ctx: TaskContext) -> str:
        contexts.append(ctx)
        ctx.heartbeat(ctx.attempt)
        return "there"

    app = await world.app(crawl, threads=threads)
    retry = {"max_attempts": 2, "delay": 0}
    data = {"type": "crawl", "heartbeat_timeout": 10, "retry": retry}
    await app.scheduler.schedule_task("t", data)
    await world.passes(10)
    assert (await task(app)).attempt == 2
    assert len(threads.calls) == 1
    threads.end()
    await world.settle()
    assert (await task(app)).heartbeat_details is None
    threads.end()
    await world.settle()
    found = await task(app)
    assert (found.status, found.attempt, len(contexts)) == (TaskStatus.COMPLETED, 2, 2)


async def test_a_borrowed_step_is_heard_too(any_world: World) -> None:
    """Steps that another worker executes for the driver: seen, left for the next, and forgotten."""
    walk, guest_walk = Walk(), Walk()
    driver = await any_world.app(walk.walk, max_concurrency=1, alert=True)
    step = {"type": "walk", "depends_on": [], "retry": {"max_attempts": 2, "delay": 60}}
    steps = [{"id": id, **step} for id in ("a", "b")]
    await driver.orchestrator.create_process({"id": "p", "name": "p", "steps": steps})
    await driver.orchestrator.start_process("p")
    await any_world.settle()
    await any_world.app(guest_walk.walk, max_concurrency=1, alert=True)
    await any_world.passes(1)
    assert len(walk.began) == len(guest_walk.began) == 1
    guest_walk.ctx.progress(0.5, "lent")
    guest_walk.ctx.heartbeat("left")
    await any_world.passes(1)
    lent = await lent_step(driver, guest_walk)
    assert (lent.progress, lent.heartbeat_details) == (0.5, "left")
    guest_walk.fail()
    await any_world.passes(70)
    walks = [*walk.began, *guest_walk.began]
    assert (2, "left") in walks
    for each in (walk, guest_walk):
        each.ends[-1].set_result(None)
        await any_world.settle()
    await any_world.passes(70)
    assert await rows(driver) == 0


async def lent_step(app: Kallista, walk: Walk) -> StepSnapshot:
    """The step that a walk executes."""
    process = await app.orchestrator.get_process("p")
    assert isinstance(process, ProcessSnapshot)
    (step,) = [step for step in process.steps if step.id == walk.ctx.task_id]
    return step


async def test_a_run_that_ends_between_attempts_leaves_nothing(any_world: World) -> None:
    """Cancelled by any program while it waits for its next attempt, or deleted: nothing stays."""
    walk = Walk()
    app = await any_world.app(walk.walk)
    looker = await any_world.app(worker=False)
    retry = {"max_attempts": 9, "delay": 600}
    step = {"type": "walk", "retry": retry}
    await app.scheduler.schedule_task("t", step)
    await app.workflow_manager.create_workflow("w", [step], workflow_id="w")
    await app.workflow_manager.start_workflow("w")
    await any_world.settle()
    for ctx, end in zip(walk.contexts, list(walk.ends), strict=True):
        ctx.heartbeat(1)
        end.set_exception(LookupError())
    await any_world.settle()
    assert await rows(app) == 2
    await looker.scheduler.cancel_task("t")
    await looker.workflow_manager.cancel_workflow("w")
    await any_world.settle()
    assert await rows(app) == 0


async def test_what_is_no_number_concerns_its_own_attempt_alone(any_world: World) -> None:
    """Its handler is told; everybody can still be looked at, and is still heard of elsewhere."""
    walk = Walk()
    app = await any_world.app(walk.walk)
    looker = await any_world.app(worker=False)
    for id in ("t", "other"):
        await app.scheduler.schedule_task(id, {"type": "walk"})
        await any_world.settle()
    wrong, right = walk.contexts
    fraction: Any = "50%"
    with pytest.raises(UsageError, match="progress is a fraction from 0 to 1, not '50%'"):
        wrong.progress(fraction)
    wrong.progress(float("nan"), "nobody knows")
    right.progress(2)
    await any_world.passes(1)
    for program in (app, looker):
        assert [(await task(program, id)).progress for id in ("t", "other")] == [0.0, 1.0]
    for end in walk.ends:
        end.set_result(None)
    await any_world.settle()


async def test_what_is_refused(world: World) -> None:
    """Details that cannot be kept, and a limit that could never be over first."""
    walk = Walk()
    app = await world.app(walk.walk)
    with pytest.raises(DefinitionError, match="never be over before timeout is"):
        await app.scheduler.schedule_task("t", {**WAITS, "timeout": 10})
    with pytest.raises(DefinitionError, match="heartbeat_timeout must be longer than nothing"):
        await app.scheduler.schedule_task("t", {"type": "walk", "heartbeat_timeout": 0})
    await app.scheduler.schedule_task("t", {"type": "walk"})
    await world.settle()
    with pytest.raises(UsageError, match=r"the heartbeat of 't' cannot be kept"):
        walk.ctx.heartbeat({1: object()})
    with pytest.raises(UsageError, match=r"the heartbeat of 't' has 2,000,002 bytes"):
        walk.ctx.heartbeat("x" * 2_000_000)
    walk.ends[0].set_result(None)
    await world.settle()
