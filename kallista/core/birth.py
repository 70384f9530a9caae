"""How a run comes to be: what its creation writes, started in the same breath if asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import astuple, replace

from kallista.core.commands import Command, Due, Verb
from kallista.core.decide import NO_CAPACITY, Capacity, decide, queue_step
from kallista.core.decide.expiry import queue_expiry
from kallista.core.decide.limiting import born_with_gates
from kallista.core.definitions import Definition, TaskSpec
from kallista.core.durations import to_datetime
from kallista.core.encoding import definition_hash, definition_text
from kallista.core.forking import Fork, begin
from kallista.core.ids import content_hash
from kallista.core.json_text import EMPTY, to_json
from kallista.core.plan import WAKE, WHOLE_RUN, Entry, NewRun, SameKey
from kallista.core.run import Child, Draft, Run
from kallista.core.states import EventKind, RunKind
from kallista.core.types import (
    Json,
    JsonText,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
    StepId,
    WorkerKey,
)
from kallista.errors import UsageError


class SameAgain(Struct, frozen=True, gc=False):
    """What makes requests the same: a key, and for how long after the first one."""

    key: str
    window: Micros


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
        fork: Where it comes from, if it is a fork.
        driven: Of a child: which attempt of the parent's step wants it.
        deduplicate: What makes it the same as another one.
    """

    id: RunId
    definition: Definition
    inputs: Mapping[str, Json]
    priority: int
    tags: tuple[str, ...]
    ready_at: Micros | None = None
    parent: tuple[RunKey, int] | None = None
    schedule: ScheduleId | None = None
    fork: Fork | None = None
    driven: int = 1
    deduplicate: SameAgain | None = None


def created(wanted: Wanted, now: Micros) -> Draft:
    """The draft of a run that waits to be started: PENDING, without a history."""
    run = _new(wanted, now)
    if run.expires_at is None:
        return Draft(run)
    return decide(run, [Due(WHOLE_RUN)], now)


def _new(wanted: Wanted, now: Micros) -> Run:
    definition = wanted.definition
    expires = None if definition.expires is None else definition.expires.moment(now)
    return Run.new(wanted.id, definition, wanted.inputs, wanted.priority, expires)


def started(wanted: Wanted, now: Micros, capacity: Capacity = NO_CAPACITY) -> Draft:
    """The draft of a run that is created and started at once.

    A run whose first steps are child runs cannot create those before it exists itself, and one
    that has nothing to do cannot tell other runs that wait for its end; it only opens, and whoever
    claims it looks at it and goes on.

    Raises:
        UsageError: It would expire before it is due.
    """
    run = _new(wanted, now)
    draft = _started(run, wanted, now, capacity)
    if run.expires_at is not None:
        queue_expiry(draft)
    return draft


def forked(wanted: Wanted, fork: Fork, now: Micros) -> Draft:
    """The draft of a run that is created as a fork of another one, and started at once."""
    draft = Draft(_new(wanted, now))
    begin(draft, fork, now)
    draft.absorb()
    begun = _started(draft.run, wanted, now, NO_CAPACITY)
    if draft.run.expires_at is not None:
        queue_expiry(begun)
    begun.events[:0] = draft.events
    if draft.failures is not None:
        begun.failures = {**draft.failures, **(begun.failures or {})}
    return begun


def _started(run: Run, wanted: Wanted, now: Micros, capacity: Capacity) -> Draft:
    driven = wanted.driven if wanted.driven > 1 else 0  # a run is driven by the first unless told
    if wanted.ready_at is not None and wanted.ready_at > now:
        _check_expiry(run, wanted.ready_at)
        draft = _opened(run, now, driven)
        queue_step(draft, 0, wanted.ready_at, now)
        return draft
    draft = decide(run, [Command(Verb.START, driven=driven)], now, capacity)
    is_awaited = draft.announce or (draft.wake_parent and wanted.parent is not None)
    if not draft.children and not is_awaited:
        return draft
    draft = _opened(run, now, driven)
    draft.queue(Entry(WAKE, run.priority, now))
    return draft


def _check_expiry(run: Run, ready_at: Micros) -> None:
    if run.expires_at is not None and run.expires_at <= ready_at:
        at, due = to_datetime(run.expires_at), to_datetime(ready_at)
        raise UsageError(
            f"{run.id!r} would expire at {at:%Y-%m-%d %H:%M:%S} UTC, and it is due only at"
            f" {due:%Y-%m-%d %H:%M:%S} UTC; let it expire later"
        )


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
    forked_from = None if wanted.fork is None else (wanted.fork.source, wanted.fork.task)
    run = NewRun(  # by position: 21 names cost 1 µs
        wanted.id,
        definition.kind,
        _name(wanted),
        definition_id,
        definition_text(definition),
        content_of(
            definition.kind, definition_id, wanted.inputs, wanted.priority, wanted.tags, forked_from
        ),
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
        () if draft.failures is None else tuple(draft.failures.items()),
        None if wanted.deduplicate is None else _same(wanted, wanted.deduplicate, now),
        forked_from,
        tuple(definition.budget.items()) if definition.budget else (),
    )
    return born_with_gates(run, draft) if definition.limited else run


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
            draft = _drafted(wanted, now, start=start)
            run = newborn(wanted, draft, now)
            if alike is not None:
                models[alike] = run
        else:
            run = replace(
                model,
                id=wanted.id,
                name=_name(wanted),
                inputs=_inputs(wanted),
                content=content_of(
                    model.kind, model.definition, wanted.inputs, wanted.priority, wanted.tags, None
                ),
                same=None if wanted.deduplicate is None else _same(wanted, wanted.deduplicate, now),
            )
        runs.append(run)
    return runs


def _drafted(wanted: Wanted, now: Micros, *, start: bool) -> Draft:
    if wanted.fork is not None:
        return forked(wanted, wanted.fork, now)
    return started(wanted, now) if start else created(wanted, now)


def _alike(wanted: Wanted) -> object:
    """Equal for runs that differ in nothing that decides how they begin; None where all does.

    Steps that start child runs name those after the run; conditions and the keys of limits may
    read its inputs.
    """
    definition = wanted.definition
    if wanted.fork is not None or not _begins_alike(definition):
        return None
    return (
        definition, wanted.priority, wanted.tags, wanted.ready_at, wanted.parent, wanted.schedule,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _begins_alike(definition: Definition) -> bool:
    own = any(step.when or not isinstance(step.work, TaskSpec) for step in definition.steps)
    return not own and not definition.limited


def content_of(
    kind: RunKind,
    definition: str,
    inputs: Mapping[str, Json],
    priority: int,
    tags: Sequence[str],
    forked_from: tuple[RunId, StepId] | None,
) -> str:
    """The hash of a request: another one for a run that was asked for otherwise.

    Args:
        kind: Of what it is a run.
        definition: The hash of what it runs.
        inputs: Its arguments.
        priority: Its priority.
        tags: Its tags.
        forked_from: Where it comes from, if it is a fork.
    """
    content: list[object] = [kind.value, definition, inputs, priority, tags]
    if forked_from is not None:
        content += ["fork", *forked_from]
    return content_hash(content)


def _same(wanted: Wanted, again: SameAgain, now: Micros) -> SameKey:
    """What makes later requests the same: the key, for this task type or name alone."""
    definition, (key, window) = wanted.definition, astuple(again)
    what = definition.name
    if definition.kind is RunKind.TASK:
        work = definition.steps[0].work
        assert isinstance(work, TaskSpec), "a single task is a task"
        what = work.type
    return SameKey(f"{definition.kind.value} {what}", key, Micros(now + window))


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
