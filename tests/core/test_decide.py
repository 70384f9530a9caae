"""The machine as a whole: what follows from what, for runs of every kind."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista.core.commands import (
    AttemptEnded,
    BorrowerDied,
    ChildSeen,
    Command,
    DependenciesSeen,
    Dispatch,
    Due,
    LinesLost,
    ParentSeen,
    Stimulus,
    Verb,
    Wished,
    WorkerDied,
)
from kallista.core.decide import NO_CAPACITY, Capacity, decide, possible
from kallista.core.definitions import ChildSpec, Definition, StepSpec, TaskSpec
from kallista.core.events import Event
from kallista.core.outcomes import Asleep, Completed, Failed, Failure, HandedBack, Outcome, Stopped
from kallista.core.plan import WAKE, WHOLE_RUN, alone, is_alone, lane, type_of_lane
from kallista.core.redefining import followed
from kallista.core.retry import RetryPolicy
from kallista.core.run import Draft, Run
from kallista.core.states import (
    FINISHED_RUN,
    EventKind,
    ProcessStatus,
    RunKind,
    TaskStatus,
)
from kallista.core.types import Json, JsonText, Micros, RunId, StepId, TaskType, WorkerKey
from kallista.errors import StateError

WORK = TaskType("work")
BOOM = Failed(Failure("ValueError", "boom", None, ("ValueError", "Exception")))


class Room:
    """Capacity for anything."""

    worker = WorkerKey(1)

    def take(self, type: TaskType, priority: int) -> bool:
        return True


ROOM = Room()


def step(id: str, *before: int, **extra: object) -> StepSpec:
    task = TaskSpec(WORK, {}, **extra)  # type: ignore[arg-type]
    return StepSpec(StepId(id), id, task, before)


def sequence(count: int, **extra: object) -> Definition:
    steps = [step(f"t{n}", *([n - 1] if n else []), **extra) for n in range(count)]
    return Definition(RunKind.WORKFLOW, "w", tuple(steps))


class World:
    """A run, its whole history, and a clock; every stimulus is decided on and absorbed."""

    def __init__(self, definition: Definition, capacity: Capacity = ROOM) -> None:
        self.definition = definition
        self.run = Run.new(RunId("r"), definition, {}, 0)
        self.capacity = capacity
        self.now = Micros(1_000_000)
        self.history: list[Event] = []

    def do(self, *stimuli: Stimulus) -> Draft:
        draft = decide(self.run, stimuli, self.now, self.capacity)
        draft.absorb()
        self.history += draft.events
        return draft

    def ask(self, verb: Verb) -> Draft:
        return self.do(Command(verb))

    def end(self, position: int, outcome: Outcome) -> Draft:
        return self.do(AttemptEnded(position, self.run.steps[position].attempt, outcome))

    def complete(self, position: int, result: Json = None) -> Draft:
        return self.end(position, Completed(JsonText(json.dumps(result))))

    @property
    def state(self) -> ProcessStatus:
        return self.run.head.state

    @property
    def statuses(self) -> list[str]:
        return [str(step.status) for step in self.run.steps]


def started(definition: Definition, capacity: Capacity = ROOM) -> World:
    world = World(definition, capacity)
    world.ask(Verb.START)
    return world


def test_a_workflow_runs_its_tasks_one_after_the_other() -> None:
    """A task starts only once the one before it has completed, and the last one ends the run."""
    world = started(sequence(3))
    seen = [world.statuses]
    for position in range(3):
        world.complete(position)
        seen.append(world.statuses)
    assert seen == [
        ["RUNNING", "SCHEDULED", "SCHEDULED"],
        ["COMPLETED", "RUNNING", "SCHEDULED"],
        ["COMPLETED", "COMPLETED", "RUNNING"],
        ["COMPLETED", "COMPLETED", "COMPLETED"],
    ]
    assert world.state is ProcessStatus.COMPLETED


def test_independent_steps_run_at_the_same_time() -> None:
    """Steps of a process that depend on nothing unfinished all start in one decision."""
    definition = Definition(
        RunKind.PROCESS, "p", (step("a"), step("b"), step("c", 0, 1), step("d", 0))
    )
    world = started(definition)
    assert world.statuses == ["RUNNING", "RUNNING", "SCHEDULED", "SCHEDULED"]
    world.complete(0)
    assert world.statuses == ["COMPLETED", "RUNNING", "SCHEDULED", "RUNNING"]
    world.complete(1)
    assert world.statuses[2] == "RUNNING"


def test_a_failed_step_skips_what_depends_on_it_and_lets_the_rest_finish() -> None:
    """Independent branches finish, and only then the process ends FAILED."""
    definition = Definition(
        RunKind.PROCESS, "p", (step("a"), step("b", 0), step("c", 1), step("free"))
    )
    world = started(definition)
    world.end(0, BOOM)
    assert world.statuses == ["FAILED", "SKIPPED", "SKIPPED", "RUNNING"]
    assert world.state is ProcessStatus.RUNNING
    world.complete(3)
    assert world.state is ProcessStatus.FAILED


def test_continue_on_error_records_the_failure_and_goes_on() -> None:
    """A step that may fail lets what depends on it run, and the run COMPLETES."""
    task = TaskSpec(WORK, {})
    steps = (
        StepSpec(StepId("a"), "a", task, (), continue_on_error=True),
        StepSpec(StepId("b"), "b", task, (0,)),
    )
    world = started(Definition(RunKind.WORKFLOW, "w", steps))
    world.end(0, BOOM)
    world.complete(1)
    assert (world.statuses, world.state) == (["FAILED", "COMPLETED"], ProcessStatus.COMPLETED)


def test_a_retry_waits_its_delay_and_counts_only_failures() -> None:
    """Attempts are tried again after the delay; an interruption raises the attempt, no failure."""
    policy = RetryPolicy(max_attempts=2, delay=Micros(5_000_000))
    world = started(sequence(1, retry=policy))
    world.do(WorkerDied(WorkerKey(1)))
    assert (world.run.steps[0].attempt, world.run.steps[0].crashes) == (2, 1)
    world.end(0, BOOM)
    waiting = world.run.steps[0]
    assert (waiting.status, waiting.ready_at) == (TaskStatus.SCHEDULED, world.now + 5_000_000)
    world.now = Micros(world.now + 5_000_000)
    world.do(Dispatch(0, world.now))
    assert world.run.steps[0].attempt == 3
    world.end(0, BOOM)
    assert (world.statuses, world.state) == (["FAILED"], ProcessStatus.FAILED)


def test_an_old_line_of_the_queue_does_not_cut_a_delay_short() -> None:
    """A line that was queued for an earlier wait starts nothing, whoever takes it."""
    policy = RetryPolicy(max_attempts=2, delay=Micros(5_000_000))
    world = started(sequence(1, retry=policy))
    world.end(0, BOOM)
    world.do(Dispatch(0, world.now))
    assert world.statuses == ["SCHEDULED"]


def test_give_up_on_ends_the_retries_at_once() -> None:
    """A failure that the policy gives up on is final, whatever attempts are left."""
    policy = RetryPolicy(max_attempts=5, give_up_on=("ValueError",))
    world = started(sequence(1, retry=policy))
    world.end(0, BOOM)
    assert world.statuses == ["FAILED"]


def test_a_deadline_leaves_no_time_for_another_attempt() -> None:
    """A retry that would start after the task's deadline fails at once, saying so."""
    policy = RetryPolicy(max_attempts=9, delay=Micros(10_000_000))
    world = started(sequence(1, retry=policy, deadline=Micros(3_000_000)))
    draft = world.end(0, BOOM)
    failed = next(event for event in draft.events if event.kind is EventKind.TASK_FAILED)
    assert "deadline" in (failed.data or "")


