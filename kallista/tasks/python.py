"""The task type ``python``: calls a function by its dotted path."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kallista.core.types import Json
from kallista.tasks.loading import load_function


def python(
    function: str, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
) -> object:
    """Call a function: a plain one on a thread, an ``async def`` on the event loop.

    Args:
        function: ``package.module:function`` or ``package.module.function``.
        args: Its arguments by position.
        kwargs: Its arguments by name.

    Returns:
        What the function returns, as plain data.

    Raises:
        UsageError: There is no such function.
    """
    return load_function(function)(*args, **(kwargs or {}))


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """Whether ``function`` reads like a dotted path; nothing is imported to find out."""
    path = config.get("function")
    if "function" in unresolved or not isinstance(path, str):
        return ()
    module, colon, attribute = path.partition(":")
    parts = [*module.split("."), *(attribute.split(".") if colon else ())]
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return ()
    return [f"function must be like 'package.module:function', not {path!r}"]
