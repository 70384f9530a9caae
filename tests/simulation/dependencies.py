"""What the plain model knows of processes that wait for others, and how stories draw them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from zlib import crc32

from kallista.core.definitions import Definition
from kallista.core.events import Event
from kallista.core.states import RunKind
from kallista.core.types import Json, RunId
from kallista.store.memory import MemoryState
from kallista.store.port import RunRecord

from .workload import QUIET

BAD = {"FAILED", "CANCELLED"}
FIRST = "s0"
"""The step of another process that is read; all processes have it."""

Seen = Mapping[RunId, Sequence[tuple[int, str]]]
"""The states that runs have been in, each with the tick."""


def drawn(id: str, awaited: Sequence[str], data: dict[str, object]) -> None:
    """Let a process wait for others, by any policy, and perhaps read what they have returned.

    Args:
        id: Its id, which decides.
        awaited: Whom it waits for.
        data: The process; it is changed.
    """
    if not awaited:
        return
    policies = ("wait", "wait", "fail", "skip")
    luck = crc32(id.encode())
    data["dependencies"] = [
        {"process": other, "on_failure": policies[(luck >> at) % 4]}
        for at, other in enumerate(dict.fromkeys(awaited))
    ]
    steps = data["steps"]
    assert isinstance(steps, list)
    task = {} if "for_each" in steps[0] else steps[0].get("task_data", {})
    if luck % 3 and task.get("type") not in (None, *QUIET) and "for_each" not in task:
        task["reads"] = f"${{processes.{awaited[0]}.results.{FIRST}}}"
    if luck % 5 == 0 and steps[-1].get("type") == "task":
        steps[-1]["when"] = f'processes.{awaited[0]}.status == "COMPLETED"'


def state_of(state: MemoryState, id: RunId) -> str | None:
    """Where a process is, or how it ended before it was deleted; None: there is none."""
    key = state.keys.get(id)
    if key is not None:
        record = state.runs[key]
        return str(record.head.state) if record.kind is RunKind.PROCESS else None
    gone = state.tombstones.get(id)
    return gone.status if gone is not None and gone.kind is RunKind.PROCESS else None


def is_held(state: MemoryState, definition: Definition) -> bool:
    """Whether a process has to wait for any of those that it waits for."""
    ends = [
        (state_of(state, id), str(definition.dependency_policies.get(id, "wait")))
        for id in definition.dependencies
    ]
    if any(end in BAD and policy == "fail" for end, policy in ends):
        return False
    return any(end != "COMPLETED" and not (end in BAD and policy == "skip") for end, policy in ends)


def may_fail(definition: Definition) -> bool:
    """Whether it may fail because of those that it waits for, however often it is retried."""
    reads = "${processes." in json.dumps([_config(step) for step in definition.steps])
    return "fail" in definition.dependency_policies.values() or reads


def _config(step: object) -> Json:
    config: Json = dict(getattr(getattr(step, "work", None), "config", {}))
    return config


def judge_start(
    record: RunRecord,
    definition: Definition,
    event: Event,
    seen: Seen,
    state: MemoryState,
    result: Callable[[RunRecord], Json],
) -> str | None:
    """What is wrong with the start of a process that has waited for others; None: nothing.

    Args:
        record: Which process.
        definition: What it runs.
        event: Its start.
        seen: The states that runs have been in.
        state: What is remembered.
        result: What the first step of a process has returned, as it is remembered.
    """
    for id in definition.dependencies:
        ends = {"COMPLETED"}
        if definition.dependency_policies.get(id) == "skip":
            ends |= BAD
        if not ends.intersection(word for _, word in seen.get(id, ())):
            return f"{record.id} starts, and {id} has not ended like this: {ends}"
    for id, told in found_of(event).items():
        key = state.keys.get(RunId(id))
        other = None if key is None else state.runs[key]
        if told["status"] == "COMPLETED" and other is not None and FIRST in told["results"]:
            durable = result(other) if other.head.state == "COMPLETED" else None
            if told["results"] != {FIRST: durable}:
                return f"{record.id} reads {told} of {id}, but durable is {durable}"
        elif told["status"] in BAD and any(told["results"].values()):
            return f"{record.id} reads {told} of {id}, which has failed"
    return None


def found_of(event: Event) -> Mapping[str, dict[str, dict[str, Json]]]:
    """What a process has written down of others with its start."""
    told = json.loads(event.data or "{}").get("processes") or {}
    assert isinstance(told, dict)
    return told


def circle_is_real(state: MemoryState, told: str, new: RunId, definition: object) -> bool:
    """Whether the processes that a refusal names do wait for each other.

    Args:
        state: What is remembered.
        told: The refusal.
        new: Who was refused.
        definition: What it waits for, as it was asked for.
    """
    names = told.partition("in a circle: ")[2].partition(";")[0].split(" -> ")
    for waiting, awaited in pairwise(names):
        if waiting == new:
            known = json.dumps(definition)
        else:
            key = state.keys.get(RunId(waiting))
            known = "" if key is None else state.runs[key].definition_content
        if f'"{awaited}"' not in known:
            return False
    return len(names) > 1
