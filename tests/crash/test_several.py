"""Several programs on one store: they share the work, command each other, and replace the dead."""

from __future__ import annotations

from collections import Counter

from puppets import Puppet, Stage

MARK = {"type": "mark", "file": "marks.txt"}
STAY = {"type": "stay"}
PROGRAMS = 16


def staying(stage: Stage) -> Puppet:
    """A worker that is at the first task of a workflow."""
    worker = stage.worker()
    worker.ask("workflow_manager.create_workflow", name="w", tasks=[STAY, MARK], workflow_id="w")
    worker.ask("workflow_manager.start_workflow", workflow_id="w")
    worker.until("staying")
    return worker


def test_a_program_that_runs_already_takes_over(stage: Stage) -> None:
    """One worker is killed; another one notices by itself, and goes on with its run."""
    worker = staying(stage)
    other = stage.worker()
    assert other.ask("workflow_manager.get_workflow_status", workflow_id="w") == "RUNNING"
    worker.kill()
    assert other.until("staying")["attempt"] == 2
    assert other.ask("workflow_manager.wait_workflow", workflow_id="w")["status"] == "COMPLETED"
    other.end()
    book = stage.books()["w"]
    book.check()
    assert book.interrupted == [1]


def test_nobody_takes_over_from_the_living(stage: Stage) -> None:
    """A program that opens, looks for the dead and closes leaves the run of another alone."""
    worker = staying(stage)
    stage.worker().end()
    worker.ask("let_go")
    ended = worker.ask("workflow_manager.wait_workflow", workflow_id="w")
    assert ended["status"] == "COMPLETED"
    assert [task["attempt"] for task in ended["tasks"]] == [1, 1]
    worker.end()


def test_a_run_obeys_commands_of_another_program(stage: Stage) -> None:
    """A looker pauses, resumes and cancels what a worker executes."""
    worker, looker = staying(stage), stage.looker()
    looker.ask("workflow_manager.pause_workflow", workflow_id="w")
    paused = looker.ask("workflow_manager.get_workflow", workflow_id="w")
    assert (paused["status"], paused["in_flight"]) == ("PAUSED", 1)
    looker.ask("follow", run="w")
    worker.ask("let_go")
    looker.until("happened", kind="task.completed")
    drained = looker.ask("workflow_manager.get_workflow", workflow_id="w")
    assert (drained["status"], drained["in_flight"]) == ("PAUSED", 0)
    assert not worker.told("marked")
    looker.ask("workflow_manager.resume_workflow", workflow_id="w")
    ended = looker.ask("workflow_manager.wait_workflow", workflow_id="w")
    assert ended["status"] == "COMPLETED"
    worker.until("marked")
    worker.end()
    looker.end()
    stage.books()["w"].check()


def test_a_worker_that_slept_through_a_command_does_not_overwrite_it(stage: Stage) -> None:
    """It reports on the run as it last knew it: that is refused, and it decides again."""
    worker, looker = staying(stage), stage.looker()
    worker.tell("doze")
    worker.until("dozing")
    looker.ask("workflow_manager.pause_workflow", workflow_id="w")
    looker.ask("follow", run="w")
    worker.tell("wake up")
    looker.until("happened", kind="task.completed")
    drained = looker.ask("workflow_manager.get_workflow", workflow_id="w")
    assert (drained["status"], drained["in_flight"]) == ("PAUSED", 0)
    worker.end()
    looker.end()
    assert stage.marks() == []


def test_a_task_in_flight_is_cancelled_by_another_program(stage: Stage) -> None:
    """The handler is told to stop, and the run is CANCELLED with nothing in flight."""
    worker, looker = staying(stage), stage.looker()
    looker.ask("workflow_manager.cancel_workflow", workflow_id="w")
    worker.until("sent away")
    ended = looker.ask("workflow_manager.wait_workflow", workflow_id="w")
    assert (ended["status"], ended["in_flight"]) == ("CANCELLED", 0)
    worker.end()
    looker.end()
    assert stage.marks() == []


def test_a_looker_executes_nothing_and_its_work_is_done_by_a_worker(stage: Stage) -> None:
    """What is started while no worker is there waits for one."""
    looker = stage.looker()
    looker.ask("workflow_manager.create_workflow", name="w", tasks=[MARK], workflow_id="w")
    looker.ask("workflow_manager.start_workflow", workflow_id="w")
    assert "worker" in looker.ask("workflow_manager.explain", id="w")["sentence"]
    assert stage.marks() == []
    worker = stage.worker()
    assert looker.ask("workflow_manager.wait_workflow", workflow_id="w")["status"] == "COMPLETED"
    worker.until("marked")
    worker.end()
    looker.end()


def test_a_program_that_dies_while_it_writes_is_in_nobody_s_way(stage: Stage) -> None:
    """Others wait for the one that writes; once it is dead they write at once."""
    writer, other = stage.looker(), stage.looker()
    writer.ask("stop", moment="before_sync", number=1)
    writer.tell("workflow_manager.create_workflow", name="w", tasks=[MARK], workflow_id="lost")
    writer.until("stopped")
    other.tell("workflow_manager.create_workflow", name="w", tasks=[MARK], workflow_id="w")
    writer.kill()
    assert other.answer() == "w"
    other.end()
    assert "w" in stage.books()


def test_many_programs_open_one_new_file_at_once(stage: Stage) -> None:
    """All open it, work on it together and close it; nobody sees a locked database."""
    programs = [stage.waiting() for _ in range(PROGRAMS)]
    for program in programs:
        program.until("ready")
    for program in programs:
        program.tell("open")
    for number, program in enumerate(programs):
        for run in range(5):
            id = f"w{number}-{run}"
            program.tell("workflow_manager.run_workflow", name="w", tasks=[MARK], workflow_id=id)
    for program in programs:
        for _ in range(5):
            assert program.answer()["status"] == "COMPLETED"
        program.end()
    books = stage.books()
    assert len(books) == 5 * PROGRAMS
    for book in books.values():
        book.check()
    assert set(Counter(mark.run for mark in stage.marks()).values()) == {1}


def test_workers_share_and_the_rest_goes_on_without_one(stage: Stage) -> None:
    """Two workers on many runs; one is killed in the middle, and every task completes once."""
    looker = stage.looker()
    for number in range(30):
        looker.ask(
            "workflow_manager.create_workflow",
            name="w", tasks=[{"id": f"t{task}", **MARK} for task in range(4)],
            workflow_id=f"w{number}",
        )  # fmt: skip
    worker, other = stage.worker(), stage.worker()
    for number in range(30):
        looker.tell("workflow_manager.start_workflow", workflow_id=f"w{number}")
    worker.until("marked")
    worker.kill()
    for number in range(30):
        looker.tell("workflow_manager.wait_workflow", workflow_id=f"w{number}", timeout=30)
    for _ in range(60):
        looker.answer()
    other.end()
    looker.end()
    for book in stage.books().values():
        book.check()
        assert len(book.completed) == 4
