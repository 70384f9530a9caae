"""Real programs that are killed: what was acknowledged is there, and somebody goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kallista import Kallista, TaskStatus

pytestmark = pytest.mark.anyio

HEAD = """
import asyncio, sys
from kallista import Kallista, TaskContext, task

@task("line")
async def line(ctx: TaskContext, number: int, hold: bool = False) -> int:
    with open("effects.txt", "a") as file:
        file.write(f"{number} {ctx.attempt} {ctx.idempotency_key}\\n")
    print("began", number, ctx.attempt, flush=True)
    if hold and ctx.attempt == 1:
        await asyncio.get_running_loop().create_future()
    return number

def opened(**more):
    return Kallista("sqlite:///store.db", config={"logs_dir": "logs"}, **more)
"""

CREATE = """
async def main():
    async with opened(worker=False) as app:
        tasks = [{"type": "sleep", "seconds": 0}]
        print("made", await app.workflow_manager.create_workflow("w", tasks), flush=True)
        await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""

WORK = """
async def main():
    async with opened() as app:
        tasks = [{"id": f"t{n}", "type": "line", "number": n, "hold": n == 3} for n in range(6)]
        id = await app.workflow_manager.create_workflow("w", tasks, workflow_id="w")
        await app.workflow_manager.start_workflow(id)
        await app.workflow_manager.wait_workflow(id)
        print("finished", flush=True)
asyncio.run(main())
"""

HELP = """
async def main():
    async with opened() as app:
        print("ready", flush=True)
        await app.serve()
asyncio.run(main())
"""


@contextmanager
def program(folder: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the folder; killed when the block ends."""
    code = HEAD + body
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(running: subprocess.Popen[str], beginning: str) -> str:
    """The next line of a program that begins so."""
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith(beginning):
            return line.strip()
    raise AssertionError(f"the program ended before it said {beginning!r}")


def effects(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "effects.txt").read_text().splitlines()]


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """The program is killed the moment it has been given the id; the workflow is there."""
    with program(tmp_path, CREATE) as creator:
        id = read_until(creator, "made").split()[1]
    store = f"sqlite:///{(tmp_path / 'store.db').as_posix()}"
    config = {"logs_dir": str(tmp_path / "logs")}
    async with Kallista(store, config=config, worker=False) as app:
        assert (await app.workflow_manager.get_workflow(id)).name == "w"


async def test_the_next_program_goes_on_and_nothing_completed_runs_again(tmp_path: Path) -> None:
    """Only the attempt that was in flight runs again: higher number, same idempotency key."""
    with program(tmp_path, WORK) as first:
        read_until(first, "began 3 1")
    with program(tmp_path, WORK) as second:
        read_until(second, "finished")
    done = effects(tmp_path)
    assert [(number, attempt) for number, attempt, _ in done] == [
        ("0", "1"), ("1", "1"), ("2", "1"), ("3", "1"), ("3", "2"), ("4", "1"), ("5", "1"),
    ]  # fmt: skip
    keys = {key for number, _, key in done if number == "3"}
    assert len(keys) == 1


async def test_a_program_that_runs_already_takes_over(tmp_path: Path) -> None:
    """A worker notices by itself that another one was killed, and goes on with its run."""
    with program(tmp_path, WORK) as first:
        read_until(first, "began 3 1")
        with program(tmp_path, HELP) as second:
            read_until(second, "ready")
            first.kill()
            read_until(second, "began 3 2")
            read_until(second, "began 5 1")


async def test_tasks_in_flight_and_scheduled_ones_survive(tmp_path: Path) -> None:
    """What was scheduled for later waits for its moment in the next program too."""
    store = f"sqlite:///{(tmp_path / 'store.db').as_posix()}"
    config = {"logs_dir": str(tmp_path / "logs")}
    body = """
async def main():
    async with opened() as app:
        later = {"type": "line", "number": 9}
        await app.scheduler.schedule_task("later", later, "2999-01-01T00:00Z")
        print("scheduled", flush=True)
        await app.serve()
asyncio.run(main())
"""
    with program(tmp_path, body) as first:
        read_until(first, "scheduled")
    async with Kallista(store, config=config) as app:
        assert await app.scheduler.get_task_status("later") is TaskStatus.SCHEDULED
        assert "2999" in str(await app.scheduler.explain("later"))
