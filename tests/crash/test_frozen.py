"""Who is frozen for longer than its lease loses its work; who is only busy keeps it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from puppets import Puppet, Stage
from soaking.rounds import Place

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no program can be frozen there")

STAY = {"type": "stay"}
MARK = {"type": "mark", "file": "marks.txt"}
LEASE = "1.5"


def take_over(stage: Stage) -> tuple[Puppet, Puppet]:
    """A worker that is frozen at a task, and another one that has taken its run over."""
    frozen = stage.worker()
    frozen.ask("workflow_manager.create_workflow", name="w", tasks=[STAY, MARK], workflow_id="w")
    frozen.ask("workflow_manager.start_workflow", workflow_id="w")
    frozen.until("staying", attempt=1)
    other = stage.worker()
    frozen.freeze()
    other.until("staying", attempt=2)
    return frozen, other


def test_a_frozen_worker_loses_its_work_after_its_lease(place: Place, tmp_path: Path) -> None:
    """Others see it silent and go on; when it wakes up it stops its handlers and reports nothing.

    Then it is a worker like any other again.
    """
    settings = {"KALLISTA_LEASE": LEASE}
    with Stage(tmp_path, place.url(tmp_path), settings) as stage:
        frozen, other = take_over(stage)
        ended = other.ask("workflow_manager.wait_workflow", workflow_id="w")
        assert [task["attempt"] for task in ended["tasks"]] == [2, 1]
        before = stage.books()
        frozen.thaw()
        frozen.until("sent away", attempt=1)
        other.end()
        assert stage.books() == before
        frozen.ask("workflow_manager.run_workflow", name="w", tasks=[MARK], workflow_id="next")
        frozen.end()
        books = stage.books()
    for book in books.values():
        book.check()
    assert books["w"].interrupted == [1]
    assert [(mark.run, mark.attempt) for mark in stage.marks()] == [("w", 1), ("next", 1)]


def test_a_worker_whose_event_loop_is_blocked_keeps_its_work(place: Place, tmp_path: Path) -> None:
    """A handler that blocks the loop for three leases is no death: nobody begins its task again."""
    settings = {"KALLISTA_LEASE": LEASE}
    with Stage(tmp_path, place.url(tmp_path), settings) as stage:
        worker = stage.worker()
        worker.ask("workflow_manager.create_workflow", name="w", tasks=[STAY], workflow_id="w")
        worker.ask("workflow_manager.start_workflow", workflow_id="w")
        worker.until("staying", attempt=1)
        other = stage.worker()
        worker.tell("doze")
        worker.until("dozing")
        three_leases = [{"type": "sleep", "seconds": 3 * float(LEASE)}]
        other.ask("workflow_manager.run_workflow", name="s", tasks=three_leases, workflow_id="s")
        worker.tell("wake up")
        worker.answer()
        ended = worker.ask("workflow_manager.wait_workflow", workflow_id="w")
        assert (ended["status"], ended["tasks"][0]["attempt"]) == ("COMPLETED", 1)
        worker.end()
        other.end()
        books = stage.books()
    assert books["w"].interrupted == []
