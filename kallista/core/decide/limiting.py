"""What the steps of a run are counted under, and what a decision changes of that.

A step with a limit never begins where it is decided on: it is queued, and whoever claims its line
takes what it needs in the same transaction, if there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from kallista.core.decide.values import evaluated, scope
from kallista.core.limits import Gate, Limit, limit_of
from kallista.core.plan import WAKE, Entry, GateChanges, NewRun, Plan
from kallista.core.run import Draft
from kallista.core.states import ACTIVE_RUN, TaskStatus
from kallista.core.types import Json, Micros, WorkerKey
from kallista.core.wiring import wiring

# A member of an enumeration costs more to look up on its class than a constant.
_RUNNING: Final = TaskStatus.RUNNING


def limits_at(draft: Draft, position: int) -> tuple[Limit, ...]:
    """What the step at a position is counted under.

    Raises:
        ExpressionError: A key cannot be resolved, or is none.
    """
    limits = wiring(draft.run.definition).steps[position].limits
    config: Mapping[str, Json] | None = None
    found: list[Limit] = []
    for spec, compiled in limits:
        key: Json = spec.key
        if compiled is not None:
            if config is None:
                config = _config(draft, position)
            key = compiled.evaluate({**scope(draft, compiled), "config": dict(config)})
        found.append(limit_of(spec, key))
    return tuple(found)


def _config(draft: Draft, position: int) -> Mapping[str, Json]:
    """What a task hands to its handler, references resolved."""
    compiled = wiring(draft.run.definition).steps[position].values
    if compiled is None:
        return draft.run.config(position)
    value = evaluated(draft, compiled)
    assert isinstance(value, dict), "a config stays a mapping"
    return value


def with_gates(plan: Plan, draft: Draft) -> Plan:
    """The plan of a run that has limits.

    A line of a step that does not wait any more, for it has begun or ended in the same decision,
    would take what nobody gives back, and is left out.
    """
    limited = draft.run.definition.limited
    laid = {entry.step: entry for entry in plan.enqueue if entry.type != WAKE}
    gone = {entry.step for entry in plan.dequeue if entry.type != WAKE}
    touched = limited & {*draft.changed, *laid, *gone, *plan.settle}
    if not touched:
        return plan
    running = {at for at in touched if draft.step(at).status is _RUNNING}
    void = {at for at in touched if not _waits(draft, at)}
    return replace(
        plan,
        enqueue=tuple(it for it in plan.enqueue if it.type == WAKE or it.step not in void),
        gates=GateChanges(
            tuple(sorted(touched - running)),
            _gates(draft, [laid[at] for at in sorted(laid.keys() & touched - void)]),
            tuple((at, worker) for at in sorted(running) for worker in _begun(draft, at)),
            plan.events[-1].at if plan.events else Micros(0),
        ),
    )


def _waits(draft: Draft, position: int) -> bool:
    """Whether a step waits for a moment or a worker, and may begin when that comes."""
    step = draft.step(position)
    waits = step.status is TaskStatus.SCHEDULED and step.ready_at is not None
    return waits and draft.state in ACTIVE_RUN


def _begun(draft: Draft, position: int) -> Iterator[WorkerKey]:
    """Who executes a running step, if that has begun in this draft."""
    before, step = draft.run.steps[position], draft.step(position)
    was_running = before.status is _RUNNING and before.attempt == step.attempt
    if step.worker is not None and not was_running:
        yield step.worker


def born_with_gates(run: NewRun, draft: Draft) -> NewRun:
    """A new run that has limits."""
    limited = draft.run.definition.limited
    lines = [it for it in run.enqueue if it.type != WAKE and it.step in limited]
    return replace(run, gates=_gates(draft, lines))


def _gates(draft: Draft, lines: Sequence[Entry]) -> tuple[Gate, ...]:
    """What these lines have to pass."""
    return tuple(Gate(line.step, line.ready_at, limits_at(draft, line.step)) for line in lines)
