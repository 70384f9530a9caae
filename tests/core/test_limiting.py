"""What a decision changes for steps that are counted over all workers."""

from __future__ import annotations

from kallista.core.commands import AttemptEnded, Command, Dispatch, Due, LinesLost, Verb
from kallista.core.decide import NO_CAPACITY, decide
from kallista.core.definitions import Definition, StepSpec, TaskSpec
from kallista.core.limits import Gate, Limit, LimitKind, LimitSpec
from kallista.core.outcomes import Completed, HandedBack
from kallista.core.plan import Fence, GateChanges, Plan
from kallista.core.run import Run
from kallista.core.states import RunKind
from kallista.core.types import JsonText, Micros, RunId, RunKey, StepId, TaskType, WorkerKey
from kallista.core.writing import plan_of

NOW = Micros(1_000_000)
WORKER = WorkerKey(7)


class Room:
    """A worker with a place for everything."""

    worker = WORKER

    def take(self, lane: TaskType, priority: int) -> bool:
        """Always."""
        return True


def a_run(deadline: Micros | None = None) -> Run:
    """A workflow of two tasks of one key, and one without."""
    limits = (LimitSpec(LimitKind.KEY, "customer-${inputs.customer}", 2),)
    steps = tuple(
        StepSpec(
            StepId(f"s{number}"), f"s{number}",
            TaskSpec(TaskType("work"), {}, deadline=deadline, limits=limits if number < 2 else ()),
            depends_on=(number - 1,) if number else (),
        )
        for number in range(3)
    )  # fmt: skip
    return Run.new(RunId("w"), Definition(RunKind.WORKFLOW, "w", steps), {"customer": "ada"}, 0)


def plan(run: Run, *stimuli: object) -> Plan:
    """What is written of a decision, which is done."""
    draft = decide(run, stimuli, NOW, Room())  # type: ignore[arg-type]  # any stimulus
    written = plan_of(draft, RunKey(1), Fence(1, None), None)
    draft.absorb()
    return written


GATE = Gate(0, NOW, (Limit("concurrency key:customer-ada", 2),))


def test_a_limited_step_is_queued_with_what_it_has_to_pass() -> None:
    """Even where there is room for it: only a claim can count it."""
    written = plan(a_run(), Command(Verb.START))
    assert [entry.step for entry in written.enqueue] == [0]
    assert written.gates == GateChanges((0,), (GATE,), (), NOW)


def test_an_attempt_shows_who_it_is_counted_for() -> None:
    """And what ends is counted no more; the next one has gates of its own."""
    run = a_run()
    plan(run, Command(Verb.START))
    begun = plan(run, Dispatch(0, NOW))
    assert begun.gates == GateChanges((), (), ((0, WORKER),), NOW)
    ended = plan(run, AttemptEnded(0, 1, Completed(JsonText("null"))))
    assert ended.gates is not None
    assert ended.gates.opened == (0, 1)
    assert [gate.step for gate in ended.gates.closed] == [1]


def test_a_line_of_what_has_begun_is_not_laid() -> None:
    """Else it would be in the way of the attempt's own gates."""
    run = a_run()
    plan(run, Command(Verb.START))
    written = plan(run, LinesLost(), Dispatch(0, NOW))
    assert written.enqueue == ()
    assert written.gates == GateChanges((), (), ((0, WORKER),), NOW)


def test_a_line_of_what_has_ended_is_not_laid() -> None:
    """An attempt that is handed back is queued again, and its time is over in the same breath."""
    run = a_run(deadline=Micros(1_000))
    plan(run, Command(Verb.START))
    plan(run, Dispatch(0, NOW))
    late = Micros(NOW + 2_000)
    draft = decide(run, [AttemptEnded(0, 1, HandedBack()), Due(0)], late, NO_CAPACITY)
    written = plan_of(draft, RunKey(1), Fence(1, None), None)
    assert written.enqueue == ()
    assert written.gates == GateChanges((0, 1), (), (), late)


def test_steps_without_limits_change_nothing_of_it() -> None:
    """Their plans are as they always were."""
    run = a_run()
    plan(run, Command(Verb.START))
    for step in (0, 1):
        plan(run, Dispatch(step, NOW))
        plan(run, AttemptEnded(step, 1, Completed(JsonText("null"))))
    written = plan(run, AttemptEnded(2, 1, Completed(JsonText("null"))))
    assert written.gates is None


def test_a_pause_gives_up_what_a_claim_has_taken() -> None:
    """Its line is gone by then; what was taken for it must not be held while it is paused."""
    run = a_run()
    plan(run, Command(Verb.START))
    assert plan(run, Command(Verb.PAUSE)).gates == GateChanges((0,), (), (), NOW)
    again = decide(run, [Command(Verb.RESUME)], NOW, NO_CAPACITY)
    assert plan_of(again, RunKey(1), Fence(1, None), None).gates == GateChanges(
        (0,), (GATE,), (), NOW
    )
