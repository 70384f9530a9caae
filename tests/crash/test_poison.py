"""A task that ends the program that executes it, each time."""

from __future__ import annotations

from contextlib import suppress

from puppets import Puppet, Stage

from kallista.core.snapshots import ProcessSnapshot

POISON = {"type": "poison"}
NEIGHBOUR = {"type": "etch", "file": "marks.txt", "after": 0.05}
MAX_CRASHES = 5


def ask_to_wait(worker: Puppet, name: str, **arguments: object) -> None:
    """Let a worker wait for a run, unless that has killed it already, which is heard later."""
    with suppress(OSError):
        worker.tell(name, **arguments)


def test_a_poisonous_task_is_set_aside_and_its_neighbours_go_on(stage: Stage) -> None:
    """After so many dead workers it has failed, and says why; who ran beside it has completed."""
    looker = stage.looker()
    looker.ask("scheduler.schedule_task", task_id="bad", task_data=POISON)
    for number in range(8):
        looker.ask("scheduler.schedule_task", task_id=f"good{number}", task_data=NEIGHBOUR)
    deaths = 0
    worker = stage.worker()
    ask_to_wait(worker, "scheduler.wait_task", task_id="bad")
    while worker.until("poisoned", "answer")["told"] == "poisoned":
        assert worker.ended() != 0
        deaths += 1
        worker = stage.worker()
        ask_to_wait(worker, "scheduler.wait_task", task_id="bad")
    for number in range(8):
        looker.ask("scheduler.wait_task", task_id=f"good{number}")
    worker.end()
    looker.end()
    evidence = stage.evidence()
    bad = evidence.books["bad"]
    bad.check_history()
    assert bad.run.status == "FAILED"
    assert deaths == MAX_CRASHES
    [error] = bad.run.errors
    assert "worker" in error.message
    for number in range(8):
        evidence.books[f"good{number}"].check()
    evidence.check_effects()


def test_a_poisonous_step_leaves_the_rest_of_its_process_alone(stage: Stage) -> None:
    """Its branch is skipped like that of any failed step; the other branch completes."""
    soon = {**POISON, "max_crashes": 3}
    steps = [
        {"id": "bad", "type": "task", "task_data": soon, "depends_on": []},
        {"id": "after", "type": "task", "task_data": NEIGHBOUR, "depends_on": ["bad"]},
        {"id": "good", "type": "task", "task_data": NEIGHBOUR, "depends_on": []},
    ]
    worker = stage.worker()
    worker.ask("orchestrator.create_process", definition={"id": "p", "steps": steps})
    worker.ask("orchestrator.start_process", process_id="p")
    ask_to_wait(worker, "orchestrator.wait_process", process_id="p")
    while worker.until("poisoned", "answer")["told"] == "poisoned":
        assert worker.ended() != 0
        worker = stage.worker()
        ask_to_wait(worker, "orchestrator.wait_process", process_id="p")
    worker.end()
    evidence = stage.evidence()
    evidence.books["p"].check_history()
    run = evidence.books["p"].run
    assert isinstance(run, ProcessSnapshot)
    statuses = {step.id: step.status for step in run.steps}
    assert statuses == {"bad": "FAILED", "after": "SKIPPED", "good": "COMPLETED"}
    evidence.check_effects()
