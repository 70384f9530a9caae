"""The app: its synchronous door, and several of them on one file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kallista import Kallista, NotFoundError, TaskContext, TaskStatus, UsageError, WorkflowStatus


def url(folder: Path) -> str:
    return f"sqlite:///{(folder / 'kallista.db').as_posix()}"


def settings(folder: Path) -> dict[str, object]:
    return {"logs_dir": str(folder / "logs"), "timezone": "UTC"}


def square(number: int) -> int:
    return number * number


class TestSynchronousDoor:
    def test_scripts_get_the_same_objects(self, tmp_path: Path) -> None:
        """Every call waits for its answer, iterators included; errors are the same."""
        with Kallista.sync(url(tmp_path), config=settings(tmp_path), tasks=[square]) as app:
            tasks = [{"id": "s", "type": "square", "number": 7}]
            run = app.workflow_manager.run_workflow("Squares", tasks, timeout=30)
            assert (run.status, run.results) == (WorkflowStatus.COMPLETED, {"s": 49})
            kinds = [event.kind for event in app.workflow_manager.watch(run.id)]
            assert kinds[-1] == "run.completed"
            with pytest.raises(NotFoundError):
                app.scheduler.get_task("nobody")

    def test_it_refuses_to_block_an_event_loop(self, tmp_path: Path) -> None:
        """On a running loop it raises at once and says what to use instead."""

        async def main() -> None:
            with Kallista.sync(url(tmp_path), config=settings(tmp_path)):
                pass

        with pytest.raises(UsageError, match="async with"):
            asyncio.run(main())


class TestSeveralPrograms:
    async def test_a_command_from_another_program_is_obeyed(self, tmp_path: Path) -> None:
        """A program that executes nothing cancels what another one is executing."""
        stopped = asyncio.Event()
        running = asyncio.Event()

        async def endless() -> None:
            running.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                stopped.set()

        async with (
            Kallista(url(tmp_path), config=settings(tmp_path), tasks=[endless]) as worker,
            Kallista(url(tmp_path), config=settings(tmp_path), worker=False) as client,
        ):
            tasks = [{"type": "endless"}, {"type": "sleep", "seconds": 0}]
            id = await worker.workflow_manager.create_workflow("w", tasks)
            await worker.workflow_manager.start_workflow(id)
            await asyncio.wait_for(running.wait(), 30)
            await client.workflow_manager.cancel_workflow(id, "changed my mind")
            await asyncio.wait_for(stopped.wait(), 30)
            run = await client.workflow_manager.wait_workflow(id, timeout=30)
            assert run.status is WorkflowStatus.CANCELLED

    async def test_work_is_done_by_a_program_that_has_its_type(self, tmp_path: Path) -> None:
        """A client without the code submits; the worker that has the type executes."""
        async with (
            Kallista(url(tmp_path), config=settings(tmp_path), tasks=[square]),
            Kallista(url(tmp_path), config=settings(tmp_path), worker=False) as client,
        ):
            await client.scheduler.schedule_task("s", {"type": "square", "number": 3})
            assert (await client.scheduler.wait_task("s", timeout=30)).result == 9

    async def test_leaving_hands_back_what_the_next_program_finishes(self, tmp_path: Path) -> None:
        """After the grace time an attempt is handed back; the next one has the same key."""
        seen: list[tuple[int, str]] = []
        running = asyncio.Event()

        async def slow(ctx: TaskContext) -> str:
            seen.append((ctx.attempt, ctx.idempotency_key))
            if ctx.attempt == 1:
                running.set()
                await asyncio.get_running_loop().create_future()
            return "done"

        config = {**settings(tmp_path), "grace": 0.01}
        async with Kallista(url(tmp_path), config=config, tasks=[slow]) as first:
            await first.scheduler.schedule_task("t", {"type": "slow"})
            await asyncio.wait_for(running.wait(), 30)
        async with Kallista(url(tmp_path), config=config, tasks=[slow]) as second:
            task = await second.scheduler.wait_task("t", timeout=30)
        assert (task.status, task.attempt) == (TaskStatus.COMPLETED, 2)
        assert [attempt for attempt, _ in seen] == [1, 2]
        assert seen[0][1] == seen[1][1]


pytestmark = pytest.mark.anyio
