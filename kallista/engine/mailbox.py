"""What waits to be decided on in a run, and what of it is left when a decision was not written."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from msgspec import Struct

from kallista.core.commands import (
    AnyCommand,
    BorrowerDied,
    BudgetSeen,
    ChildSeen,
    DependenciesSeen,
    Dispatch,
    ItemsSeen,
    LinesLost,
    ParentSeen,
    Reported,
    Stimulus,
    Wished,
    WorkerDied,
)
from kallista.core.outcomes import outcome_of
from kallista.core.plan import WHOLE_RUN
from kallista.core.types import WorkerKey
from kallista.store.port import Loan


class Asked(Struct):
    """A command in a mailbox, and who waits for its answer.

    Args:
        command: What is asked.
        answer: Whether it changed anything.
        fresh: The run has been read since it was asked; before that nobody is told that there is
            nothing to do, for another program may have written meanwhile.
    """

    command: AnyCommand
    answer: asyncio.Future[bool]
    fresh: bool = False


Item: TypeAlias = Stimulus | Asked
"""What a mailbox holds."""

_ON_LOAN = Wished | Reported | BorrowerDied
"""What a look at the loans of a run has brought; the next look brings it again."""

_EVERY_LOOK = _ON_LOAN | BudgetSeen
"""What each look brings again, whatever else is looked at."""

_SEEN = ChildSeen | ItemsSeen | ParentSeen | DependenciesSeen | _EVERY_LOOK
"""What a look at the store has brought."""


def next_batch(mailbox: list[Item]) -> tuple[list[Stimulus], Asked | None]:
    """Take out all that waits, but a command is decided on alone: it may be refused."""
    if mailbox and isinstance(asked := mailbox[0], Asked):
        del mailbox[0]
        return [asked.command], asked
    batch: list[Stimulus] = []
    for waiting in mailbox:
        if isinstance(waiting, Asked):
            break
        batch.append(waiting)
    del mailbox[: len(batch)]
    return batch, None


def again(batch: Sequence[Stimulus]) -> Iterator[Stimulus]:
    """What of a batch that was not written is to be decided on again.

    Places are given back, so the lines that came with one are queued again; and what was seen
    before is old, for there will be another look.
    """
    for stimulus in batch:
        if isinstance(stimulus, Dispatch):
            yield LinesLost()
        elif not isinstance(stimulus, _SEEN):
            yield stimulus


def is_seen_again(item: Item, looks: Collection[int]) -> bool:
    """Whether an earlier look brought what a later one brings anew: the old is not to come last."""
    if isinstance(item, ChildSeen | ItemsSeen):
        return WHOLE_RUN in looks or item.step in looks
    return isinstance(item, _EVERY_LOOK) or (WHOLE_RUN in looks and isinstance(item, _SEEN))


def granted(loans: Sequence[Loan]) -> set[int]:
    """The steps that are executed on loan; who only wishes for one executes nothing yet."""
    return {loan.step for loan in loans if loan.attempt is not None}


def of_loans(loans: Sequence[Loan], suspects: Collection[WorkerKey]) -> Iterator[Stimulus]:
    """What has become of the steps that are on loan, and that the suspects are dead otherwise."""
    lent = frozenset(granted(loans))
    yield from (WorkerDied(worker, lent) for worker in sorted(suspects))
    for loan in loans:
        if loan.attempt is None:
            yield Wished(loan.step, loan.worker, loan.ready_at)
        elif loan.report is not None:
            yield Reported(loan.step, loan.attempt, outcome_of(loan.report))
        elif loan.lost:
            yield BorrowerDied(loan.step, loan.attempt)
