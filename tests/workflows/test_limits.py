"""Limits over all workers: concurrency keys and rates, whoever executes what."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from flaky import FlakyStore
from world import MemoryWorld, World

from kallista import DefinitionError, Kallista

pytestmark = pytest.mark.anyio


class Desk:
    """Serves customers until it is told to stop; knows how many of each it serves at once."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.serving: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._done: dict[str, asyncio.Event] = {}

    async def serve(self, who: str, customer: str) -> None:
        """Serve one until that is done."""
        self.begun.append(who)
        self.serving[customer] += 1
        self.most[customer] = max(self.most[customer], self.serving[customer])
        self._done[who] = asyncio.Event()
        try:
            await self._done[who].wait()
        finally:
            self.serving[customer] -= 1

    def done(self, *names: str) -> None:
        """Be done with these."""
        for name in names:
            self._done[name].set()


def order(who: str, **more: object) -> dict[str, object]:
    """A task of a customer (the first letter), of whom one is served at a time."""
    return {
        "type": "serve",
        "config": {"who": who, "customer": who[0]},
        "concurrency_key": "customer-${config.customer}",
        **more,
    }


async def scheduled(world: World, app: Kallista, *names: str, **more: object) -> None:
    """Schedule tasks in this order."""
    for name in names:
        await world.after(app.scheduler.schedule_task(name, order(name, **more)))


async def test_one_at_a_time_of_each_key(any_world: World) -> None:
    """Of a key no more attempts run at once than it says, over all programs, in order."""
    desk = Desk()
    apps = [await any_world.app(desk.serve, alert=True) for _ in range(2)]
    await scheduled(any_world, apps[0], "a1", "a2", "b1", "a3")
    await any_world.passes(1)
    assert sorted(desk.begun) == ["a1", "b1"]
    for name, following in (("a1", "a2"), ("a2", "a3")):
        desk.done(name)
        await any_world.passes(1)
        assert desk.begun[-1] == following
    desk.done("a3", "b1")
    await any_world.passes(1)
    assert desk.most == {"a": 1, "b": 1}


async def test_what_waits_for_a_key_says_so(any_world: World) -> None:
    """``explain`` names the limit, who holds it since when, and how many are ahead."""
    desk = Desk()
    app = await any_world.app(desk.serve)
    await scheduled(any_world, app, "a1", "a2", "a3")
    explained = await any_world.after(app.scheduler.explain("a3"))
    assert explained.reason == "waits_for_limit"
    assert explained.waits_for == ("concurrency key:customer-a",)
    assert str(explained) == (
        "Task 'a3' waits for a place of concurrency key 'customer-a' (1 of 1): held by 'a1' since"
        f" {explained.sentence.partition('since ')[2][:23]}; 1 is ahead of it."
    )
    (info,) = await any_world.after(app.limits.list())
    assert (info.kind, info.key, info.number, info.held, info.waiting) == (
        "concurrency key", "customer-a", 1, 1, 2,
    )  # fmt: skip
    assert info.held_by[0].startswith("'a1' since ")
    for name in ("a1", "a2", "a3"):
        desk.done(name)
        await any_world.settle()
    assert await any_world.after(app.limits.list()) == []


async def test_keys_take_turns(any_world: World) -> None:
    """What waited for a place comes behind what has become due meanwhile.

    So a key with a long backlog does not keep those waiting that came after all of it.
    """
    desk = Desk()
    app = await any_world.app(desk.serve, max_concurrency=2)
    await scheduled(any_world, app, "a1", "a2", "a3", "c1")
    await any_world.passes(1)
    await scheduled(any_world, app, "b1", "b2")
    for name in ("a1", "b1", "b2", "a2"):
        await any_world.passes(1)
        desk.done(name)
    await any_world.settle()
    desk.done("a3", "c1")
    assert desk.begun == ["a1", "c1", "b1", "b2", "a2", "a3"]


async def test_a_higher_priority_of_the_same_key_goes_first(any_world: World) -> None:
    """The order of waiting is that of the queue: by priority, then by the moment."""
    desk = Desk()
    app = await any_world.app(desk.serve)
    await scheduled(any_world, app, "a1", "a2")
    await scheduled(any_world, app, "a3", priority=5)
    for name in ("a1", "a3", "a2"):
        assert desk.begun[-1] == name
        desk.done(name)
        await any_world.settle()