def test_an_outdated_report_changes_nothing() -> None:
    """Who reports on another attempt than the running one is not heard, nor is a second report."""
    world = started(sequence(2))
    assert not world.do(AttemptEnded(0, 7, Completed(JsonText("1")))).events
    report = AttemptEnded(0, 1, Completed(JsonText("1")))
    assert world.do(report).events
    assert not world.do(report).events


def test_pause_starts_nothing_and_records_what_was_in_flight() -> None:
    """While PAUSED a finishing task is recorded, nothing starts, and resume goes on there."""
    world = started(sequence(3))
    world.ask(Verb.PAUSE)
    world.complete(0)
    assert world.statuses == ["COMPLETED", "SCHEDULED", "SCHEDULED"]
    assert (world.state, world.run.head.in_flight) == (ProcessStatus.PAUSED, 0)
    world.ask(Verb.RESUME)
    assert world.statuses == ["COMPLETED", "RUNNING", "SCHEDULED"]


def test_cancel_ends_what_waits_and_stops_what_runs() -> None:
    """What had not started is CANCELLED at once; what runs is told to stop, then recorded."""
    world = started(sequence(3))
    draft = world.ask(Verb.CANCEL)
    assert draft.stopped == [0]
    assert (world.statuses, world.state) == (
        ["RUNNING", "CANCELLED", "CANCELLED"],
        ProcessStatus.CANCELLED,
    )
    world.end(0, Stopped("a note"))
    assert (world.statuses[0], world.run.head.in_flight) == ("CANCELLED", 0)


