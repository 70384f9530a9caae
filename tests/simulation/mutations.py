"""Mistakes made on purpose: each breaks one promise, by replacing a piece of production code.

A simulation that does not notice them proves nothing, so the tests let it look for each.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from kallista.core import dependencies, firing, run
from kallista.core.decide import items, moments, turns
from kallista.core.definitions import MapSpec
from kallista.core.dependencies import DependencyPolicy, Verdict
from kallista.core.firing import Step
from kallista.core.inbox import InboxDraft
from kallista.core.items import Items
from kallista.core.plan import WAKE, Fence, Plan
from kallista.core.run import Draft, Run
from kallista.core.schedules import Overlap
from kallista.core.states import ProcessStatus
from kallista.core.types import RunKey
from kallista.engine.driver import Driver
from kallista.engine.facts import Facts
from kallista.engine.slots import Slots
from kallista.store.memory import MemoryStore
from kallista.store.memory_gates import Gates
from kallista.store.port import Committed

Plant = Callable[[pytest.MonkeyPatch], None]


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The store writes a plan whatever version and epoch it was decided on."""
    write = MemoryStore._commit

    def commit(self: MemoryStore, plan: Plan) -> Committed:
        there = self._state.runs.get(plan.run)
        if there is not None:
            epoch = None if plan.fence.epoch is None else there.epoch
            plan = msgspec.structs.replace(plan, fence=Fence(there.version, epoch))
        return write(self, plan)

    patch.setattr(MemoryStore, "_commit", commit)


def lost_wake_up(patch: pytest.MonkeyPatch) -> None:
    """Nobody who waits for a place is told that one is free."""
    begin = Slots.__init__

    def init(self: Slots, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._on_free = lambda: None

    patch.setattr(Slots, "__init__", init)


def early_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """A result counts as soon as it has been sent to the store."""
    begin = Driver.__init__

    def init(self: Driver, store: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, _Hasty(store), *args, **kwargs)

    patch.setattr(Driver, "__init__", init)


class _Hasty:
    """A store that answers before it has written."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, plan: Plan) -> asyncio.Future[Committed]:
        written = self._store.commit(plan)
        written.add_done_callback(lambda answer: answer.exception())
        answered: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        answered.set_result(Committed(plan.fence.version + 1))
        return answered


def forgotten_timer(patch: pytest.MonkeyPatch) -> None:
    """Who takes over from a dead worker does not queue what sleeps, or has a time limit."""
    queue = moments.queue_again

    def queue_again(draft: Draft) -> None:
        queue(draft)
        draft.enqueue[:] = [entry for entry in draft.enqueue if entry.type != WAKE]

    patch.setattr(moments, "queue_again", queue_again)


def unrestored_limit(patch: pytest.MonkeyPatch) -> None:
    """An attempt that is taken up again after a commit in doubt takes no place."""

    def launch_late(self: Driver, active: Any, position: int) -> None:
        self.attempts.launch(active, position)

    patch.setattr(Driver, "_launch_late", launch_late)


def overlapping_firings(patch: pytest.MonkeyPatch) -> None:
    """A firing starts whatever has become of the one before."""
    start = Step.START
    patch.setattr(firing, "_WHEN_BUSY", dict.fromkeys(Overlap, start))


def clocks_that_go_on(patch: pytest.MonkeyPatch) -> None:
    """A pause that stops the clocks moves no moment of a step."""
    patch.setattr(run, "moved", lambda step, by: step)


def one_item_too_many(patch: pytest.MonkeyPatch) -> None:
    """A run that goes through a list counts what is under way once too little after a retry."""
    begin = items._begun

    def begun(
        draft: Draft, at: int, mapped: MapSpec, items: Items, attempt: int, again: Sequence[int]
    ) -> Items:
        wider = msgspec.structs.replace(mapped, max_parallel=mapped.max_parallel + (attempt > 1))
        return begin(draft, at, wider, items, attempt, again)

    patch.setattr(items, "_begun", begun)


def a_branch_too_many(patch: pytest.MonkeyPatch) -> None:
    """What a switch has not chosen runs all the same."""
    patch.setattr(turns, "is_chosen", lambda draft, position, switch: True)


def impatient_processes(patch: pytest.MonkeyPatch) -> None:
    """A process waits for no other one that exists."""
    decide = dependencies.verdict_on

    def verdict_on(state: ProcessStatus | None, policy: DependencyPolicy) -> Verdict:
        return decide(state, policy) if state is None else Verdict.GO_ON

    patch.setattr(dependencies, "verdict_on", verdict_on)


def unread_inbox(patch: pytest.MonkeyPatch) -> None:
    """Who takes on a run does not look at what was sent to it."""

    async def fill_inbox(self: Facts, key: RunKey, run: Run) -> None:
        """Read nothing."""

    patch.setattr(Facts, "fill_inbox", fill_inbox)


def forgotten_signals(patch: pytest.MonkeyPatch) -> None:
    """A signal that is sent once more is taken for a new one."""
    patch.setattr(InboxDraft, "find", lambda self, id: None)


def uncounted_attempts(patch: pytest.MonkeyPatch) -> None:
    """Whoever claims what is subject to limits takes nobody else into account."""
    patch.setattr(Gates, "held", property(lambda gates: Counter()))


def forgotten_successor(patch: pytest.MonkeyPatch) -> None:
    """Nobody follows when a place of a limit is free."""
    patch.setattr(MemoryStore, "_follow", lambda store, names, at: None)


MUTATIONS: Mapping[str, Plant] = {
    "a missing fence": no_fence,
    "a lost wake-up": lost_wake_up,
    "a result acknowledged before its commit": early_acknowledgement,
    "a timer forgotten at recovery": forgotten_timer,
    "a limit not restored": unrestored_limit,
    "firings that overlap": overlapping_firings,
    "clocks that go on": clocks_that_go_on,
    "an item too many under way": one_item_too_many,
    "a branch that was not chosen": a_branch_too_many,
    "a process that does not wait for others": impatient_processes,
    "an inbox that is not read": unread_inbox,
    "a repeat that counts twice": forgotten_signals,
    "attempts that are not counted": uncounted_attempts,
    "a place that nobody takes again": forgotten_successor,
}
"""The mistakes, by what they are called."""
