"""What is stored of a schedule, and what a firing of it writes."""

from __future__ import annotations

from msgspec import Struct

from kallista.core.plan import NewRun
from kallista.core.states import ScheduleStatus
from kallista.core.types import JsonText, Micros, RunId, ScheduleId


class FiringRules(Struct, frozen=True, gc=False, omit_defaults=True):
    """How a schedule treats its moments; it never changes. Stored without what is usual.

    Args:
        jitter: A firing may start so much later than its moment, but before the one after it.
    """

    jitter: Micros = Micros(0)


USUAL_RULES = FiringRules()
"""Those of a schedule that says nothing about them."""


class Schedule(Struct, frozen=True, gc=False):
    """A trigger and what it starts.

    Args:
        id: Unique over schedules.
        status: ACTIVE fires, PAUSED keeps its rhythm but fires nothing, FINISHED is over.
        trigger: The trigger as data (``trigger_from_data`` reads it).
        definition: The hash of the task it starts.
        definition_content: That definition itself.
        content: The hash of the request; the same id with another content is a conflict.
        priority: Of the tasks it starts.
        tags: Of the tasks it starts.
        max_runs: After so many firings it is FINISHED.
        until: No firing after this moment.
        fired: How many firings have started a task.
        skipped: How many were left out because the one before was still unfinished.
        next_at: The next due moment; None when there is none.
        last_at: The moment of the last firing.
        last_run: The run that the last firing started.
        created_at: When.
        rules: How it treats its moments.
        look_at: When the next firing starts: its moment and the jitter; None when there is none.
        version: Rises with every change; shown by who changes it.
    """

    id: ScheduleId
    status: ScheduleStatus
    trigger: JsonText
    definition: str
    definition_content: JsonText
    content: str
    priority: int
    tags: tuple[str, ...]
    max_runs: int | None
    until: Micros | None
    fired: int
    skipped: int
    next_at: Micros | None
    last_at: Micros | None
    last_run: RunId | None
    created_at: Micros
    rules: FiringRules
    look_at: Micros | None
    version: int = 0


class Firing(Struct, frozen=True, gc=False):
    """What one look at a due schedule writes.

    Args:
        schedule: The schedule afterwards, its version not yet raised.
        run: The task to create, which nobody drives yet; None when the firing is skipped. One that
            exists under this id already is left as it is: a firing is named by its moment.
    """

    schedule: Schedule
    run: NewRun | None
