"""``kallista.testing``: handlers and definitions tried without files and without waiting."""

from __future__ import annotations

import asyncio

import pytest

from kallista import DefinitionError, Kallista, TaskContext, TaskStatus, UsageError
from kallista.testing import FakeClock, memory_app, run, run_async


async def half(number: int) -> float:
    """Divide by two."""
    return number / 2


def double(ctx: TaskContext, number: int) -> int:
    """Multiply by two."""
    return number * 2 * ctx.attempt


def test_a_handler_runs_with_its_config() -> None:
    """On the loop or on a thread, it is all the same."""
    task = run(half, config={"number": 3})
    assert getattr(task, "result") == 1.5  # noqa: B009  # of whatever kind
    assert run(double, config={"number": 3}).ok


def test_wrong_config_is_told_before_anything_runs() -> None:
    """As in a real app."""
    with pytest.raises(DefinitionError, match="number"):
        run(half, config={"number": "many"})


def test_retries_and_sleeps_take_no_time() -> None:
    """The clock jumps to the next moment that something waits for."""
    tries: list[int] = []

    async def flaky(ctx: TaskContext) -> str:
        tries.append(ctx.attempt)
        if ctx.attempt < 4:
            raise OSError
        return "at last"

    tasks: list[dict[str, object]] = [
        {"type": "sleep", "seconds": "30d"},
        {"type": "flaky", "retry": {"max_attempts": 4, "delay": "1h"}},
    ]
    done = run(tasks, tasks=[flaky])
    assert done.ok
    assert tries == [1, 2, 3, 4]
    assert done.ended_at is not None
    assert done.started_at is not None
    assert (done.ended_at - done.started_at).days == 30


def test_a_process_runs_with_its_inputs() -> None:
    """A mapping is a process; its inputs are checked."""
    data = {
        "inputs": {"n": {"type": "integer"}},
        "steps": [{"type": "task", "task_data": {"type": "half", "number": "${inputs.n}"}}],
    }
    assert run(data, inputs={"n": 4}, tasks=[half]).ok
    with pytest.raises(UsageError, match="'n' is missing"):
        run(data, tasks=[half])


def test_a_failed_run_is_returned() -> None:
    """It does not raise by itself."""
    failed = run([{"type": "half", "number": 1}, {"type": "boom"}], tasks=[half, boom])
    assert not failed.ok
    assert failed.errors[0].message == "boom"


async def boom() -> None:
    """Fail."""
    raise ValueError("boom")


def test_on_a_loop_there_is_run_async() -> None:
    """``run`` says so instead of blocking the loop."""

    async def scene() -> None:
        with pytest.raises(UsageError, match="run_async"):
            run(half, config={"number": 1})
        assert (await run_async(half, config={"number": 1})).ok

    asyncio.run(scene())


def test_a_memory_app_on_a_clock_in_hand() -> None:
    """Time passes when the test says so; leaving with work in flight does not hang."""

    async def stuck() -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        clock = FakeClock()
        async with memory_app([stuck], clock=clock) as app:
            await app.scheduler.schedule_task("nap", {"type": "sleep", "seconds": 10})
            await app.scheduler.schedule_task("stuck", {"type": "stuck"})
            await clock.advance(9)
            assert await app.scheduler.get_task_status("nap") is TaskStatus.WAITING
            await clock.advance(1)
            assert await app.scheduler.get_task_status("nap") is TaskStatus.COMPLETED

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_a_clock_fires_each_timer_at_its_own_moment() -> None:
    """Also those that are set on the way; a cancelled one never."""

    async def scene() -> list[float]:
        clock, fired = FakeClock(), []
        start = clock.now()

        def fire() -> None:
            fired.append((clock.now() - start) / 1e6)
            if len(fired) < 3:
                clock.call_at(clock.now() + 2_000_000, fire)  # type: ignore[arg-type]

        clock.call_at(start + 1_000_000, fire)  # type: ignore[arg-type]
        clock.call_at(start + 1_500_000, fire).cancel()  # type: ignore[arg-type]
        await clock.advance("10s")
        assert (clock.now() - start) / 1e6 == 10
        return fired

    assert asyncio.run(scene()) == [1, 3, 5]


def test_apps_in_memory_know_nothing_of_each_other() -> None:
    """Each has a store of its own."""

    async def scene() -> None:
        async with memory_app([half]) as one, memory_app([half]) as other:
            await one.scheduler.schedule_task("t", {"type": "half", "number": 1})
            assert await other.kind_of("t") is None
            assert isinstance(other, Kallista)

    asyncio.run(scene())
