"""The same again: who asks for what was asked for before gets the first one, and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from world import World, ids

from kallista import ConflictError, DefinitionError, UsageError
from kallista.core.plan import NewRun
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import Created

pytestmark = pytest.mark.anyio


class Printer:
    """A handler whose work is to be done once."""

    def __init__(self) -> None:
        self.printed: list[int] = []
        self.jams = False

    async def print_out(self, page: int) -> str:
        """Print a page."""
        self.printed.append(page)
        if self.jams:
            raise OSError("paper jam")
        return f"page {page}"


def same(key: str = "invoice-17", window: object = "10m") -> dict[str, object]:
    """What makes requests the same."""
    return {"key": key, "window": window}


async def test_who_asks_again_gets_the_first_ones_result(any_world: World) -> None:
    """Whatever id and config they give, from any program, until the window is over."""
    printer = Printer()
    app = await any_world.app(printer.print_out)
    other = await any_world.app(printer.print_out, worker=False)
    ask, again = app.scheduler.schedule_task, other.scheduler.schedule_task
    first = await ask(None, {"type": "print_out", "page": 1}, deduplicate=same())
    await any_world.settle()
    assert await again("mine", {"type": "print_out", "page": 2}, deduplicate=same()) == first
    assert await other.scheduler.get_task_result(first) == "page 1"
    assert "who asks for the same (key 'invoice-17') before" in str(
        await app.scheduler.explain(first)
    )
    await any_world.passes("9m 59s")
    items: list[dict[str, object]] = [
        {"task_data": {"type": "print_out", "page": n}, "deduplicate": same(key)}
        for n, key in enumerate(("invoice-17", "a", "a", "b"))
    ]
    many = await app.scheduler.schedule_tasks(items)
    assert (many[0], many[1] == many[2], len({*many})) == (first, True, 3)
    await any_world.passes(1)
    assert await ask("later", {"type": "print_out", "page": 3}, deduplicate=same()) == "later"
    await any_world.settle()
    assert sorted(printer.printed) == [1, 1, 3, 3]


async def test_what_came_to_nothing_is_no_answer(any_world: World) -> None:
    """A task that is FAILED or CANCELLED is asked for anew; without a key all are different."""
    printer = Printer()
    printer.jams = True
    app = await any_world.app(printer.print_out)
    task = {"type": "print_out", "page": 1}
    first = await app.scheduler.schedule_task("a", task, deduplicate=same())
    await any_world.settle()
    printer.jams = False
    second = await app.scheduler.schedule_task("b", task, deduplicate=same())
    third = await app.scheduler.schedule_task("c", task, deduplicate=same())
    assert (first, second, third) == ("a", "b", "b")
    assert await app.scheduler.schedule_task("d", task) == "d"


async def test_a_list_that_is_refused_uses_no_key_up(any_world: World) -> None:
    """Also when some of it came too late to be of use, so that one key stands in it twice."""
    printer = Printer()
    app = await any_world.app(printer.print_out)
    page = {"type": "print_out", "page": 1}
    await app.scheduler.schedule_task("taken", page)
    late = {**page, "expires_at": "2020-01-01T00:00:00Z"}
    items: list[dict[str, object]] = [
        {"task_data": late, "deduplicate": same()},
        {"task_data": late, "deduplicate": same()},
        {"task_data": {**page, "page": 2}, "task_id": "taken"},
    ]
    with pytest.raises(ConflictError, match="taken"):
        await app.scheduler.schedule_tasks(items)
    assert await app.scheduler.schedule_task("new", page, deduplicate=same()) == "new"


async def test_workflows_and_processes_are_known_by_their_names(any_world: World) -> None:
    """A key means nothing beyond what it starts; created together or one by one."""
    app = await any_world.app()
    nap = [{"type": "sleep", "seconds": 60}]
    manager, orchestrator = app.workflow_manager, app.orchestrator
    one = await manager.create_workflow("w", nap, deduplicate=same())
    assert await manager.create_workflow("w", nap, deduplicate=same()) == one
    assert await manager.create_workflow("v", nap, deduplicate=same()) != one
    item = {"name": "w", "tasks": nap, "deduplicate": same()}
    assert await manager.create_workflows([item, item], start=True) == [one, one]
    process = {"name": "p", "steps": nap}
    first = await orchestrator.create_process(process, deduplicate=same())
    [again] = await orchestrator.create_processes([{"definition": process, "deduplicate": same()}])
    assert again == first
    await any_world.settle()
    assert len(ids((await manager.list_workflows()).items)) == 2
    assert await manager.get_workflow_status(one) == "RUNNING"


class SlowStore(MemoryStore):
    """What it has created together is said later."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self.says = asyncio.Event()

    async def create_all(self, runs: Sequence[NewRun]) -> Sequence[Created]:  # type: ignore[override]  # awaited alike
        """See the port."""
        made = await super().create_all(runs)
        await self.says.wait()
        return made


async def test_the_first_one_may_be_deleted_before_it_is_heard_of(world: World) -> None:
    """It had finished, so there is nothing to start; who asks for many is not told an error."""
    printer = Printer()
    app = await world.app(printer.print_out)
    first = await app.scheduler.schedule_task(
        "first", {"type": "print_out", "page": 1}, deduplicate=same()
    )
    await world.settle()
    store = SlowStore(world.state)  # type: ignore[attr-defined]  # it is one in memory
    other = await world.app(printer.print_out, worker=False, store=store)
    item = {"task_data": {"type": "print_out", "page": 2}, "deduplicate": same()}
    asked = asyncio.ensure_future(other.scheduler.schedule_tasks([item]))
    await world.settle()
    await app.scheduler.delete_task(first)
    store.says.set()
    assert await asked == [first]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"key": "k"}, "'window' is missing"),
        ({"key": "", "window": 5}, "key must be a text"),
        ({"key": "k", "window": "long"}, "no length of time"),
        ({"key": "k", "window": 0}, "longer than nothing"),
        ({"key": "k", "windows": 5}, "did you mean 'window'"),
        ("k", "must be a mapping"),
    ],
)
async def test_a_wrong_key_is_told(world: World, wrong: Any, told: str) -> None:
    """Before anything is created."""
    app = await world.app()
    with pytest.raises(DefinitionError, match=told):
        await app.scheduler.schedule_task("t", {"type": "sleep", "seconds": 1}, deduplicate=wrong)


async def test_a_key_stands_beside_the_task(world: World) -> None:
    """In it, it would go to the handler; and a firing is known by its moment."""
    app = await world.app()
    nap = {"type": "sleep", "seconds": 1}
    with pytest.raises(DefinitionError, match="belongs beside the task"):
        await app.scheduler.schedule_task("t", {**nap, "deduplicate": same()})
    with pytest.raises(UsageError, match="runs once"):
        await app.scheduler.schedule_task("t", nap, interval=5, deduplicate=same())