def test_a_result_that_comes_in_spite_of_cancel_is_kept() -> None:
    """A task that completed anyway was paid for: a retry of the run does not run it again."""
    world = started(sequence(2))
    world.ask(Verb.CANCEL)
    world.complete(0, "paid")
    world.ask(Verb.RETRY)
    assert world.statuses == ["COMPLETED", "RUNNING"]


def test_retry_keeps_what_completed() -> None:
    """A FAILED run goes on from what did not complete; attempts count on."""
    world = started(sequence(3))
    world.complete(0)
    world.end(1, BOOM)
    assert world.state is ProcessStatus.FAILED
    world.ask(Verb.RETRY)
    assert world.statuses == ["COMPLETED", "RUNNING", "SCHEDULED"]
    assert world.run.steps[1].attempt == 2


def test_a_sleep_holds_no_worker_and_is_over_at_its_moment() -> None:
    """A task that sleeps is WAITING until its moment, also while the run is paused."""
    world = started(sequence(2))
    draft = world.end(0, Asleep(Micros(60_000_000)))
    assert (world.statuses[0], world.run.head.in_flight) == ("WAITING", 0)
    assert [entry.ready_at for entry in draft.enqueue] == [world.now + 60_000_000]
    assert not world.do(Due(0)).events
    world.ask(Verb.PAUSE)
    world.now = Micros(world.now + 60_000_000)
    world.do(Due(0))
    assert world.statuses == ["COMPLETED", "SCHEDULED"]


def test_what_a_dead_worker_had_claimed_and_not_begun_is_queued_again() -> None:
    """A claim takes the entry out of the queue; if its worker dies then, no task is lost."""
    world = started(sequence(2), NO_CAPACITY)
    lost = world.run.steps[0].ready_at
    draft = world.do(LinesLost())
    assert [(entry.step, entry.ready_at) for entry in draft.enqueue] == [(0, lost)]
    assert not draft.events, "the task was ready before and still is"


def test_a_timer_that_a_dead_worker_had_claimed_is_set_again() -> None:
    """The end of a sleep left the queue with the worker; it comes back with its own moment."""
    world = started(sequence(2))
    world.end(0, Asleep(Micros(5_000_000)))
    draft = world.do(LinesLost())
    assert [(entry.type, entry.step, entry.ready_at) for entry in draft.enqueue] == [
        (WAKE, 0, world.now + 5_000_000)
    ]


def test_what_is_held_is_not_queued_again() -> None:
    """A paused run starts nothing new, whoever dies."""
    world = started(sequence(1), NO_CAPACITY)
    world.ask(Verb.PAUSE)
    assert not world.do(LinesLost()).enqueue


def test_handed_back_work_starts_again_without_counting_as_a_crash() -> None:
    """A worker that closes down gives its attempts back; they cost neither failure nor crash."""
    world = started(sequence(1))
    world.capacity = NO_CAPACITY
    draft = world.end(0, HandedBack())
    again = world.run.steps[0]
    assert (again.status, again.failures, again.crashes) == (TaskStatus.SCHEDULED, 0, 0)
    assert [entry.step for entry in draft.enqueue] == [0]


def crash(world: World) -> Draft:
    """Let the only worker die."""
    return world.do(WorkerDied(WorkerKey(1)))


def test_a_task_that_kills_its_worker_again_and_again_is_set_aside() -> None:
    """After ``max_crashes`` (5) it is FAILED with a message that says so; the others go on."""
    graph = (step("poison"), step("innocent", max_crashes=9), step("after", 0))
    world = started(Definition(RunKind.PROCESS, "p", graph))
    for _ in range(4):
        crash(world)
        assert world.statuses[0] in ("RUNNING", "SCHEDULED")
        if world.statuses[0] == "SCHEDULED":
            world.do(Dispatch(0, world.now))
    [failed] = [event for event in crash(world).events if event.kind is EventKind.TASK_FAILED]
    assert failed.data is not None
    failure = json.loads(failed.data)
    assert failure["type"] == "WorkerCrashed"
    assert "died 5 times" in failure["message"]
    assert "retry the process" in failure["message"]
    assert world.statuses == ["FAILED", "RUNNING", "SKIPPED"]
    world.complete(1)
    assert world.state is ProcessStatus.FAILED


