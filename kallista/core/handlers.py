"""What the engine must know of a handler; ``kallista.tasks`` provides them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from kallista.core.ids import idempotency_key
from kallista.core.outcomes import Outcome
from kallista.core.types import MAX_PAYLOAD_BYTES, Json, JsonText, RunId, StepId, TaskType


class Invocation(Struct):
    """One attempt, as its handler sees it.

    Args:
        run_id: The run it belongs to.
        task_id: The task's id in that run.
        type: Its task type.
        attempt: 1 for the first.
        config: The handler's arguments, all references resolved.
        results: The results of the tasks or steps before it, by id.
        progress: Called with a fraction from 0 to 1 and a message.
        cancelled: Tells whether the attempt should stop.
        max_result_bytes: How long the encoded result may be.
        generation: What is to be done anew, if asked for again, has another one each time.
        heartbeat: Called with details for the next attempt, or None, to show that it goes on.
        spend: Called with an amount in billionths and its unit; to be awaited by whoever wants to
            know that it is written down.
        heartbeat_details: What attempts before this one have left for it.
    """

    run_id: RunId
    task_id: StepId
    type: TaskType
    attempt: int
    config: Mapping[str, Json]
    results: Mapping[str, Json]
    progress: Callable[[float, str | None], None]
    cancelled: Callable[[], bool]
    max_result_bytes: int = MAX_PAYLOAD_BYTES
    generation: int = 0
    heartbeat: Callable[[JsonText | None], None] = lambda details: None
    spend: Callable[[int, str], Awaitable[None]] | None = None
    heartbeat_details: JsonText | None = None

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task of this run."""
        return idempotency_key(self.run_id, self.task_id, self.generation)


class Handler(Protocol):
    """The code behind a task type."""

    @property
    def type(self) -> TaskType:
        """The name it is registered under."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether it is a plain function, to be called on a thread."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it is to be called in a process of its own, which can be ended at any moment."""
        ...

    @property
    def wants_context(self) -> bool:
        """Whether it looks at the run (``ctx``); if not, no results need to be loaded for it."""
        ...

    @property
    def max_concurrency(self) -> int | None:
        """How many attempts of it this program may run at once."""
        ...

    def call(self, invocation: Invocation) -> JsonText | Outcome | Awaitable[JsonText | Outcome]:
        """Validate the config, run the handler, and encode what it returns.

        A blocking handler must be called on a thread and returns the answer itself, or an
        awaitable that is to be awaited on the loop (what it called turned out to be async);
        another handler returns an awaitable. Raises whatever the handler raises, and
        ``UsageError`` for a config or a result that does not fit.
        """
        ...

    def problems(self, config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
        """What is wrong with a config, a sentence each, empty when nothing is.

        ``unresolved`` names the keys whose values hold references: their values are not looked at.
        """
        ...

    def schema(self) -> JsonText:
        """The JSON Schema of its config."""
        ...

    def outline(self) -> JsonText:
        """The JSON Schema of its config, quick to be had: some values are left open.

        It is what programs without the code check by.
        """
        ...


class Handlers(Protocol):
    """All the handlers a program has."""

    def get(self, type: TaskType) -> Handler | None:
        """The handler of a type, or None."""
        ...

    def types(self) -> Collection[TaskType]:
        """Every type there is a handler for."""
        ...
