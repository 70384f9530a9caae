"""How a run comes to be: what its creation writes, started in the same breath if asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from kallista.core.commands import Command, Verb
from kallista.core.decide import NO_CAPACITY, Capacity, decide, queue_step
from kallista.core.definitions import Definition, TaskSpec
from kallista.core.encoding import definition_hash, definition_text
from kallista.core.ids import content_hash
from kallista.core.json_text import EMPTY, to_json
from kallista.core.plan import WAKE, Entry, NewRun
from kallista.core.run import Child, Draft, Run
from kallista.core.states import EventKind
from kallista.core.types import Json, JsonText, Micros, RunId, RunKey, ScheduleId, WorkerKey


class Wanted(Struct, frozen=True, gc=False):
    """A run that is to be created.

    Args:
        id: Its id.
        definition: What it runs.
        inputs: Its arguments.
        priority: Higher runs first.
        tags: To find it by.
        ready_at: Of a single task: from when it may run; None: now.
        parent: The run and the step that start it.
        schedule: The schedule whose firing it is.
        driven: Of a child: which attempt of the parent's step wants it.
    """

    id: RunId
    definition: Definition
    inputs: Mapping[str, Json]
    priority: int
    tags: tuple[str, ...]
    ready_at: Micros | None = None
    parent: tuple[RunKey, int] | None = None
    schedule: ScheduleId | None = None
    driven: int = 1


def created(wanted: Wanted) -> Draft:
    """The draft of a run that waits to be started: PENDING, without a history."""
    return Draft(_new(wanted))


def _new(wanted: Wanted) -> Run:
    return Run.new(wanted.id, wanted.definition, wanted.inputs, wanted.priority)


def started(wanted: Wanted, now: Micros, capacity: Capacity = NO_CAPACITY) -> Draft:
    """The draft of a run that is created and started at once.

    A run whose first steps are child runs cannot create those before it exists itself, and one that
    has nothing to do cannot tell those who wait for its end; it only opens, and whoever claims it
    looks at it and goes on.
    """
    run = _new(wanted)
    driven = wanted.driven if wanted.driven > 1 else 0  # a run is driven by the first unless told
    if wanted.ready_at is not None and wanted.ready_at > now:
        draft = _opened(run, now, driven)
        queue_step(draft, 0, wanted.ready_at, now)
        return draft
    draft = decide(run, [Command(Verb.START, driven=driven)], now, capacity)
    if not draft.children and not draft.wake_parent:
        return draft
    draft = _opened(run, now, driven)
    draft.queue(Entry(WAKE, run.priority, now))
    return draft


def _opened(run: Run, now: Micros, driven: int) -> Draft:
    draft = Draft(run)
    draft.record(EventKind.RUN_STARTED, now, attempt=driven)
    if draft.head.deadline_at is not None:
        draft.queue(Entry(WAKE, run.priority, draft.head.deadline_at))
    return draft


def newborn(wanted: Wanted, draft: Draft, now: Micros, owner: WorkerKey | None = None) -> NewRun:
    """What the store writes of a run that is to exist.

    Args:
        wanted: The run.
        draft: What has happened to it so far.
        now: The moment.
        owner: Who drives it from the start; None: whoever claims it.
    """
    definition = wanted.definition
    definition_id = definition_hash(definition)
    return NewRun(  # by position: 18 names cost 1 µs
        wanted.id,
        definition.kind,
        _name(wanted),
        definition_id,
        definition_text(definition),
        _content(wanted, definition_id),
        _inputs(wanted),
        wanted.parent,
        wanted.schedule,
        wanted.priority,
        wanted.tags,
        now,
        definition.dependencies,
        owner,
        draft.head,
        draft.steps(),
        tuple(draft.events),
        tuple(draft.enqueue),
    )


def newborn_all(all_wanted: Sequence[Wanted], now: Micros, *, start: bool) -> list[NewRun]:
    """What the store writes of runs that are to exist; if they start, their first steps are queued.

    Runs that are alike but for ids and inputs are born alike; that is decided once for all of them.
    """
    models: dict[object, NewRun] = {}
    runs: list[NewRun] = []
    for wanted in all_wanted:
        alike = _alike(wanted)
        model = None if alike is None else models.get(alike)
        if model is None:
            draft = started(wanted, now) if start else created(wanted)
            run = newborn(wanted, draft, now)
            if alike is not None:
                models[alike] = run
        else:
            run = replace(
                model,
                id=wanted.id,
                name=_name(wanted),
                inputs=_inputs(wanted),
                content=_content(wanted, model.definition),
            )
        runs.append(run)
    return runs


def _alike(wanted: Wanted) -> object:
    """Equal for runs that differ in nothing that decides how they begin; None where all does.

    Steps that start child runs name those after the run; conditions may read its inputs.
    """
    definition = wanted.definition
    if not _begins_alike(definition):
        return None
    return (
        definition, wanted.priority, wanted.tags, wanted.ready_at, wanted.parent, wanted.schedule,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _begins_alike(definition: Definition) -> bool:
    return not any(step.when or not isinstance(step.work, TaskSpec) for step in definition.steps)


def _content(wanted: Wanted, definition: str) -> str:
    kind = wanted.definition.kind.value
    return content_hash([kind, definition, wanted.inputs, wanted.priority, wanted.tags])


def _inputs(wanted: Wanted) -> JsonText:
    return to_json(dict(wanted.inputs)) if wanted.inputs else EMPTY


def _name(wanted: Wanted) -> str:
    """What people call the run: as its definition, or as what it is asked for by."""
    return wanted.definition.name or wanted.schedule or wanted.id


def newborn_child(child: Child, parent: RunKey, priority: int, now: Micros) -> NewRun:
    """What the store writes of a child run, which starts as soon as it exists."""
    wanted = Wanted(
        id=child.id,
        definition=child.definition,
        inputs=child.inputs,
        priority=child.definition.priority or priority,
        tags=child.definition.tags,
        parent=(parent, child.step),
        driven=child.attempt,
    )
    return newborn(wanted, started(wanted, now), now)
