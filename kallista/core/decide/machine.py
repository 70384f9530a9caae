"""``decide`` looks at a run and a stimulus and drafts all that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kallista.core.commands import (
    Answer,
    AttemptEnded,
    BorrowerDied,
    BudgetSeen,
    ChildSeen,
    Command,
    DependenciesSeen,
    Dispatch,
    Due,
    ItemsSeen,
    LinesLost,
    ParentSeen,
    Reported,
    Send,
    Stimulus,
    Wished,
    WorkerDied,
)
from kallista.core.decide.answers import on_answer, on_send
from kallista.core.decide.attempts import (
    on_attempt_ended,
    on_borrower_died,
    on_dispatch,
    on_reported,
    on_wished,
    on_worker_died,
)
from kallista.core.decide.capacity import NO_CAPACITY, Capacity
from kallista.core.decide.commands import on_command
from kallista.core.decide.endings import finish
from kallista.core.decide.moments import on_due, on_lines_lost
from kallista.core.decide.others import (
    on_budget_seen,
    on_child_seen,
    on_dependencies_seen,
    on_items_seen,
    on_parent_seen,
)
from kallista.core.run import Draft, Run
from kallista.core.types import Micros


def decide(
    run: Run, stimuli: Iterable[Stimulus], now: Micros, capacity: Capacity = NO_CAPACITY
) -> Draft:
    """All that follows from what was asked or reported.

    Args:
        run: The run as it is; it is not changed.
        stimuli: What happened, in order.
        now: The moment.
        capacity: What could be started at once; everything else is queued.

    Returns:
        The draft: ``absorb`` it once it is written. It has no events when nothing follows.

    Raises:
        StateError: A command does not fit the run's state.
        UsageError: A signal or an answer is none that the run takes.
        NotFoundError: The run has no such step.
        ConflictError: Another signal has this id, or the approval was answered otherwise.
    """
    draft = Draft(run)
    for stimulus in stimuli:
        _REACTIONS[type(stimulus)](draft, stimulus, now, capacity)
    finish(draft, now, capacity)
    return draft


_REACTIONS: Final[Mapping[type[Stimulus], Callable[..., None]]] = {
    Answer: on_answer,
    AttemptEnded: on_attempt_ended,
    BorrowerDied: on_borrower_died,
    BudgetSeen: on_budget_seen,
    ChildSeen: on_child_seen,
    Command: on_command,
    DependenciesSeen: on_dependencies_seen,
    Dispatch: on_dispatch,
    Due: on_due,
    ItemsSeen: on_items_seen,
    LinesLost: on_lines_lost,
    ParentSeen: on_parent_seen,
    Reported: on_reported,
    Send: on_send,
    Wished: on_wished,
    WorkerDied: on_worker_died,
}
"""What each kind of stimulus brings about: (draft, stimulus, now, capacity)."""
