"""Drives runs: lets each decide on what has happened, writes the plan, and does what it says.

Of each run one plan at a time is on its way; what arrives meanwhile waits in the run's mailbox and
goes into the next one. A plan that turns out stale is thrown away: the run is read again and the
same stimuli are decided on once more, which is harmless because repeats change nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Final, Protocol

from kallista.core.commands import (
    AnyCommand,
    AttemptEnded,
    Command,
    Dispatch,
    LinesLost,
    Stimulus,
    WorkerDied,
)
from kallista.core.decide import NO_CAPACITY, decide
from kallista.core.definitions import TaskSpec
from kallista.core.outcomes import HandedBack
from kallista.core.plan import WHOLE_RUN, Fence, NewRun, Ownership, Plan
from kallista.core.redefining import misfits, redefined
from kallista.core.run import Draft, Run
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, EventKind, RunKind, TaskStatus
from kallista.core.types import Micros, RunId, RunKey, TaskType, WorkerKey
from kallista.core.wiring import needs_facts
from kallista.core.writing import plan_of, redefining
from kallista.engine.active import (
    ActiveRun,
    DefinitionCache,
    maybe_heard,
    place_of,
    run_of,
)
from kallista.engine.alarm import TRY_AGAIN_AFTER
from kallista.engine.clock import Clock, pass_by
from kallista.engine.facts import Facts
from kallista.engine.knowledge import Knowledge
from kallista.engine.mailbox import (
    Asked,
    Item,
    again,
    granted,
    is_seen_again,
    next_batch,
    of_loans,
)
from kallista.engine.notices import Notices
from kallista.engine.slots import Slots
from kallista.errors import (
    ConflictError,
    KallistaError,
    LeaseLost,
    NotFoundError,
    StateError,
    StoreError,
    StoreUncertainError,
    UsageError,
)
from kallista.store.port import (
    NEW_EPOCH,
    NEW_VERSION,
    Committed,
    Loan,
    RunRecord,
    Store,
)

_log = logging.getLogger("kallista.engine")

REFUSALS: Final = (StateError, UsageError, NotFoundError, ConflictError)
"""What a decision raises when a command is none that the run can carry out."""


class Attempts(Protocol):
    """What executes attempts; they report by posting to the driver."""

    def launch(self, active: ActiveRun, position: int) -> None:
        """Execute the step's running attempt."""
        ...

    def stop(self, active: ActiveRun, position: int, *, lost: bool = False) -> None:
        """Tell the step's attempt to stop.

        Args:
            active: The run.
            position: The step.
            lost: What it reports would be dropped, for it is not this program's any more.
        """
        ...


def changes_something(draft: Draft) -> bool:
    """Whether there is anything to write."""
    return bool(
        draft.events
        or draft.enqueue
        or draft.dequeue
        or draft.wake
        or draft.wake_parent
        or draft.settle
    )


class Creating:
    """A block during which a run is being created.

    Args:
        id: The run's.
        counts: How many such blocks there are, by run; those with none are not in it.
        settled: Told when the block ends.
    """

    __slots__ = ("_counts", "_id", "_settled")

    def __init__(self, id: RunId, counts: dict[RunId, int], settled: asyncio.Event) -> None:
        self._id = id
        self._counts = counts
        self._settled = settled

    def __enter__(self) -> None:
        self._counts[self._id] = self._counts.get(self._id, 0) + 1

    def __exit__(self, *error: object) -> None:
        left = self._counts[self._id] - 1
        if left:
            self._counts[self._id] = left
        else:
            del self._counts[self._id]
        self._settled.set()


