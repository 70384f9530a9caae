"""A line of the queue as a claim meets it."""

from __future__ import annotations

from msgspec import Struct

from kallista.core.plan import Entry
from kallista.core.types import Micros, RunKey, TaskType, WorkerKey


class Line(Struct, frozen=True, order=True, gc=False):
    """A line of the queue, in the order in which lines are served.

    Args:
        turn: What comes first in that order, lower first (``ClaimRequest.turn``).
        rank: The negated priority.
        ready_at: From when it may be taken.
        run: Whose line it is.
        step: The step that it is about.
        type: A lane, or ``WAKE``.
        holder: With whom it lies.
        owner: Who drives the run, as far as it matters.
        gated: Whether it has to pass limits; SQLite says it by 0 and 1.
    """

    turn: int
    rank: int
    ready_at: Micros
    run: RunKey
    step: int
    type: TaskType
    holder: int
    owner: WorkerKey | None
    gated: bool | int = False

    @property
    def entry(self) -> Entry:
        """What the store says of it to the engine."""
        return Entry(self.type, -self.rank, self.ready_at, self.step)

    @property
    def place(self) -> tuple[RunKey, int]:
        """The run and the step."""
        return self.run, self.step
