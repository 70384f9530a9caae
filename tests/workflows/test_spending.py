"""What handlers spend: it is written down and summed up, and a budget stops a run in time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from world import World

from kallista import DefinitionError, Kallista, StateError, TaskContext, UsageError
from kallista.testing.running import InlineThreads

pytestmark = pytest.mark.anyio


class Model:
    """Handlers that cost something."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = 0

    async def ask(self, ctx: TaskContext, usd: Any = "2", tokens: int = 0) -> None:
        """Ask, and pay for it, also for what comes to nothing."""
        self.asked.append(ctx.task_id)
        await ctx.spend(usd, "usd")
        if tokens:
            ctx.spend(tokens, "tokens")
        if self.fails:
            self.fails -= 1
            raise ValueError("no answer")

    def reckon(self, ctx: TaskContext) -> None:
        """The same on a thread."""
        self.asked.append(ctx.task_id)
        ctx.spend(0.1, "usd")
        ctx.spend("0.2", "usd")


def asks(count: int, **more: object) -> list[dict[str, object]]:
    """So many tasks that cost two dollars each."""
    return [{"id": f"a{n}", "type": "ask", **more} for n in range(count)]


async def started(app: Kallista, tasks: list[dict[str, object]], **config: object) -> None:
    """A workflow under way."""
    await app.workflow_manager.create_workflow("w", tasks, config, workflow_id="w")
    await app.workflow_manager.start_workflow("w")


async def test_another_definition_brings_no_other_budget(any_world: World) -> None:
    """A run that goes on with it is paused with its items, and with a higher one it completes."""
    model = Model()
    app = await any_world.app(model.ask)
    manager, budget = app.workflow_manager, {"budget": {"usd": 2}}
    items = {"id": "all", "type": "ask", "for_each": [1, 2], "max_parallel": 1}
    await started(app, [items], **budget)
    await any_world.settle()
    await any_world.after(manager.cancel_workflow("w"))
    await any_world.after(manager.define_workflow("w", [items, *asks(1)], budget))
    await any_world.after(manager.retry_workflow("w", definition="current"))
    await any_world.settle()
    assert await manager.get_workflow_status("w") == "PAUSED"
    assert len(model.asked) == 1
    await any_world.after(manager.resume_workflow("w", budget={"usd": 10}))
    await any_world.settle()
    assert await manager.get_workflow_status("w") == "COMPLETED"
    assert len(model.asked) == 3


async def test_a_used_up_budget_pauses_the_run_before_its_next_task(any_world: World) -> None:
    """It says what was spent of what; with a higher one it goes on, and no task runs twice."""
    model = Model()
    app = await any_world.app(model.ask)
    manager = app.workflow_manager
    await started(app, asks(4), budget={"usd": 3})
    await any_world.settle()
    assert await manager.get_workflow_status("w") == "PAUSED"
    assert model.asked == ["a0", "a1"]
    paused = next(e for e in await manager.get_history("w") if e.kind == "run.paused")
    assert paused.data == {
        "reason": "its budget is used up: 4 usd spent of 3",
        "budget": {"usd": {"spent": "4", "limit": "3"}},
    }
    told = str(await manager.explain("w"))
    assert "its budget is used up, 4 usd spent of 3; resume 'w' with a higher one" in told
    with pytest.raises(StateError, match="resume it with a higher one"):
        await manager.resume_workflow("w")
    with pytest.raises(StateError, match="4 usd spent of 4"):
        await manager.resume_workflow("w", budget={"usd": 4})
    with pytest.raises(StateError, match="no budget for 'eur'"):
        await manager.resume_workflow("w", budget={"eur": 4})
    await manager.resume_workflow("w", "it is worth it", budget={"usd": "5.5"})
    await any_world.settle()
    assert model.asked == ["a0", "a1", "a2"]
    await manager.resume_workflow("w", budget={"usd": 100})
    await any_world.settle()
    assert (await manager.get_workflow("w")).ok
    assert model.asked == ["a0", "a1", "a2", "a3"]
    resumed = next(e for e in await manager.get_history("w") if e.kind == "run.resumed")
    assert resumed.data == {"reason": "it is worth it", "budget": {"usd": "5.5"}}