class Driver:
    """All runs that this program drives.

    Args:
        store: Where plans go.
        clock: What time it is.
        slots: What may start.
        facts: What decisions must be told.
        definitions: Definitions already read.
        notices: Who is told of changes.
        knowledge: What need not be asked.
        on_queued: Called when something was queued that is due, with the highest priority of it.
        on_refused: Called when a run could not be taken on, which may mean that this worker
            counts as dead.
        on_loans: Called when a plan has changed what is on loan.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        slots: Slots,
        facts: Facts,
        definitions: DefinitionCache,
        notices: Notices,
        knowledge: Knowledge,
        on_queued: Callable[[Micros, int], None],
        on_refused: Callable[[], None],
        on_loans: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._slots = slots
        self._facts = facts
        self._definitions = definitions
        self._notices = notices
        self._knowledge = knowledge
        self._on_queued = on_queued
        self._on_refused = on_refused
        self._on_loans = on_loans
        self._active: dict[RunKey, ActiveRun] = {}
        self._keys: dict[RunId, RunKey] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._idle: dict[ActiveRun, None] = {}
        self._claiming = 0
        self._creating: dict[RunId, int] = {}
        self._settled = asyncio.Event()
        self._drained = asyncio.Event()
        self.attempts: Attempts

    def get(self, key: RunKey) -> ActiveRun | None:
        """The run, if this program drives it."""
        return self._active.get(key)

    def find(self, id: RunId) -> ActiveRun | None:
        """The run of this id, if this program drives it."""
        key = self._keys.get(id)
        return None if key is None else self._active.get(key)

    @property
    def driven(self) -> Sequence[ActiveRun]:
        """All runs that this program drives."""
        return list(self._active.values())

    def post(self, active: ActiveRun, stimulus: Stimulus) -> None:
        """Let a run decide on something as soon as it can."""
        active.mailbox.append(stimulus)
        self._advance(active)

    def ask(
        self, active: ActiveRun, command: AnyCommand, *, fresh: bool = False
    ) -> asyncio.Future[bool]:
        """Let a run decide on a command; the future tells whether it changed anything."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        active.mailbox.append(Asked(command, answer, fresh))
        self._advance(active)
        return answer

    def take(self, record: RunRecord, command: AnyCommand) -> asyncio.Future[bool]:
        """Decide on a command for a run that nobody drives, and drive it if it starts here."""
        active = self._activate(record)
        self._suspect(active, _workers_of(record))
        if record.head.started_at is not None:
            active.mailbox.append(LinesLost())  # a worker may have died with what it had claimed
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # What was sent to it is read later than the run, which may have moved on by then.
        fresh = not active.run.definition.asks
        active.mailbox.append(Asked(command, answer, fresh))
        self._decide_first(active)
        return answer

    def begin(self, key: RunKey, draft: Draft, made: NewRun) -> None:
        """Drive a run that was just created here together with its first attempts."""
        draft.absorb()
        active = ActiveRun(
            key=key,
            run=draft.run,
            version=NEW_VERSION,
            epoch=NEW_EPOCH,
            origin=made,
            all_results=True,
        )
        self._active[key] = active
        self._keys[active.run.id] = key
        for position in draft.launched:
            self.attempts.launch(active, position)

    def adopt(
        self,
        record: RunRecord,
        stimuli: Sequence[Stimulus],
        looks: Collection[int],
        parked: Collection[int] = (),
    ) -> None:
        """Drive a run that a claim gave to this program.

        Args:
            record: The run after the claim.
            stimuli: What the claimed entries said.
            looks: The steps whose child runs matter; ``WHOLE_RUN``: all other runs may matter,
                and whoever drove it before may have died.
            parked: Steps that begin later (``unpark``), and for which the run is kept meanwhile.
        """
        there = self._active.get(record.key)
        if there is not None and there.owned and there.epoch == record.epoch:
            self.post_all(there, stimuli, looks, parked)
            return
        active = self._activate(record)
        active.parked = active.parked.union(parked)
        self._suspect(active, _workers_of(record))
        active.mailbox.extend(stimuli)
        if WHOLE_RUN in looks:
            active.mailbox.append(LinesLost())
        self._decide_first(active, looks)

    def _decide_first(self, active: ActiveRun, looks: Collection[int] = ()) -> None:
        """Decide on a run as it was just read, once what its expressions read is there as well."""
        if looks or active.suspects or needs_facts(active.run.definition):
            self._prepare(active, looks, reread=False)
        else:
            self._advance(active)

    def begun(self, record: RunRecord, run: Run, draft: Draft) -> None:
        """Drive a run that a claim gave to this program, and began; its attempts have places.

        Args:
            record: The run after the claim.
            run: The same, to be decided on.
            draft: How it was begun, or another that is like it; written.
        """
        there = self._active.get(record.key)
        if there is not None and there.owned and there.epoch == record.epoch:
            self._free_places(there, draft.launched)
            self.post_all(there, [LinesLost()], {WHOLE_RUN})
            return
        draft.absorb(run)
        active = self._activate(record, run)
        active.version = record.version + 1
        for position in draft.launched:
            self._launch(active, position)
        self._tell(active, draft)
        self._rest(active)

    def _free_places(self, active: ActiveRun, positions: Sequence[int]) -> None:
        for position in positions:
            self._slots.give_back(place_of(active.run, position))

    def _launch(self, active: ActiveRun, position: int) -> None:
        """Execute an attempt that has a place, unless this program is about to leave."""
        if self._slots.open:
            self.attempts.launch(active, position)
            return
        self._slots.give_back(place_of(active.run, position))
        self._hand_back(active, position)

    def _hand_back(self, active: ActiveRun, position: int) -> None:
        attempt = active.run.steps[position].attempt
        active.mailbox.append(AttemptEnded(position, attempt, HandedBack()))

    def _remember(self, record: RunRecord) -> None:
        """Drive a run that a doubtful commit made ours, if a second look says the same."""
        if record.key in self._active or record.id in self._creating:
            return
        active = self._activate(record)
        self._suspect(active, _workers_of(record))
        self.post_all(active, [LinesLost()], {WHOLE_RUN})

    def _suspect(self, active: ActiveRun, workers: Collection[WorkerKey]) -> None:
        """Whoever executed something of a run that nobody drove is dead, or has borrowed it.

        This worker lives: it would end what the same decision begins.
        """
        others = [worker for worker in workers if worker != self._slots.worker]
        if active.run.kind is RunKind.PROCESS:
            active.suspects = active.suspects.union(others)
        else:
            active.mailbox.extend(map(WorkerDied, others))

    def lose_all(self) -> None:
        """This worker was taken for dead: stop everything, and report nothing."""
        for active in self.driven:
            self._lose(active)

    def unpark(self, key: RunKey, dispatch: Dispatch, place: TaskType) -> None:
        """The moment has come for a step that waited to be alone; its place is taken."""
        active = self._active.get(key)
        if active is None:
            self._slots.give_back(place)
            self.take_up(key, [LinesLost()], {WHOLE_RUN})
        else:
            active.parked -= {dispatch.step}
            self.post(active, dispatch)

    def post_all(
        self,
        active: ActiveRun,
        stimuli: Sequence[Stimulus],
        looks: Collection[int],
        parked: Collection[int] = (),
    ) -> None:
        """Let a run that is driven here decide on what claimed entries said.

        After a look at the whole run, for another program may have changed it.
        """
        active.parked = active.parked.union(parked)
        active.mailbox.extend(stimuli)
        active.looks = active.looks.union(looks)
        self._advance(active)

    def claim_began(self) -> None:
        """From now on no run is let go of, for the claim may be about it."""
        self._claiming += 1

    def claim_ended(self) -> None:
        """What the claim brought is in the mailboxes; runs without work may be let go of."""
        self._claiming -= 1
        self._settled.set()
        if not self._claiming:
            for active in list(self._idle):
                self._advance(active)

    def creating(self, id: RunId) -> Creating:
        """While it lasts, a run of this id that the store says is ours will yet be begun."""
        return Creating(id, self._creating, self._settled)

    async def drain(self, longest: Micros) -> None:
        """Wait until nothing is on its way to the store and nothing waits to be decided on.

        What a failing store has not taken after the longest time is left to whoever takes over.
        """
        end = Micros(self._clock.now() + longest)
        timer = self._clock.call_at(end, self._drained.set)
        while self._busy and self._clock.now() < end:
            self._drained.clear()
            await self._drained.wait()
        timer.cancel()
        if self._busy:
            _log.error("%d runs could not be written; another program goes on", self._busy)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for active in self._active.values():
            self._free_claimed(active)

    def _free_claimed(self, active: ActiveRun) -> None:
        """Give back the places of lines that were claimed and will not be decided on here."""
        for index, item in enumerate(active.mailbox):
            if isinstance(item, Dispatch):
                self._slots.give_back(place_of(active.run, item.step))
                active.mailbox[index] = LinesLost()

    @property
    def _busy(self) -> int:
        return sum(active.writing or bool(active.mailbox) for active in self._active.values())

    def _activate(self, record: RunRecord, run: Run | None = None) -> ActiveRun:
        if run is None:
            definition = self._definitions.get(record.definition, record.definition_content)
            run = run_of(record, definition)
        active = ActiveRun(
            key=record.key,
            run=run,
            version=record.version,
            epoch=record.epoch,
            parent=record.parent,
            origin=record,
            all_results=_is_fresh(record),
            heard=maybe_heard(record.steps),
        )
        if record.owner != self._slots.worker:
            active.epoch = record.epoch + 1
            active.owned = False
        there = self._active.get(record.key)
        if there is not None:
            self._lose(there)  # two that decide for one run would begin its steps twice
        self._active[record.key] = active
        self._keys[record.id] = record.key
        return active

    def _prepare(self, active: ActiveRun, looks: Collection[int], *, reread: bool) -> None:
        """Bring in what the next decision must be told; until then the run rests."""
        active.writing = True
        self.in_background(self._bring_in(active, looks, reread=reread))

    async def _bring_in(self, active: ActiveRun, looks: Collection[int], *, reread: bool) -> None:
        try:
            loans = await self._loans(active)
            anew = reread and WHOLE_RUN in looks
            if anew and not await self._reread(active):
                active.looks = active.looks.union(looks)
                self._lose(active)
                return
            await self._facts.fill_outputs(active.key, active.run)
            await self._facts.fill_inbox(active.key, active.run)
            if anew:
                self._match_attempts(active)  # what starts now reads those outputs
            seen = await self._look(active, looks)
            budget = await self._facts.of_budget(active.key, active.run)
        except StoreError as error:
            _log.warning("run %s could not be read and is read again: %s", active.run.id, error)
            await self._pause_before_retry()
            self._prepare(active, looks, reread=reread)
            return
        active.writing = False
        left = [item for item in active.mailbox if not is_seen_again(item, looks)]
        # First of all whether anything may begin.
        active.mailbox = [*budget, *of_loans(loans, active.suspects), *seen, *left]
        active.suspects = frozenset()
        self._advance(active)

    async def _loans(self, active: ActiveRun) -> Sequence[Loan]:
        """What other workers execute of it, or have executed, or ask to."""
        if active.run.kind is not RunKind.PROCESS:
            return []
        loans = await self._store.loans(active.key)
        active.on_loan = frozenset(granted(loans))
        return loans

    async def _look(self, active: ActiveRun, looks: Collection[int]) -> list[Stimulus]:
        whole = WHOLE_RUN in looks
        children = range(len(active.run.steps)) if whole else looks
        facts = [*await self._facts.of_children(active.key, active.run, children)]
        if whole:
            facts += await self._facts.of_parent(active.parent)
            facts += await self._facts.of_dependencies(active.run)
        return facts

    # one decision

    def _advance(self, active: ActiveRun) -> None:
        if active.writing or active.gone:
            return
        if active.looks or active.suspects:
            looks, active.looks = active.looks, frozenset()
            self._prepare(active, looks, reread=True)
            return
        batch, asked = next_batch(active.mailbox)
        capacity = self._slots.capacity(going_on=AttemptEnded in map(type, batch))
        try:
            draft = decide(active.run, batch, self._clock.now(), capacity)
        except REFUSALS as error:
            if not self._looks_first(active, asked):
                self._refuse(active, asked, error)
            return
        self._free_unused(active, draft, batch, capacity.taken)
        letting_go = self._may_let_go(active, draft)
        if not changes_something(draft) and not (letting_go and active.owned):
            if not self._looks_first(active, asked):
                self._answer(asked, changed=False)
                self._rest(active)
            return
        ownership = self._ownership(active, letting_go=letting_go)
        fence = Fence(active.version, active.epoch if active.owned else None)
        plan = plan_of(draft, active.key, fence, ownership, active.heard)
        active.writing = True
        written = self._store.commit(plan)
        written.add_done_callback(
            partial(self._written, active, draft, plan, batch, asked, letting_go)
        )

    def _looks_first(self, active: ActiveRun, asked: Asked | None) -> bool:
        """Whether a command that changes nothing is decided on again, after a look at the run."""
        if asked is None or asked.fresh:
            return False
        asked.fresh = True
        active.mailbox.insert(0, asked)
        active.looks |= {WHOLE_RUN}
        self._advance(active)
        return True

    def _free_unused(
        self,
        active: ActiveRun,
        draft: Draft,
        batch: Sequence[Stimulus],
        taken: Sequence[TaskType],
    ) -> None:
        """Give back the places that were got for steps which turn out not to start."""
        dispatched = [stimulus.step for stimulus in batch if type(stimulus) is Dispatch]
        if len(dispatched) + len(taken) == len(draft.launched):
            return
        places = Counter(place_of(active.run, position) for position in dispatched)
        places.update(taken)
        places.subtract(place_of(active.run, position) for position in draft.launched)
        for place, count in places.items():
            for _ in range(count):
                self._slots.give_back(place)

    def _may_let_go(self, active: ActiveRun, draft: Draft) -> bool:
        """Nobody needs to drive a run of which nothing is in flight here."""
        busy = active.attempts or active.mailbox or active.looks or active.parked
        idle = draft.head.in_flight == 0 and not busy
        if idle and active.run.definition.maps:
            idle = not _goes_through_list(draft)
        self._idle.pop(active, None)
        if idle and active.owned and self._claiming and draft.head.state not in FINISHED_RUN:
            self._idle[active] = None
            return False
        return idle

    def _ownership(self, active: ActiveRun, *, letting_go: bool) -> Ownership | None:
        if letting_go:
            return Ownership(None, active.epoch) if active.owned else None
        return None if active.owned else Ownership(self._slots.worker, active.epoch)

    def _refuse(self, active: ActiveRun, asked: Asked | None, error: KallistaError) -> None:
        if asked is None:
            raise error
        if not asked.answer.done():
            asked.answer.set_exception(error)
        self._advance(active)

    def _answer(self, asked: Asked | None, *, changed: bool) -> None:
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(changed)

    def _rest(self, active: ActiveRun) -> None:
        """Nothing is being written: go on with what arrived, or forget a run not driven here."""
        if active.mailbox or active.looks:
            self._advance(active)
        elif not active.owned:
            self._forget(active)
        elif active in self._idle and not self._claiming:
            self._advance(active)  # the claim ended while this was being written
        self._check_drained()

    def _forget(self, active: ActiveRun) -> None:
        active.gone = True
        self._idle.pop(active, None)
        if self._active.get(active.key) is active:
            del self._active[active.key]
            del self._keys[active.run.id]

    # what came of it

    def _written(
        self,
        active: ActiveRun,
        draft: Draft,
        plan: Plan,
        batch: list[Stimulus],
        asked: Asked | None,
        letting_go: bool,
        written: asyncio.Future[Committed],
    ) -> None:
        active.writing = False
        cancelled = written.cancelled()
        error = None if cancelled else written.exception()
        if error is not None or cancelled:
            self._free_places(active, draft.launched)
            left: list[Item] = [*again(batch)] if asked is None else [asked]
            active.mailbox[:0] = left
            if active.gone:
                self._lose(active)  # once more, for what was on its way meanwhile
            else:
                self._not_written(active, error)
            return
        if active.gone:
            self._written_too_late(active, draft, asked)
            return
        draft.absorb()
        active.version = written.result().version
        active.owned = active.owned or not letting_go
        if draft.lend or draft.settle:
            lent = active.on_loan.union([grant.step for grant in draft.lend])
            active.on_loan = lent.difference(draft.settle)
        if draft.lend or plan.forget:
            # What borrowers write of what their attempts say is not known here.
            heard = active.heard.union([grant.step for grant in draft.lend])
            active.heard = heard.difference(plan.forget)
        if draft.lend or draft.settle or draft.stopped:
            self._on_loans()  # this worker may have borrowed it itself, before it drove the run
        _remember_results(active, draft)
        self._answer(asked, changed=bool(draft.events))
        for position in draft.stopped:
            self.attempts.stop(active, position)
        for position in draft.launched:
            self.attempts.launch(active, position)
        self._tell(active, draft)
        if letting_go:
            self._let_go(active)
        else:
            self._rest(active)

    def _written_too_late(self, active: ActiveRun, draft: Draft, asked: Asked | None) -> None:
        """It is not driven here any more, or anew: who drives it now has to look at it."""
        self._free_places(active, draft.launched)
        self._answer(asked, changed=bool(draft.events))
        self._tell(active, draft)
        active.looks |= {WHOLE_RUN}
        self._lose(active)

    def _tell(self, active: ActiveRun, draft: Draft) -> None:
        over = active.is_over
        final = active if over else None
        if over:
            self._knowledge.ended(active.run.id)
        self._notices.tell(active.run.id, over=over, final=final)
        for entry in draft.enqueue:
            self._on_queued(entry.ready_at, entry.priority)
        limited = active.run.definition.limited
        if limited and not limited.isdisjoint(draft.changed):
            self._on_queued(Micros(0), active.run.priority)  # who comes next may have become due
        if draft.wake or draft.children or draft.announce or (draft.wake_parent and active.parent):
            self._on_queued(Micros(0), active.run.priority)

    def _let_go(self, active: ActiveRun) -> None:
        """Nobody drives it now; what arrived in the last moment goes the way of all others."""
        left, looks = active.mailbox, active.looks
        self._forget(active)
        self._pass_on(active, left, looks)
        self._check_drained()

    def _pass_on(self, active: ActiveRun, left: Sequence[Item], looks: Collection[int]) -> None:
        """What a run that is forgotten here had still to be told."""
        stimuli: list[Stimulus] = []
        for item in left:
            if isinstance(item, Asked):
                self.in_background(self._ask_again(active.key, item))
            elif isinstance(item, Dispatch):
                self._slots.give_back(place_of(active.run, item.step))
                stimuli.append(LinesLost())
            else:
                stimuli.append(item)
        if stimuli or looks:
            self.take_up(active.key, stimuli, {WHOLE_RUN})

    def take_up(self, key: RunKey, stimuli: Sequence[Stimulus], looks: Collection[int]) -> None:
        """Let a run that is not known here decide on something, if no other program drives it."""
        self.in_background(self._take_up(key, stimuli, looks))

    async def _take_up(
        self, key: RunKey, stimuli: Sequence[Stimulus], looks: Collection[int]
    ) -> None:
        record = await self._read(key)
        active = self._active.get(key)
        if active is not None:
            self.post_all(active, stimuli, looks)
        elif record is not None and self._is_forgotten(record):
            self._remember(record)
        elif record is not None and record.owner is None:
            self.adopt(record, stimuli, looks)

    async def _read(self, key: RunKey | RunId) -> RunRecord | None:
        """The run, however often the store fails."""
        while True:
            try:
                return await self._store.load(key)
            except StoreError as error:
                _log.warning("a run could not be read and is read again: %s", error)
                await self._pause_before_retry()

    async def _ask_again(self, key: RunKey, asked: Asked) -> None:
        try:
            changed = await self.command(key, asked.command)
        except asyncio.CancelledError:
            asked.answer.cancel()
            raise
        except Exception as error:
            if not asked.answer.done():
                asked.answer.set_exception(error)
        else:
            self._answer(asked, changed=changed)

    def _not_written(self, active: ActiveRun, error: BaseException | None) -> None:
        """A plan was not written, or nobody knows: look again, then decide again if it is ours."""
        if isinstance(error, StoreUncertainError):
            self._on_queued(Micros(0), active.run.priority)  # it may have queued something
        elif isinstance(error, StoreError) and not active.owned:
            self._fail_asked(active, error)
        if isinstance(error, StoreError) and not active.owned:
            if isinstance(error, StoreUncertainError):
                active.looks |= {WHOLE_RUN}  # it may be ours by now
            self._lose(active)
            return
        active.looks |= {WHOLE_RUN}  # before anything else is decided
        if error is None or isinstance(error, (LeaseLost, NotFoundError)):
            if not active.owned:
                self._on_refused()
            self._advance(active)
        else:
            _log.warning("a plan of run %s was not written: %s", active.run.id, error)
            self.in_background(self._advance_later(active))

    async def _advance_later(self, active: ActiveRun) -> None:
        await self._pause_before_retry()
        self._advance(active)

    def _still_ours(self, active: ActiveRun, record: RunRecord) -> bool:
        if active.owned:
            return record.owner == self._slots.worker and record.epoch == active.epoch
        return record.owner is None

    async def _reread(self, active: ActiveRun) -> bool:
        """Take over what was written meanwhile; false when the run is not ours any more."""
        record = await self._store.load(active.key)
        if record is None or not self._still_ours(active, record):
            return False
        if record.version != active.version:
            outputs = active.run.outputs
            definition = self._definitions.get(record.definition, record.definition_content)
            active.run, active.origin = run_of(record, definition), record
            active.run.outputs.update(outputs)
            active.all_results = False
            active.heard = active.heard.union(maybe_heard(record.steps))
            active.version = record.version
            if not active.owned:
                active.epoch = record.epoch + 1
        return True

    def _match_attempts(self, active: ActiveRun) -> None:
        """Do what was written meanwhile: stop what should not run, start what should."""
        run = active.run
        for position in list(active.attempts):
            lost = run.steps[position].status is not TaskStatus.RUNNING
            if lost or run.is_over(position):
                self.attempts.stop(active, position, lost=lost)
        for position, step in enumerate(active.run.steps):
            here = step.worker == self._slots.worker and position not in active.on_loan
            mine = step.status is TaskStatus.RUNNING and here
            reported = any(
                isinstance(item, AttemptEnded)
                and (item.step, item.attempt) == (position, step.attempt)
                for item in active.mailbox
            )
            if mine and active.owned and position not in active.attempts and not reported:
                if run.is_over(position):
                    self._hand_back(active, position)
                else:
                    self._launch_late(active, position)

    def _launch_late(self, active: ActiveRun, position: int) -> None:
        """Execute an attempt whose place was given back, if there is still one for it."""
        place = place_of(active.run, position)
        if not _is_suspect(active, position) and self._slots.take(place):
            self.attempts.launch(active, position)
        else:
            self._hand_back(active, position)

    def _lose(self, active: ActiveRun) -> None:
        """Another worker drives it now, or it is gone: stop what runs here, report nothing."""
        owned = active.owned
        left, looks = active.mailbox, active.looks
        active.mailbox, active.looks = [], frozenset()
        self._forget(active)
        for position in list(active.attempts):
            self.attempts.stop(active, position, lost=True)
        if owned:
            _log.warning("run %s is driven by another worker now", active.run.id)
        self._pass_on(active, left, looks)
        self._knowledge.ended(active.run.id)
        self._notices.tell(active.run.id, over=True)
        self._check_drained()

    def _fail_asked(self, active: ActiveRun, error: BaseException) -> None:
        for item in active.mailbox:
            if isinstance(item, Asked) and not item.answer.done():
                item.answer.set_exception(error)

    async def _pause_before_retry(self) -> None:
        await pass_by(self._clock, TRY_AGAIN_AFTER)

    # commands for runs that may be driven by anybody

    async def command(
        self, key: RunKey, command: AnyCommand, seen: RunRecord | None = None
    ) -> bool:
        """Decide on a command wherever the run is driven; true when it changed something.

        Args:
            key: The run.
            command: What to do.
            seen: The run as it was just read.

        Raises:
            NotFoundError: The run is gone, or has no such step.
            StateError: The command does not fit.
            UsageError: A signal or an answer is none that the run takes.
            ConflictError: Another signal has this id, or the approval was answered otherwise.
        """
        named = f"with key {key}" if seen is None else repr(seen.id)
        while True:
            active = self._active.get(key)
            if active is not None and not active.gone:
                return await self.ask(active, command)
            record = seen or await self._store.load(key)
            seen = None
            if record is None:
                raise NotFoundError(f"the run {named} has been deleted")
            if self._active.get(key) is not None:
                continue
            if self._is_forgotten(record):
                if self._claiming or record.id in self._creating:
                    self._settled.clear()
                    await self._settled.wait()  # it may be what a claim or a creation brings
                else:
                    self._remember(record)
                continue
            if record.owner is None and self._slots.free > 0:
                return await self.take(record, command)
            try:
                return await self._command_from_outside(record, command)
            except LeaseLost:
                continue

    def _is_forgotten(self, record: RunRecord) -> bool:
        """Whether the store says that this program drives the run, and it does not know.

        That is what a commit leaves behind which took effect although it was reported as failed.
        """
        mine = record.owner is not None and record.owner == self._slots.worker
        return mine and record.key not in self._active

    async def look_after(self, id: RunId) -> None:
        """Drive the run if a creation that was reported as failed has made it ours."""
        record = await self._read(id)
        if record is not None and self._is_forgotten(record):
            self._remember(record)

    async def look_after_all(self) -> None:
        """After a claim that was reported as failed: nothing that it took may be lost.

        Raises:
            StoreError: The runs could not be read; ask again.
        """
        for active in self.driven:
            active.looks |= {WHOLE_RUN}
            self.post(active, LinesLost())
        for key in await self._store.driven(self._slots.worker):
            if key not in self._active:
                self.take_up(key, [], {WHOLE_RUN})

    async def _command_from_outside(self, record: RunRecord, command: AnyCommand) -> bool:
        """Decide for a run that another program drives, or nobody: it is told by the store."""
        draft = await self._decided_outside(record, command)
        if not changes_something(draft):
            return False
        heard = maybe_heard(record.steps)
        plan = plan_of(draft, record.key, Fence(record.version, None), None, heard)
        if isinstance(command, Command) and command.definition is not None:
            plan = redefining(plan, draft.run.definition)
        try:
            await self._store.commit(plan)
        finally:  # it may have been written, whatever has become of the caller and the answer
            self._knowledge.ended(record.id)
            self._notices.tell(record.id, over=True)
            self._on_queued(Micros(0), record.priority)
        return True

    async def _decided_outside(self, record: RunRecord, command: AnyCommand) -> Draft:
        """What a command comes to.

        Raises:
            LeaseLost: The run has moved on while it was read, so what was read does not agree.
        """
        try:
            return await self._decided_on(record, command)
        except (StateError, UsageError, ConflictError, NotFoundError) as error:
            there = await self._store.load(record.key)
            if there is not None and there.version != record.version:
                raise LeaseLost(f"run {record.id!r} has moved on while it was read") from error
            raise

    async def _decided_on(self, record: RunRecord, command: AnyCommand) -> Draft:
        definition = self._definitions.get(record.definition, record.definition_content)
        run = run_of(record, definition)
        after = command.definition if isinstance(command, Command) else None
        if after is not None and not any(misfits(run, after)):
            other = redefined(run, after)
            await self._facts.fill_outputs(record.key, other)
            run.outputs.update(other.outputs)
        await self._facts.fill_outputs(record.key, run)
        await self._facts.of_budget(record.key, run)
        await self._facts.fill_inbox(record.key, run)
        return decide(run, [command], self._clock.now(), NO_CAPACITY)

    async def retry_otherwise(self, id: RunId, command: Command, *, dry_run: bool) -> bool:
        """Let a run that nobody drives go on with another definition; true when it does so now.

        Args:
            id: The run.
            command: A retry with a definition.
            dry_run: Only decide, and write nothing.

        Raises:
            NotFoundError: The run is gone.
            StateError: It has not failed, or the definition does not fit.
        """
        while True:
            record = await self._store.load(id)
            if record is None:
                raise NotFoundError(f"the run {id!r} has been deleted")
            try:
                if not dry_run:
                    return await self._command_from_outside(record, command)
                return changes_something(await self._decided_outside(record, command))
            except LeaseLost:
                continue

    def in_background(self, work: Coroutine[None, None, None]) -> None:
        """Let something go on beside what is asked."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _check_drained(self) -> None:
        self._drained.set()


def _workers_of(record: RunRecord) -> set[WorkerKey]:
    """Who executes what is in flight, or did before it died."""
    return {step.worker for step in record.steps if step.worker is not None}


def _is_suspect(active: ActiveRun, position: int) -> bool:
    work = active.run.definition.steps[position].work
    return isinstance(work, TaskSpec) and work.is_suspect(active.run.steps[position].crashes)


def _goes_through_list(draft: Draft) -> bool:
    """Whether the run is needed again with the end of each item of a list, which may be long."""
    maps = draft.run.definition.maps
    return (
        draft.state in ACTIVE_RUN
        and any(draft.step(position).status is TaskStatus.WAITING for position in maps)
        and not _keeps_from_others(draft)
    )


def _keeps_from_others(draft: Draft) -> bool:
    """Whether a task is queued that this worker alone could take, and perhaps never executes.

    Those of a process may be borrowed, but for what has to run alone after crashes. In a workflow
    no two wait at a time but for trigger rules.
    """
    definition = draft.run.definition
    borrowed = definition.kind is RunKind.PROCESS
    if not borrowed and not definition.has_rules:
        return False
    for position, spec in enumerate(definition.steps):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            task = spec.work
            if not borrowed or (isinstance(task, TaskSpec) and task.is_suspect(step.crashes)):
                return True
    return False


def _is_fresh(record: RunRecord) -> bool:
    """Whether nothing has brought it, or a step of it, to an end yet."""
    return record.head.outcome is None and all(step.outcome is None for step in record.steps)


_RESET = EventKind.TASK_RESET
_ENDS = frozenset(
    {
        EventKind.TASK_COMPLETED,
        EventKind.TASK_CHOSEN,
        EventKind.TASK_FAILED,
        EventKind.TASK_SKIPPED,
        EventKind.TASK_CANCELLED,
    }
)


def _remember_results(active: ActiveRun, draft: Draft) -> None:
    """Keep what the store says of finished steps, so that it need not be asked."""
    outcome = active.run.head.outcome
    for event in draft.events:
        if event.step is None:
            if outcome is None:
                active.results.pop(WHOLE_RUN, None)
            elif event.seq == outcome and event.data is not None:
                active.results[WHOLE_RUN] = event.data
        elif event.data is not None and event.kind in _ENDS:
            active.results[event.step] = event.data
        elif event.kind is _RESET:
            active.results.pop(event.step, None)
