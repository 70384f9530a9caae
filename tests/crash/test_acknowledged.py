"""What has returned is durable: the program is killed the moment it has told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from puppets import Puppet, Stage

from kallista import Kallista

STAY = {"type": "stay", "attempts": 9}
PROCESS = {"id": "p", "steps": [{"id": "s", "type": "task", "task_data": STAY}]}
FAR = "2999-01-01T00:00:00+00:00"


def created(puppet: Puppet) -> None:
    puppet.ask("workflow_manager.create_workflow", name="w", tasks=[STAY], workflow_id="w")


def started(puppet: Puppet) -> None:
    created(puppet)
    puppet.ask("workflow_manager.start_workflow", workflow_id="w")
    puppet.until("staying")


def paused(puppet: Puppet) -> None:
    started(puppet)
    puppet.ask("workflow_manager.pause_workflow", workflow_id="w")


def cancelled(puppet: Puppet) -> None:
    created(puppet)
    puppet.ask("workflow_manager.start_workflow", workflow_id="w")
    puppet.ask("workflow_manager.cancel_workflow", workflow_id="w")
    puppet.ask("workflow_manager.wait_workflow", workflow_id="w")


def often(puppet: Puppet) -> None:
    puppet.ask("scheduler.schedule_task", task_id="often", task_data=STAY, interval=60,
               scheduled_time=FAR)  # fmt: skip


def process(puppet: Puppet) -> None:
    puppet.ask("orchestrator.create_process", definition={**PROCESS, "dependencies": ["before"]})


def nothing(puppet: Puppet) -> None:
    """No preparation."""


async def status(app: Kallista) -> Any:
    return await app.workflow_manager.get_workflow_status("w")


async def task_status(app: Kallista) -> Any:
    return await app.scheduler.get_task_status("t")


async def process_status(app: Kallista) -> Any:
    return await app.orchestrator.get_process_status("p")


async def schedule_status(app: Kallista) -> Any:
    return (await app.scheduler.get_schedule("often")).status


async def ids(app: Kallista) -> Any:
    return [run.id for run in (await app.workflow_manager.list_workflows()).items]


CALLS: list[tuple[Callable[[Puppet], None], str, dict[str, Any], Callable[..., Any], Any]] = [
    (nothing, "workflow_manager.create_workflow",
     {"name": "w", "tasks": [STAY], "workflow_id": "w"}, status, "PENDING"),
    (created, "workflow_manager.start_workflow", {"workflow_id": "w"}, status, "RUNNING"),
    (started, "workflow_manager.pause_workflow", {"workflow_id": "w"}, status, "PAUSED"),
    (paused, "workflow_manager.resume_workflow", {"workflow_id": "w"}, status, "RUNNING"),
    (started, "workflow_manager.cancel_workflow", {"workflow_id": "w"}, status, "CANCELLED"),
    (cancelled, "workflow_manager.retry_workflow", {"workflow_id": "w"}, status, "RUNNING"),
    (cancelled, "workflow_manager.delete_workflow", {"workflow_id": "w"}, ids, []),
    (nothing, "scheduler.schedule_task",
     {"task_id": "t", "task_data": STAY, "scheduled_time": FAR}, task_status, "SCHEDULED"),
    (nothing, "scheduler.schedule_task",
     {"task_id": "often", "task_data": STAY, "interval": 60, "scheduled_time": FAR},
     schedule_status, "ACTIVE"),
    (often, "scheduler.pause_schedule", {"schedule_id": "often"}, schedule_status, "PAUSED"),
    (nothing, "orchestrator.create_process", {"definition": PROCESS}, process_status, "PENDING"),
    (process, "orchestrator.start_process", {"process_id": "p"}, process_status, "WAITING"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("prepare", "call", "arguments", "look", "expected"),
    [
        pytest.param(*case, id=f"{case[1].split('.')[1]}-{case[4] or 'gone'}")
        for case in CALLS
    ],
)  # fmt: skip
def test_what_has_returned_survives_a_kill(
    stage: Stage,
    prepare: Callable[[Puppet], None],
    call: str,
    arguments: dict[str, Any],
    look: Callable[[Kallista], Any],
    expected: object,
) -> None:
    """Killed right after the call has returned, the next program sees that it took effect."""
    worker = stage.worker()
    prepare(worker)
    worker.ask(call, **arguments)
    worker.kill()
    assert stage.seen(look) == expected


def begun(stage: Stage) -> Puppet:
    """A looker that has committed before: the first sync of a log is its header's."""
    looker = stage.looker()
    looker.ask(
        "workflow_manager.create_workflow", name="w", tasks=[STAY], workflow_id="before"
    )  # fmt: skip
    return looker


def test_nothing_returns_before_it_is_durable(stage: Stage) -> None:
    """While the log has not been synced, the caller is still waiting."""
    looker = begun(stage)
    looker.ask("stop", moment="before_sync", number=1)
    looker.tell("workflow_manager.create_workflow", name="w", tasks=[STAY], workflow_id="w")
    looker.until("stopped")
    looker.kill()
    assert looker.heard[-2]["told"] == "stopped", "it told nothing after it"


def test_a_creation_that_nobody_heard_of_may_be_repeated(stage: Stage) -> None:
    """Killed between the sync and the answer, the same call finds what it had made."""
    looker = begun(stage)
    looker.ask("stop", moment="after_sync", number=1)
    looker.tell("workflow_manager.create_workflow", name="w", tasks=[STAY], workflow_id="w")
    looker.until("stopped")
    looker.kill()
    again = stage.looker()
    created(again)
    again.end()
    assert stage.seen(ids) == ["w", "before"]
