"""One simulation: programs, clients and misfortune at random, then peace, then judgement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any
from zlib import crc32

from audit import audit

from kallista.core.definitions import ChildSpec, Definition, MapSpec, Phase, TaskSpec, Work
from kallista.core.durations import to_datetime
from kallista.core.inbox import EMPTY_INBOX
from kallista.core.plan import WAKE
from kallista.core.snapshots import Explanation
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, ProcessStatus, RunKind, ScheduleStatus
from kallista.core.types import RunId, ScheduleId
from kallista.errors import (
    DefinitionError,
    KallistaError,
    NotFoundError,
    StateError,
    StoreError,
    UsageError,
)
from kallista.store.memory import MemoryState
from kallista.store.port import RunRecord

from . import dependencies
from .ledger import Ledger
from .loop import SECOND, BrokenPromiseError, Machine
from .outside import Outside, judge_outside
from .program import Handled, Program, Setting, Surroundings, living
from .store import Weather
from .workload import COINS, QUIET, Workload

PATIENCE = 90
"""Seconds without any progress, after which something counts as stuck."""

GOODBYE = 150
"""Seconds that leaving may take, for what is cut off has to be waited for."""

PROMPT = 3
"""Seconds within which what is due is begun, when there is peace and somebody has time."""

LONGEST = 3_000
"""Seconds after which everything must be over."""


@dataclass(frozen=True, slots=True)
class Climate:
    """How hard one story is: which misfortunes happen, and how often.

    Args:
        programs: How many at first.
        length: Seconds of misfortune.
        busy: Requests a second.
        weather: How the ways to the store are.
        crashes: Deaths a second; so are the next ones.
        departures: Programs that leave in good order.
        freezes: Programs that stand still for a while.
        cuts: Programs that do not reach the store for a while.
        jumps: Wall clocks set to another time.
        poison: The part of the tasks that kill their program.
        guests: Whether some programs have not all task types.
        impatience: The part of the requests that their clients give up before they are answered.
    """

    programs: int
    length: int
    busy: float
    weather: Weather
    crashes: float
    departures: float
    freezes: float
    cuts: float
    jumps: float
    poison: float
    guests: bool
    impatience: float

    @property
    def only_poison_kills(self) -> bool:
        """Whether programs die of poisonous tasks alone, and all can see it when they do."""
        return self.weather == Weather() and not (
            self.crashes or self.freezes or self.cuts or self.departures
        )


def climate(luck: Random) -> Climate:
    """Each misfortune is left out of half of all stories, so that none hides another."""

    def sometimes(part: float) -> float:
        return luck.choice((0.0, part * luck.random()))

    chosen = Climate(
        programs=luck.choice((1, 2, 2, 3, 4)),
        length=luck.choice((5, 10, 20)),
        busy=luck.choice((0.7, 1.5, 3)),
        weather=Weather(
            failing=sometimes(0.1),
            doubtful=luck.random(),
            slow=sometimes(0.02),
            deaf=sometimes(0.5),
            crash_before=sometimes(0.01),
            crash_after=sometimes(0.01),
        ),
        crashes=sometimes(0.3),
        departures=sometimes(0.2),
        freezes=sometimes(0.3),
        cuts=sometimes(0.2),
        jumps=sometimes(0.2),
        poison=sometimes(0.05),
        guests=luck.random() < 0.4,
        impatience=sometimes(0.3),
    )
    if luck.random() < 0.1:
        fine = Weather()
        return replace(chosen, weather=fine, crashes=0, freezes=0, cuts=0, departures=0, poison=0.1)
    return chosen


_DOORS: Mapping[RunKind, tuple[str, str]] = {
    RunKind.WORKFLOW: ("workflow_manager", "workflow"),
    RunKind.PROCESS: ("orchestrator", "process"),
    RunKind.TASK: ("scheduler", "task"),
}

_LEADS_TO: Mapping[str, set[str]] = {
    "start": {*ProcessStatus} - {"PENDING"},
    "pause": {"PAUSED"},
    "resume": {"RUNNING", "WAITING", "COMPENSATING"},
    "cancel": {"CANCELLED", "COMPENSATING"},
    "retry": {"RUNNING", "WAITING", "COMPENSATING"},
}
"""In which states a run has been, at the latest, when a command is acknowledged."""

_REFUSED_IN: Mapping[str, set[str]] = {
    "start": set(),
    "pause": {"PENDING", "COMPLETED", "FAILED", "CANCELLED"},
    "resume": {"PENDING", "COMPLETED", "FAILED", "CANCELLED"},
    "cancel": {"COMPLETED", "FAILED"},
    "retry": {"PENDING", "PAUSED", "COMPLETED", "COMPENSATING"},
    "delete": {"PENDING", "WAITING", "RUNNING", "PAUSED", "COMPENSATING", *FINISHED_RUN},
}
"""In which states a command may be refused; a delete also while attempts still end."""


_GOES_ON_BY: Mapping[str, str] = {
    "PENDING": "start",
    "PAUSED": "resume",
    "FAILED": "retry",
    "CANCELLED": "retry",
}
"""What lets a run go on that waits for a person."""


_RULES: tuple[dict[str, Any], ...] = (
    {},
    {"jitter": 0.3},
    {"overlap": "queue"},
    {"overlap": "replace", "jitter": 1},
    {"overlap": "allow", "catch_up": "all"},
    {"catch_up": "all"},
    {"catch_up": 3},
    {"catch_up": "none", "overlap": "queue", "pause_on_failure": 1},
    {"pause_on_failure": 2},
)
"""How schedules treat their moments."""


def _moment(seconds: float) -> str:
    return to_datetime(round(seconds * 1e6)).isoformat()


class Story:
    """One simulation.

    Args:
        seed: Which one.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.machine = Machine(seed)
        self.luck = self.machine.luck
        self.state = MemoryState()
        self.ledger = Ledger(self.machine, self.state)
        self.climate = climate(self.luck)
        self.ledger.only_poison_kills = self.climate.only_poison_kills
        self.around = Surroundings(self.machine, self.state, self.ledger, self.climate.weather)
        self.workload = Workload(self.luck, self.climate.poison, Random(seed))
        self.outside = Outside(self, Random(~seed), self.climate.busy)
        self.programs: list[Program] = []
        self.peace = False
        self.over = False
        self.runs: dict[str, RunKind] = {}
        self.acknowledged: set[str] = set()
        self.described: dict[str, dict[str, Any]] = {}
        self.schedules: list[str] = []
        self.clients: list[tuple[str, Program, asyncio.Task[None]]] = []
        self.lease = self.luck.choice((3, 10, 30)) * SECOND
        self.limit = self.luck.choice((1, 2, 4, 10))
        self.narrow = self.luck.choice((1, 2))
        self.rarely = SECOND if self.climate.weather.deaf else 30 * SECOND
        self.calm = False

    def tell(self) -> None:
        """The whole story.

        Raises:
            BrokenPromiseError: A promise was broken.
        """
        try:
            self.machine.note("", repr(self.climate))
            for _ in range(self.climate.programs):
                self.open()
            for misfortune, rate in self.misfortunes():
                self.again(rate, misfortune)
            self.outside.begin()
            self.machine.run(self.climate.length * SECOND)
            self.make_peace()
            self.let_rest()
            self.judge()
            self.calm = True
            self.revive()
            self.let_rest()
            self.judge()
            self.judge_ends()
            self.close()
        except BrokenPromiseError:
            raise
        except AssertionError as error:
            self.machine.note("!!!", str(error))
            raise BrokenPromiseError(str(error)) from error
        except Exception as error:
            raise BrokenPromiseError(f"the simulation itself has failed: {error!r}") from error
        finally:
            self.over = True
            for program in self.programs:
                program.loop.bury()

    # programs

    def open(self) -> Program:
        """Start another program."""
        program = Program(
            f"p{len(self.programs)}", self.around, self.setting(), self.somebody_is_gone
        )
        self.programs.append(program)
        program.start()
        return program

    def setting(self) -> Setting:
        """How a new program is set up."""
        luck = self.luck
        handled = [
            Handled("work", None), Handled("narrow", self.narrow), Handled("other", None),
            Handled("grind", 2),
        ]  # fmt: skip
        guest = self.climate.guests and not self.peace and self.programs and luck.random() < 0.5
        queues: tuple[str, ...] = ("default", "side")
        if guest:
            handled = luck.sample(handled, luck.randint(1, 4))
            queues = luck.choice((queues, ("default",), ("side",)))
        return Setting(
            handled=tuple(handled),
            queues=queues,
            max_concurrency=self.limit,
            worker=self.peace or not self.programs or luck.random() < 0.9,
            look_every=luck.choice((50_000, 500_000, 1_000_000, 1_500_000, self.rarely)),
            take_over_every=luck.choice((700_000, 2_000_000)),
            lease=self.lease,
            grace=luck.choice((0, SECOND, 10 * SECOND)),
            skew=0 if self.peace else luck.choice((0, 0, 0, 30_000, -30_000, 700_000)),
            seen_dead=self.peace or luck.random() < 0.8,
        )

    def somebody_is_gone(self, program: Program) -> None:
        """Another program takes the place of one that is gone, sooner or later."""
        if not self.over:
            self.machine.after(self.luck.choice((0, SECOND // 2, 3 * SECOND)), self.reopen)

    def reopen(self) -> None:
        """Open one more, unless there are enough."""
        alive = [program for program in self.programs if program.alive]
        able = any(program.does_everything for program in alive)
        if not self.over and (len(alive) < self.climate.programs or (self.peace and not able)):
            self.open()

    def somebody(self) -> Program | None:
        """A program that can be asked."""
        there = living(self.programs)
        return self.luck.choice(there) if there else None

    # misfortune

    def misfortunes(self) -> Iterator[tuple[Callable[[], None], float]]:
        """What may happen, and how often in a second."""
        yield self.ask, self.climate.busy
        yield self.crash, self.climate.crashes
        yield self.depart, self.climate.departures
        yield self.freeze, self.climate.freezes
        yield self.cut, self.climate.cuts
        yield self.jump, self.climate.jumps

    def again(self, rate: float, what: Callable[[], None]) -> None:
        """Do something now and then until there is peace."""

        def now() -> None:
            if not self.peace:
                what()
                self.again(rate, what)

        if rate > 0:
            self.machine.after(int(self.luck.expovariate(rate) * SECOND), now)

    def crash(self) -> None:
        """A program dies."""
        there = [program for program in self.programs if program.alive]
        if there:
            self.luck.choice(there).die("at random")

    def depart(self) -> None:
        """A program ends in good order."""
        program = self.somebody()
        if program is not None:
            program.leave()

    def freeze(self) -> None:
        """A program stands still for a while."""
        program = self.somebody()
        if program is not None:
            length = int(self.luck.choice((0.5, 1, 1.2, 2)) * self.lease)
            self.machine.note(program.name, f"is frozen for {length / SECOND:g} s")
            program.loop.freeze(self.machine.now + length)

    def cut(self) -> None:
        """A program does not reach the store for a while."""
        program = self.somebody()
        if program is not None:
            length = int(self.luck.choice((0.2, 1, 2)) * self.lease)
            self.machine.note(program.name, f"is cut off for {length / SECOND:g} s")
            program.store.cut_off(self.machine.now + length)

    def jump(self) -> None:
        """All wall clocks are set to another time."""
        change = self.luck.choice((-15, -1, 1, 5, 60, 3_600)) * SECOND
        self.machine.note("", f"clocks are set by {change / SECOND:g} s")
        self.ledger.set_clocks(change)

    # what clients ask

    def ask(self) -> None:
        """A client asks for something."""
        program = self.somebody()
        if program is None:
            return
        what = self.luck.random()
        if what < 0.05:
            self.client(program, "creates", self.create_many(program))
        elif what < 0.4 or not self.runs:
            self.client(program, "creates", self.create(program))
        elif what < 0.75:
            self.client(program, "commands", self.command(program))
        elif what < 0.85:
            self.client(program, "waits", self.wait(program))
        elif what < 0.95 and self.schedules:
            self.client(program, "schedules", self.command_schedule(program))
        else:
            self.client(program, "schedules", self.create_schedule(program))

    def client(self, program: Program, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Let a client of a program go about something."""
        asking = program.do(self.surely(program, work))
        self.clients.append((name, program, asking))
        if self.machine.chance(self.climate.impatience):
            longest = self.luck.choice((2_000, 20_000, SECOND))
            patience = self.luck.randint(0, longest)
            self.machine.after(patience, lambda: program.loop.call_soon(asking.cancel))

    async def surely(self, program: Program, work: Coroutine[Any, Any, None]) -> None:
        """Nothing but documented errors reaches a client."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except DefinitionError as error:
            if "there is no task type" not in str(error):
                self.machine.accuse(f"a client of {program.name} got {error}")
        except Exception as error:
            self.machine.accuse(f"a client of {program.name} got {type(error).__name__}: {error}")

    async def insist(
        self,
        program: Program,
        what: Callable[[], Awaitable[object]],
        may_refuse: Callable[[str], bool] = lambda told: False,
    ) -> bool:
        """Ask again as long as the store fails; false when it is given up, or rightly refused."""
        for _ in range(20):
            try:
                await what()
            except StoreError as error:
                self.machine.note(program.name, f"cannot: {error}")
                await asyncio.sleep(0.3)
                continue
            except KallistaError as error:
                self.machine.note(program.name, f"refuses: {error}")
                if may_refuse(str(error)):
                    return False
                raise
            self.machine.note(program.name, "answers")
            return True
        return False

    async def create(self, program: Program) -> None:
        """Create a run, and mostly start it."""
        luck = self.luck
        id, priority = f"r{len(self.runs)}", luck.choice((0, 0, 0, 1, 5))
        kind = luck.choice(list(RunKind))
        start = luck.random() < 0.95
        self.runs[id] = kind
        app = program.app
        self.machine.note(program.name, f"is asked to create {kind} {id}")
        if kind is RunKind.WORKFLOW:
            tasks = self.workload.tasks()
            config = self.workload.config(tasks)
            self.described[id] = {"tasks": tasks, "config": config}
            done = await self.insist(
                program,
                lambda: app.workflow_manager.create_workflow(
                    "line", tasks, config, workflow_id=id, priority=priority
                ),
            )
        elif kind is RunKind.PROCESS:
            data = self.workload.process()
            others = [other for other, kind in self.runs.items() if kind is RunKind.PROCESS]
            if luck.random() < 0.4:
                later = [f"r{len(self.runs) + ahead}" for ahead in range(luck.randint(0, 2))]
                awaited = luck.choices([*others, *others, *later], k=luck.randint(1, 2))
                dependencies.drawn(id, [other for other in awaited if other != id], data)
            self.described[id] = data
            done = await self.insist(
                program,
                lambda: app.orchestrator.create_process(data, process_id=id, priority=priority),
                may_refuse=lambda told: dependencies.circle_is_real(
                    self.state, told, RunId(id), data.get("dependencies")
                ),
            )
        else:
            seconds = luck.choice((0, 0, 1, 10))
            task, wait = self.workload.single(seconds), timedelta(seconds=seconds)
            at = to_datetime(program.clock.now()) + wait if wait else None
            key = luck.choice((None,) * 6 + ("a", "a", "b"))
            if key is not None and task["type"] not in QUIET:
                task["type"] = "work"
            if key is not None:
                await self.create_same(program, id, task, key)
                return
            done = await self.insist(
                program, lambda: app.scheduler.schedule_task(id, task, at, priority)
            )
        if not done:
            return
        self.acknowledged.add(id)
        if RunId(id) not in self.ledger.born:
            self.machine.accuse(f"{program.name} says that {id} is created, and it is not")
        if start and kind is not RunKind.TASK:
            await self.tell_run(program, id, "start")

    async def create_same(self, program: Program, id: str, task: dict[str, Any], key: str) -> None:
        """Ask for a task that may be the same as an earlier one."""
        same = {"key": key, "window": self.luck.choice((1, 8))}
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await program.app.scheduler.schedule_task(id, task, deduplicate=same))

        self.machine.note(program.name, f"is asked to create {id} unless {same} is there")
        if not await self.insist(program, ask):
            return
        answer = answers[-1]
        self.runs.setdefault(answer, RunKind.TASK)
        self.acknowledged.add(answer)
        if RunId(answer) not in self.ledger.born:
            self.machine.accuse(f"{program.name} says that {answer} is created, and it is not")

    async def create_many(self, program: Program) -> None:
        """Create and start several runs in one commit."""
        luck = self.luck
        kind = luck.choice((RunKind.TASK, RunKind.WORKFLOW))
        ids = [f"r{len(self.runs) + number}" for number in range(luck.randint(2, 6))]
        self.runs.update(dict.fromkeys(ids, kind))
        self.machine.note(program.name, f"is asked to create {kind}s {ids}")
        app = program.app
        many: list[dict[str, object]]
        if kind is RunKind.TASK:
            many = [{"task_id": id, "task_data": self.workload.single(0)} for id in ids]
            done = await self.insist(program, lambda: app.scheduler.schedule_tasks(many))
        else:
            many = [
                {"name": "line", "tasks": self.workload.tasks(), "workflow_id": id} for id in ids
            ]
            done = await self.insist(
                program, lambda: app.workflow_manager.create_workflows(many, start=True)
            )
        if not done:
            return
        self.acknowledged.update(ids)
        missing = [id for id in ids if RunId(id) not in self.ledger.born]
        if missing:
            self.machine.accuse(f"{program.name} says that {missing} are created, and they are not")

    async def command(self, program: Program) -> None:
        """Command a run that was asked for."""
        id = self.luck.choice(list(self.runs))
        verbs = ["pause", "resume", "resume", "cancel", "retry", "retry", "start"]
        if self.runs[id] is RunKind.TASK:
            verbs = ["cancel", "retry"]
        if id in self.acknowledged:  # else who asks for it once more creates another one
            verbs.append("delete")
        verb = self.luck.choice(verbs)
        forks = self.runs[id] is not RunKind.TASK and verb in ("retry", "start")
        if forks and crc32(f"fork {id}{self.ledger.tick}".encode()) % 2:
            await self.fork(program, id)
        else:
            await self.tell_run(program, id, verb)

    async def fork(self, program: Program, id: str) -> None:
        """A run goes on from before one of its steps, in another one."""
        ledger, kind, since = self.ledger, self.runs[id], self.ledger.tick
        key = self.state.keys.get(RunId(id))
        if key is None:
            return
        definition = ledger.definition(self.state.runs[key])
        task = definition.steps[crc32(f"{id}{since}".encode()) % definition.main_count].id
        door, noun = _DOORS[kind]
        method = getattr(getattr(program.app, door), f"fork_{noun}")
        new = f"f{len(self.runs)}"
        self.runs[new] = kind
        self.machine.note(program.name, f"is asked to fork {id} at {task} as {new}")
        try:
            if not await self.insist(program, lambda: method(id, task, fork_id=new)):
                return
        except NotFoundError as error:
            if RunId(id) not in ledger.deleted:
                self.machine.accuse(f"{id} is said not to exist: {error}")
            return
        except StateError as error:
            if not ledger.was_in(RunId(id), {*ProcessStatus} - FINISHED_RUN, since):
                self.machine.accuse(f"a fork was refused without a reason: {error}")
            return
        self.acknowledged.add(new)
        if RunId(new) not in ledger.born:
            self.machine.accuse(f"{program.name} says that {new} is created, and it is not")

    async def tell_run(self, program: Program, id: str, verb: str) -> None:
        """One command, and whether its answer is true."""
        kind, run = self.runs[id], RunId(id)
        door, noun = _DOORS[kind]
        method = getattr(getattr(program.app, door), f"{verb}_{noun}")
        if verb == "cancel" and kind is not RunKind.TASK and self.luck.random() < 0.5:
            method = partial(method, rollback=True)
        if verb == "pause" and crc32(f"{id}{self.ledger.tick}".encode()) % 2:
            method = partial(method, stop_clocks=True)
        drawn = crc32(f"{verb} {id}{self.ledger.tick}".encode())
        if verb == "retry" and id in self.described and drawn % 2:
            method = partial(method, definition=otherwise(self.described[id], drawn))
        ledger, since = self.ledger, self.ledger.tick
        if verb == "resume" and self._has_budget(run) and (self.peace or self.luck.random() < 0.5):
            budget = {COINS: 1_000 if self.peace else self.luck.choice((2, 5, 9))}
            method = partial(method, budget=budget)
        known = run in ledger.born and run not in ledger.deleted
        has_expired = ledger.has_expired(run)
        self.machine.note(program.name, f"is asked to {verb} {id}")
        try:
            if not await self.insist(program, lambda: method(id)):
                return
        except NotFoundError as error:
            if known and run not in ledger.deleted:
                self.machine.accuse(f"{id} is said not to exist: {error}")
            return
        except StateError as error:
            has_expired |= ledger.has_expired(run)  # or it had, and is deleted by now
            undone = verb == "retry" and (ledger.was_undone(run) or has_expired)
            undone |= verb == "resume" and ledger.is_budgeted(run)
            misfit = "cannot go on with that definition" in str(error)
            going_on = ledger.was_in(run, {"RUNNING", "WAITING", "COMPENSATING"}, since)
            is_other = verb == "retry" and "definition" in getattr(method, "keywords", {})
            if is_other and (misfit or going_on):
                return
            if not undone and not ledger.was_in(run, _REFUSED_IN[verb], since):
                self.machine.accuse(f"{verb} was refused without a reason: {error}")
            return
        if verb == "delete":
            if run not in ledger.deleted:
                self.machine.accuse(f"{program.name} says that {id} is deleted, and it is not")
        elif kind is RunKind.TASK and verb == "cancel":
            pass  # it says whether it has cancelled anything
        elif run not in ledger.deleted and not ledger.was_in(run, _LEADS_TO[verb], since):
            self.machine.accuse(f"{program.name} says that it did {verb} {id}, and it did not")

    def _has_budget(self, id: RunId) -> bool:
        key = self.state.keys.get(id)
        return key is not None and key in self.state.budgets

    async def wait(self, program: Program) -> None:
        """Wait for the end of a run."""
        id = self.luck.choice(list(self.runs))
        door, noun = _DOORS[self.runs[id]]
        since = self.ledger.tick
        try:
            await self.insist(
                program, lambda: getattr(getattr(program.app, door), f"wait_{noun}")(id)
            )
        except NotFoundError:
            return
        finished = {state.value for state in FINISHED_RUN}
        if not self.ledger.was_in(RunId(id), finished, since):
            self.machine.accuse(f"{program.name} says that {id} has finished, and it has not")

    async def create_schedule(self, program: Program) -> None:
        """Let something recur."""
        luck = self.luck
        id = f"c{len(self.schedules)}"
        self.schedules.append(id)
        task = self.workload.working_task()
        task.pop("kills", None)
        every, most = luck.choice((0.5, 2, 5)), luck.randint(1, 4)
        drawn = crc32(f"{every}{most}{id}{task}".encode())
        rules = dict(_RULES[drawn % len(_RULES)])
        if drawn // len(_RULES) % 2:  # so that a backfill finds moments before now
            rules["start"] = _moment(self.machine.now / 1e6 - 6)
        how = f"every {every} s, {rules}"
        self.machine.note(program.name, f"is asked to create schedule {id} {how}")
        done = await self.insist(
            program,
            lambda: program.app.scheduler.schedule_task(
                id, task, interval=every, max_runs=most, **rules
            ),
        )
        if done and ScheduleId(id) not in self.ledger.schedules:
            self.machine.accuse(f"{program.name} says that {id} is created, and it is not")

    async def command_schedule(self, program: Program) -> None:
        """Command a schedule that was asked for."""
        id = self.luck.choice(self.schedules)
        verb = self.luck.choice(("pause", "resume", "resume", "trigger"))
        since = self.ledger.tick
        if verb == "resume" and crc32(f"{id}{since}".encode()) % 2:
            verb = "backfill"
        self.machine.note(program.name, f"is asked to {verb} schedule {id}")
        if verb == "trigger":
            self.ledger.fired_by_hand.add(ScheduleId(id))
        method = getattr(program.app.scheduler, f"{verb}_schedule")
        arguments = [id]
        if verb == "backfill":
            now = self.machine.now / 1e6
            arguments += [_moment(now - 9), _moment(max(now - 9, now - 1))]
        try:
            if not await self.insist(program, lambda: method(*arguments)):
                return
        except UsageError as error:
            if verb != "backfill":
                raise
            self.machine.note(program.name, f"has nothing to backfill: {error}")
            return
        except NotFoundError as error:
            if ScheduleId(id) in self.state.schedules and self.ledger.schedule_was(
                ScheduleId(id), {*ScheduleStatus}, since
            ):
                self.machine.note(program.name, f"did not know yet: {error}")
            return
        except StateError as error:
            is_backfilling = verb == "backfill" and "still backfilling" in str(error)
            is_over = self.ledger.schedule_was(ScheduleId(id), {"FINISHED"}, since)
            if not is_backfilling and not is_over:
                self.machine.accuse(f"{verb} was refused without a reason: {error}")
            return
        wanted = {"pause": {"PAUSED"}, "resume": {"ACTIVE"}}.get(verb)
        if wanted and not self.ledger.schedule_was(ScheduleId(id), wanted, since):
            self.machine.accuse(f"{program.name} says that it did {verb} {id}, and it did not")

    # peace

    def make_peace(self) -> None:
        """No more misfortune; at least one program that has all task types."""
        self.machine.note("", "peace")
        self.peace = True
        weather = self.climate.weather
        weather.failing = weather.slow = weather.deaf = 0.0
        weather.crash_before = weather.crash_after = 0.0
        for program in self.programs:
            program.loop.thaw()
            program.store.cut_off(0)
        if not any(program.alive and program.does_everything for program in self.programs):
            self.open()

    def let_rest(self) -> None:
        """Go on until nothing moves any more, and judge on the way whether all is prompt."""
        machine = self.machine
        began = machine.now
        rested = False
        while not (rested and self.is_at_rest()):  # a deadline may end what stood still
            rested = self.is_at_rest()
            machine.run(machine.now + SECOND)
            if self.calm:
                self.judge_promptness()
            if machine.now - self.ledger.changed_at > PATIENCE * SECOND and (
                machine.now - began > PATIENCE * SECOND
            ):
                self.accuse_stuck("nothing moves")
            if machine.now - began > LONGEST * SECOND:
                self.accuse_stuck("there is no end")

    def judge_promptness(self) -> None:
        """Nothing that is due waits for long while a worker has nothing to do."""
        now = self.ledger.wall
        idle = [program for program in living(self.programs) if self.is_idle(program)]
        for line in self.state.queue:
            owner = self.state.runs[line.run].owner
            if now - line.ready_at < PROMPT * SECOND or line.ready_at == 0:
                continue
            for program in idle:
                able = line.type == WAKE or line.type in program.app._engine._slots.lanes()
                if able and owner in (None, program.known_as):
                    raise AssertionError(f"{program.name} has nothing to do, and {line} waits")

    def is_idle(self, program: Program) -> bool:
        """Whether a worker has had nothing to do."""
        since = max(self.ledger.busy_at.get(program.name, 0), program.store.slow_until)
        return (
            program.setting.worker
            and not any(attempt.by is program for attempt in self.ledger.under_way)
            and not any(loan.worker == program.known_as for loan, _ in self.state.loans.values())
            and self.machine.now - since > PROMPT * SECOND
        )

    def accuse_stuck(self, what: str) -> None:
        """Something is stuck: say what."""
        left = [
            f"{record.id} is {record.status}, driven by {record.owner}"
            for record in self.state.runs.values()
            if not self.rests(record)
        ]
        lines = "; ".join(map(str, sorted(self.state.queue)))
        clients = [
            f"{name} at {program.name}"
            for name, program, task in self.clients
            if program.alive and not task.done()
        ]
        raise AssertionError(
            f"{what}: runs {left}; clients {clients}; attempts {self.ledger.under_way};"
            f" in the queue: {lines}"
        )

    def is_at_rest(self) -> bool:
        """Whether all has ended that can end by itself, and all who waited were answered."""
        if not living(self.programs) or any(
            program.alive and not program.up for program in self.programs
        ):
            return False
        finished = all(run.head.state in FINISHED_RUN for run in self.state.runs.values())
        if any(
            program.alive and not task.done() and (finished or name != "waits")
            for name, program, task in self.clients
        ):
            return False
        if self.ledger.under_way or not all(map(self.rests, self.state.runs.values())):
            return False
        if any(line.type == WAKE and line.ready_at == 0 for line in self.state.queue):
            return False
        if any(p.alive and p.store.slow_until > self.machine.now for p in self.programs):
            return False  # what it has asked while it was cut off is answered later
        return not any(
            schedule.status is ScheduleStatus.ACTIVE for schedule in self.state.schedules.values()
        )

    def rests(self, record: RunRecord) -> bool:
        """Whether a run has ended, or waits for somebody."""
        head = record.head
        if head.in_flight or (record.owner is not None and not self.goes_through(record)):
            return False
        if head.state is ProcessStatus.WAITING:
            return dependencies.is_held(self.state, self.ledger.definition(record))
        if head.state in ACTIVE_RUN:
            return self.waits_for_others(record)
        return head.state in {*FINISHED_RUN, ProcessStatus.PENDING, ProcessStatus.PAUSED}

    def goes_through(self, record: RunRecord) -> bool:
        """Whether a run goes through a list, for which whoever drives it keeps it."""
        maps = self.ledger.definition(record).maps
        return any(record.steps[position].status == "WAITING" for position in maps)

    def waits_for_others(self, record: RunRecord) -> bool:
        """Whether all that is left of a run are people, and children that rest."""
        children = [
            child
            for child in self.state.runs.values()
            if child.parent is not None and child.parent[0] == record.key
        ]
        waiting = {at for at, step in enumerate(record.steps) if step.status == "WAITING"}
        queued = any(step.status == "SCHEDULED" and step.ready_at for step in record.steps)
        asleep = any(record.steps[at].ready_at for at in waiting)
        unfinished = [child for child in children if child.head.state not in FINISHED_RUN]
        held = {child.parent[1] for child in unfinished if child.parent is not None}
        held |= set(self.state.inboxes.get(record.key, EMPTY_INBOX).asked)
        rest = all(map(self.rests, unfinished))
        return bool(waiting) and not queued and not asleep and rest and held == waiting

    def questions(self, record: RunRecord) -> int:
        """How many steps of a run wait for what comes from outside."""
        return len(self.state.inboxes.get(record.key, EMPTY_INBOX).asked)

    def revive(self) -> None:
        """Everything that waits for a person goes on."""
        for turn in range(60):  # each item of a list may fail for a while, one after the other
            program = living(self.programs)[0]
            wanted = [
                (record, verb)
                for record in self.state.runs.values()
                if (verb := _GOES_ON_BY.get(record.head.state)) and record.parent is None
                and (turn < 2 or not self.may_fail(record))
            ]  # fmt: skip
            asking = self.outside.asking()
            if not wanted and not asking:
                return
            for record in asking:
                if record.head.state is not ProcessStatus.PAUSED:
                    self.outside.answer(program, record, kindly=turn > 1)
            self.machine.note("", "all that waits is told to go on")
            for record, verb in wanted:
                self.runs.setdefault(record.id, record.kind)
                self.client(program, verb, self.tell_run(program, record.id, verb))
            self.machine.run(self.machine.now + SECOND)
            self.let_rest()

    # judgement

    def judge(self) -> None:
        """All that must hold once everything is at rest."""
        audit(self.state)
        self.ledger.judge_completed()
        self.ledger.judge_wound_up()
        self.ledger.judge_moments()
        self.ledger.judge_spent()
        judge_outside(self.machine, self.ledger)
        self.judge_schedules()
        for program in self.programs:
            if program.alive:
                program.accuse_of_unheard()
                if program.places_taken:
                    raise AssertionError(f"{program.name} holds places, and everything rests")
        self.judge_explanations()  # last: while somebody is asked, moments come
        if self.machine.broken:
            raise BrokenPromiseError("; ".join(self.machine.broken))

    def judge_explanations(self) -> None:
        """Of each run that has not finished it is said why."""
        program = living(self.programs)[0]
        reasons = {
            "PENDING": "not_started",
            "PAUSED": "paused",
            "WAITING": "waits_for_process",
            "RUNNING": "waits_for_child",
            "COMPENSATING": "waits_for_child",
        }
        for record in list(self.state.runs.values()):
            tick = self.ledger.tick
            wanted = {reasons.get(record.head.state, "finished")}
            if self.goes_through(record):
                wanted.add("waits_for_items")
            if record.head.state in ACTIVE_RUN and self.questions(record):
                wanted = {"waits_for_answer", "waits_for_signal"}
            told = self.answered(program, program.app.workflow_manager.explain(record.id))
            if self.ledger.tick != tick:
                return  # a deadline may end what stands still while somebody is asked
            if told.reason not in wanted or record.id not in str(told):
                raise AssertionError(f"{record.id} is {record.status}, and explained by: {told}")

    def answered(self, program: Program, question: Coroutine[Any, Any, Explanation]) -> Explanation:
        """What a program answers."""
        task = program.do(question)
        self.machine.run(self.machine.now + SECOND // 2)
        if not task.done():
            raise AssertionError(f"{program.name} does not answer")
        return task.result()

    def judge_schedules(self) -> None:
        """Each firing that is counted has started one task, and no task came from nowhere."""
        for schedule in self.state.schedules.values():
            runs = [run for run in self.state.runs.values() if run.schedule == schedule.id]
            deleted = [id for id in self.ledger.deleted if id.startswith(f"{schedule.id}@")]
            started = schedule.fired + schedule.backfilled
            if started != len(runs) + len(deleted):
                raise AssertionError(
                    f"{schedule.id} has fired {started} times, and {len(runs)} tasks exist"
                )
            for run in runs:
                if not run.id.startswith(f"{schedule.id}@"):
                    raise AssertionError(f"{run.id} is no firing of {schedule.id}")

    def judge_ends(self) -> None:
        """With everybody's help everything has completed, but for what is out of time."""
        for record in self.state.runs.values():
            if record.head.state is ProcessStatus.COMPLETED:
                continue
            if record.head.state is ProcessStatus.WAITING or self.may_fail(record):
                continue
            raise AssertionError(f"{record.id} is {record.status} in the end")

    def may_fail(self, record: RunRecord) -> bool:
        """Whether a run has a time limit, or is held up by one that has."""
        definition = self.ledger.definition(record)
        return (
            record.parent is not None or is_limited(definition) or dependencies.may_fail(definition)
        )

    def close(self) -> None:
        """All programs leave in good order, and nothing is left behind."""
        self.over = True
        for program in living(self.programs):
            program.leave()
        for _ in range(GOODBYE):
            if any(program.alive for program in self.programs):
                self.machine.run(self.machine.now + SECOND)
        for program in self.programs:
            if program.alive:
                raise AssertionError(f"{program.name} does not come to its end")
        owned = [run.id for run in self.state.runs.values() if run.owner is not None]
        if owned:
            raise AssertionError(f"{owned} are driven, and nobody is there")


def otherwise(description: dict[str, Any], drawn: int) -> dict[str, Any]:
    """A description of the same steps, one of which is more urgent; perhaps one more."""
    key = "tasks" if "tasks" in description else "steps"
    steps = [dict(step) for step in description[key]]
    step = steps[drawn % len(steps)]
    if "switch" not in step and step["type"] not in ("workflow", "process"):
        step["priority"] = drawn % 5
    if drawn % 3 == 0:
        more = {"id": "more", "type": "work", "length": 10}
        steps.append(more if key == "tasks" else {**more, "depends_on": []})
    return {**description, key: steps}


def is_limited(definition: Definition) -> bool:
    """Whether anything in a definition may run out of time, or be undone for ever."""
    if len({step.phase for step in definition.steps} - {Phase.FINALLY}) > 1:
        return True
    if definition.is_budgeted:
        return True
    return (definition.deadline, definition.expires) != (None, None) or any(
        _is_limited(spec.work) for spec in definition.steps
    )


def _is_limited(work: Work) -> bool:
    match work:
        case TaskSpec():
            limits = (work.timeout, work.deadline, work.heartbeat_timeout)
            return limits != (None, None, None)
        case ChildSpec(definition=definition):
            return is_limited(definition)
        case MapSpec(child=child, items=items):  # a list that is another one after a retry
            return isinstance(items, str) or is_limited(child.definition)
        case _:
            return False


@contextmanager
def quiet() -> Iterator[None]:
    """The trouble is made on purpose; its warnings would fill the report.

    Raises:
        BrokenPromiseError: A service of an engine failed over a mistake of its own.
    """
    log = logging.getLogger("kallista")
    before = log.level, log.propagate
    mistakes = _Mistakes()
    log.addHandler(mistakes)
    log.setLevel(logging.ERROR)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(mistakes)
        log.setLevel(before[0])
        log.propagate = before[1]
    if mistakes.seen:
        raise BrokenPromiseError(mistakes.seen[0])


class _Mistakes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.seen.append(self.format(record))


def tell(seed: int) -> Story:
    """Tell one story.

    Raises:
        BrokenPromiseError: It broke a promise; the message ends with how to repeat it.
    """
    story = Story(seed)
    try:
        with quiet():
            story.tell()
    except BrokenPromiseError as error:
        raise BrokenPromiseError(f"{error}\n\nrepeat it by: {command(seed)}") from error
    return story


def command(seed: int) -> str:
    """What repeats one story and shows what happened in it."""
    return f"python -m tests.simulation --seed {seed}"
