"""What stories have brought to light, each told in the fewest words that show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kallista.core.commands import AttemptEnded, Command, Due, Verb
from kallista.core.decide import NO_CAPACITY, decide
from kallista.core.definitions import Definition, StepSpec, TaskSpec
from kallista.core.outcomes import Asleep
from kallista.core.plan import WAKE, WHOLE_RUN, Entry
from kallista.core.run import Draft, Run
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunId, RunKey, StepId, TaskType, WorkerKey
from kallista.engine.alarm import Alarm
from kallista.engine.clock import Timer
from kallista.engine.mailbox import granted
from kallista.store.port import Loan

NOW = Micros(1_000_000)


class Room:
    """A worker with a place for everything."""

    worker = WorkerKey(1)

    def take(self, type: TaskType, priority: int) -> bool:
        """Always."""
        return True


def a_run(deadline: Micros | None = None) -> Run:
    """A workflow of one task."""
    step = StepSpec(StepId("nap"), "nap", TaskSpec(TaskType("sleep"), {}))
    definition = Definition(RunKind.WORKFLOW, "w", (step,), deadline=deadline)
    return Run.new(RunId("w"), definition, {}, 0)


def after(run: Run, *stimuli: object) -> Draft:
    """What a run decides, done."""
    draft = decide(run, stimuli, NOW, Room())  # type: ignore[arg-type]  # any stimulus
    draft.absorb()
    return draft


def test_a_sleep_survives_a_clock_that_is_set_back() -> None:
    """A line of the queue was due when it was taken, and is not any more: it is queued again.

    Else nobody would ever look at the sleep again.
    """
    run = a_run()
    after(run, Command(Verb.START))
    after(run, AttemptEnded(0, 1, Asleep(Micros(5_000_000))))
    until = Micros(NOW + 5_000_000)
    early = decide(run, [Due(0)], Micros(until - 1), NO_CAPACITY)
    assert early.enqueue == [Entry(WAKE, 0, until, 0)]
    assert not early.events
    assert decide(run, [Due(0)], until, NO_CAPACITY).events


def test_a_deadline_survives_a_clock_that_is_set_back() -> None:
    """The same for the time limit of a whole run."""
    run = a_run(deadline=Micros(3_000_000))
    after(run, Command(Verb.START))
    early = decide(run, [Due(WHOLE_RUN)], NOW, NO_CAPACITY)
    assert early.enqueue == [Entry(WAKE, 0, Micros(NOW + 3_000_000), WHOLE_RUN)]
    assert not early.events


class Wall:
    """A wall clock that can be set; its timers ring when time has gone by, whatever it shows."""

    def __init__(self) -> None:
        self.shows = NOW
        self.timers: list[Micros] = []

    def now(self) -> Micros:
        """What it shows."""
        return self.shows

    def monotonic(self) -> Micros:
        """No time goes by."""
        return Micros(0)

    def call_at(self, moment: Micros, callback: Callable[[], None]) -> Timer:
        """Only remember the moment."""
        self.timers.append(moment)
        return asyncio.get_running_loop().call_later(3_600, callback)


@pytest.mark.anyio
async def test_an_alarm_does_not_wait_for_a_moment_that_a_jump_has_left_behind() -> None:
    """The clock is set forward past a moment: what is set next counts, and what was missed rings.

    Else whatever is due after the jump waits as long as was left to the earlier moment.
    """
    wall = Wall()
    alarm = Alarm(wall)
    alarm.set(Micros(NOW + 100))
    alarm.set(Micros(NOW + 200))
    assert wall.timers == [NOW + 100]
    wall.shows = Micros(NOW + 3_600)
    alarm.set(Micros(NOW + 3_700))
    assert wall.timers == [NOW + 100, NOW + 3_700]
    await alarm.wait()
    alarm.clear()


def test_who_wishes_for_a_step_does_not_execute_it() -> None:
    """A step that a dead worker executed begins again although another one has asked for it.

    Its line was in the queue still, for a commit in doubt had queued it again.
    """
    run, other = RunKey(1), WorkerKey(2)
    how = {"stop": False, "lost": False, "report": None, "ready_at": NOW}
    wished, executed = Loan(run, 0, other, None, **how), Loan(run, 1, other, 1, **how)
    assert granted([wished, executed]) == {1}
