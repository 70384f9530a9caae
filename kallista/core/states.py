"""The law: which states there are, and which event leads from which state to which.

The tables here are the only place that knows. ``docs/states.md`` draws its diagrams from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RunKind(StrEnum):
    """What a run is a run of."""

    WORKFLOW = "workflow"
    PROCESS = "process"
    TASK = "task"


class WorkflowStatus(StrEnum):
    """Where a workflow is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ProcessStatus(StrEnum):
    """Where a process is; WAITING means for other processes."""

    PENDING = "PENDING"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskStatus(StrEnum):
    """Where a task or a step of a process is.

    SCHEDULED waits for its moment or for the steps before it, READY waits for a worker, WAITING
    holds no worker (a durable sleep, a child run, a signal, the answer of a person). READY is never
    stored: a step that has a moment from which it may run is READY once that moment has come, so
    that nobody has to move it.
    """

    SCHEDULED = "SCHEDULED"
    READY = "READY"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


class ScheduleStatus(StrEnum):
    """Where a schedule is; FINISHED means that it will never fire again."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"


class Ending(StrEnum):
    """How a run will end that is being wound up, and whether what completed is undone before."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNDONE_FAILED = "UNDONE_FAILED"
    UNDONE_CANCELLED = "UNDONE_CANCELLED"


UNDOING: Final = frozenset({Ending.UNDONE_FAILED, Ending.UNDONE_CANCELLED})
"""The endings before which what has completed is undone."""


def status_after(ending: Ending) -> ProcessStatus:
    """Where a run will be that ends like this."""
    return ProcessStatus(ending.value.rpartition("_")[2])


class EventKind(StrEnum):
    """What can happen to a run; its history is a list of these."""

    RUN_FORKED = "run.forked"
    RUN_STARTED = "run.started"
    RUN_WAITING = "run.waiting"
    RUN_PAUSED = "run.paused"
    RUN_RESUMED = "run.resumed"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_RETRIED = "run.retried"
    RUN_REDEFINED = "run.redefined"
    RUN_ENDING = "run.ending"
    RUN_COMPENSATING = "run.compensating"
    SIGNAL_RECEIVED = "signal.received"
    TASK_READY = "task.ready"
    TASK_STARTED = "task.started"
    TASK_WAITING = "task.waiting"
    TASK_ANSWERED = "task.answered"
    TASK_COMPLETED = "task.completed"
    TASK_KEPT = "task.kept"
    TASK_CHOSEN = "task.chosen"
    TASK_ADVANCED = "task.advanced"
    TASK_RETRYING = "task.retrying"
    TASK_SNOOZED = "task.snoozed"
    TASK_INTERRUPTED = "task.interrupted"
    TASK_FAILED = "task.failed"
    TASK_SKIPPED = "task.skipped"
    TASK_CANCELLED = "task.cancelled"
    TASK_RESET = "task.reset"


FINISHED_RUN: Final = frozenset(
    {ProcessStatus.COMPLETED, ProcessStatus.FAILED, ProcessStatus.CANCELLED}
)

ACTIVE_RUN: Final = frozenset({ProcessStatus.RUNNING, ProcessStatus.COMPENSATING})
"""The states of a run in which steps begin."""

FINISHED_STEP: Final = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED}
)

HEARD: Final = frozenset({TaskStatus.SCHEDULED, TaskStatus.RUNNING})
"""The statuses of a step in which an attempt of it runs, or will, if one has run before."""

_P, _T, _E = ProcessStatus, TaskStatus, EventKind

