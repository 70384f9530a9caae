"""Handlers in processes of their own: the same as others to a user, and ended when they have to."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import process_handlers
import pytest
from world import NEVER, World, places_taken

from kallista import Kallista, TaskStatus, UsageError
from kallista.core.snapshots import TaskSnapshot
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.tasks import FunctionHandler, Registry

pytestmark = pytest.mark.anyio

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks are handed down, signals told")

PATIENCE = 30
"""Seconds after which something that a process should do does not come any more."""

TELL, WORK, BEAT, FALL_SILENT, MUMBLE, LINGER, LEAVE_BEHIND, END = [
    FunctionHandler(function.__name__, function, executor="process")
    for function in (
        process_handlers.tell,
        process_handlers.work,
        process_handlers.beat,
        process_handlers.fall_silent,
        process_handlers.mumble,
        process_handlers.linger,
        process_handlers.leave_behind,
        process_handlers.end,
    )
]


async def until(world: World, seen: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what processes do in their own time."""
    async with asyncio.timeout(PATIENCE):
        while not await world.after(seen()):  # noqa: ASYNC110  # another process tells no event
            await asyncio.sleep(0.005)


async def ended(world: World, app: Kallista, id: str) -> TaskSnapshot:
    """The task once it is over."""

    async def is_over() -> bool:
        found = await app.scheduler.get_task(id)
        return found.ended_at is not None and found.in_flight == 0

    await until(world, is_over)
    return await app.scheduler.get_task(id)


async def is_at_work(app: Kallista, id: str) -> bool:
    """Whether the handler has said that it works."""
    return (await app.scheduler.get_task(id)).progress_message == "at work"


async def is_idle(app: Kallista) -> bool:
    """Whether nothing runs here."""
    return places_taken(app) == 0


async def is_done(future: asyncio.Future[Any]) -> bool:
    """Whether it is done."""
    return future.done()


def is_held(file: Path) -> bool:
    """Whether anybody holds the file's lock."""
    import fcntl  # not everywhere

    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def is_free(file: Path) -> bool:
    """Whether nobody holds the file's lock."""
    return not is_held(file)