async def test_what_waits_can_be_paused_and_cancelled(any_world: World) -> None:
    """It leaves the row, and takes its place again at the resumption; others are not held up."""
    desk = Desk()
    app = await any_world.app(desk.serve)
    manager = app.workflow_manager
    for name in ("a1", "a2", "a3"):
        run = manager.create_workflow(name, [order(name)], workflow_id=name)
        await any_world.after(run)
        await any_world.after(manager.start_workflow(name))
    await any_world.after(manager.pause_workflow("a2"))
    await any_world.after(manager.cancel_workflow("a3"))
    (info,) = await any_world.after(app.limits.list())
    assert (info.held, info.waiting) == (1, 0)
    await any_world.after(manager.resume_workflow("a2"))
    desk.done("a1")
    await any_world.settle()
    assert desk.begun == ["a1", "a2"]
    desk.done("a2")
    await any_world.settle()


async def test_waiting_for_another_attempt_holds_no_place(any_world: World) -> None:
    """Neither does a sleep: what is held is held by attempts that run."""
    tried: list[str] = []

    async def serve(who: str, customer: str) -> None:
        tried.append(who)
        if len(tried) == 1:
            raise ValueError("not now")

    app = await any_world.app(serve)
    await scheduled(any_world, app, "a1", retry={"max_attempts": 2, "delay": 5})
    await scheduled(any_world, app, "a2")
    await any_world.passes(6)
    assert tried == ["a1", "a2", "a1"]


async def test_the_places_of_the_dead_are_free_once_they_are_seen_to_be(
    world: MemoryWorld,
) -> None:
    """A worker that is gone holds nothing, and its task goes on under the same limit."""
    lost, desk = Desk(), Desk()
    store = FlakyStore(world.state, Random(0))
    dying = await world.app(lost.serve, store=store, dies=True)
    await scheduled(world, dying, "a1")
    assert lost.begun == ["a1"]
    store.die()
    app = await world.app(desk.serve, alert=True)
    await scheduled(world, app, "a2")
    await world.passes(2)
    assert len(desk.begun) == 1
    for _ in range(2):
        desk.done(*desk.begun)
        await world.passes(1)
    assert sorted(desk.begun) == ["a1", "a2"]


async def test_steps_of_a_process_are_counted_whoever_executes_them(any_world: World) -> None:
    """Also those that other workers have borrowed."""
    desk = Desk()
    apps = [await any_world.app(desk.serve, max_concurrency=1, alert=True) for _ in range(3)]
    steps = [{**order(f"a{n}"), "id": f"a{n}", "depends_on": []} for n in range(4)]
    for step in steps:
        step["concurrency_key"] = {"key": "customer-a", "limit": 2}
    await any_world.after(apps[0].orchestrator.create_process({"id": "p", "steps": steps}))
    await any_world.after(apps[0].orchestrator.start_process("p"))
    for _ in range(4):
        await any_world.passes(1)
        assert desk.serving["a"] <= 2
        desk.done(*desk.begun)
    await any_world.passes(1)
    assert desk.most["a"] == 2
    assert len(desk.begun) == 4


@pytest.mark.parametrize("kind", ["task", "process"])
async def test_what_ends_together_is_followed_by_as_many(any_world: World, kind: str) -> None:
    """However many of a key end in one decision or one commit, the key stays full."""
    desk = Desk()
    app = await any_world.app(desk.serve)
    paper = {"key": "printer", "limit": 3}
    items = [{**order(f"a{n}"), "concurrency_key": paper} for n in range(6)]
    if kind == "task":
        await any_world.after(app.scheduler.schedule_tasks(items))
    else:
        steps = [{**item, "id": f"s{n}", "depends_on": []} for n, item in enumerate(items)]
        await any_world.after(app.orchestrator.create_process({"id": "p", "steps": steps}))
        await any_world.after(app.orchestrator.start_process("p"))
    await any_world.passes(1)
    assert len(desk.begun) == 3
    desk.done(*desk.begun)
    await any_world.passes(1)
    assert len(desk.begun) == 6
    desk.done(*desk.begun)
    await any_world.settle()


async def test_a_rate_lets_attempts_begin_evenly(any_world: World) -> None:
    """However many wait, over all programs; what is cancelled is passed over."""
    begun: list[float] = []

    async def call(**config: object) -> None:
        begun.append(any_world.clock.monotonic() / 1e6)

    apps = [await any_world.app(call, alert=True) for _ in range(2)]
    start = any_world.clock.monotonic() / 1e6
    for number in range(5):
        task = {"type": "call", "rate_limit": "30/minute"}
        await any_world.after(apps[number % 2].scheduler.schedule_task(f"t{number}", task))
    explained = await any_world.after(apps[0].scheduler.explain("t4"))
    assert "waits for rate limit 'call', which lets one begin every 2 s" in str(explained)
    await any_world.after(apps[0].scheduler.cancel_task("t3"))
    await any_world.passes(20)
    assert [round(moment - start) for moment in begun] == [0, 2, 4, 6]


