"""A run that this program drives, as it is held in memory meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kallista.core.definitions import Definition, TaskSpec
from kallista.core.encoding import definition_from_data
from kallista.core.events import StepState
from kallista.core.json_text import from_json
from kallista.core.plan import NewRun, lane
from kallista.core.run import Run
from kallista.core.states import FINISHED_RUN, HEARD, RunKind
from kallista.core.types import Json, JsonText, RunKey, TaskType, WorkerKey
from kallista.engine.heart import Heart
from kallista.engine.mailbox import Item
from kallista.store.port import RunRecord


class ActiveRun(Struct, eq=False):
    """One run, its mailbox, and the attempts that run here.

    Sets that are empty in most runs are not changed but replaced, so that all share the empty one.

    Args:
        key: The store's key.
        run: Its state, as it is written.
        version: Of the state that is written.
        epoch: In which this program drives it.
        owned: False while the plan by which it takes the run has not been written.
        parent: The run and step that started it.
        mailbox: What is to be decided next.
        looks: Steps whose child runs are to be looked at first; ``WHOLE_RUN``: everything.
        writing: Whether a plan is on its way to the store, or the run is being read.
        gone: Whether this program has let go of it.
        attempts: The task that executes each attempt here, by step.
        hearts: What running attempts say of themselves, by step; None until one does.
        heard: Steps of which the store may hold what attempts have said.
        origin: What is stored of it besides its state, as it was found or made.
        results: What brought finished steps to their end, as it is encoded, by position;
            ``WHOLE_RUN``: the run itself.
        all_results: Whether those are all there are.
        lent: Another worker drives it; this program only executes steps of it on loan.
        on_loan: Steps that other workers execute, as far as is known.
        parked: Steps that wait to be alone, and for which the run is kept.
        suspects: Workers that executed steps when the run was found: dead, or borrowers.
    """

    key: RunKey
    run: Run
    version: int
    epoch: int
    parent: tuple[RunKey, int] | None = None
    owned: bool = True
    mailbox: list[Item] = []
    looks: frozenset[int] = frozenset()
    writing: bool = False
    gone: bool = False
    attempts: dict[int, asyncio.Task[None]] = {}
    hearts: dict[int, Heart] | None = None
    heard: frozenset[int] = frozenset()
    origin: RunRecord | NewRun | None = None
    results: dict[int, JsonText] = {}
    all_results: bool = False
    lent: bool = False
    on_loan: frozenset[int] = frozenset()
    parked: frozenset[int] = frozenset()
    suspects: frozenset[WorkerKey] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether it has finished and nothing of it is in flight."""
        head = self.run.head
        return head.state in FINISHED_RUN and head.in_flight == 0

    def record(self) -> RunRecord | None:
        """What is stored of it now, if its origin is known."""
        origin, head, steps = self.origin, self.run.head, tuple(self.run.steps)
        if origin is None:
            return None
        status = steps[0].status if self.run.kind is RunKind.TASK else head.state
        if isinstance(origin, RunRecord):
            return replace(origin, status=status, head=head, steps=steps, version=self.version)
        return RunRecord(  # by position: its names cost 1 µs
            self.key,
            origin.id,
            origin.kind,
            origin.name,
            status,
            origin.definition,
            origin.definition_content,
            origin.content,
            origin.inputs,
            origin.parent,
            None,  # parent_id
            self.key,  # root
            origin.schedule,
            origin.priority,
            origin.tags,
            origin.created_at,
            None,  # owner
            self.epoch,
            self.version,
            head,
            steps,
            origin.forked_from,
        )


class DefinitionCache:
    """Definitions by hash, read once; the least recently used are forgotten."""

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._known: dict[str, Definition] = {}

    def get(self, hash: str, content: JsonText) -> Definition:
        """The definition of this hash, whose content this is."""
        known = self._known.pop(hash, None) or definition_from_data(from_json(content))
        self.put(hash, known)
        return known

    def known(self, hash: str) -> Definition | None:
        """The definition of this hash, if it was used lately; also from other threads."""
        return self._known.get(hash)

    def put(self, hash: str, definition: Definition) -> None:
        """Remember a definition that need not be read, for it was described here."""
        if hash not in self._known:
            while len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
            self._known[hash] = definition


def place_of(run: Run, position: int) -> TaskType:
    """The place that an attempt of a step takes; only tasks take one."""
    work = run.definition.steps[position].work
    assert isinstance(work, TaskSpec), "only tasks take a place"
    return lane(work.type, work.queue)


def has_begun(record: RunRecord) -> bool:
    """Whether anything of a stored run has ever begun."""
    return any(step.attempt for step in record.steps)


def run_of(record: RunRecord, definition: Definition) -> Run:
    """A stored run, ready to be decided on; outputs that references read are not yet filled in."""
    inputs: Mapping[str, Json] = from_json(record.inputs)
    expires = definition.expires
    return Run(
        record.id, definition, inputs, record.priority, record.head, list(record.steps), None,
        None if expires is None else expires.moment(record.created_at),
    )  # fmt: skip


def maybe_heard(steps: Sequence[StepState]) -> frozenset[int]:
    """The steps that attempts have left something for: those that were begun, and are not over."""
    heard: list[int] = []
    for position, step in enumerate(steps):  # at each claim, and mostly of one step
        if step.attempt and step.status in HEARD:
            heard.append(position)
    return frozenset(heard)
