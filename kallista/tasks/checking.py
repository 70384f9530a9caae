"""Says what is wrong with a task's type and config, also for types that only other workers have."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property

from kallista.core.handlers import Handlers
from kallista.core.types import Json, JsonText, TaskType
from kallista.tasks.binding import name_problems
from kallista.tasks.parameters import Parameter, Parameters

_NONE: Mapping[TaskType, JsonText] = {}


class TaskChecker:
    """Checks tasks against the task types that exist.

    Args:
        handlers: Those of this program; their type hints are checked.
        foreign_schemas: By type, the schemas of handlers that other workers have; of these only
            the names of keys are checked.
    """

    def __init__(
        self, handlers: Handlers, foreign_schemas: Mapping[TaskType, JsonText] = _NONE
    ) -> None:
        self._handlers = handlers
        self._foreign = foreign_schemas

    def __call__(
        self, type: TaskType, config: Mapping[str, Json], unresolved: Collection[str]
    ) -> Sequence[str]:
        """What is wrong, a sentence each; empty when nothing is.

        Args:
            type: The task type.
            config: The task's config.
            unresolved: Its keys whose values hold references: those are not looked at.
        """
        handler = self._handlers.get(type)
        if handler is not None:
            return handler.problems(config, unresolved)
        schema = self._foreign.get(type)
        if schema is not None:
            return list(name_problems(_parameters(schema), config))
        return [self._unknown(type)]

    def _unknown(self, type: TaskType) -> str:
        near = get_close_matches(type, self._known, n=3)
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            hint = f"there are {', '.join(self._known)}" if self._known else "none is registered"
        return f"there is no task type {type!r}; {hint}"

    @cached_property
    def _known(self) -> Sequence[TaskType]:
        return sorted({*self._handlers.types(), *self._foreign})


def _parameters(schema: JsonText) -> Parameters:
    data = json.loads(schema)
    required = data.get("required", ())
    names = data.get("properties", {})
    keys = {name: Parameter(name, None, name in required) for name in names}
    return Parameters(False, keys, data.get("additionalProperties", True) is not False)
