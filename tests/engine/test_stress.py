"""Stories told by dice: whatever happens, everything ends, and what completed ran exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from random import Random

import pytest
from audit import audit
from flaky import FlakyStore
from world import places_taken

from kallista import Kallista, NotFoundError, StateError, TaskContext
from kallista.core.states import EventKind, RunKind
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.errors import StoreError
from kallista.store.memory import MemoryState
from kallista.testing.clock import FakeClock
from kallista.testing.running import InlineThreads


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The trouble is made on purpose; its warnings would fill the report."""
    log = logging.getLogger("kallista.engine")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


COMMANDS = {
    RunKind.WORKFLOW: ("workflow_manager", "{}_workflow", ("pause", "resume", "cancel", "retry")),
    RunKind.PROCESS: ("orchestrator", "{}_process", ("pause", "resume", "cancel", "retry")),
    RunKind.TASK: ("scheduler", "{}_task", ("cancel", "retry")),
}


class Story:
    """One story: apps on one memory, runs of every kind, and commands and faults at random.

    Args:
        seed: Which story.
        crashes: Whether programs die on the way.
    """

    def __init__(self, seed: int, *, crashes: bool) -> None:
        self.luck = Random(seed)
        self.crashes = crashes
        self.clock = FakeClock()
        self.state = MemoryState()
        self.apps: list[tuple[Kallista, FlakyStore]] = []
        self.runs: list[tuple[RunKind, str]] = []
        self.limit = self.luck.randint(1, 4)
        self.running: Counter[int] = Counter()
        self.returned: Counter[str] = Counter()
        self.peaceful = False
        self.most = 0
        self.wanted: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.doing: set[asyncio.Task[None]] = set()

    # programs

    async def opened(self) -> None:
        store = FlakyStore(self.state, Random(self.luck.random()))
        number = len(self.apps)

        async def work(ctx: TaskContext, hard: bool = False) -> str:
            return await self.work(number, ctx, hard)

        async def narrow(ctx: TaskContext) -> str:
            return await self.work(number, ctx, False)

        app = Kallista.assembled(
            store,
            self.clock,
            tasks=[work, narrow],
            threads=InlineThreads(),
            options=Options(max_concurrency=self.limit, grace=Micros(0)),
        )
        await app.__aenter__()
        store.fault()
        self.apps.append((app, store))

    async def work(self, number: int, ctx: TaskContext, hard: bool) -> str:
        self.running[number] += 1
        self.most = max(self.most, self.running[number])
        try:
            for _ in range(self.luck.randint(0, 8)):
                await asyncio.sleep(0)
            if self.luck.random() < 0.3:
                passed = asyncio.Event()
                length = self.luck.randint(1, 1_000_000 if self.peaceful else 3_000_000)
                self.clock.call_at(Micros(self.clock.now() + length), passed.set)
                await passed.wait()
            if not self.peaceful and self.luck.random() < (0.5 if hard else 0.15):
                raise ValueError("bad luck")
        finally:
            self.running[number] -= 1
        self.returned[ctx.idempotency_key] += 1
        return str(ctx.task_id)

    def app(self) -> Kallista:
        alive = [app for app, store in self.apps if not store.dead]
        return self.luck.choice(alive)

    # what is asked

    async def wish(self, what: str, *args: object, **kwargs: object) -> None:
        """Ask for something that is asked for again in the end, as if nobody had answered."""
        self.wanted.append((what, args, kwargs))
        await self.insist(what, *args, **kwargs)

    async def insist(self, what: str, *args: object, **kwargs: object) -> None:
        """Ask until the store has answered; a refusal is an answer."""
        door, method = what.split(".")
        while True:
            try:
                await getattr(getattr(self.app(), door), method)(*args, **kwargs)
            except StoreError:
                await asyncio.sleep(0)
                continue
            except (StateError, NotFoundError):
                pass
            return

    async def command(self) -> None:
        if not self.runs:
            return
        kind, id = self.luck.choice(self.runs)
        door, method, verbs = COMMANDS[kind]
        app = self.app()
        verb = self.luck.choice(verbs)
        with suppress(StoreError, StateError, NotFoundError):
            await getattr(getattr(app, door), method.format(verb))(id)

    async def create(self) -> None:
        id = f"r{len(self.runs)}"
        priority = self.luck.randint(0, 2)
        kind = self.luck.choice(list(RunKind))
        self.runs.append((kind, id))
        if kind is RunKind.WORKFLOW:
            await self.wish(
                "workflow_manager.create_workflow", "w", self.tasks(),
                self.luck.choice([None, {"continue_on_error": True}]),
                workflow_id=id, priority=priority,
            )  # fmt: skip
            await self.wish("workflow_manager.start_workflow", id)
        elif kind is RunKind.PROCESS:
            data = self.process(2)
            earlier = [other for kind, other in self.runs[:-1] if kind is RunKind.PROCESS]
            if earlier and self.luck.random() < 0.4:
                data["dependencies"] = [self.luck.choice(earlier)]
            await self.wish("orchestrator.create_process", data, process_id=id)
            await self.wish("orchestrator.start_process", id)
        else:
            await self.wish("scheduler.schedule_task", id, self.task(), priority=priority)

    def task(self) -> dict[str, object]:
        if self.luck.random() < 0.1:
            return {"type": "sleep", "seconds": self.luck.randint(0, 3)}
        if self.luck.random() < 0.2:
            return {"type": "narrow"}
        task: dict[str, object] = {"type": "work", "hard": self.luck.random() < 0.3}
        if self.luck.random() < 0.5:
            task["retry"] = {"max_attempts": 3, "delay": self.luck.choice([0, 1])}
        if self.luck.random() < 0.1:
            task["timeout"] = 2
        return task

    def tasks(self) -> list[dict[str, object]]:
        return [self.task() for _ in range(self.luck.randint(1, 4))]

    def process(self, depth: int) -> dict[str, object]:
        steps: list[dict[str, object]] = []
        for number in range(self.luck.randint(1, 4)):
            shape = self.luck.random()
            step: dict[str, object]
            if shape < 0.3:
                step = {"type": "workflow", "name": "sub", "tasks": self.tasks()}
            elif shape < 0.4 and depth:
                step = {"type": "process", **self.process(depth - 1)}
            else:
                step = {"type": "task", "task_data": self.task()}
            before = [f"s{earlier}" for earlier in range(number) if self.luck.random() < 0.5]
            steps.append({**step, "id": f"s{number}", "depends_on": before})
        return {"name": "p", "steps": steps}

    # the story

    async def tell(self) -> None:
        for _ in range(self.luck.randint(1, 3)):
            await self.opened()
        for _ in range(self.luck.randint(15, 40)):
            what = self.luck.random()
            if what < 0.35:
                self.do(self.create())
            elif what < 0.7:
                self.do(self.command())
            elif what < 0.9:
                await self.clock.advance(self.luck.choice([0.01, 0.5, 2]))
            elif what < 0.95 and self.crashes:
                await self.crash()
            for _ in range(self.luck.randint(0, 15)):
                await asyncio.sleep(0)
        await self.peace()

    def do(self, work: Coroutine[None, None, None]) -> None:
        self.doing.add(asyncio.ensure_future(work))

    async def crash(self) -> None:
        await self.opened()
        _, store = self.luck.choice([pair for pair in self.apps if not pair[1].dead][:-1])
        store.die()

    async def peace(self) -> None:
        """No more faults: everything is made to end, and does."""
        self.peaceful = True
        for _, store in self.apps:
            store.heal()
        for _ in range(20):
            await self.clock.advance(2)
        for task in self.doing:
            if not task.done() and not any(store.dead for _, store in self.apps):
                raise AssertionError(f"never answered: {task}")
            if task.done():
                task.result()
        for what, args, kwargs in self.wanted:
            await self.insist(what, *args, **kwargs)
        for _ in range(12):
            if all(run.status == "COMPLETED" for run in self.state.runs.values()):
                break
            for kind, id in self.runs:
                await self.go_on(kind, id)
            for _ in range(5):
                await self.clock.advance(2)
        self.verify()

    async def go_on(self, kind: RunKind, id: str) -> None:
        app = self.app()
        door, method, _ = COMMANDS[kind]
        for verb in ("start", "resume", "retry"):
            command = getattr(getattr(app, door), method.format(verb), None)
            if command is not None:
                with suppress(StateError, NotFoundError):
                    await command(id)

    def verify(self) -> None:
        audit(self.state)
        assert self.most <= self.limit, "more at once than allowed"
        left = {run.id: run.status for run in self.state.runs.values() if run.status != "COMPLETED"}
        assert not left, left
        for run in self.state.runs.values():
            completions = Counter(
                event.step
                for event in self.state.events[run.key]
                if event.kind is EventKind.TASK_COMPLETED
            )
            assert set(completions.values()) <= {1}, f"{run.id}: something completed twice"
        if not self.crashes:
            twice = {key: count for key, count in self.returned.items() if count > 1}
            assert not twice, f"ran again although it had returned: {twice}"
        for app, store in self.apps:
            if not store.dead:
                assert places_taken(app) == 0, "a place was never given back"


def tell(seed: int, *, crashes: bool) -> None:
    """One story, on an event loop of its own."""

    async def story() -> None:
        await Story(seed, crashes=crashes).tell()

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(25))
def test_whatever_fails_everything_ends_and_runs_once(seed: int) -> None:
    """Slow, failing and doubtful commits, commands from everywhere: nothing is lost or doubled."""
    tell(seed, crashes=False)


@pytest.mark.parametrize("seed", range(25))
def test_whoever_dies_everything_ends(seed: int) -> None:
    """Programs die in the middle of anything: others take over, and nothing is lost."""
    tell(seed, crashes=True)
