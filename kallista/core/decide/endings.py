"""How a run ends, and who is told."""

from __future__ import annotations

from typing import Final

from kallista.core.decide.lines import drop_deadline
from kallista.core.run import Draft
from kallista.core.states import EventKind, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Micros

# A member of an enumeration costs more to look up on its class than a constant.
_RUN_RUNNING: Final = ProcessStatus.RUNNING
_RUN_COMPLETED: Final = EventKind.RUN_COMPLETED
_PROCESS: Final = RunKind.PROCESS


def finish(draft: Draft, now: Micros) -> None:
    """End a run in which nothing is left to do."""
    if draft.unfinished or draft.state is not _RUN_RUNNING:
        return
    drop_deadline(draft)
    failed = draft.dead_ends > 0 and any(
        not draft.step(position).passed and draft.step(position).status is not TaskStatus.SKIPPED
        for position in range(len(draft.run.steps))
    )
    draft.record(EventKind.RUN_FAILED if failed else _RUN_COMPLETED, now)
    tell(draft)


def tell(draft: Draft) -> None:
    """Let those know that wait for the run's end."""
    draft.wake_parent = True
    draft.announce = draft.run.definition.kind is _PROCESS