async def test_what_has_begun_last_ends_the_run(any_world: World) -> None:
    """Nothing is to begin any more, so nothing is held; but where it is tried again, it is."""
    model = Model()
    app = await any_world.app(model.ask)
    manager = app.workflow_manager
    await started(app, asks(2), budget={"usd": 4})
    await any_world.settle()
    assert await manager.get_workflow_status("w") == "COMPLETED"
    model.fails = 2
    last = asks(1, retry={"max_attempts": 3, "delay": 0})
    await manager.create_workflow("again", last, {"budget": {"usd": 2}}, workflow_id="again")
    await manager.start_workflow("again")
    await any_world.settle()
    assert await manager.get_workflow_status("again") == "PAUSED"
    assert model.asked == ["a0", "a1", "a0"]
    await manager.resume_workflow("again", budget={"usd": 5})
    await any_world.settle()
    assert (await manager.get_workflow("again")).ok
    assert model.asked == ["a0", "a1", "a0", "a0", "a0"]


async def test_a_budget_that_is_not_used_up_is_not_raised_in_silence(any_world: World) -> None:
    """Who raises it too early is told so; the same raise once more is a repeat, and harmless."""
    model = Model()
    app = await any_world.app(model.ask)
    elsewhere = await any_world.app(worker=False)
    wait = {"id": "wait", "type": "sleep", "seconds": 60}
    await started(app, [*asks(2), wait], budget={"usd": 3})
    await any_world.settle()
    for manager in (app.workflow_manager, elsewhere.workflow_manager):
        await manager.resume_workflow("w", budget={"usd": 50})
        await any_world.settle()
        assert await manager.get_workflow_status("w") == "RUNNING"
        with pytest.raises(StateError, match="RUNNING, so resume does not fit"):
            await manager.resume_workflow("w", budget={"usd": 60})


async def test_a_tree_has_one_budget(any_world: World) -> None:
    """What children spend counts for their parents; all of them stop, and go on together."""
    model = Model()
    app = await any_world.app(model.ask)
    orchestrator = app.orchestrator
    inner = {"type": "workflow", "name": "inner", "tasks": asks(3)}
    steps = [{**inner, "id": f"c{n}", "depends_on": []} for n in range(2)]
    nested = {"id": "deep", "type": "process", "steps": [{**inner, "id": "leaf"}], "depends_on": []}
    data = {"id": "p", "steps": [*steps, nested], "config": {"budget": {"usd": 7}}}
    await orchestrator.create_processes([data], start=True)
    await any_world.settle()
    assert (await orchestrator.get_process("p")).status == "PAUSED"
    assert len(model.asked) < 9
    spent = await app.reports.spent("p")
    assert Decimal(7) <= spent["usd"] <= Decimal(12)
    assert "of 'p'" in str(await orchestrator.explain("p/c0")) or model.asked.count("a2")
    with pytest.raises(StateError):
        await orchestrator.resume_process("p")
    await orchestrator.resume_process("p", budget={"usd": 50})
    await any_world.settle()
    assert (await orchestrator.get_process("p")).ok
    assert len(model.asked) == 9
    assert await app.reports.spent("p") == {"usd": Decimal(18)}


async def test_what_is_spent_counts_whatever_becomes_of_it(any_world: World) -> None:
    """Attempts that fail and are tried again, on a thread, exactly as it was written."""
    model = Model()
    model.fails = 1
    app = await any_world.app(model.ask, model.reckon, threads=InlineThreads())
    task = {"type": "ask", "usd": "0.000000001", "tokens": 7, "retry": 2}
    await app.scheduler.schedule_task("t", task, tags=["night", "red"])
    await app.scheduler.schedule_task("u", {"type": "reckon"}, tags=["night"])
    await any_world.settle()
    told = {
        by: [(it.of, it.unit, str(it.amount)) for it in await app.reports.spending(by)]
        for by in ("run", "type", "tag", "unit")
    }
    assert told == {
        "run": [("t", "tokens", "14"), ("t", "usd", "2E-9"), ("u", "usd", "0.3")],
        "type": [("ask", "tokens", "14"), ("ask", "usd", "2E-9"), ("reckon", "usd", "0.3")],
        "tag": [
            ("night", "tokens", "14"), ("night", "usd", "0.300000002"), ("red", "tokens", "14"),
            ("red", "usd", "2E-9"),
        ],
        "unit": [("tokens", "tokens", "14"), ("usd", "usd", "0.300000002")],
    }  # fmt: skip
    [only, _] = await app.reports.spending(unit="usd", since="2001-01-01")
    assert only.to_dict() == {"of": "t", "unit": "usd", "amount": "0.000000002"}
    assert await app.reports.spending(until="2001-01-01") == []
    await app.scheduler.delete_task("t")
    assert [it.of for it in await app.reports.spending()] == ["u"]