def test_one_crash_before_the_last_a_task_is_a_suspect() -> None:
    """Then it is to run alone; before that, and when it never may crash, it runs like any other."""
    work = TaskSpec(WORK, {}, max_crashes=3)
    assert [work.is_suspect(crashes) for crashes in range(3)] == [False, False, True]
    assert not TaskSpec(WORK, {}, max_crashes=1).is_suspect(0)


def test_a_suspect_waits_in_a_lane_of_its_own() -> None:
    """It begins when its worker says that it is alone, and not by the way; it is not lent."""
    world = started(Definition(RunKind.PROCESS, "p", (step("a", max_crashes=2),)))
    [entry] = crash(world).enqueue
    assert entry.type == alone(WORK)
    assert is_alone(entry.type)
    assert type_of_lane(entry.type) == WORK
    [again] = world.do(Wished(0, WorkerKey(7), entry.ready_at)).enqueue
    assert again == entry
    assert world.do(Dispatch(0, entry.ready_at)).launched == [0]


def test_a_line_of_an_earlier_moment_lends_nothing() -> None:
    """It was laid twice, and is met when the step is to be tried again later (seed 5961)."""
    policy = RetryPolicy(max_attempts=2, delay=Micros(5_000_000))
    world = started(Definition(RunKind.PROCESS, "p", (step("a", retry=policy),)))
    world.do(AttemptEnded(0, 1, BOOM))
    later = world.run.steps[0].ready_at
    assert later is not None
    assert later > world.now
    [line] = world.do(Wished(0, WorkerKey(7), world.now)).enqueue
    assert (world.statuses, line.ready_at) == (["SCHEDULED"], later)
    world.now = later
    world.do(Wished(0, WorkerKey(7), later))
    assert world.statuses == ["RUNNING"]


def test_a_task_waits_in_the_lane_of_its_queue() -> None:
    """Whoever serves another queue does not see it."""
    world = started(sequence(1, queue="gpu"), NO_CAPACITY)
    [entry] = world.do(LinesLost()).enqueue
    assert entry.type == lane(WORK, "gpu") != WORK
    assert type_of_lane(entry.type) == type_of_lane(WORK) == WORK


def test_a_task_that_may_never_crash_is_not_kept_alone() -> None:
    """With ``max_crashes`` 1 the first crash sets it aside, and it starts like any other."""
    world = started(sequence(1, max_crashes=1))
    assert world.statuses == ["RUNNING"]
    crash(world)
    assert world.statuses == ["FAILED"]


def test_handing_back_and_retrying_count_no_crash() -> None:
    """Only a death counts, and a retry of the run begins to count anew."""
    world = started(sequence(1, max_crashes=2))
    for _ in range(5):
        world.end(0, HandedBack())
    assert world.statuses == ["RUNNING"]
    [entry] = crash(world).enqueue
    world.do(Dispatch(0, entry.ready_at))
    crash(world)
    assert world.state is ProcessStatus.FAILED
    world.ask(Verb.RETRY)
    assert world.statuses == ["RUNNING"]
    crash(world)
    assert world.statuses == ["SCHEDULED"]


def test_a_borrower_that_dies_counts_as_well() -> None:
    """It makes no difference whether the driver or another worker executed the step."""
    world = started(Definition(RunKind.PROCESS, "p", (step("a", max_crashes=1),)), NO_CAPACITY)
    world.do(Wished(0, WorkerKey(7), world.now))
    world.do(BorrowerDied(0, 1))
    assert world.statuses == ["FAILED"]


def test_a_run_is_failed_by_its_own_deadline() -> None:
    """The limit of a whole run ends it FAILED with the reason, whatever is still to do."""
    steps = sequence(2).steps
    world = started(Definition(RunKind.WORKFLOW, "w", steps, deadline=Micros(5_000_000)))
    world.now = Micros(world.now + 5_000_000)
    world.do(Due(WHOLE_RUN))
    assert world.state is ProcessStatus.FAILED
    assert world.run.head.outcome is not None


