"""How soon another worker goes on when one is killed."""

from __future__ import annotations

from time import monotonic, sleep

from soaking.figures import Figures
from soaking.rounds import Round

STAY = {"type": "stay"}
SETTLED = 4.0
"""Seconds after which a worker has done what it does once after its start."""
RHYTHM = 1.0
"""Seconds within which it has looked for the dead once more."""


def run(round: Round) -> Figures:
    """Kill a worker at a task, with another one at rest; measure until the task begins again.

    Raises:
        AssertionError: A promise was broken.
    """
    with round.stage() as stage:
        looker, worker = stage.looker(), stage.worker()
        looker.ask("scheduler.schedule_task", task_id="t", task_data=STAY)
        worker.until("staying")
        other = stage.worker()
        sleep(SETTLED + round.chance.uniform(0, RHYTHM))
        killed = monotonic()
        worker.kill()
        other.until("staying", attempt=2)
        took = monotonic() - killed
        assert looker.ask("scheduler.wait_task", task_id="t")["status"] == "COMPLETED"
        other.end()
        looker.end()
        stage.books()["t"].check()
    return Figures(rounds=1, faults=1, runs=1, tasks=1, waits=[took])
