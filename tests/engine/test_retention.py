"""Runs that are over are let go of when it is time, and nothing that is needed goes with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from world import World, ids

from kallista import Kallista
from kallista.core.plan import NewRun
from kallista.core.retention import parse_retention
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunKey
from kallista.engine import retention
from kallista.engine.embedded import Options
from kallista.engine.retention import EVERY, Purger, Retention
from kallista.errors import NotFoundError, UsageError
from kallista.store.memory import MemoryStore
from kallista.store.port import OldRun
from kallista.store.sqlite import SqliteStore
from kallista.testing.clock import FakeClock
from kallista.testing.store_contract import NOW, finished, made, new_run, new_task, opened

pytestmark = pytest.mark.anyio

NOTE = {"type": "note"}
NEVER = Micros(10**17)


def note() -> str:
    """Return something."""
    return "noted"


def stumble() -> None:
    """Fail."""
    raise ValueError("it is slippery")


async def keeping(world: World, *rules: tuple[str, object], worker: bool = True) -> Kallista:
    """An app that keeps runs for so long."""
    options = Options(
        worker=worker,
        grace=Micros(0),
        look_every=NEVER,
        take_over_every=NEVER,
        retention=parse_retention(rules),
    )
    return await world.app(note, stumble, options=options)


async def left(app: Kallista) -> list[str]:
    """All runs that there are."""
    pages = [
        await app.workflow_manager.list_workflows(),
        await app.orchestrator.list_processes(),
        await app.scheduler.list_tasks(),
    ]
    return sorted(id for page in pages for id in ids(page.items))


async def test_each_goes_at_its_time(any_world: World) -> None:
    """By kind and status; those of which nothing is said stay for ever."""
    rules = (("workflow.COMPLETED", "1h"), ("workflow", "3h"), ("task", "2h"))
    app = await keeping(any_world, *rules)
    manager = app.workflow_manager
    await any_world.after(manager.run_workflow("good", [NOTE], workflow_id="good"))
    await any_world.after(manager.run_workflow("bad", [{"type": "stumble"}], workflow_id="bad"))
    await manager.create_workflow("new", [NOTE], workflow_id="new")
    await app.scheduler.schedule_task("task", NOTE)
    steps = [{"id": "first", **NOTE}]
    await app.orchestrator.create_process({"id": "process", "name": "p", "steps": steps})
    await app.orchestrator.start_process("process")
    await any_world.settle()
    everything = ["bad", "good", "new", "process", "task"]
    assert await left(app) == everything
    await any_world.passes("59m")
    assert await left(app) == everything
    for length, gone in (("2m", "good"), ("1h", "task"), ("1h", "bad")):
        everything.remove(gone)
        await any_world.passes(length)
        assert await left(app) == everything
    await any_world.passes("3h")
    assert await left(app) == ["new", "process"]
    with pytest.raises(NotFoundError, match="was deleted at .*; it was COMPLETED"):
        await manager.get_workflow("good")
    assert (await app.store.check()).problems == ()


async def test_what_others_depend_on_stays(any_world: World) -> None:
    """A process is needed until all that depend on it are COMPLETED; children go with parents."""
    app = await keeping(any_world, ("", "1h"))
    orchestrator = app.orchestrator
    child = {"id": "child", "type": "workflow", "tasks": [NOTE]}
    await orchestrator.create_process({"id": "base", "name": "base", "steps": [child]})
    rest = {"id": "rest", "type": "sleep", "seconds": 5 * 3600}
    await orchestrator.create_process(
        {"id": "late", "name": "late", "dependencies": ["base"], "steps": [rest]}
    )
    await orchestrator.start_process("base")
    await orchestrator.start_process("late")
    await any_world.passes("4h")
    assert await left(app) == ["base", "base/child", "late"]
    await any_world.passes("1h 30m")
    assert await left(app) == ["late"], "it is COMPLETED, so what it waited for may go"
    await any_world.passes("1h")
    assert await left(app) == []


async def test_who_comes_too_late_learns_how_it_ended(any_world: World) -> None:
    """A process that depends on one that is gone goes on if that has completed.

    If it was cancelled, it is said that somebody has to create it again.
    """
    app = await any_world.app(note)
    steps = [{"id": "first", **NOTE}]
    base = {"id": "base", "name": "base", "steps": steps}
    await app.orchestrator.create_process(base)
    await app.orchestrator.start_process("base")
    await any_world.passes("1h")
    assert await any_world.after(app.store.purge("30m")) == 1
    await app.orchestrator.create_process({**base, "id": "late", "dependencies": ["base"]})
    await app.orchestrator.start_process("late")
    await any_world.settle()
    assert (await app.orchestrator.get_process("late")).status == "COMPLETED"
    await app.orchestrator.create_process(base)
    await app.orchestrator.cancel_process("base")
    await app.orchestrator.delete_process("base")
    await app.orchestrator.create_process({**base, "id": "later", "dependencies": ["base"]})
    await app.orchestrator.start_process("later")
    await any_world.settle()
    told = str(await app.orchestrator.explain("later"))
    assert "waits for process 'base', which was deleted when it was CANCELLED: create it" in told
    await app.orchestrator.create_process(base)
    await app.orchestrator.start_process("base")
    await any_world.settle()
    assert (await app.orchestrator.get_process("later")).status == "COMPLETED"


async def test_who_does_not_use_it_pays_nothing(world: World) -> None:
    """Without the setting nobody ever looks for old runs, nor does who executes nothing."""
    app = await keeping(world)
    client = await keeping(world, ("", "1h"), worker=False)
    await world.after(app.workflow_manager.run_workflow("old", [NOTE], workflow_id="old"))
    names = [app._engine._retention_alarm._timer, client._engine._retention_alarm._timer]
    await world.passes("3h")
    assert names == [None, None]
    assert await left(app) == ["old"]


async def test_workers_may_do_it_together(any_world: World) -> None:
    """Each run goes once, whoever comes first."""
    one = await keeping(any_world, ("", "1h"))
    other = await keeping(any_world, ("", "1h"))
    for number in range(20):
        await one.workflow_manager.create_workflow("w", [NOTE], workflow_id=f"w-{number}")
        await one.workflow_manager.start_workflow(f"w-{number}")
    await any_world.passes("2h")
    assert await left(other) == []


class Watched(MemoryStore):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[int] = []
        self.batches: list[int] = []

    async def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        page = await super().oldest_runs(kind, status, after, limit)
        self.pages.append(len(page))
        return page

    def purge(
        self, runs: Sequence[RunKey], ended_before: Micros, now: Micros
    ) -> asyncio.Future[int]:
        self.batches.append(len(runs))
        return super().purge(runs, ended_before, now)


async def over(store: MemoryStore, *runs: NewRun) -> None:
    """Runs that are over since they were created."""
    for run in runs:
        await store.commit(finished(await made(store, run)))


async def test_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes meanwhile waits for a small transaction at most, however many there are."""
    monkeypatch.setattr(retention, "LOOKED_AT_ONCE", 10)
    monkeypatch.setattr(retention, "REMOVED_AT_ONCE", 4)
    async with opened(Watched) as store:
        assert isinstance(store, Watched)
        await over(store, *(new_run(f"{number}") for number in range(25)))
        late = Micros(NOW + 1)
        assert await Purger(store, lambda: NOW).remove(RunKind.WORKFLOW, "COMPLETED", late) == 25
        assert store.batches == [4, 4, 2, 4, 4, 2, 4, 1]
        assert store.pages == [10, 10, 5, 0]