def child_process() -> Definition:
    child = ChildSpec(sequence(1), {})
    return Definition(RunKind.PROCESS, "p", (StepSpec(StepId("c"), "c", child), step("after", 0)))


def test_a_step_of_type_workflow_starts_a_child_and_takes_its_end() -> None:
    """The step is WAITING while its child run goes on, and ends as the child does."""
    world = World(child_process())
    draft = world.ask(Verb.START)
    assert [child.step for child in draft.children] == [0]
    assert world.statuses[0] == "WAITING"
    world.do(ChildSeen(0, ProcessStatus.RUNNING, 1))
    assert world.statuses[0] == "WAITING"
    world.do(ChildSeen(0, ProcessStatus.COMPLETED, 1))
    assert world.statuses == ["COMPLETED", "RUNNING"]


def test_a_failed_child_is_driven_again_by_a_retry_of_its_parent() -> None:
    """The parent's retry wakes the child, and the child's old end is not taken for a new one."""
    parent = started(child_process())
    parent.do(ChildSeen(0, ProcessStatus.FAILED, 1, None, "boom"))
    assert (parent.statuses, parent.state) == (["FAILED", "SKIPPED"], ProcessStatus.FAILED)
    parent.ask(Verb.RETRY)
    draft = parent.do(ChildSeen(0, ProcessStatus.FAILED, 1, None, "boom"))
    assert parent.statuses[0] == "WAITING"
    assert len(draft.wake) == 1

    child = started(sequence(1))
    child.end(0, BOOM)
    child.do(ParentSeen(ProcessStatus.RUNNING, 2, waiting=True, cause=RunId("p")))
    assert (child.state, child.run.head.driven) == (ProcessStatus.RUNNING, 2)


def test_children_are_held_resumed_and_cancelled_with_their_parent() -> None:
    """A child follows its parent, but one that its user paused stays paused."""
    child = started(sequence(2))
    child.do(ParentSeen(ProcessStatus.PAUSED, 1, waiting=True, cause=RunId("p")))
    assert child.state is ProcessStatus.PAUSED
    child.do(ParentSeen(ProcessStatus.RUNNING, 1, waiting=True, cause=RunId("p")))
    assert child.state is ProcessStatus.RUNNING
    child.ask(Verb.PAUSE)
    child.do(ParentSeen(ProcessStatus.RUNNING, 1, waiting=True, cause=RunId("p")))
    assert child.state is ProcessStatus.PAUSED
    child.do(ParentSeen(ProcessStatus.CANCELLED, 1, waiting=False, cause=RunId("p")))
    assert child.state is ProcessStatus.CANCELLED


def test_a_process_waits_for_its_dependencies() -> None:
    """It is WAITING until all of them have COMPLETED; a failed one keeps it waiting."""
    needed = RunId("setup")
    steps = (step("a"),)
    world = started(Definition(RunKind.PROCESS, "p", steps, dependencies=(needed,)))
    assert world.state is ProcessStatus.WAITING
    for seen in (None, ProcessStatus.RUNNING, ProcessStatus.FAILED):
        world.do(DependenciesSeen({needed: seen}))
        assert world.state is ProcessStatus.WAITING
    world.do(DependenciesSeen({needed: ProcessStatus.COMPLETED}))
    assert (world.state, world.statuses) == (ProcessStatus.RUNNING, ["RUNNING"])


def test_without_capacity_everything_is_queued() -> None:
    """What nobody can start at once becomes an entry of the queue, due now."""
    world = World(sequence(2), NO_CAPACITY)
    draft = world.ask(Verb.START)
    assert [(entry.type, entry.step, entry.ready_at) for entry in draft.enqueue] == [
        (WORK, 0, world.now)
    ]
    assert not draft.launched


MOVES = {
    ProcessStatus.PENDING: [],
    ProcessStatus.RUNNING: [Verb.START],
    ProcessStatus.PAUSED: [Verb.START, Verb.PAUSE],
    ProcessStatus.CANCELLED: [Verb.START, Verb.CANCEL],
}


