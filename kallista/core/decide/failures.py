"""What users are told of failures that no handler has raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kallista.core.commands import DependenciesSeen
from kallista.core.definitions import TaskSpec
from kallista.core.outcomes import Failure
from kallista.core.run import Draft
from kallista.core.types import Json, RunId


def too_late(task: TaskSpec, last: Failure | None) -> Failure:
    """The step's deadline is over."""
    after = f"; its last failure was {last.type}: {last.message}" if last else ""
    message = f"its deadline of {(task.deadline or 0) / 1e6:g} s is over{after}"
    return Failure(
        "DeadlineExceeded", message, last.traceback if last else None, ("DeadlineExceeded",)
    )


def poisonous(draft: Draft, crashes: int) -> Failure:
    """The step has killed its worker too often."""
    times = "once" if crashes == 1 else f"{crashes} times"
    message = (
        f"its worker died {times} while it ran, so it was set aside (max_crashes is {crashes});"
        f" find out why it ends the program that runs it, then retry the {draft.run.kind}"
    )
    return Failure("WorkerCrashed", message, None, ("WorkerCrashed",))


def run_too_late(draft: Draft) -> Mapping[str, Json]:
    """The deadline of the whole run is over."""
    limit = (draft.run.definition.deadline or 0) / 1e6
    message = f"the {draft.run.kind}'s deadline of {limit:g} s is over"
    return failure_data(Failure("DeadlineExceeded", message, None, ()))


def failed_with(seen: DependenciesSeen, which: Sequence[RunId]) -> Failure:
    """Processes that a process waited for, and fails with."""
    told = "; ".join(
        f"it waits for process {id!r}, which is {seen.states[id]}"
        + (f": {seen.reasons[id]}" if seen.reasons.get(id) else "")
        for id in which
    )
    message = f"{told}; retry that, and then this one"
    return Failure("DependencyFailed", message, None, ("DependencyFailed",))


def failure_data(failure: Failure) -> dict[str, Json]:
    """A failure as it stands in history."""
    return {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
    }
