"""Forks: runs that go on from before a task of another run, with the results that this one had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kallista.core.definitions import ChildSpec, Definition, MapSpec, StepSpec, Work
from kallista.core.encoding import step_content
from kallista.core.events import StepState
from kallista.core.json_text import from_json, to_json
from kallista.core.parsing.graph import order
from kallista.core.run import Draft
from kallista.core.states import EventKind, TaskStatus
from kallista.core.types import Json, JsonText, Micros, RunId, StepId
from kallista.core.wiring import wiring

_RESULTS: Final = "results"

_KINDS: Final[Mapping[TaskStatus, EventKind]] = {
    TaskStatus.COMPLETED: EventKind.TASK_KEPT,
    TaskStatus.SKIPPED: EventKind.TASK_SKIPPED,
    TaskStatus.FAILED: EventKind.TASK_FAILED,
}
"""How a step that is kept comes to its end in the fork: as it did in the source."""


class Kept(Struct, frozen=True, gc=False):
    """A step that a fork does not do again.

    Args:
        step: Its position in the fork.
        status: How it has ended in the source.
        data: What the event says that ended it there; of a child run the results (``of_child``).
    """

    step: int
    status: TaskStatus
    data: JsonText


class Fork(Struct, frozen=True, gc=False):
    """Where a run comes from that is a fork.

    Args:
        source: The run that it goes on from.
        task: From which step on all is done again.
        kept: What is not.
        changed: The steps whose content is another than in the source.
        reason: Why, for history.
    """

    source: RunId
    task: StepId
    kept: tuple[Kept, ...]
    changed: tuple[StepId, ...] = ()
    reason: str | None = None


def begin(draft: Draft, fork: Fork, now: Micros) -> None:
    """Let a run to which nothing has happened be a fork: what is kept has ended."""
    told: dict[str, Json] = {"run": fork.source, "task": fork.task}
    if fork.changed:
        told["changed"] = list(fork.changed)
    if fork.reason is not None:
        told["reason"] = fork.reason
    draft.record(EventKind.RUN_FORKED, now, data=to_json(told))
    read = wiring(draft.run.definition).read
    for kept in fork.kept:
        draft.record(_KINDS[kept.status], now, kept.step, 0, kept.data)
        if kept.step in read and kept.status is TaskStatus.COMPLETED:
            work = draft.run.definition.steps[kept.step].work
            draft.keep_output(kept.step, _output(work, from_json(kept.data)))


def _output(work: Work, data: Any) -> Json:
    """What references read of a step that is kept."""
    match work:
        case ChildSpec():
            output: Json = data[_RESULTS]
        case MapSpec():
            output = data["result"]
        case _:
            output = data
    return output


def of_child(run: RunId, results: Json) -> JsonText:
    """What a fork keeps of a child run: its results, for the run itself may be deleted."""
    return to_json({"run": run, _RESULTS: results})


def kept_results(told: Mapping[str, Json]) -> Json:
    """The results of a child run, if they are those that a fork has kept; None: ask the run.

    Args:
        told: What the event says by which its step has completed.
    """
    return told.get(_RESULTS)


def run_again(definition: Definition, tasks: Iterable[int]) -> set[int]:
    """The positions of steps and of all that depend on them."""
    waiting = [*tasks]
    found = set(waiting)
    while waiting:
        later = set(definition.dependents[waiting.pop()]) - found
        found |= later
        waiting += later
    return found


def before(definition: Definition, task: int) -> set[int]:
    """The positions of all steps that a step depends on, directly or not."""
    found: set[int] = set()
    waiting = list(definition.steps[task].depends_on)
    while waiting:
        position = waiting.pop()
        if position not in found:
            found.add(position)
            waiting += definition.steps[position].depends_on
    return found


def kept(
    source: Definition, steps: Sequence[StepState], definition: Definition, task: int
) -> dict[int, int]:
    """Which steps a fork keeps: what does not depend on the task, and lets pass what does on it.

    The results of what was undone are there, and its effects are not: so it is done again, and all
    that depends on it.

    Args:
        source: What the source runs.
        steps: Where its steps are.
        definition: What the fork runs; steps of the same id are the same.
        task: The position in it of the step to go on from.

    Returns:
        Positions in the source by those in the fork, ascending.
    """
    there, undone = source.position, _undone(source, steps)
    gone = [position for position, spec in enumerate(definition.steps) if spec.id in undone]
    again = run_again(definition, [task, *gone])
    return {
        position: there[spec.id]
        for position, spec in enumerate(definition.steps[: definition.main_count])
        if position not in again
        and spec.id in there
        and _is_kept(spec, source.steps[there[spec.id]], steps[there[spec.id]])
    }


def _undone(source: Definition, steps: Sequence[StepState]) -> set[StepId]:
    """The steps that were undone, or that somebody has tried to undo."""
    return {
        source.steps[spec.undoes].id
        for spec, step in zip(source.steps, steps, strict=True)
        if spec.undoes is not None and step.attempt
    }


def _is_kept(spec: StepSpec, source: StepSpec, step: StepState) -> bool:
    if not step.passed or type(spec.work) is not type(source.work) or spec.phase != source.phase:
        return False
    return step.status is not TaskStatus.FAILED or spec.continue_on_error


def changed(source: Definition, definition: Definition) -> tuple[StepId, ...]:
    """The steps of a definition that another one has otherwise, or has not at all."""
    return tuple(
        spec.id
        for position, spec in enumerate(definition.steps)
        if spec.id not in source.position
        or step_content(definition, position) != step_content(source, source.position[spec.id])
    )


def longest(definition: Definition, again: Iterable[int], took: Mapping[int, Micros]) -> Micros:
    """How long steps take that wait for nothing but for each other.

    Args:
        definition: What they are steps of.
        again: Their positions.
        took: How long each takes, as far as that is known.
    """
    ends: dict[int, int] = {}
    waiting = set(again)
    for position in order([spec.depends_on for spec in definition.steps]):
        if position not in waiting:
            continue
        begins = max((ends.get(at, 0) for at in definition.steps[position].depends_on), default=0)
        ends[position] = begins + took.get(position, 0)
    return Micros(max(ends.values(), default=0))
