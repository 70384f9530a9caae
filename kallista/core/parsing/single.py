"""Reads tasks that run once: the config goes with the run, so alike ones share a definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from msgspec import structs

from kallista.core import fields
from kallista.core.definitions import Definition, TaskSpec
from kallista.core.ids import is_id
from kallista.core.json_text import to_json
from kallista.core.parsing.known import KnownDefinitions
from kallista.core.parsing.limits import CheckTask, Limits
from kallista.core.parsing.tasks import AMONG_OTHERS, TASK_KEYS
from kallista.core.problems import Problems
from kallista.core.types import Json

_OWN: Final = frozenset(TASK_KEYS)
_SHARED: Final = _OWN - {"config", "id"}
_NEVER: Final = fields.ELSEWHERE.keys() | AMONG_OTHERS


class SingleTask(NamedTuple):
    """A task that runs once.

    Args:
        definition: What it shares with all tasks of its type and options.
        config: The handler's arguments, the inputs of its run.
    """

    definition: Definition
    config: Mapping[str, Json]


def divided(definition: Definition) -> SingleTask:
    """A single task, its config taken out of its definition; one that holds expressions stays."""
    [step] = definition.steps
    work = step.work
    assert isinstance(work, TaskSpec), "a single task is a task"
    if not work.config or "${" in to_json(dict(work.config)):
        return SingleTask(definition, {})
    without = structs.replace(step, work=structs.replace(work, config={}))
    return SingleTask(replace(definition, steps=(without,)), work.config)


class SingleTasks:
    """Tasks that were read, to read others like them faster.

    Args:
        known: Where their definitions are remembered.
        limits: How large a config may be.
    """

    def __init__(self, known: KnownDefinitions, limits: Limits) -> None:
        self._known = known
        self._limits = limits

    def alike(self, id: object, data: object, check_task: CheckTask) -> SingleTask | None:
        """A task like one that was read before; None when it has to be read in full.

        That is also where anything is wrong with it, so that all of it is told.

        Args:
            id: Its id.
            data: What describes it.
            check_task: Knows the task types.
        """
        if not isinstance(data, Mapping) or "id" in data or not is_id(id):
            return None
        shared, beside = _parted(data)
        definition = self._known.get(self._key(shared))
        if definition is None:
            return None
        config = self._config(data.get("config"), beside)
        work = definition.steps[0].work
        assert isinstance(work, TaskSpec), "a single task is a task"
        if config is None or check_task(work.type, config, ()):
            return None
        return SingleTask(definition, config)

    def remember(self, data: Mapping[str, object], task: SingleTask) -> None:
        """What was read of this description is like others to come."""
        work = task.definition.steps[0].work
        if isinstance(work, TaskSpec) and not work.config:
            shared, _ = _parted(data)
            self._known.put(self._key(shared), task.definition)

    def _key(self, shared: Mapping[str, object]) -> bytes | None:
        type = shared.get("type")
        if len(shared) == 1 and isinstance(type, str):
            return type.encode(errors="replace")  # unlike any JSON text of a list
        return self._known.key("single task", shared)

    def _config(self, given: object, beside: Mapping[str, object]) -> Mapping[str, Json] | None:
        """The config, if it is sound and holds no expressions."""
        problems = Problems()
        config = {} if given is None else fields.mapping(given, "config", problems)
        if not _NEVER.isdisjoint(beside) or not beside.keys().isdisjoint(config):
            return None
        most = self._limits.max_payload_bytes
        payload = fields.plain_payload({**config, **beside}, "config", most, problems)
        return None if problems or "${" in to_json(dict(payload)) else payload


def _parted(data: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """What alike tasks share, and what stands beside ``config`` for the handler."""
    shared: dict[str, object] = {}
    beside: dict[str, object] = {}
    for key, value in data.items():
        if key in _SHARED:
            shared[key] = value
        elif key != "config":
            beside[key] = value
    return shared, beside
