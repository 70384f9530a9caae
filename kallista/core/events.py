"""What is remembered of a run: its head, its steps, and the events that led there."""

from __future__ import annotations

from msgspec import Struct

from kallista.core.states import Ending, EventKind, ProcessStatus, TaskStatus
from kallista.core.types import JsonText, Micros, WorkerKey


class Event(Struct, frozen=True, gc=False):
    """One line of a run's history.

    ``attempt`` is the step's; on the run itself it is 0, or the attempt of the parent's step that
    brought it about.

    ``data`` is the result itself for TASK_COMPLETED and TASK_KEPT, a ``Failure`` for TASK_FAILED,
    and otherwise the little that folding the event needs; None where kind, step and attempt say it
    all.
    """

    seq: int
    at: Micros
    kind: EventKind
    step: int | None
    attempt: int
    data: JsonText | None


class StepState(Struct, frozen=True, gc=False):
    """Where one step is.

    Args:
        status: SCHEDULED, RUNNING, WAITING or a finished one; READY is never stored.
        attempt: The number of the last attempt, 0 before the first; part of its proof.
        failures: Attempts that failed since the step was last reset; what ``max_attempts`` counts.
        crashes: Attempts that were interrupted because their worker died.
        ready_at: SCHEDULED: from when it may run, None while steps before it are unfinished;
            WAITING: when its sleep is over, or the time for an answer; None when it waits for a
            child run, or for an answer without a time limit.
        since: When it could first have run; its deadline counts from here.
        started_at: When its last attempt started.
        ended_at: When it finished.
        worker: Who executes the running attempt.
        outcome: The seq of the event that finished it: its result, failure or reason. Of a step
            that goes through a list also before: of the event that tells how far it is.
        passed: Whether what depends on it may go on.
    """

    status: TaskStatus = TaskStatus.SCHEDULED
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    ready_at: Micros | None = None
    since: Micros | None = None
    started_at: Micros | None = None
    ended_at: Micros | None = None
    worker: WorkerKey | None = None
    outcome: int | None = None
    passed: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether another run has completed it, of which this one is a fork."""
        return self.status is TaskStatus.COMPLETED and self.since is None


class Heartbeat(Struct, frozen=True, gc=False):
    """What the last attempt of a step that was heard of has said of itself; no part of history.

    Args:
        attempt: Which attempt it was.
        at: When it was heard of.
        fraction: How far it is, from 0 to 1; None: it has not said so.
        message: What it does.
        details: What the next attempt is to be given, perhaps of an attempt before this one; None:
            nothing.
    """

    attempt: int
    at: Micros
    fraction: float | None = None
    message: str | None = None
    details: JsonText | None = None


class RunHead(Struct, frozen=True, gc=False):
    """Where a run is; what every plan of it rewrites.

    Args:
        state: The run's state; a single task shows its step's status instead.
        seq: The seq of the next event.
        in_flight: How many of its steps are RUNNING right now.
        started_at: When it first started.
        ended_at: When it finished; None again after a retry.
        deadline_at: When its time limit is over.
        driven: Of a child: which attempt of the parent's step has driven it last.
        held: PAUSED because its parent is, and to be resumed with it.
        outcome: The seq of the event that holds why the run itself failed (its time limit, say).
        ending: How it will end once it is wound up; None: nobody knows yet, or it has ended.
        still_since: PAUSED: since when its clocks stand still; None: they go on.
        stood_still: For how long they have stood still in earlier pauses, all together.
    """

    state: ProcessStatus = ProcessStatus.PENDING
    seq: int = 0
    in_flight: int = 0
    started_at: Micros | None = None
    ended_at: Micros | None = None
    deadline_at: Micros | None = None
    driven: int = 1
    held: bool = False
    outcome: int | None = None
    ending: Ending | None = None
    still_since: Micros | None = None
    stood_still: Micros = Micros(0)
