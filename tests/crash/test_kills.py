"""Programs that are killed: nothing is lost, nothing completed runs again, work goes on at once."""

from __future__ import annotations

import pytest
from evidence import Evidence
from puppets import Puppet, Stage

WORKFLOWS = 40
TASKS = 4
MARK = {"type": "mark", "file": "marks.txt"}
STAY = {"type": "stay"}
FAR = "2999-01-01T00:00:00+00:00"


def started(puppet: Puppet, *tasks: object) -> None:
    """A workflow of these tasks is under way."""
    puppet.ask("workflow_manager.create_workflow", name="w", tasks=tasks, workflow_id="w")
    puppet.ask("workflow_manager.start_workflow", workflow_id="w")


@pytest.mark.parametrize("marks", [1, 50, 120])
def test_many_workflows_lose_nothing(stage: Stage, marks: int) -> None:
    """What was completed at the kill never runs again; the rest runs, each task to one completion.

    A task's effect may be there twice only if it was in flight: under the same idempotency key, in
    an attempt of a higher number.
    """
    worker = stage.worker()
    for number in range(WORKFLOWS):
        worker.ask(
            "workflow_manager.create_workflow",
            name="many",
            tasks=[{"id": f"t{task}", **MARK} for task in range(TASKS)],
            workflow_id=f"w{number}",
        )
    for number in range(WORKFLOWS):
        worker.tell("workflow_manager.start_workflow", workflow_id=f"w{number}")
    while len(worker.told("marked")) < marks:
        worker.hear()
    worker.kill()
    before = stage.evidence()

    again = stage.worker()
    for number in range(WORKFLOWS):
        again.tell("workflow_manager.start_workflow", workflow_id=f"w{number}")
        again.tell("workflow_manager.wait_workflow", workflow_id=f"w{number}", timeout=30)
    for _ in range(2 * WORKFLOWS):
        again.answer()
    again.end()

    after = stage.evidence()
    after.check_effects()
    assert len(after.books) == WORKFLOWS
    for id, book in after.books.items():
        book.check()
        assert len(book.effects) == TASKS
        for task in before.books[id].effects:
            assert left(after, id, task) == left(before, id, task), "a completed task ran again"


def left(evidence: Evidence, run: str, task: str) -> int:
    """How often a task has had its effect."""
    return sum(1 for mark in evidence.marks if (mark.run, mark.task) == (run, task))


def test_an_interrupted_task_knows_that_it_runs_again(stage: Stage) -> None:
    """Its handler sees the same idempotency key and a higher attempt number."""
    worker = stage.worker()
    started(worker, MARK, STAY)
    before = worker.until("staying")
    worker.kill()
    again = stage.worker()
    ended = again.ask("workflow_manager.wait_workflow", workflow_id="w")
    [after] = again.told("staying")
    assert (before["attempt"], after["attempt"]) == (1, 2)
    assert before["key"] == after["key"]
    assert ended["status"] == "COMPLETED"
    assert ended["tasks"][1]["result"] == 2
    again.end()
    book = stage.books()["w"]
    book.check()
    assert book.interrupted == [1]
    assert [mark.attempt for mark in stage.marks()] == [1]


def test_the_dead_are_found_before_a_program_has_opened(stage: Stage) -> None:
    """No time-out is waited for: once the next program is open, the dead one holds nothing."""
    worker = stage.worker()
    started(worker, STAY)
    worker.until("staying")
    worker.kill()
    again = stage.worker()
    assert [worker["alive"] for worker in again.ask("workers")] == [True]
    again.end()


def test_a_result_is_durable_before_the_next_task_begins(stage: Stage) -> None:
    """While the commit of a result has not been synced, nothing that depends on it runs."""
    worker = stage.worker()
    started(worker, STAY, MARK)
    worker.until("staying")
    worker.ask("stop", moment="before_sync", number=1)
    worker.tell("let_go")
    worker.until("stopped")
    worker.kill()
    assert not worker.told("marked")
    assert stage.marks() == []
    again = stage.worker()
    assert again.ask("workflow_manager.wait_workflow", workflow_id="w")["status"] == "COMPLETED"
    again.end()
    stage.books()["w"].check()
    assert len(stage.marks()) == 1


def test_a_paused_run_stays_paused(stage: Stage) -> None:
    """The next program closes the books on what was in flight and starts nothing before resume."""
    worker = stage.worker()
    started(worker, STAY, MARK)
    worker.until("staying")
    worker.ask("workflow_manager.pause_workflow", workflow_id="w")
    worker.kill()
    again = stage.worker()
    again.ask("follow", run="w")
    again.until("happened", kind="task.interrupted")
    paused = again.ask("workflow_manager.get_workflow", workflow_id="w")
    assert (paused["status"], paused["in_flight"]) == ("PAUSED", 0)
    again.ask("workflow_manager.resume_workflow", workflow_id="w")
    assert again.ask("workflow_manager.wait_workflow", workflow_id="w")["status"] == "COMPLETED"
    again.end()
    kinds = [event.kind for event in stage.books()["w"].history]
    resumed = kinds.index("run.resumed")
    assert "task.started" not in kinds[kinds.index("run.paused") : resumed]


def test_what_is_meant_for_later_survives(stage: Stage) -> None:
    """Tasks and schedules of the future, and sleeps, wait for the same moment as before."""
    worker = stage.worker()
    sleep = {"type": "sleep", "seconds": 3600}
    worker.ask("scheduler.schedule_task", task_id="later", task_data=MARK, scheduled_time=FAR)
    worker.ask(
        "scheduler.schedule_task",
        task_id="often", task_data=MARK, scheduled_time=FAR, interval=3600,
    )  # fmt: skip
    started(worker, sleep)
    worker.ask("follow", run="w")
    worker.until("happened", kind="task.waiting")
    sleeping = stage.books()["w"].run.to_dict()
    worker.kill()
    again = stage.worker()
    later = again.ask("scheduler.get_task", task_id="later")
    assert (later["status"], later["scheduled_time"]) == ("SCHEDULED", FAR)
    often = again.ask("scheduler.get_schedule", schedule_id="often")
    assert (often["status"], often["next_fire_time"]) == ("ACTIVE", FAR)
    assert again.ask("workflow_manager.get_workflow", workflow_id="w") == sleeping
    again.end()
    assert stage.marks() == []


def test_firings_missed_while_nothing_ran_are_one(stage: Stage) -> None:
    """A schedule that has missed many moments fires once, also if its program dies at it."""
    looker = stage.looker()
    looker.ask(
        "scheduler.schedule_task",
        task_id="often", task_data=STAY, scheduled_time="2020-01-01T00:00:00Z", interval="1000d",
    )  # fmt: skip
    looker.kill()
    worker = stage.worker()
    first = worker.until("staying")
    worker.kill()
    again = stage.worker()
    assert again.until("staying") == {**first, "attempt": 2}
    assert again.ask("scheduler.wait_task", task_id=first["run"])["status"] == "COMPLETED"
    schedule = again.ask("scheduler.get_schedule", schedule_id="often")
    assert (schedule["fired"], schedule["last_run_id"]) == (1, first["run"])
    again.end()
    assert list(stage.books()) == [first["run"]]
