"""What a running attempt says of itself outlives the program that executes it."""

from __future__ import annotations

import pytest
from puppets import Puppet, Stage


def lap_seen(looker: Puppet) -> int:
    """The lap that another program sees, once it sees one."""
    while True:
        seen = looker.ask("scheduler.get_task", task_id="t")
        if seen["heartbeat_details"] is not None:
            assert 0 <= seen["progress"] < 1
            assert seen["progress_message"].startswith("lap ")
            return int(seen["heartbeat_details"]["lap"])


@pytest.mark.parametrize("how", ["killed", "asked"])
def test_the_next_attempt_goes_on_from_there(stage: Stage, how: str) -> None:
    """Killed at any moment, the next attempt gets what others have seen, or what is newer."""
    stage.settings["KALLISTA_GRACE"] = "0"
    looker, worker = stage.looker(), stage.worker()
    looker.ask("scheduler.schedule_task", task_id="t", task_data={"type": "pace"})
    assert worker.until("paces")["left"] is None
    lap = lap_seen(looker)
    if how == "killed":
        worker.kill()
    else:
        worker.end()
    other = stage.worker()
    again = other.until("paces")
    assert again["attempt"] == 2
    assert again["left"]["lap"] >= lap
    found = looker.ask("scheduler.wait_task", task_id="t")
    assert found["result"] == again["left"]
    other.end()
    looker.end()
