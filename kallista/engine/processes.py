"""What the engine asks of whoever calls handlers in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kallista.core.handlers import Handler, Invocation
from kallista.core.outcomes import Outcome
from kallista.core.types import JsonText


class ProcessPool(Protocol):
    """What calls handlers that are ``in_process``."""

    async def call(self, handler: Handler, invocation: Invocation) -> JsonText | Outcome:
        """Let another process make the call.

        Who cancels it ends that process and all it has started, and comes back once it is gone.

        Raises:
            RaisedElsewhere: The handler raised, or its process ended before it did.
        """
        ...

    async def close(self) -> None:
        """End all processes."""
        ...


class WhenNeeded:
    """A pool that is made for the first call, so that it costs nothing where there is none.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], ProcessPool]) -> None:
        self._make = make
        self._made: ProcessPool | None = None

    async def call(self, handler: Handler, invocation: Invocation) -> JsonText | Outcome:
        """Let another process make the call."""
        if self._made is None:
            self._made = self._make()
        return await self._made.call(handler, invocation)

    async def close(self) -> None:
        """End all processes."""
        if self._made is not None:
            await self._made.close()