async def test_a_retry_asks_for_a_budget_as_well(any_world: World) -> None:
    """What failed beyond its budget is paused again before anything of it begins."""
    model = Model()
    model.fails = 1
    app = await any_world.app(model.ask)
    manager = app.workflow_manager
    await started(app, asks(2, usd=5), budget={"usd": 5})
    await any_world.settle()
    if await manager.get_workflow_status("w") == "FAILED":
        await manager.retry_workflow("w")
        await any_world.settle()
    assert await manager.get_workflow_status("w") == "PAUSED"
    assert model.asked == ["a0"]


async def test_several_workers_keep_one_budget(any_world: World) -> None:
    """Steps of a process that others execute count in it, and stop with it."""
    model = Model()
    app = await any_world.app(model.ask, max_concurrency=1, alert=True)
    await any_world.app(model.ask, max_concurrency=1, alert=True)
    steps = [{**ask, "depends_on": []} for ask in asks(6)]
    data = {"id": "p", "steps": steps, "budget": {"usd": 4}}
    await app.orchestrator.create_processes([data], start=True)
    await any_world.passes(5)
    assert (await app.orchestrator.get_process("p")).status == "PAUSED"
    assert 2 <= len(model.asked) <= 3
    await app.orchestrator.resume_process("p", budget={"usd": 40})
    await any_world.passes(5)
    assert (await app.orchestrator.get_process("p")).ok


async def test_what_runs_at_the_end_is_not_stopped(world: World) -> None:
    """To leave things undone would cost more."""
    model = Model()
    app = await world.app(model.ask)
    undo = {"type": "ask", "usd": 10}
    tasks = [
        {"id": "bought", "type": "ask", "compensate": undo},
        {"id": "x", "type": "ask", "usd": 10},
        *asks(1),
    ]
    await started(app, tasks, budget={"usd": 5}, **{"finally": [{"id": "end", "type": "ask"}]})
    await world.settle()
    await app.workflow_manager.cancel_workflow("w", rollback=True)
    await world.settle()
    assert await app.workflow_manager.get_workflow_status("w") == "CANCELLED"
    assert model.asked[-1] == "end"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"usd": -1}, "from 0 to"),
        ({"usd": "much"}, "an amount is a number"),
        ({"usd": True}, "an amount is a number"),
        ({"us dollars": 1}, "unit"),
        (5, "budget must be a mapping"),
    ],
)
async def test_a_wrong_budget_is_told(world: World, wrong: Any, told: str) -> None:
    """At creation."""
    app = await world.app()
    with pytest.raises(DefinitionError, match=told):
        await app.workflow_manager.create_workflow(
            "w", [{"type": "sleep", "seconds": 1}], {"budget": wrong}
        )


async def test_a_wrong_amount_fails_its_attempt(world: World) -> None:
    """Nobody would know what it means; and sums are asked for by what there is."""
    model = Model()
    app = await world.app(model.ask)
    await app.scheduler.schedule_task("t", {"type": "ask", "usd": "NaN"})
    await world.settle()
    assert "an amount is a number" in str((await app.scheduler.get_task("t")).error)
    await app.scheduler.schedule_task("huge", {"type": "ask", "usd": "1e999999"})
    await world.settle()
    assert "an amount is from 0 to" in str((await app.scheduler.get_task("huge")).error)
    with pytest.raises(UsageError, match="summed up by run"):
        await app.reports.spending("color")


async def test_items_of_a_list_keep_the_budget_of_their_run(any_world: World) -> None:
    """Each is a run of its own; none begins beyond the budget, and all go on with it."""
    model = Model()
    app = await any_world.app(model.ask)
    items = {**asks(1)[0], "for_each": [1, 2, 3, 4, 5, 6], "max_parallel": 2}
    await started(app, [items], budget={"usd": 5})
    await any_world.settle()
    assert await app.workflow_manager.get_workflow_status("w") == "PAUSED"
    assert 3 <= len(model.asked) <= 4
    await app.workflow_manager.resume_workflow("w", budget={"usd": 50})
    await any_world.settle()
    assert (await app.workflow_manager.get_workflow("w")).ok
    assert len(model.asked) == 6


async def test_an_amount_told_beside_the_handler_counts(any_world: World) -> None:
    """Nobody awaits it; the end of the attempt waits for it, so the next task does not begin."""
    app_model = Model()

    async def pay(ctx: TaskContext) -> None:
        app_model.asked.append(ctx.task_id)
        ctx.spend(3, "usd")

    app = await any_world.app(pay)
    tasks: list[dict[str, object]] = [{"id": f"p{n}", "type": "pay"} for n in range(3)]
    await started(app, tasks, budget={"usd": 3})
    await any_world.settle()
    assert await app.workflow_manager.get_workflow_status("w") == "PAUSED"
    assert app_model.asked == ["p0"]
