"""Says what stands in the way of a creation, in the same words for every store."""

from __future__ import annotations

from kallista.core.plan import NewRun
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind
from kallista.core.types import WorkerKey


def id_conflict(run: NewRun, kind: RunKind, name: str) -> str:
    """How the run that has an id already differs from the one that is wanted.

    Args:
        run: What is wanted.
        kind: What the run there is a run of.
        name: How the run there is named.
    """
    if kind is not run.kind:
        difference = f"is a {kind}, not a {run.kind}"
    elif name != run.name:
        difference = f"is named {name!r}, not {run.name!r}"
    else:
        difference = "has another content (definition, inputs, priority or tags)"
    return f"the id {run.id!r} is taken by a run that {difference}; choose another id"


def schedule_conflict(schedule: Schedule) -> str:
    """What to do about a schedule whose id is taken."""
    return (
        f"the schedule {schedule.id!r} exists and starts another task or fires otherwise;"
        " choose another id, or delete that one first"
    )


def worker_gone(worker: WorkerKey) -> str:
    """Why a worker that has been taken for dead is given nothing."""
    return f"worker {worker} is not known any more, for it was silent too long; register it again"


def not_counted(step: int, worker: WorkerKey) -> str:
    """Why an attempt may not begin that is subject to limits."""
    return (
        f"step {step} is subject to limits, and nothing is taken under them for worker {worker}"
        " any more; nothing of this plan was written"
    )


def loan_gone(step: int, attempt: int) -> str:
    """Why the report on a borrowed step comes too late."""
    return f"attempt {attempt} of step {step} is not on loan to this worker any more"
