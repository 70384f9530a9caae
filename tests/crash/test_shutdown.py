"""A worker that is asked to end: it claims nothing more, and hands back what it cannot finish."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from puppets import Puppet, Stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is POSIX's")

HANDLERS = Path(__file__).parent / "programs" / "handlers.py"
STAY = {"type": "stay"}
MARK = {"type": "mark", "file": "marks.txt"}
END = {"type": "etch", "file": "marks.txt", "after": 1}
READY = "task types"
KILLED = 130


def serving(stage: Stage) -> Puppet:
    """``kallista worker``, about to work."""
    command = [sys.executable, "-W", "error", "-m", "kallista", "worker", "--tasks", str(HANDLERS)]
    return stage.program(command=command)


def hear(worker: Puppet, words: str) -> None:
    """Listen until it prints a line that begins with these words."""
    while not worker.until("text")["text"].startswith(words):
        pass


def begun(stage: Stage, *tasks: object) -> tuple[Puppet, Puppet]:
    """Such a worker, alone, at a workflow of these tasks; and who has submitted it."""
    looker, worker = stage.looker(), serving(stage)
    hear(worker, READY)
    looker.ask("workflow_manager.create_workflow", name="w", tasks=tasks, workflow_id="w")
    looker.ask("workflow_manager.start_workflow", workflow_id="w")
    return looker, worker


def test_a_running_task_may_finish(stage: Stage) -> None:
    """What runs when the signal comes is finished and recorded; what follows is another's."""
    looker, worker = begun(stage, END, MARK)
    worker.until("marked")
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert len(worker.told("marked")) == 1
    after = looker.ask("workflow_manager.get_workflow", workflow_id="w")
    assert [task["status"] for task in after["tasks"]] == ["COMPLETED", "READY"]
    other = serving(stage)
    assert other.until("marked")["attempt"] == 1
    ended = looker.ask("workflow_manager.wait_workflow", workflow_id="w")
    other.signal(signal.SIGTERM)
    assert other.ended() == 0
    looker.end()
    assert [task["attempt"] for task in ended["tasks"]] == [1, 1]


def test_what_outlives_the_grace_is_handed_back(stage: Stage) -> None:
    """Its handler is told to stop, and another worker goes on before the first one has ended."""
    stage.settings["KALLISTA_GRACE"] = "0.2"
    looker, worker = begun(stage, STAY)
    worker.until("staying")
    other = serving(stage)
    hear(other, READY)
    worker.signal(signal.SIGTERM)
    assert other.until("staying")["attempt"] == 2
    worker.until("sent away")
    assert worker.ended() == 0
    assert looker.ask("workflow_manager.wait_workflow", workflow_id="w")["status"] == ("COMPLETED")
    other.signal(signal.SIGTERM)
    assert other.ended() == 0
    looker.end()
    stage.books()["w"].check()


def test_a_second_signal_ends_it_at_once(stage: Stage) -> None:
    """It doesn't wait for its grace; what it was at is taken over like a dead worker's."""
    stage.settings["KALLISTA_GRACE"] = "3600"
    looker, worker = begun(stage, STAY)
    worker.until("staying")
    worker.signal(signal.SIGTERM)
    hear(worker, "stopping")
    worker.signal(signal.SIGTERM)
    assert worker.ended() == KILLED
    other = serving(stage)
    assert other.until("staying")["attempt"] == 2
    ended = looker.ask("workflow_manager.wait_workflow", workflow_id="w")
    other.signal(signal.SIGTERM)
    assert other.ended() == 0
    looker.end()
    assert ended["status"] == "COMPLETED"
