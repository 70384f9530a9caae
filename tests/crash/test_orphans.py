"""Processes of handlers end when they have to, and never outlive their worker."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from puppets import Puppet, Stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the pipe has a name on POSIX")

HANDLERS = Path(__file__).parent / "programs" / "handlers.py"


def serving(stage: Stage) -> Puppet:
    """``kallista worker``, which loads its handlers from a file."""
    command = [sys.executable, "-W", "error", "-m", "kallista", "worker", "--tasks", str(HANDLERS)]
    return stage.program(command=command)


@pytest.fixture
def pipe(stage: Stage) -> Path:
    """A pipe that a handler holds open for as long as its process is there."""
    path = stage.folder / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def worker(stage: Stage) -> Puppet:
    """Such a worker, which leaves without waiting for anything."""
    stage.settings["KALLISTA_GRACE"] = "0"
    return serving(stage)


class Held:
    """The reading end of a pipe that a process holds open.

    Args:
        stage: Whose patience it has.
        descriptor: The end.
    """

    def __init__(self, stage: Stage, descriptor: int) -> None:
        self._stage = stage
        self._descriptor = descriptor

    def read(self) -> bytes:
        """What comes next; nothing once nobody holds the pipe any more."""
        ready, _, _ = select.select([self._descriptor], [], [], self._stage.patience)
        assert ready, "neither does it say anything, nor has it ended"
        return os.read(self._descriptor, 7)


@contextmanager
def held(stage: Stage, pipe: Path) -> Iterator[Held]:
    """The pipe, once a handler works that holds it."""
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        end = Held(stage, descriptor)
        assert end.read() == b"at work"
        yield end
    finally:
        os.close(descriptor)


def grinds(stage: Stage, pipe: Path, **more: object) -> Puppet:
    """Who has submitted a task that grinds."""
    looker = stage.looker()
    warm = {"type": "warm_up"}  # to start a process takes its time, which is not what is tested
    looker.ask("scheduler.schedule_task", task_id="warm", task_data=warm)
    looker.ask("scheduler.wait_task", task_id="warm")
    data = {"type": "grind", "pipe": str(pipe), **more}
    looker.ask("scheduler.schedule_task", task_id="t", task_data=data)
    return looker


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_worker(
    stage: Stage, worker: Puppet, pipe: Path, number: signal.Signals
) -> None:
    """Killed or asked to end, a worker leaves nothing behind, however busy; its task runs again."""
    looker = grinds(stage, pipe)
    with held(stage, pipe) as end:
        worker.signal(number)
        assert end.read() == b""
    worker.ended()
    other = serving(stage)
    with held(stage, pipe) as end:
        other.kill()
        assert end.read() == b""
    assert looker.ask("scheduler.get_task", task_id="t")["attempt"] == 2
    looker.end()


def test_cancelling_kills_it(stage: Stage, worker: Puppet, pipe: Path) -> None:
    """A handler that never looks whether it should stop is gone at once, from any program."""
    looker = grinds(stage, pipe)
    with held(stage, pipe) as end:
        looker.ask("scheduler.cancel_task", task_id="t")
        assert end.read() == b""
    assert looker.ask("scheduler.wait_task", task_id="t")["status"] == "CANCELLED"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    looker.end()


def test_a_time_limit_kills_it(stage: Stage, worker: Puppet, pipe: Path) -> None:
    """Out of time it is gone, and its place is free for what comes next."""
    looker = grinds(stage, pipe, timeout=3)
    with held(stage, pipe) as end:
        assert end.read() == b""
    found = looker.ask("scheduler.wait_task", task_id="t")
    assert (found["status"], found["error"]["type"]) == ("FAILED", "TimeoutError")
    mark = {"type": "mark", "file": "marks.txt"}
    looker.ask("scheduler.schedule_task", task_id="next", task_data=mark)
    assert looker.ask("scheduler.wait_task", task_id="next")["status"] == "COMPLETED"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    looker.end()
