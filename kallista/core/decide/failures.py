"""What users are told of failures that no handler has raised."""

from __future__ import annotations

from collections.abc import Mapping

from kallista.core.definitions import TaskSpec
from kallista.core.outcomes import Failure
from kallista.core.run import Draft
from kallista.core.types import Json


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


def failure_data(failure: Failure) -> dict[str, Json]:
    """A failure as it stands in history."""
    return {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
    }
