"""What is stored of a schedule, and what a firing of it writes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from kallista.core.plan import NewRun
from kallista.core.states import ScheduleStatus
from kallista.core.types import JsonText, Micros, RunId, ScheduleId


class CatchUp(StrEnum):
    """Which firings are made up for that nobody started in time, or that had to wait."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"
    WITHIN = "within"


class Overlap(StrEnum):
    """What becomes of a firing whose moment comes while the run of the one before is unfinished."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"
    ALLOW = "allow"


class FiringRules(Struct, frozen=True, gc=False, omit_defaults=True):
    """How a schedule treats its moments; it never changes. Stored without what is usual.

    Args:
        jitter: A firing may start so much later than its moment, but before the one after it.
        catch_up: Which firings are made up for.
        within: How old a moment may be that is made up for; of ``CatchUp.WITHIN`` alone.
        overlap: What becomes of a firing while the run of the one before is unfinished.
        pause_on_failure: After so many failures in a row it is PAUSED; 0: never.
    """

    jitter: Micros = Micros(0)
    catch_up: CatchUp = CatchUp.LATEST
    within: Micros = Micros(0)
    overlap: Overlap = Overlap.SKIP
    pause_on_failure: int = 0


USUAL_RULES = FiringRules()
"""Those of a schedule that says nothing about them."""


class Schedule(Struct, frozen=True, gc=False):
    """A trigger and what it starts: a task, a workflow or a process.

    Args:
        id: Unique over schedules.
        status: ACTIVE fires, PAUSED keeps its rhythm but fires nothing, FINISHED is over.
        trigger: The trigger as data (``trigger_from_data`` reads it).
        definition: The hash of what it starts.
        definition_content: That definition itself.
        content: The hash of the request; the same id with another content is a conflict.
        priority: Of the runs it starts.
        tags: Of the runs it starts.
        max_runs: After so many firings it is FINISHED.
        until: No firing after this moment.
        fired: How many firings have started a run.
        skipped: How many were left out because the one before was still unfinished.
        next_at: The next due moment; None when there is none.
        last_at: The moment of the last firing.
        last_run: The run that the last firing started.
        created_at: When.
        rules: How it treats its moments.
        look_at: When the next firing starts: its moment and the jitter; None when there is none.
        note: Why it is in its status, where somebody or something said so.
        since: From when on it is in its status.
        inputs: The arguments of what it starts, a JSON object in which the firing may be named.
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
    note: str | None
    since: Micros
    inputs: JsonText
    version: int = 0


class Firing(Struct, frozen=True, gc=False):
    """What one look at a due schedule writes.

    Args:
        schedule: The schedule afterwards, its version not yet raised.
        run: The run to create, which nobody drives yet; None when the firing is skipped. One that
            exists under this id already is left as it is: a firing is named by its moment.
    """

    schedule: Schedule
    run: NewRun | None
