"""Descriptions drawn at random, and the surroundings in which tests read them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from kallista.core.definitions import Definition
from kallista.core.parsing import Limits
from kallista.core.states import RunKind
from kallista.core.types import Json, TaskType

LIMITS = Limits()


def accept(
    type: TaskType, config: Mapping[str, Json], unresolved: Collection[str]
) -> Sequence[str]:
    """Every task type there is, but 'wrong'."""
    return ["there is no task type 'wrong'"] if type == "wrong" else []


def nothing(kind: RunKind, name: str) -> Definition | None:
    """No definition has a name."""
    return None


texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.loads(json.dumps(value).replace("${", "")))
names = st.sampled_from(["a", "b.c", "Type_1", "x-2"])
lengths = st.integers(1, 10**6) | st.sampled_from(["1m30s", "PT5S", "250ms"])
retries = st.integers(1, 9) | st.fixed_dictionaries(
    {"max_attempts": st.integers(1, 9)},
    optional={
        "delay": lengths,
        "backoff": st.floats(1, 9),
        "max_delay": lengths,
        "jitter": st.floats(0, 1),
        "retry_on": st.lists(st.sampled_from(["ValueError", "httpx.HTTPError"]), max_size=2),
    },
)
tasks = st.fixed_dictionaries(
    {"type": names},
    optional={
        "config": st.dictionaries(texts, values, max_size=3),
        "name": st.sampled_from(["Ein Name", "ß"]),
        "retry": retries,
        "timeout": lengths,
        "deadline": lengths,
        "max_crashes": st.integers(1, 9),
        "when": st.sampled_from(["true", "1 < 2"]),
        "priority": st.integers(-9, 9),
        "continue_on_error": st.booleans(),
    },
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "continue_on_error": st.booleans(),
        "retry": retries,
        "timeout": lengths,
        "deadline": lengths,
        "tags": st.lists(st.sampled_from(["x", "y z"]), max_size=2),
        "priority": st.integers(-9, 9),
        "inputs": st.dictionaries(names, st.fixed_dictionaries({"default": values}), max_size=2),
    },
)


def _workflow_of(task: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"tasks": st.lists(task, min_size=1, max_size=3)}, optional={"config": configs}
    )


workflows = _workflow_of(tasks | _workflow_of(tasks).map(lambda data: {"type": "workflow", **data}))


def _step(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        tasks
        | tasks.map(lambda task: {"type": "task", "task_data": task})
        | workflows.map(lambda data: {"type": "workflow", **data})
        | inner.map(lambda data: {"type": "process", **data})
    )


def _process_of(step: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"steps": st.lists(step, min_size=1, max_size=3)},
        optional={"config": configs, "dependencies": st.lists(names, max_size=2, unique=True)},
    )


processes = _process_of(_step(_process_of(tasks)))
documents = workflows | processes
