"""What tests of handlers have in common."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from kallista.core.handlers import Handler, Invocation
from kallista.core.outcomes import Asleep
from kallista.core.types import Json, RunId, StepId


def invocation(handler: Handler, config: Mapping[str, Json], **more: Any) -> Invocation:
    """One attempt of a handler."""
    given: dict[str, Any] = {
        "run_id": RunId("run-1"),
        "task_id": StepId("task-1"),
        "type": handler.type,
        "attempt": 2,
        "config": config,
        "results": {},
        "progress": lambda fraction, message: None,
        "cancelled": lambda: False,
    }
    return Invocation(**{**given, **more})


async def answered(handler: Handler, config: Mapping[str, Json], **more: Any) -> Any:
    """What a handler answers, as the engine would get it: decoded, or ``Asleep``."""
    answer: Any = handler.call(invocation(handler, config, **more))
    if hasattr(answer, "__await__"):
        answer = await answer
    return answer if isinstance(answer, Asleep) else json.loads(answer)


def run(handler: Handler, config: Mapping[str, Json] | None = None, **more: Any) -> Any:
    """The same, without an event loop."""
    return asyncio.run(answered(handler, config or {}, **more))