@pytest.mark.parametrize("state", MOVES)
@pytest.mark.parametrize("verb", Verb)
def test_every_command_in_every_state_does_it_repeats_it_or_says_what_is_possible(
    state: ProcessStatus, verb: Verb
) -> None:
    """The table of commands is total; an error names the state and what fits."""
    world = World(sequence(2))
    for move in MOVES[state]:
        world.ask(move)
    assert world.state is state
    try:
        draft = world.ask(verb)
    except StateError as error:
        assert state in str(error)
        assert all(choice in str(error) for choice in possible(state))
    else:
        assert bool(draft.events) is (verb in possible(state))
        assert not world.ask(verb).events or verb is Verb.START


@st.composite
def graphs(draw: st.DrawFn) -> Definition:
    count = draw(st.integers(1, 8))
    steps = []
    for position in range(count):
        before = draw(st.sets(st.integers(0, position - 1))) if position else set()
        policy = RetryPolicy(max_attempts=draw(st.integers(1, 2)))
        steps.append(
            StepSpec(
                StepId(f"s{position}"),
                "s",
                TaskSpec(WORK, {}, retry=policy),
                tuple(sorted(before)),
                continue_on_error=draw(st.booleans()),
            )
        )
    return Definition(RunKind.PROCESS, "p", tuple(steps))


OUTCOMES: Sequence[Outcome] = (
    Completed(JsonText("1")),
    BOOM,
    Asleep(Micros(10)),
    Stopped(),
    HandedBack(),
)


@given(graphs(), st.data())
def test_whatever_happens_history_and_state_agree(
    definition: Definition, data: st.DataObject
) -> None:
    """Random graphs and event orders: only legal states, the counters hold, replay is equal.

    A step runs only after all it depends on has passed, a completed step never changes again,
    and a run that is not held up by anybody always comes to an end.
    """
    world = World(definition)
    world.ask(Verb.START)
    completed: set[int] = set()
    for _ in range(data.draw(st.integers(0, 25))):
        running = [n for n, s in enumerate(world.run.steps) if s.status is TaskStatus.RUNNING]
        choices: list[Stimulus] = [Command(verb) for verb in Verb if _fits(world, verb)]
        choices += [
            AttemptEnded(n, world.run.steps[n].attempt, outcome)
            for n in running
            for outcome in OUTCOMES
        ]
        choices += [
            WorkerDied(WorkerKey(1)),
            Due(WHOLE_RUN),
            *(Due(n) for n in range(len(world.run.steps))),
        ]
        choices += [
            Dispatch(n, step.ready_at)
            for n, step in enumerate(world.run.steps)
            if step.ready_at is not None
        ]
        world.capacity = data.draw(st.sampled_from([ROOM, NO_CAPACITY]))
        if any(isinstance(choice, Dispatch) for choice in choices):
            world.now = Micros(world.now + data.draw(st.integers(0, 20)))
        stimulus = data.draw(st.sampled_from(choices))
        if isinstance(stimulus, Dispatch):
            world.capacity = ROOM
        world.do(stimulus)
        _check(world, completed)
    _drive_to_the_end(world)
    _check(world, completed)
    assert world.state in FINISHED_RUN


def _fits(world: World, verb: Verb) -> bool:
    return verb in possible(world.state) and verb is not Verb.START


def _check(world: World, completed: set[int]) -> None:
    run, specs = world.run, world.definition.steps
    replayed = followed(run.id, 0, run.definition, world.history).run
    assert (replayed.head, replayed.steps) == (run.head, run.steps)
    assert (replayed.blockers, replayed.unfinished) == (run.blockers, run.unfinished)
    assert run.head.in_flight == sum(s.status is TaskStatus.RUNNING for s in run.steps)
    for position, state in enumerate(run.steps):
        if state.status in (TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.WAITING):
            assert all(run.steps[before].passed for before in specs[position].depends_on)
        if position in completed:
            assert state.status is TaskStatus.COMPLETED
        elif state.status is TaskStatus.COMPLETED:
            completed.add(position)


def _drive_to_the_end(world: World) -> None:
    """Nobody pauses any more, attempts complete, moments come: the run has to end."""
    world.capacity = ROOM
    if world.state is ProcessStatus.PAUSED:
        world.ask(Verb.RESUME)
    for _ in range(100):
        if world.state in FINISHED_RUN and not world.run.head.in_flight:
            return
        world.now = Micros(world.now + 1000)
        for position, state in enumerate(list(world.run.steps)):
            if state.status is TaskStatus.RUNNING:
                world.complete(position)
            elif state.status is TaskStatus.WAITING:
                world.do(Due(position))
            elif state.ready_at is not None:
                world.do(Dispatch(position, state.ready_at))
