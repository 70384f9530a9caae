"""What can be done to one run of a kind, or to all that match."""

from __future__ import annotations

from typing import Final

from kallista.cli.commanding import Deed

WORKFLOW_PAUSE: Final = Deed(
    word="workflow",
    plural="workflows",
    verb="pause",
    help="Start nothing new; what is in flight finishes.",
    done="is paused",
    one=lambda app, id, told: app.workflow_manager.pause_workflow(
        id, told.reason, stop_clocks=told.stop_clocks
    ),
    many=lambda app, which, told: app.workflow_manager.pause_workflows(
        reason=told.reason, stop_clocks=told.stop_clocks, dry_run=told.dry_run, **which
    ),
    can_stop_clocks=True,
)
WORKFLOW_RESUME: Final = Deed(
    word="workflow",
    plural="workflows",
    verb="resume",
    help="Let what is paused go on.",
    done="goes on",
    one=lambda app, id, told: app.workflow_manager.resume_workflow(
        id, told.reason, budget=told.budget
    ),
    can_raise=True,
    many=lambda app, which, told: app.workflow_manager.resume_workflows(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
    makes_work=True,
)
WORKFLOW_CANCEL: Final = Deed(
    word="workflow",
    plural="workflows",
    verb="cancel",
    help="End it; tasks in flight are told to stop.",
    done="is cancelled",
    one=lambda app, id, told: app.workflow_manager.cancel_workflow(
        id, told.reason, rollback=told.rollback
    ),
    many=lambda app, which, told: app.workflow_manager.cancel_workflows(
        reason=told.reason, rollback=told.rollback, dry_run=told.dry_run, **which
    ),
    can_undo=True,
)
WORKFLOW_RETRY: Final = Deed(
    word="workflow",
    plural="workflows",
    verb="retry",
    help="Go on from what did not complete.",
    done="goes on",
    one=lambda app, id, told: app.workflow_manager.retry_workflow(
        id, told.reason, definition=told.definition, dry_run=told.dry_run
    ),
    many=lambda app, which, told: app.workflow_manager.retry_workflows(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
    makes_work=True,
    can_redefine=True,
)
PROCESS_PAUSE: Final = Deed(
    word="process",
    plural="processes",
    verb="pause",
    help="Start nothing new; what is in flight finishes.",
    done="is paused",
    one=lambda app, id, told: app.orchestrator.pause_process(
        id, told.reason, stop_clocks=told.stop_clocks
    ),
    many=lambda app, which, told: app.orchestrator.pause_processes(
        reason=told.reason, stop_clocks=told.stop_clocks, dry_run=told.dry_run, **which
    ),
    can_stop_clocks=True,
)
PROCESS_RESUME: Final = Deed(
    word="process",
    plural="processes",
    verb="resume",
    help="Let what is paused go on.",
    done="goes on",
    one=lambda app, id, told: app.orchestrator.resume_process(id, told.reason, budget=told.budget),
    can_raise=True,
    many=lambda app, which, told: app.orchestrator.resume_processes(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
    makes_work=True,
)
PROCESS_CANCEL: Final = Deed(
    word="process",
    plural="processes",
    verb="cancel",
    help="End it and what it has started.",
    done="is cancelled",
    one=lambda app, id, told: app.orchestrator.cancel_process(
        id, told.reason, rollback=told.rollback
    ),
    many=lambda app, which, told: app.orchestrator.cancel_processes(
        reason=told.reason, rollback=told.rollback, dry_run=told.dry_run, **which
    ),
    can_undo=True,
)
PROCESS_RETRY: Final = Deed(
    word="process",
    plural="processes",
    verb="retry",
    help="Run again what failed or was skipped.",
    done="goes on",
    one=lambda app, id, told: app.orchestrator.retry_process(
        id, told.reason, definition=told.definition, dry_run=told.dry_run
    ),
    many=lambda app, which, told: app.orchestrator.retry_processes(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
    makes_work=True,
    can_redefine=True,
)
TASK_CANCEL: Final = Deed(
    word="task",
    plural="tasks",
    verb="cancel",
    help="Cancel a task, or end a recurring one.",
    done="is cancelled",
    one=lambda app, id, told: app.scheduler.cancel_task(id, told.reason),
    many=lambda app, which, told: app.scheduler.cancel_tasks(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
)
TASK_RETRY: Final = Deed(
    word="task",
    plural="tasks",
    verb="retry",
    help="Run a FAILED or CANCELLED task again.",
    done="goes on",
    one=lambda app, id, told: app.scheduler.retry_task(id, told.reason),
    many=lambda app, which, told: app.scheduler.retry_tasks(
        reason=told.reason, dry_run=told.dry_run, **which
    ),
    makes_work=True,
)
