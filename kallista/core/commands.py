"""What can be asked of a run, and what can be reported on it: the inputs of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from kallista.core.definitions import Definition
from kallista.core.outcomes import Failure, Outcome
from kallista.core.states import Ending, ProcessStatus
from kallista.core.types import Json, JsonText, Micros, RunId, StepId, WorkerKey


class Verb(StrEnum):
    """What a user can ask of a run that exists."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"


class Command(Struct, frozen=True, gc=False):
    """A user's wish; a repeat changes nothing.

    Args:
        verb: What to do.
        reason: Why, for history.
        rollback: Of a cancellation: what has completed is undone.
        stop_clocks: Of a pause: no time passes for its sleeps, retries and deadlines.
        definition: Of a retry: what the run goes on with; None: with its own.
        driven: Of the start of a child: the attempt of its parent's step that wants it.
        budget: Of a resumption: the new limits, in billionths, by unit.
    """

    verb: Verb
    reason: str | None = None
    rollback: bool = False
    stop_clocks: bool = False
    definition: Definition | None = None
    driven: int = 0
    budget: Mapping[str, int] = {}


class Send(Struct, frozen=True, gc=False):
    """A signal for a run; a repeat, known by its id, changes nothing.

    Args:
        name: What it is called.
        id: By which a repeat is known.
        payload: What it says.
    """

    name: str
    id: str
    payload: JsonText


class Answer(Struct, frozen=True, gc=False):
    """What a person answers to an approval; the same answer once more changes nothing.

    Args:
        step: Which approval.
        answer: An object of ``approved``, ``by``, ``comment`` and ``form``.
    """

    step: StepId
    answer: JsonText


AnyCommand: TypeAlias = Command | Send | Answer
"""What is asked of a run from outside; it is decided on alone, for it may be refused."""


class Dispatch(Struct, frozen=True, gc=False):
    """A worker has taken this step's line from the queue and could start it.

    Args:
        step: Which step.
        ready_at: The moment that the line said; a line of an earlier wait starts nothing.
    """

    step: int
    ready_at: Micros


class AttemptEnded(Struct, frozen=True, gc=False):
    """An attempt is over; reports of other attempts than the running one change nothing."""

    step: int
    attempt: int
    outcome: Outcome


class WorkerDied(Struct, frozen=True, gc=False):
    """This worker, which drove the run, is gone, and with it every attempt that ran there.

    Args:
        worker: Which worker.
        lent: Steps that are executed on loan: of those the loans tell.
    """

    worker: WorkerKey
    lent: frozenset[int] = frozenset()


class Wished(Struct, frozen=True, gc=False):
    """Another worker has taken this step's line from the queue and asks to execute it.

    Args:
        step: The step.
        worker: Who asks.
        ready_at: From when on the line was due; the step may wait for a later moment by now.
    """

    step: int
    worker: WorkerKey
    ready_at: Micros


class Reported(Struct, frozen=True, gc=False):
    """A worker that executed a step for the driver of the run says how the attempt ended."""

    step: int
    attempt: int
    outcome: Outcome


class BorrowerDied(Struct, frozen=True, gc=False):
    """A worker that executed a step for the driver of the run is gone, the attempt with it."""

    step: int
    attempt: int


class LinesLost(Struct, frozen=True, gc=False):
    """Who took lines of the queue may be gone with them: what waits has to be queued again."""


class Due(Struct, frozen=True, gc=False):
    """A moment has come: a sleep is over, or a time limit. ``step`` -1 means the run itself."""

    step: int


class ChildSeen(Struct, frozen=True, gc=False):
    """Where the child run of a step is now.

    Args:
        step: The step that waits for it.
        state: Its state.
        attempt: Which attempt of the step has driven it last.
        output: Its results by id, when it has completed and a reference needs them.
        message: What failed in it, in one line.
    """

    step: int
    state: ProcessStatus
    attempt: int
    output: Json = None
    message: str = ""


class ItemSeen(Struct, frozen=True, gc=False):
    """Where the child run of one item is now.

    Args:
        index: Which item.
        state: The state of its run.
        attempt: Which attempt of the step has driven it last.
        result: What it returned, encoded, when it has completed and that is collected.
        message: What failed in it, in one line.
    """

    index: int
    state: ProcessStatus
    attempt: int
    result: JsonText | None = None
    message: str = ""


class ItemsSeen(Struct, frozen=True, gc=False):
    """Runs of items that have ended.

    Args:
        step: Whose items.
        items: Those that were looked at and have ended.
        earlier: If with them the last one has ended, what those before returned, by index; None:
            that was not looked up.
        most: How many bytes the results may have together.
    """

    step: int
    items: tuple[ItemSeen, ...]
    earlier: Mapping[int, JsonText] | None
    most: int


class ParentSeen(Struct, frozen=True, gc=False):
    """Where the parent of a child run is now.

    Args:
        state: The parent's state.
        attempt: The attempt of the parent's step that should drive this run.
        waiting: Whether the parent's step still waits for this run.
        cause: The parent's id, for the history; None: it was deleted.
        ending: How the parent will end, if it is being wound up.
        stands_still: Whether the parent is paused, and its clocks stand still.
    """

    state: ProcessStatus
    attempt: int
    waiting: bool
    cause: RunId | None
    ending: Ending | None = None
    stands_still: bool = False


class BudgetSeen(Struct, frozen=True, gc=False):
    """A budget that holds for the run is used up; the run knows which."""


class DependenciesSeen(Struct, frozen=True, gc=False):
    """Where the processes are that a process depends on.

    Args:
        states: Where they are; None: it does not exist yet.
        values: What its expressions read of them, once nothing is waited for any more.
        reasons: What those have failed of that it fails with.
        failure: Why it can never go on.
    """

    states: Mapping[RunId, ProcessStatus | None]
    values: Mapping[str, Json] | None = None
    reasons: Mapping[RunId, str] = {}
    failure: Failure | None = None


Stimulus: TypeAlias = (
    Command
    | Send
    | Answer
    | Dispatch
    | AttemptEnded
    | WorkerDied
    | Wished
    | Reported
    | BorrowerDied
    | LinesLost
    | Due
    | ChildSeen
    | ItemsSeen
    | ParentSeen
    | DependenciesSeen
    | BudgetSeen
)
