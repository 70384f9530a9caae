"""Steps of processes that this program executes for the programs that drive them.

A claim may take the task of a process although another worker drives it: that is a wish. The
driver grants it by starting the attempt in this worker's name; from then on the attempt runs here
as any other does, and its ending is reported to the store, where the driver folds it. Whatever is
on loan is looked at again at every ring, so a lost call costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from kallista.core.commands import AttemptEnded
from kallista.core.outcomes import HandedBack, Outcome, outcome_text
from kallista.core.types import Micros, RunKey, TaskType
from kallista.engine.active import ActiveRun, DefinitionCache, place_of, run_of
from kallista.engine.alarm import TRY_AGAIN_AFTER, Alarm
from kallista.engine.clock import Clock, pass_by
from kallista.engine.driver import Attempts
from kallista.engine.facts import Facts
from kallista.engine.slots import Slots
from kallista.errors import LeaseLost, NotFoundError, StoreError
from kallista.store.port import Loan, RunRecord, Store

_log = logging.getLogger("kallista.engine")

_Place = tuple[RunKey, int]
"""A run and a step of it."""


class Borrower:
    """The service that looks after what is on loan here.

    Args:
        store: Where loans are kept.
        clock: What time it is.
        slots: Where a place is held for each wish and each attempt.
        facts: What earlier steps returned.
        definitions: Definitions already read.
        on_reported: Called when an ending has been written: this program may drive the run by now.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        slots: Slots,
        facts: Facts,
        definitions: DefinitionCache,
        on_reported: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._slots = slots
        self._facts = facts
        self._definitions = definitions
        self._on_reported = on_reported
        self._wishes: dict[_Place, TaskType | None] = {}
        self._running: dict[_Place, ActiveRun] = {}
        self._ended: dict[_Place, int] = {}
        self._reports: set[asyncio.Task[None]] = set()
        self.alarm = Alarm(clock)
        self.attempts: Attempts

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on loan here, as far as is known."""
        return not (self._wishes or self._running or self._ended)

    def wish(self, run: RunKey, step: int, taken: TaskType | None) -> None:
        """A claim has made a loan of this step.

        Args:
            run: The run that another worker drives.
            step: The step of it.
            taken: The place that is taken for it; None: there was none left.
        """
        place = (run, step)
        before = self._wishes.get(place)  # the loan before, whose end nobody has seen yet
        self._wishes[place] = taken
        if before is not None:
            self._slots.give_back(before)
        self.alarm.ring()

    async def once(self) -> None:
        """Begin what was granted, stop what was recalled, forget what is not on loan any more."""
        known = {*self._wishes, *self._running, *self._ended}
        loans = {
            (loan.run, loan.step): loan for loan in await self._store.borrowed(self._slots.worker)
        }
        for place in known:
            if place not in loans:
                self._drop(place)
        granted = [loan for loan in loans.values() if self._is_new(loan)]
        for loan in loans.values():
            self._follow(loan)
        by_run: dict[RunKey, list[Loan]] = {}
        for loan in granted:
            by_run.setdefault(loan.run, []).append(loan)
        for run, of_run in by_run.items():
            record = await self._store.load(run)
            if record is not None:
                await self._begin(record, of_run)

    def ended(self, active: ActiveRun, ended: AttemptEnded) -> None:
        """An attempt that ran here on loan is over."""
        place = (active.key, ended.step)
        if self._running.get(place) is active:
            del self._running[place]
            self._report(place, ended.attempt, ended.outcome)

    def abandon(self) -> None:
        """This worker was taken for dead: nothing is on loan here any more."""
        for place in {*self._wishes, *self._running, *self._ended}:
            self._drop(place)

    async def drain(self, longest: Micros) -> None:
        """Wait until all endings are written; what a failing store has not taken is left."""

        def give_up() -> None:
            _log.error("%d attempts could not be reported", len(self._reports))
            for report in self._reports:
                report.cancel()

        timer = self._clock.call_at(Micros(self._clock.now() + longest), give_up)
        await asyncio.gather(*self._reports, return_exceptions=True)
        timer.cancel()

    def _is_new(self, loan: Loan) -> bool:
        """Whether its attempt has to begin here."""
        place = (loan.run, loan.step)
        open = loan.attempt is not None and loan.report is None and not loan.lost
        return open and place not in self._running and self._ended.get(place) != loan.attempt

    def _follow(self, loan: Loan) -> None:
        place = (loan.run, loan.step)
        if loan.report is not None or loan.lost:
            self._ended.pop(place, None)
        elif loan.attempt is None:
            self._wishes.setdefault(place, None)  # a claim that was reported as failed
        active = self._running.get(place)
        if active is not None and loan.stop:
            self.attempts.stop(active, loan.step)

    def _drop(self, place: _Place) -> None:
        """It is not on loan any more: the driver has refused it, or has taken it back."""
        self._ended.pop(place, None)
        wish = self._wishes.pop(place, None)
        if wish is not None:
            self._slots.give_back(wish)
        active = self._running.pop(place, None)
        if active is not None:
            self.attempts.stop(active, place[1], lost=True)

    async def _begin(self, record: RunRecord, loans: Sequence[Loan]) -> None:
        definition = self._definitions.get(record.definition, record.definition_content)
        run = run_of(record, definition)
        active = ActiveRun(record.key, run, record.version, record.epoch, owned=False, lent=True)
        await self._facts.fill_outputs(record.key, run)
        for loan in loans:
            place = (loan.run, loan.step)
            if run.steps[loan.step].attempt != loan.attempt or not self._is_new(loan):
                continue  # it has changed while the run was read; the next look tells
            taken = self._wishes.pop(place, None) is not None
            if not taken and not self._slots.take(place_of(run, loan.step)):
                self._report(place, loan.attempt, HandedBack())
                continue
            self._running[place] = active
            self.attempts.launch(active, loan.step)

    def _report(self, place: _Place, attempt: int, outcome: Outcome) -> None:
        self._ended[place] = attempt
        task = asyncio.get_running_loop().create_task(self._tell(place, attempt, outcome))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _tell(self, place: _Place, attempt: int, outcome: Outcome) -> None:
        """Write how an attempt ended, however often the store fails."""
        run, step = place
        while True:
            try:
                await self._store.report(
                    run, step, self._slots.worker, attempt, outcome_text(outcome)
                )
            except (LeaseLost, NotFoundError) as error:
                _log.warning("what an attempt brought is dropped: %s", error)
            except StoreError as error:
                _log.warning("an attempt's end could not be written and is tried again: %s", error)
                await pass_by(self._clock, TRY_AGAIN_AFTER)
                continue
            else:
                self._on_reported()
            return