async def test_what_goes_in_and_what_comes_out(
    any_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Arguments, context, result and lines are as anywhere else; one process is kept for all."""
    app = await any_world.app(TELL)
    day = "2020-05-06T00:00:00Z"
    tasks = [
        {"id": id, "type": "tell", "config": {"day": day, "text": text}}
        for id, text in (("a", "ä\n"), ("b", "b"))
    ]
    running = asyncio.ensure_future(app.workflow_manager.run_workflow("w", tasks, workflow_id="w"))
    await until(any_world, lambda: is_done(running))
    first, second = (await running).results["a"], (await running).results["b"]
    assert first["pid"] == second["pid"] != os.getpid()
    assert {**first, "pid": 0, "key": ""} == {
        "pid": 0, "year": 2020, "at": "2030-01-02T00:00:00Z", "text": "ä\n", "key": "",
        "attempt": 1, "results": {},
    }  # fmt: skip
    assert second["results"] == {"a": first}
    assert second["key"] != first["key"]
    lines = {record.message: record for record in caplog.records}
    fields = lines["told ä\n"].__dict__["kallista"]
    assert (fields["run"], fields["task"], fields["api_key"]) == ("w", "a", "***")
    assert lines["said b"].name == "of.the.handler"


@pytest.mark.parametrize(
    ("how", "status", "type", "told"),
    [
        ("raise", "FAILED", "LookupError", "refused: ***"),
        ("exit", "FAILED", "SystemExit", "3"),
        ("vanish", "FAILED", "kallista.errors.ProcessDiedError", "exited with code 3"),
        pytest.param(
            "crash", "FAILED", "kallista.errors.ProcessDiedError", "was killed by SIGSEGV",
            marks=posix,
        ),
        ("snooze", "SCHEDULED", None, ""),
        ("fail", "FAILED", "FailForGood", "for good"),
        ("large", "FAILED", "kallista.errors.UsageError", "3,000,002 bytes"),
        ("odd", "FAILED", "kallista.errors.UsageError", "cannot be kept"),
    ],
)  # fmt: skip
async def test_every_ending_arrives(
    world: World, how: str, status: str, type: str | None, told: str
) -> None:
    """What a handler returns or raises means the same; a process that dies fails its attempt."""
    app = await world.app(END)
    await app.scheduler.schedule_task("t", {"type": "end", "how": how, "password": "s3cret"})
    await until(world, lambda: is_idle(app))
    found = await app.scheduler.get_task("t")
    assert found.status == status
    assert (found.error and found.error.type) == type
    assert found.error is None or told in found.error.message
    if how == "raise":
        assert found.error is not None
        assert "process_handlers.py" in str(found.error.traceback)
        assert "s3cret" not in str(found.error.traceback)


async def test_a_process_that_died_is_tried_again(world: World) -> None:
    """A crash of the process is a failure like others: retry policies apply, and can name it."""
    app = await world.app(END)
    retry = {"max_attempts": 2, "delay": 0, "retry_on": ["ProcessDiedError"]}
    await app.scheduler.schedule_task("t", {"type": "end", "how": "crash", "retry": retry})
    found = await ended(world, app, "t")
    assert (found.status, found.attempt) == ("FAILED", 2)


@posix
@pytest.mark.parametrize("why", ["time", "cancel", "close"])
async def test_it_is_killed_with_all_it_has_started(world: World, tmp_path: Path, why: str) -> None:
    """Out of time, cancelled or handed back: nothing of it runs on, and its place is free."""
    app = await world.app(WORK)
    held = tmp_path / "held"
    data = {"type": "work", "file": str(held), "timeout": 60, "retry": 2}
    await app.scheduler.schedule_task("t", data)
    await until(world, lambda: is_at_work(app, "t"))
    assert is_held(held)
    match why:
        case "time":
            await world.passes(60)
            found = await ended(world, app, "t")
            assert (found.status, found.attempt, found.result) == ("COMPLETED", 2, 2)
        case "cancel":
            await app.scheduler.cancel_task("t")
            found = await ended(world, app, "t")
            assert (found.status, found.note) == ("CANCELLED", None)
        case _:
            closing = asyncio.ensure_future(app.__aexit__(None, None, None))
            world._left.append(app)
            await until(world, lambda: is_done(closing))
            looker = await world.app(worker=False)
            assert (await looker.scheduler.get_task("t")).status is TaskStatus.READY
    await until(world, lambda: is_free(held))
    assert await is_idle(app)


async def test_heartbeats_come_through(any_world: World) -> None:
    """The last of a hundred thousand reaches the next attempt; a silent process is killed."""
    app = await any_world.app(BEAT, FALL_SILENT)
    retry = {"max_attempts": 2, "delay": 0}
    await app.scheduler.schedule_task("t", {"type": "beat", "retry": retry})
    assert (await ended(any_world, app, "t")).result == {"mile": 99_999}
    assert await any_world.after(app.reports.spent("t")) == {"usd": Decimal("0.5")}
    await app.scheduler.schedule_task("s", {"type": "fall_silent", "heartbeat_timeout": 60})
    await until(any_world, lambda: is_at_work(app, "s"))
    await any_world.passes(60)
    found = await ended(any_world, app, "s")
    assert found.error is not None
    assert found.error.type == "HeartbeatTimeout"


async def test_what_is_no_unicode_is_told_as_well_as_it_can_be(world: World) -> None:
    """A name of a file may hold it: what an attempt says and raises arrives all the same."""
    app = await world.app(MUMBLE)
    retry = {"max_attempts": 2, "delay": 0, "retry_on": ["LookupError"]}
    await app.scheduler.schedule_task("t", {"type": "mumble", "retry": retry})
    assert (await ended(world, app, "t")).result == "heard"


async def test_who_was_left_behind_says_nothing_more(world: World) -> None:
    """A handler's own thread that goes on speaks for its attempt, and not for the next one."""
    app = await world.app(LINGER)
    for id in ("a", "b"):
        data = {"type": "linger", "retry": {"max_attempts": 2, "delay": 0}}
        await app.scheduler.schedule_task(id, data)
        assert (await ended(world, app, id)).result is None
        assert await world.after(app.reports.spent(id)) == {}


@posix
async def test_what_a_dead_process_has_forked_keeps_nobody_waiting(world: World) -> None:
    """It holds the pipe open by which the end of the process is seen; it ends with it."""
    app = await world.app(LEAVE_BEHIND)
    await app.scheduler.schedule_task("t", {"type": "leave_behind"})
    found = await ended(world, app, "t")
    assert found.error is not None
    assert "exited with code 3" in found.error.message


@posix
async def test_no_more_of_them_than_there_may_be(world: World, tmp_path: Path) -> None:
    """``processes`` bounds them over all task types, and takes no places from other tasks."""
    options = Options(processes=1, look_every=NEVER, take_over_every=NEVER, grace=Micros(0))
    app = await world.app(WORK, END, options=options)
    await app.scheduler.schedule_task("first", {"type": "work", "file": str(tmp_path / "held")})
    await until(world, lambda: is_at_work(app, "first"))
    await app.scheduler.schedule_task("second", {"type": "end", "how": "fail"})
    await app.scheduler.schedule_task("other", {"type": "sleep", "seconds": 0})
    await world.settle()
    assert (await app.scheduler.get_task("second")).status is TaskStatus.READY
    assert (await app.scheduler.get_task("other")).status is TaskStatus.COMPLETED
    await app.scheduler.cancel_task("first")
    assert (await ended(world, app, "second")).attempt == 1


def test_a_program_is_not_run_twice(tmp_path: Path) -> None:
    """A process loads the program's module for its handlers; what it does unguarded is refused."""
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from kallista import Kallista, task\n"
        "@task('double', executor='process')\n"
        "def double(number: int) -> int:\n"
        "    return 2 * number\n"
        "async def main():\n"
        "    async with Kallista() as app:\n"
        "        await app.scheduler.schedule_task('t', {'type': 'double', 'number': 4})\n"
        "        found = await app.scheduler.wait_task('t')\n"
        "        print(found.result, found.error and found.error.message)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert "put what it does under: if __name__" in done.stdout, done.stderr


def test_what_cannot_be_found_elsewhere_is_refused() -> None:
    """A handler for other processes is a plain function of a module; the message says what else."""

    def inner() -> None:
        """Stand where no other process finds it."""

    async def coming() -> None:
        """Wait for nothing."""

    for function, problem in (
        (inner, "outside of all functions"),
        (lambda: None, "outside of all functions"),
        (functools.partial(print), "outside of all functions"),
        (coming, "make it a plain function"),
    ):
        with pytest.raises(UsageError, match=problem):
            Registry().add(function, "tried", executor="process")
    with pytest.raises(UsageError, match='can only be "process"'):
        Registry().add(inner, "tried", executor="thread")
