"""Takes due work from the queue whenever there is room for it, and hands it to the driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from kallista.core.commands import Dispatch, Due, LinesLost, Stimulus
from kallista.core.plan import WAKE, WHOLE_RUN, Entry, is_alone, type_of_lane
from kallista.core.types import Micros, RunKey
from kallista.engine.active import DefinitionCache
from kallista.engine.alarm import Alarm
from kallista.engine.beginning import Beginning
from kallista.engine.borrower import Borrower
from kallista.engine.clock import Clock
from kallista.engine.driver import Driver
from kallista.engine.slots import CLAIM_AHEAD, Slots
from kallista.errors import LeaseLost, StoreError, StoreUncertainError
from kallista.store.port import ClaimedEntry, ClaimRequest, Store


class Dispatcher:
    """The service that claims.

    Args:
        store: Whose queue it is.
        clock: What is due.
        slots: What there is room for.
        definitions: Definitions already read.
        driver: Who gets what was claimed.
        borrower: Who gets the steps of runs that other workers drive.
        on_refused: Called when nothing is given to this worker, for it counts as dead.
        ageing: For how long a task has to wait to be as urgent as if its priority were higher by
            one; None: it never is.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        slots: Slots,
        definitions: DefinitionCache,
        driver: Driver,
        borrower: Borrower,
        on_refused: Callable[[], None],
        ageing: Micros | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._slots = slots
        self._definitions = definitions
        self._driver = driver
        self._borrower = borrower
        self._on_refused = on_refused
        self._ageing = ageing
        self.alarm = Alarm(clock)
        self._in_doubt = False
        self._one_at_a_time = asyncio.Lock()
        self.within: RunKey | None = None
        """The root of the only tree of runs to work on; None: all runs."""

    def queued(self, ready_at: Micros, priority: int) -> None:
        """Something was queued for a moment."""
        now, claimed_at = self._clock.now(), Micros(ready_at - CLAIM_AHEAD // 2)
        if ready_at <= now:
            self._slots.noted(priority)
        if claimed_at <= now:
            self.alarm.ring()
        else:
            self.alarm.set(claimed_at)

    async def once(self) -> Micros | None:
        """One claim, handed over; returns when the next entry is due."""
        async with self._one_at_a_time:
            return await self._claim()

    async def finished(self) -> None:
        """Wait for the claim that is under way, so that nothing it begins is left to itself."""
        async with self._one_at_a_time:
            return

    async def _claim(self) -> Micros | None:
        if self._in_doubt:
            await self._driver.look_after_all()
            self._borrower.alarm.ring()
            self._answered()
        self._driver.claim_began()
        self._in_doubt = True
        given_back = self._slots.given_back
        request = self._request()
        beginning = Beginning(self._slots, self._definitions, request.now)
        try:
            claim = await self._store.claim(request, beginning)
        except LeaseLost:
            beginning.undo()
            self._answered()
            self._on_refused()
            return None
        except StoreUncertainError:
            beginning.undo()
            raise
        except StoreError:
            beginning.undo()
            self._answered()
            raise
        if not claim.entries:
            beginning.undo()  # what an earlier try of this claim had begun, others have taken since
        self._slots.waiting = claim.waiting
        self._hand_over(claim.entries, beginning)
        self._answered()
        if claim.waiting is not None and (request.ahead or self._slots.given_back != given_back):
            self.alarm.ring()  # there are places kept free, or freed while the claim was under way
        return self._claims_again_at(claim.next_due, request)

    def _claims_again_at(self, next_due: Micros | None, request: ClaimRequest) -> Micros | None:
        """Amid the time by which a claim is ahead: then some share it, and some time is left.

        What was in reach by its moment and was not taken is nothing that may be taken ahead.
        """
        if next_due is None or next_due <= request.now + request.ahead:
            return next_due
        return Micros(next_due - request.ahead // 2)

    def _request(self) -> ClaimRequest:
        slots = self._slots
        request = ClaimRequest(
            slots.worker,
            self._clock.now(),
            slots.free,
            slots.limits(),
            self.within,
            ageing=self._ageing,
        )
        if not slots.spare:
            return request
        return request._replace(slots=slots.spare, ahead=CLAIM_AHEAD, punctual=slots.punctual())

    def _answered(self) -> None:
        """What the last claim took is known; while it is not, no run is let go of."""
        self._in_doubt = False
        self._driver.claim_ended()

    def _hand_over(self, entries: Sequence[ClaimedEntry], beginning: Beginning) -> None:
        by_run: dict[RunKey, list[ClaimedEntry]] = {}
        for claimed in entries:
            begun = beginning.begun.get(claimed.run)
            if begun is not None:
                self._driver.begun(*begun)
            elif claimed.borrowed:
                self._wish(claimed)
            else:
                by_run.setdefault(claimed.run, []).append(claimed)
        last = {claimed.run for claimed in entries if is_alone(claimed.entry.type)}
        for run, claimed_entries in sorted(by_run.items(), key=lambda item: item[0] in last):
            self._give(run, claimed_entries)

    def _wish(self, claimed: ClaimedEntry) -> None:
        """Hold a place for a step until its driver has answered, if one is left."""
        type = type_of_lane(claimed.entry.type)
        place = type if self._slots.take(type) else None
        self._borrower.wish(claimed.run, claimed.entry.step, place)

    def _give(self, run: RunKey, entries: Sequence[ClaimedEntry]) -> None:
        looks = [claimed.entry.step for claimed in entries if claimed.entry.type == WAKE]
        alone = [claimed.entry for claimed in entries if self._may_park(claimed.entry)][:1]
        stimuli = [
            self._stimulus(claimed.entry) for claimed in entries if claimed.entry not in alone
        ]
        parked = [entry.step for entry in alone]
        record, active = entries[0].record, self._driver.get(run)
        if record is not None:
            self._driver.adopt(record, stimuli, looks, parked)
        elif active is not None:
            self._driver.post_all(active, stimuli, looks, parked)
        else:
            self._free(stimuli, [claimed for claimed in entries if claimed.entry not in alone])
            self._driver.take_up(run, [], {WHOLE_RUN})
            return
        for entry in alone:
            self._park(run, entry)

    def _may_park(self, entry: Entry) -> bool:
        return is_alone(entry.type) and self._slots.has_room(type_of_lane(entry.type))

    def _park(self, run: RunKey, entry: Entry) -> None:
        """Let a suspect begin once nothing else runs here."""
        type = type_of_lane(entry.type)
        begin = partial(self._driver.unpark, run, Dispatch(entry.step, entry.ready_at), type)
        self._slots.reserve_alone(type, begin)

    def _stimulus(self, entry: Entry) -> Stimulus:
        """What an entry says; a task's comes with a place, unless none is left meanwhile."""
        if entry.type == WAKE:
            return Due(entry.step)
        type = type_of_lane(entry.type)
        if is_alone(entry.type) or not self._slots.take(type):
            return LinesLost()
        return Dispatch(entry.step, entry.ready_at)

    def _free(self, stimuli: Sequence[Stimulus], entries: Sequence[ClaimedEntry]) -> None:
        for stimulus, claimed in zip(stimuli, entries, strict=True):
            if isinstance(stimulus, Dispatch):
                self._slots.give_back(type_of_lane(claimed.entry.type))