RUN_TRANSITIONS: Final[Mapping[tuple[ProcessStatus, EventKind], ProcessStatus]] = {
    (_P.PENDING, _E.RUN_FORKED): _P.PENDING,
    (_P.PENDING, _E.RUN_STARTED): _P.RUNNING,
    (_P.PENDING, _E.RUN_WAITING): _P.WAITING,
    (_P.PENDING, _E.RUN_CANCELLED): _P.CANCELLED,
    (_P.WAITING, _E.RUN_STARTED): _P.RUNNING,
    (_P.WAITING, _E.RUN_PAUSED): _P.PAUSED,
    (_P.WAITING, _E.RUN_FAILED): _P.FAILED,
    (_P.WAITING, _E.RUN_CANCELLED): _P.CANCELLED,
    (_P.RUNNING, _E.RUN_PAUSED): _P.PAUSED,
    (_P.RUNNING, _E.RUN_COMPLETED): _P.COMPLETED,
    (_P.RUNNING, _E.RUN_FAILED): _P.FAILED,
    (_P.RUNNING, _E.RUN_CANCELLED): _P.CANCELLED,
    (_P.RUNNING, _E.RUN_ENDING): _P.RUNNING,
    (_P.RUNNING, _E.RUN_COMPENSATING): _P.COMPENSATING,
    (_P.PAUSED, _E.RUN_PAUSED): _P.PAUSED,
    (_P.PAUSED, _E.RUN_RESUMED): _P.RUNNING,
    (_P.PAUSED, _E.RUN_WAITING): _P.WAITING,
    (_P.PAUSED, _E.RUN_FAILED): _P.FAILED,
    (_P.PAUSED, _E.RUN_CANCELLED): _P.CANCELLED,
    (_P.PAUSED, _E.RUN_COMPENSATING): _P.COMPENSATING,
    (_P.COMPENSATING, _E.RUN_COMPENSATING): _P.COMPENSATING,
    (_P.COMPENSATING, _E.RUN_PAUSED): _P.PAUSED,
    (_P.COMPENSATING, _E.RUN_FAILED): _P.FAILED,
    (_P.COMPENSATING, _E.RUN_CANCELLED): _P.CANCELLED,
    (_P.FAILED, _E.RUN_COMPENSATING): _P.COMPENSATING,
    (_P.CANCELLED, _E.RUN_COMPENSATING): _P.COMPENSATING,
    (_P.FAILED, _E.RUN_REDEFINED): _P.FAILED,
    (_P.CANCELLED, _E.RUN_REDEFINED): _P.CANCELLED,
    (_P.FAILED, _E.RUN_RETRIED): _P.RUNNING,
    (_P.FAILED, _E.RUN_WAITING): _P.WAITING,
    (_P.CANCELLED, _E.RUN_RETRIED): _P.RUNNING,
    (_P.CANCELLED, _E.RUN_WAITING): _P.WAITING,
    (_P.PENDING, _E.SIGNAL_RECEIVED): _P.PENDING,
    (_P.WAITING, _E.SIGNAL_RECEIVED): _P.WAITING,
    (_P.RUNNING, _E.SIGNAL_RECEIVED): _P.RUNNING,
    (_P.PAUSED, _E.SIGNAL_RECEIVED): _P.PAUSED,
    (_P.COMPENSATING, _E.SIGNAL_RECEIVED): _P.COMPENSATING,
}

STEP_TRANSITIONS: Final[Mapping[tuple[TaskStatus, EventKind], TaskStatus]] = {
    (_T.SCHEDULED, _E.TASK_READY): _T.SCHEDULED,
    (_T.SCHEDULED, _E.TASK_STARTED): _T.RUNNING,
    (_T.SCHEDULED, _E.TASK_WAITING): _T.WAITING,
    (_T.SCHEDULED, _E.TASK_KEPT): _T.COMPLETED,
    (_T.SCHEDULED, _E.TASK_CHOSEN): _T.COMPLETED,
    (_T.SCHEDULED, _E.TASK_SKIPPED): _T.SKIPPED,
    (_T.SCHEDULED, _E.TASK_FAILED): _T.FAILED,
    (_T.SCHEDULED, _E.TASK_CANCELLED): _T.CANCELLED,
    (_T.RUNNING, _E.TASK_COMPLETED): _T.COMPLETED,
    (_T.RUNNING, _E.TASK_WAITING): _T.WAITING,
    (_T.RUNNING, _E.TASK_RETRYING): _T.SCHEDULED,
    (_T.RUNNING, _E.TASK_SNOOZED): _T.SCHEDULED,
    (_T.RUNNING, _E.TASK_INTERRUPTED): _T.SCHEDULED,
    (_T.RUNNING, _E.TASK_FAILED): _T.FAILED,
    (_T.RUNNING, _E.TASK_CANCELLED): _T.CANCELLED,
    (_T.WAITING, _E.TASK_ADVANCED): _T.WAITING,
    (_T.WAITING, _E.TASK_ANSWERED): _T.WAITING,
    (_T.WAITING, _E.TASK_RETRYING): _T.SCHEDULED,
    (_T.WAITING, _E.TASK_COMPLETED): _T.COMPLETED,
    (_T.WAITING, _E.TASK_FAILED): _T.FAILED,
    (_T.WAITING, _E.TASK_CANCELLED): _T.CANCELLED,
    (_T.WAITING, _E.TASK_RESET): _T.SCHEDULED,
    (_T.FAILED, _E.TASK_RESET): _T.SCHEDULED,
    (_T.CANCELLED, _E.TASK_RESET): _T.SCHEDULED,
    (_T.SKIPPED, _E.TASK_RESET): _T.SCHEDULED,
    (_T.COMPLETED, _E.TASK_RESET): _T.SCHEDULED,
}
