"""The task type ``sleep``: a durable pause, for which no worker is held."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kallista.core.durations import parse_duration
from kallista.core.outcomes import Asleep
from kallista.core.types import Json
from kallista.errors import UsageError


async def sleep(seconds: object) -> Asleep:
    """Wait for a while; the pause survives restarts and holds no worker.

    Args:
        seconds: How long: seconds, ``"1m30s"`` or ISO 8601.
    """
    return Asleep(parse_duration(seconds))


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """Whether ``seconds`` is a length of time."""
    if "seconds" in unresolved:
        return ()
    try:
        parse_duration(config["seconds"])
    except UsageError as problem:
        return [f"seconds: {problem}"]
    return ()
