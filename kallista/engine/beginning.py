"""Begins what a claim takes in the claim's own transaction, so that both cost one commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kallista.core.commands import Dispatch
from kallista.core.decide import NoCapacity, decide
from kallista.core.plan import WAKE, Entry, Fence, Plan, is_alone
from kallista.core.run import Draft, Run
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunKey, TaskType, WorkerKey
from kallista.core.wiring import needs_facts
from kallista.core.writing import plan_of
from kallista.engine.active import DefinitionCache, run_of
from kallista.engine.slots import Slots
from kallista.store.port import ClaimedEntry, RunRecord


class Beginning:
    """What the store asks during one claim; it may be on another thread.

    Only what needs nothing but the claimed record is begun here: one task of a run that nobody
    drove and nobody executed anything of, whose config reads no result, and to which nothing can
    have been sent. All else is left to the driver. Single tasks that come one after another and are
    at the same point begin alike: that is decided once for all of them.

    Args:
        slots: Who gets a place; what is begun holds one.
        definitions: Definitions already read.
        now: The moment of the claim.
    """

    def __init__(self, slots: Slots, definitions: DefinitionCache, now: Micros) -> None:
        self._slots = slots
        self._definitions = definitions
        self._now = now
        self.begun: dict[RunKey, tuple[RunRecord, Run, Draft]] = {}
        """What was begun, as it was before, and what was decided on it or on one like it."""
        self._places: list[TaskType] = []
        self._last: _Begun | None = None

    def __call__(self, entries: Sequence[ClaimedEntry]) -> Sequence[Plan]:
        """The plans that begin what was claimed."""
        self.undo()
        lines = Counter(claimed.run for claimed in entries)
        return [
            plan
            for claimed in entries
            if lines[claimed.run] == 1 and (plan := self._plan(claimed)) is not None
        ]

    def undo(self) -> None:
        """None of it was written: its places are free again."""
        for place in self._places:
            self._slots.give_back(place, tell=False)
        self._places.clear()
        self.begun.clear()

    def _plan(self, claimed: ClaimedEntry) -> Plan | None:
        record, entry = claimed.record, claimed.entry
        if record is None or entry.type == WAKE or is_alone(entry.type):
            return None
        definition = self._definitions.known(record.definition)
        if definition is None or needs_facts(definition) or not _is_simple(record):
            return None
        place = entry.type  # it is not alone
        if not self._slots.take(place):
            return None
        run, fence = run_of(record, definition), Fence(record.version, record.epoch)
        last = self._last
        if last is not None and last.is_like(record, entry):
            draft = last.draft
            plan = replace(last.plan, run=record.key, fence=fence)
        else:
            dispatch = Dispatch(entry.step, entry.ready_at)
            draft = decide(run, [dispatch], self._now, _Granted(self._slots))
            if draft.launched != [entry.step]:
                self._slots.give_back(place, tell=False)
                return None
            plan = plan_of(draft, record.key, fence, None)
            self._last = _Begun(record, entry, draft, plan)
        self._places.append(place)
        self.begun[record.key] = record, run, draft
        return plan


class _Begun(NamedTuple):
    """What was decided last, and on what."""

    record: RunRecord
    entry: Entry
    draft: Draft
    plan: Plan

    def is_like(self, record: RunRecord, entry: Entry) -> bool:
        """Whether another run begins as this one: what else there is of it decides nothing."""
        mine = self.record
        return (
            record.kind is RunKind.TASK
            and record.definition == mine.definition
            and entry == self.entry
            and record.head == mine.head
            and record.steps == mine.steps
            and record.priority == mine.priority
            and self.draft.run.definition.steps[0].when is None
            and self.draft.run.expires_at is None
        )


class _Granted(NoCapacity):
    """The claimed task has its place; nothing else starts."""

    def __init__(self, slots: Slots) -> None:
        self.worker: WorkerKey = slots.worker


def _is_simple(record: RunRecord) -> bool:
    """Whether no other run, and no other worker, has to be looked at first."""
    nobody = all(step.worker is None for step in record.steps)
    return record.kind is not RunKind.PROCESS and nobody
