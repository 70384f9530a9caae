"""Runs that go on with another definition: whether it fits what was done, and what it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kallista.core.definitions import ChildSpec, Definition, MapSpec, Phase
from kallista.core.encoding import (
    definition_from_data,
    definition_hash,
    definition_to_data,
    step_content,
)
from kallista.core.events import Event, StepState
from kallista.core.forking import changed
from kallista.core.inputs import check_inputs
from kallista.core.json_text import from_json, to_json
from kallista.core.plain import some
from kallista.core.plan import Failing
from kallista.core.run import Run, follow
from kallista.core.states import EventKind
from kallista.core.types import Json, JsonText, RunId, StepId
from kallista.core.wiring import wiring
from kallista.errors import UsageError


class Difference(NamedTuple):
    """What another definition changes for a run that has failed.

    Args:
        again: The steps of the main phase that run again or for the first time.
        changed: Those of them, and of what is done at the end, that are otherwise.
        added: The steps that it did not have before.
        too_late: The steps that are otherwise, but are done: their results stay.
    """

    again: tuple[StepId, ...]
    changed: tuple[StepId, ...]
    added: tuple[StepId, ...]
    too_late: tuple[StepId, ...]


def difference(run: Run, definition: Definition) -> Difference:
    """What another definition changes for a run.

    Args:
        run: As it is, with its own definition.
        definition: The other one, which fits.
    """
    old, done = run.definition, _done(run)
    otherwise = [id for id in changed(old, definition) if id in old.position]
    main = definition.steps[: definition.main_count]
    return Difference(
        again=tuple(spec.id for spec in main if spec.id not in done),
        changed=tuple(id for id in otherwise if id not in done),
        added=tuple(spec.id for spec in definition.steps if spec.id not in old.position),
        too_late=tuple(id for id in otherwise if id in done),
    )


def _done(run: Run) -> set[StepId]:
    main = run.definition.steps[: run.definition.main_count]
    return {spec.id for spec, step in zip(main, run.steps, strict=False) if step.passed}


def misfits(run: Run, definition: Definition) -> Iterator[str]:
    """Why a run that has failed cannot go on with another definition.

    The steps it has keep their places, for children, borrowers and its history know them by these;
    others may come behind them.
    """
    old = run.definition
    if run.head.in_flight:
        yield f"{run.head.in_flight} of its attempts are still in flight"
    if any(_is_undone(old, at, step) for at, step in enumerate(run.steps)):
        yield "what it had done is undone"
    if definition.dependencies != old.dependencies:
        yield "the processes that it waits for are others"
    has_read = run.head.started_at is not None
    if has_read and wiring(definition).others != wiring(old).others:
        yield "it reads other results of processes than it wrote down when it started"
    if definition.budget != old.budget:
        yield "its budget would be another one"
    if definition.expires != old.expires:
        yield "it would expire at another moment"
    yield from _input_misfits(run, definition)
    moved = [*_moved(old, definition)]
    yield from moved
    if not moved:
        for position, step in enumerate(run.steps):
            yield from _step_misfits(run, definition, position, step)


def _is_undone(definition: Definition, position: int, step: StepState) -> bool:
    return definition.steps[position].phase is Phase.UNDO and step.attempt > 0


def _input_misfits(run: Run, definition: Definition) -> Iterator[str]:
    try:
        inputs = check_inputs(definition, run.inputs)
    except UsageError as error:
        yield from error.problems or [str(error)]
        return
    others = [name for name in inputs if name not in run.inputs]
    if others:
        yield f"it declares inputs that the run was not given: {some(others)}"


def _moved(old: Definition, definition: Definition) -> Iterator[str]:
    gone = [step.id for step in old.steps if step.id not in definition.position]
    if gone:
        yield f"it has no {some(gone)} any more"
    moved = [
        step.id
        for position, step in enumerate(old.steps)
        if step.id in definition.position and definition.position[step.id] != position
    ]
    if moved and not gone:
        yield (
            f"{some(moved)} would stand elsewhere: what is new has to come behind all that is"
            " there, what undoes and what is done at the end included"
        )


def _step_misfits(
    run: Run, definition: Definition, position: int, step: StepState
) -> Iterator[str]:
    old, spec = run.definition.steps[position], definition.steps[position]
    if old.phase is not spec.phase or old.undoes != spec.undoes:
        yield f"{spec.id!r} would be for another part of the run"
    elif step.attempt and type(old.work) is not type(spec.work):
        yield f"{spec.id!r} has begun, and would be a child run, or no child run any more"
    elif step.passed:
        for before in sorted(set(spec.depends_on) - set(old.depends_on)):
            if before >= len(run.steps) or not run.steps[before].passed:
                yield (
                    f"{spec.id!r} is done, and would come after"
                    f" {definition.steps[before].id!r}, which is not"
                )
    elif isinstance(old.work, ChildSpec | MapSpec) and step.attempt:
        ours, theirs = step_content(run.definition, position), step_content(definition, position)
        if any(ours.get(key) != theirs.get(key) for key in ("child", "inputs", "for_each")):
            yield f"what {spec.id!r} has started has begun with what it was"


def redefined(run: Run, definition: Definition) -> Run:
    """The same run with a definition that fits; the one that is given stays as it is."""
    new = [StepState()] * (len(definition.steps) - len(run.steps))
    other = Run(
        run.id, definition, run.inputs, run.priority, run.head, [*run.steps, *new],
        dict(run.outputs), run.expires_at,
    )  # fmt: skip
    other.items, other.inbox, other.budget = run.items, run.inbox, run.budget
    return other


def told(run: Run, definition: Definition) -> JsonText:
    """What history keeps of the change, with the definition before it: so it can be followed.

    Args:
        run: Before the change.
        definition: What it runs from now on.
    """
    differs = difference(run, definition)
    data: dict[str, Json] = {
        "before": definition_hash(run.definition),
        "after": definition_hash(definition),
        "changed": list(differs.changed),
        "added": list(differs.added),
        "definition_before": definition_to_data(run.definition),
    }
    return to_json(data)


class Followed(NamedTuple):
    """Where a history leads to.

    Args:
        run: The run as it is in the end.
        failures: What of it has failed, as the store knows it; None: it goes on again.
    """

    run: Run
    failures: Mapping[int, Failing | None]


def followed(id: RunId, priority: int, definition: Definition, events: Sequence[Event]) -> Followed:
    """Follow a whole history, from one definition to the next.

    Args:
        id: The run's id.
        priority: Its priority.
        definition: What it runs in the end.
        events: Its history from the beginning.

    Raises:
        StateError: The history breaks the law.
    """
    changes = [at for at, event in enumerate(events) if event.kind is EventKind.RUN_REDEFINED]
    definitions = [*(_before(events[at]) for at in changes), definition]
    run = Run.new(id, definitions[0], {}, priority)
    failures: dict[int, Failing | None] = {}
    for begins, ends, after in zip(
        [0, *changes], [*changes, len(events)], [*definitions[1:], None], strict=True
    ):
        draft = follow(run, events[begins:ends])
        failures |= draft.failures or {}
        draft.absorb()
        if after is not None:
            run = redefined(run, after)
    return Followed(run, failures)


def _before(event: Event) -> Definition:
    data: Mapping[str, Json] = from_json(event.data or "{}")
    return definition_from_data(data["definition_before"])
