"""Processes of handlers end when they have to, and never outlive their worker."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

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


def grinds(stage: Stage, pipe: Path, **more: object) -> tuple[Puppet, BinaryIO]:
    """Who has submitted a task that grinds by now, and the pipe that its process holds."""
    looker = stage.looker()
    data = {"type": "grind", "pipe": str(pipe), **more}
    looker.ask("scheduler.schedule_task", task_id="t", task_data=data)
    held = pipe.open("rb", buffering=0)
    assert held.read(7) == b"at work"
    return looker, held


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_worker(
    stage: Stage, worker: Puppet, pipe: Path, number: signal.Signals
) -> None:
    """Killed or asked to end, a worker leaves nothing behind, however busy; its task runs again."""
    looker, held = grinds(stage, pipe)
    worker.signal(number)
    assert held.read(1) == b""
    held.close()
    worker.ended()
    other = serving(stage)
    with pipe.open("rb") as again:
        assert again.read(7) == b"at work"
        other.kill()
        assert again.read(1) == b""
    assert looker.ask("scheduler.get_task", task_id="t")["attempt"] == 2
    looker.end()


def test_cancelling_kills_it(stage: Stage, worker: Puppet, pipe: Path) -> None:
    """A handler that never looks whether it should stop is gone at once, from any program."""
    looker, held = grinds(stage, pipe)
    looker.ask("scheduler.cancel_task", task_id="t")
    assert held.read(1) == b""
    held.close()
    assert looker.ask("scheduler.wait_task", task_id="t")["status"] == "CANCELLED"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    looker.end()


def test_a_time_limit_kills_it(stage: Stage, worker: Puppet, pipe: Path) -> None:
    """Out of time it is gone, and its place is free for what comes next."""
    looker, held = grinds(stage, pipe, timeout=2)
    assert held.read(1) == b""
    held.close()
    found = looker.ask("scheduler.wait_task", task_id="t")
    assert (found["status"], found["error"]["type"]) == ("FAILED", "TimeoutError")
    mark = {"type": "mark", "file": "marks.txt"}
    looker.ask("scheduler.schedule_task", task_id="next", task_data=mark)
    assert looker.ask("scheduler.wait_task", task_id="next")["status"] == "COMPLETED"
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    looker.end()
