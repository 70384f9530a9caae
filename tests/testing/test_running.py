"""What is shipped for users' own tests."""

from __future__ import annotations

import asyncio

import pytest

from kallista import TaskContext, UsageError
from kallista.testing import FakeClock, memory_app, run, run_async


async def greet(who: str) -> str:
    return f"Hello, {who}"


def test_a_handler_is_tried_by_itself() -> None:
    """``run`` of a function executes it once and gives the finished task."""
    assert run(greet, config={"who": "Ada"}).result == "Hello, Ada"


def test_delays_and_sleeps_take_no_time() -> None:
    """Hours of waiting pass at once, in their order."""

    async def flaky(ctx: TaskContext) -> int:
        if ctx.attempt < 4:
            raise ConnectionError("not yet")
        return ctx.attempt

    tasks = [
        {"type": "flaky", "retry": {"max_attempts": 5, "delay": "1h"}},
        {"type": "sleep", "seconds": 86_400},
    ]
    finished = run(tasks, tasks=[flaky])
    assert finished.ok
    assert finished.started_at is not None
    assert finished.ended_at is not None
    assert (finished.ended_at - finished.started_at).total_seconds() == 7 * 3600 + 86_400


def test_a_process_is_run_with_its_inputs() -> None:
    """A mapping is a process; its inputs are checked as always."""
    process = {
        "inputs": {"who": {"type": "string"}},
        "steps": [{"id": "g", "type": "greet", "who": "${inputs.who}"}],
    }
    assert run(process, inputs={"who": "Bo"}, tasks=[greet]).results == {"g": "Hello, Bo"}
    with pytest.raises(UsageError, match="who"):
        run(process, tasks=[greet])


def test_run_says_what_to_use_on_a_loop() -> None:
    """On a running loop it refuses, and ``run_async`` does the same there."""

    async def main() -> object:
        with pytest.raises(UsageError, match="run_async"):
            run(greet, config={"who": "Ada"})
        return (await run_async(greet, config={"who": "Ada"})).result

    assert asyncio.run(main()) == "Hello, Ada"


@pytest.mark.anyio
async def test_a_clock_that_stands_still_moves_only_when_told() -> None:
    """Nothing that waits for time happens before ``advance``, and all of it by then."""
    clock = FakeClock()
    async with memory_app([greet], clock=clock) as app:
        await app.scheduler.schedule_task("hourly", {"type": "greet", "who": "x"}, interval="1h")
        await clock.advance("59m")
        assert (await app.scheduler.get_schedule("hourly")).fired == 1
        await clock.advance("1m")
        assert (await app.scheduler.get_schedule("hourly")).fired == 2
