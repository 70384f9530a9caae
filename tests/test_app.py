"""``Kallista`` itself: opening and closing, the synchronous door, what an app tells of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kallista import ConflictError, Kallista, TaskContext, TaskStatus, UsageError, WorkflowStatus
from kallista.core.states import RunKind


def echo(value: object = None) -> object:
    """Return what is given."""
    return value


def other(value: object = None) -> object:
    """Return something else."""
    return [value]


def url(folder: Path) -> str:
    return f"sqlite:///{(folder / 'k.db').as_posix()}"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_synchronous_door(tmp_path: Path) -> None:
    """The same objects, every call waits for its answer."""
    with Kallista.sync(url(tmp_path), tasks=[echo]) as app:
        run = app.workflow_manager.run_workflow("w", [{"type": "echo", "value": 1}], timeout=30)
        assert run.results == {"echo": 1}
        kinds = [event.kind for event in app.workflow_manager.watch(run.id)]
        assert kinds[-1] == "run.completed"
        app.scheduler.schedule_task("t", {"type": "echo", "value": "x"})
        assert app.scheduler.wait_task("t", timeout=30).result == "x"
        done = app.orchestrator.run_process(
            {"steps": [{"type": "task", "task_data": {"type": "echo"}}]}, timeout=30
        )
        assert done.ok


def test_the_synchronous_door_on_a_loop_says_what_to_use(tmp_path: Path) -> None:
    """It would block the loop; opened there or used there, it refuses."""

    async def opened() -> None:
        with pytest.raises(UsageError, match="async with Kallista"), Kallista.sync(url(tmp_path)):
            pass

    asyncio.run(opened())
    with Kallista.sync(url(tmp_path), tasks=[echo]) as app:

        async def used() -> None:
            with pytest.raises(UsageError, match="async with Kallista"):
                app.workflow_manager.list_workflows()

        asyncio.run(used())


def test_without_arguments_everything_lies_in_known_places(tmp_path: Path) -> None:
    """``data/workflows/kallista.db`` and ``logs/`` under the working folder."""

    async def scene() -> None:
        async with Kallista(tasks=[echo]) as app:
            run = await app.workflow_manager.run_workflow("w", [{"type": "echo"}], timeout=30)
            assert run.status is WorkflowStatus.COMPLETED

    asyncio.run(scene())
    assert (tmp_path / "data" / "workflows" / "kallista.db").exists()
    assert (tmp_path / "logs").is_dir()


def test_what_was_kept_is_there_for_the_next_program(tmp_path: Path) -> None:
    """A PENDING workflow created by one program is started and finished by the next."""

    async def first() -> str:
        async with Kallista(url(tmp_path), tasks=[echo]) as app:
            return await app.workflow_manager.create_workflow("w", [{"type": "echo"}])

    async def second(id: str) -> bool:
        async with Kallista(url(tmp_path), tasks=[echo]) as app:
            await app.workflow_manager.start_workflow(id)
            return (await app.workflow_manager.wait_workflow(id, timeout=30)).ok

    assert asyncio.run(second(asyncio.run(first())))


def test_two_handlers_of_one_name(tmp_path: Path) -> None:
    """Another function under a name that is taken is an error; the same one again is not."""
    Kallista(url(tmp_path), tasks=[echo, echo])

    def renamed() -> None:
        """Do nothing."""

    renamed.__name__ = "echo"
    with pytest.raises(ConflictError, match="task type 'echo' is taken"):
        Kallista(url(tmp_path), tasks=[echo, renamed])


def test_an_app_tells_of_itself(tmp_path: Path) -> None:
    """Its types with their schemas, its workers, what its store holds and lacks."""

    async def scene() -> None:
        async with Kallista(url(tmp_path), tasks=[echo, other]) as app:
            await app.scheduler.schedule_task("t", {"type": "echo"})
            await app.scheduler.wait_task("t", timeout=30)
            assert await app.kind_of("t") is RunKind.TASK
            types = {info.type: info for info in app.task_types()}
            assert types["echo"].description == "Return what is given."  # type: ignore[index]
            assert "value" in str(types["echo"].schema)  # type: ignore[index]
            assert {"sleep", "shell", "python", "system_design"} <= set(map(str, types))
            [worker] = await app.workers()
            assert worker.alive
            diagnosis = await app.diagnose()
            assert diagnosis.runs["task COMPLETED"] == 1
            assert diagnosis.missing_types == ()

    asyncio.run(scene())


def test_within_one_run_nothing_else_is_executed(tmp_path: Path) -> None:
    """``within`` keeps a program to one tree of runs."""

    async def scene() -> None:
        async with Kallista(url(tmp_path), tasks=[echo], worker=False) as app:
            await app.scheduler.schedule_task("not mine".replace(" ", "-"), {"type": "echo"})
        async with Kallista(url(tmp_path), tasks=[echo], within="mine") as app:
            process = {
                "id": "mine",
                "steps": [
                    {"id": "w", "type": "workflow", "name": "W", "tasks": [{"type": "echo"}]}
                ],
            }
            assert (await app.orchestrator.run_process(process, timeout=30)).ok
            assert await app.scheduler.get_task_status("not-mine") is TaskStatus.READY

    asyncio.run(scene())


def test_a_context_tells_where_it_is(tmp_path: Path) -> None:
    """Run, task, attempt, key, results, progress and cancellation, on a thread too."""
    seen: dict[str, object] = {}

    def look(ctx: TaskContext, who: str) -> None:
        ctx.progress(0.5, "halfway")
        ctx.logger.info("looked", who=who)
        seen.update(run=ctx.run_id, task=ctx.task_id, attempt=ctx.attempt, cancelled=ctx.cancelled)

    with Kallista.sync(url(tmp_path), tasks=[look]) as app:
        app.scheduler.schedule_task("t", {"type": "look", "who": "n"})
        assert app.scheduler.wait_task("t", timeout=30).ok
    assert seen == {"run": "t", "task": "t", "attempt": 1, "cancelled": False}
    log = (Path("logs") / "kallista.log").read_text(encoding="utf-8")
    assert '"looked"' in log
    assert '"attempt"' in log


def test_the_store_is_cared_for_without_an_event_loop(tmp_path: Path) -> None:
    """By the synchronous door as by the other; before it is open, it says so."""
    url = f"sqlite:///{(tmp_path / 'k.db').as_posix()}"
    closed = Kallista.sync(url, config={"logs_dir": str(tmp_path / "logs")})
    with pytest.raises(UsageError, match="while it is open"):
        closed.store  # noqa: B018
    with Kallista.sync(url, config={"logs_dir": str(tmp_path / "logs")}) as app:
        app.workflow_manager.run_workflow("w", [{"type": "sleep", "seconds": 0}], workflow_id="w")
        assert app.store.stats().runs == {"workflow COMPLETED": 1}
        assert app.store.check().ok
        assert app.store.backup(tmp_path / "copy.db").size_bytes > 0
        assert app.store.export("w")["format"] == 1
        assert app.store.purge(0) == 1