async def test_what_is_young_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass ends at the first page of runs that were created too late, be there a million more."""
    monkeypatch.setattr(retention, "LOOKED_AT_ONCE", 10)
    async with opened(Watched) as store:
        assert isinstance(store, Watched)
        await over(store, *(new_run(f"{number}") for number in range(100)))
        assert await Purger(store, lambda: NOW).remove(RunKind.WORKFLOW, "COMPLETED", NOW) == 0
        assert store.pages == [10]


async def test_a_long_pass_is_followed_by_a_long_rest() -> None:
    """Where there is very much it takes its time, instead of taking everybody's."""
    clock = FakeClock()

    class Slow(MemoryStore):
        async def oldest_runs(
            self, kind: RunKind, status: str, after: RunKey, limit: int
        ) -> Sequence[OldRun]:
            await clock.advance(10)
            return ()

    async with opened(Slow) as store:
        service = Retention(store, clock, parse_retention([("task.FAILED", "1d")]))
        due = await service.once()
        assert due == clock.now() + 500_000_000
    async with opened(MemoryStore) as store:
        service = Retention(store, clock, parse_retention([("task.FAILED", "1d")]))
        assert await service.once() == clock.now() + EVERY


async def test_purging_by_hand(any_world: World) -> None:
    """By age, kind and status, and what is asked wrongly is told."""
    app = await any_world.app(note, stumble)
    manager = app.workflow_manager
    await any_world.after(manager.run_workflow("good", [NOTE], workflow_id="good"))
    await any_world.after(manager.run_workflow("bad", [{"type": "stumble"}], workflow_id="bad"))
    await app.scheduler.schedule_task("task", NOTE)
    await any_world.passes("1h")
    assert await any_world.after(app.store.purge("2h")) == 0
    assert await any_world.after(app.store.purge("30m", kind="task")) == 1
    assert await any_world.after(app.store.purge("30m", status=["FAILED", "SKIPPED"])) == 1
    assert await left(app) == ["good"]
    for wrong in (
        {"kind": "job"},
        {"status": "RUNNING"},
        {"kind": "workflow", "status": "SKIPPED"},
    ):
        with pytest.raises(UsageError):
            await app.store.purge("30m", **wrong)  # type: ignore[arg-type]
    assert await any_world.after(app.store.purge(60)) == 1
    assert await left(app) == []


async def test_the_file_stays_as_large_as_it_has_to_be(tmp_path: Path) -> None:
    """What purging leaves free is used again: a store in steady use does not grow."""
    path = tmp_path / "kallista.db"
    pages = []
    async with opened(lambda: SqliteStore(path)) as store:
        purger = Purger(store, lambda: NOW)
        for turn in range(6):
            runs = [
                new_task(f"{turn}-{number}", tags=("t",))
                if number % 2
                else new_run(f"{turn}-{number}")
                for number in range(1_000)
            ]
            created = await store.create_all(runs)
            records = await asyncio.gather(*[store.load(one.key) for one in created])
            await asyncio.gather(*[store.commit(finished(run)) for run in records if run])
            removed = await purger.remove(RunKind.WORKFLOW, "COMPLETED", Micros(NOW + 1))
            assert removed == 500
            removed = await purger.remove(RunKind.TASK, "SCHEDULED", Micros(NOW + 1))
            assert removed == 500
            with closing(apsw.Connection(str(path))) as db:
                pages.append(db.pragma("page_count"))
    # Of all of them tombstones stay, which are small.
    assert isinstance(pages[0], int)
    assert max(pages) < pages[0] * 1.5, pages
