"""What a handler takes: the parameters of its function, without the context."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from kallista.errors import UsageError
from kallista.tasks.context import TaskContext

Function = Callable[..., Any]
"""A user's handler; whatever it takes and returns is checked when it is called."""


class Parameter(Struct, frozen=True):
    """One key of a handler's config.

    Args:
        name: The key.
        hint: Its type hint as it stands in the source, perhaps still a text; None: none.
        required: Whether it has no default.
    """

    name: str
    hint: object
    required: bool


class Parameters(Struct, frozen=True):
    """What a function takes.

    Args:
        context: Whether its first parameter is the context.
        keys: The config keys it takes, by name.
        surplus: Whether it takes other keys too (``**kwargs``); those are not checked.
    """

    context: bool
    keys: Mapping[str, Parameter]
    surplus: bool

    @property
    def bare(self) -> bool:
        """Whether the context is all it takes."""
        return not self.keys and not self.surplus


def parameters_of(function: Function, name: str) -> Parameters:
    """Look at a function's signature; type hints are not resolved yet.

    Args:
        function: The handler.
        name: How messages call it.

    Raises:
        UsageError: It takes something that a config cannot give.
    """
    listed = list(_signature(function, name).parameters.values())
    context = bool(listed) and _takes_context(listed[0], function)
    keys: dict[str, Parameter] = {}
    surplus = False
    for parameter in listed[1:] if context else listed:
        hint = None if parameter.annotation is parameter.empty else parameter.annotation
        match parameter.kind:
            case parameter.VAR_KEYWORD:
                surplus = True
            case parameter.VAR_POSITIONAL | parameter.POSITIONAL_ONLY:
                raise UsageError(
                    f"{name} takes {parameter} by position, but a config is given by name;"
                    " make it a parameter with a name"
                )
            case _ if _is_context(hint, function):
                raise UsageError(f"{name} takes the context as {parameter.name!r}; put it first")
            case _:
                required = parameter.default is parameter.empty
                keys[parameter.name] = Parameter(parameter.name, hint, required)
    return Parameters(context, keys, surplus)


if sys.version_info >= (3, 14):
    import annotationlib

    def _inspected(function: Function) -> inspect.Signature:
        # Annotations are evaluated when they are asked for, and some may name what is imported
        # for type checkers alone.
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)

else:

    def _inspected(function: Function) -> inspect.Signature:
        return inspect.signature(function)


def _signature(function: Function, name: str) -> inspect.Signature:
    try:
        return _inspected(function)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"what {name} takes cannot be seen: {error}; wrap it in a function of your own"
        ) from error


def _takes_context(first: inspect.Parameter, function: Function) -> bool:
    if first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return False
    return first.name == "ctx" or _is_context(first.annotation, function)


def _is_context(hint: object, function: Function) -> bool:
    """Whether a hint, perhaps still a text, means ``TaskContext``."""
    if hint is TaskContext:
        return True
    text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None)
    if not isinstance(text, str):
        return False
    text = text.strip("'\"")
    known = getattr(inspect.unwrap(function), "__globals__", {})
    return text.rpartition(".")[2] == "TaskContext" or known.get(text) is TaskContext