async def test_a_key_that_cannot_be_had_fails_its_task_clearly(any_world: World) -> None:
    """The message says what is wrong with it."""
    app = await any_world.app(Desk().serve)
    inputs = {"customer": {"type": "string"}}
    task = {**order("a1"), "concurrency_key": "${inputs.customer}"}
    for number, (value, problem) in enumerate((("", "is empty"), ("x" * 201, "200 characters"))):
        run = await any_world.after(
            app.workflow_manager.run_workflow(
                "w", [task], config={"inputs": inputs}, inputs={"customer": value},
                workflow_id=f"w{number}",
            )
        )  # fmt: skip
        assert problem in str(run.errors[0])


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"concurrency_key": 7}, "a key is a text"),
        ({"concurrency_key": " "}, "the key is empty"),
        ({"concurrency_key": "x" * 201}, "200 characters"),
        ({"concurrency_key": {"key": "k", "limit": 0}}, "limit must be a whole number"),
        ({"concurrency_key": {"key": "k", "most": 2}}, "there is no key 'most'"),
        ({"concurrency_key": "${config.custmer}"}, "did you mean"),
        ({"concurrency_key": "${tasks.x.result}"}, "runs after no other"),
        ({"rate_limit": "100"}, "a rate is a number in a time, like 100/minute"),
        ({"rate_limit": "0/s"}, "a rate is a number in a time"),
        ({"rate_limit": {"key": "k"}}, "a rate is a number in a time"),
    ],
)
async def test_limits_are_checked_at_creation(
    world: World, limits: dict[str, object], problem: str
) -> None:
    """Whoever asks for what cannot be is told at once."""
    app = await world.app(Desk().serve)
    with pytest.raises(DefinitionError, match=problem.replace("(", "\\(")):
        await app.scheduler.schedule_task("t", {**order("a1"), **limits})


async def test_limits_may_be_given_as_arguments(world: World) -> None:
    """They mean the same there."""
    app = await world.app(Desk().serve, worker=False)
    task = {"type": "serve", "who": "a1", "customer": "a"}
    key = "customer-${config.customer}"
    await app.scheduler.schedule_task("t", task, concurrency_key=key, rate_limit="1/s")
    same = {**task, "concurrency_key": key, "rate_limit": "1/s"}
    assert await app.scheduler.schedule_task("t", same) == "t"


async def test_nothing_starves(any_world: World) -> None:
    """A task waits only for those of a higher priority that came within the time it ages by.

    Here a point of priority is worth a minute: what has priority 2 and comes after two minutes
    comes behind what has priority 0.
    """
    desk = Desk()
    app = await any_world.app(desk.serve, max_concurrency=1)
    await scheduled(any_world, app, "z1")
    await scheduled(any_world, app, "low", concurrency_key=None)
    for minute in range(4):
        await any_world.passes(59 if minute else 1)
        await scheduled(any_world, app, f"high{minute}", concurrency_key=None, priority=2)
    for _ in range(6):
        desk.done(desk.begun[-1])
        await any_world.settle()
    assert desk.begun == ["z1", "high0", "high1", "high2", "low", "high3"]


async def test_the_items_of_a_list_are_counted(any_world: World) -> None:
    """Each is a run of its own, and is subject to what its task says."""
    desk = Desk()
    app = await any_world.app(desk.serve)
    task = {
        "id": "all", "for_each": ["a1", "a2", "b1"], "max_parallel": 3, "type": "serve",
        "config": {"who": "${item}", "customer": "a"},
        "concurrency_key": {"key": "customer-${config.customer}", "limit": 2},
    }  # fmt: skip
    await any_world.after(app.workflow_manager.create_workflow("w", [task], workflow_id="w"))
    await any_world.after(app.workflow_manager.start_workflow("w"))
    assert desk.begun == ["a1", "a2"]
    desk.done("a1", "a2")
    await any_world.settle()
    desk.done("b1")
    run = await any_world.after(app.workflow_manager.wait_workflow("w"))
    assert run.status == "COMPLETED"
    assert desk.most["a"] == 2
    wrong = {**task, "concurrency_key": "${item}"}
    with pytest.raises(DefinitionError, match="can read the task's config alone"):
        await app.workflow_manager.create_workflow("wrong", [wrong])
