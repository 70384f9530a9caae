"""What processes know of those they wait for: data, policies, circles, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from world import World

from kallista import DefinitionError, Kallista, ProcessStatus, StateError, TaskContext

pytestmark = pytest.mark.anyio


class Shop:
    """Handlers that remember what they were given, and fail where they are told to."""

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self.broken: set[str] = set()

    async def work(self, ctx: TaskContext, value: object = None) -> object:
        """Return what was given."""
        self.given[f"{ctx.run_id}.{ctx.task_id}"] = value
        if ctx.run_id in self.broken:
            raise ValueError(f"{ctx.run_id} is broken")
        return value


def process(
    id: str,
    after: Sequence[object] = (),
    values: Mapping[str, object] | None = None,
    **more: object,
) -> dict[str, object]:
    """A process of one step for each value."""
    steps = [
        {"id": step, "type": "work", "value": value, "depends_on": []}
        for step, value in (values or {"go": id}).items()
    ]
    return {"id": id, "steps": steps, "dependencies": list(after), **more}


async def begin(app: Kallista, *processes: Mapping[str, object]) -> None:
    """Create and start processes, one after the other."""
    for one in processes:
        await app.orchestrator.start_process(await app.orchestrator.create_process(one))


async def status(app: Kallista, id: str) -> str:
    """Where a process is."""
    return (await app.orchestrator.get_process(id)).status.value


async def test_data_of_a_dependency_reaches_steps_conditions_and_children(any_world: World) -> None:
    """Ids that are no identifiers are quoted; a skipped step's result is null; parts are recorded.

    What is read is written down with the start: only the steps that are referred to.
    """
    shop = Shop()
    app = await any_world.app(shop.work)
    setup = process("set-up", values={"env": {"path": "/opt", "big": True}, "other": "unread"})
    setup["steps"].append(  # type: ignore[attr-defined]
        {"id": "never", "type": "work", "when": "false", "depends_on": []}
    )
    said = 'processes["set-up"]'
    main = process("main", ["set-up"])
    main["steps"] = [
        {"id": "a", "type": "work", "value": f"${{{said}.results.env.path}}/bin"},
        {"id": "b", "type": "work", "when": f"{said}.results.env.big", "value": 1},
        {"id": "c", "type": "work", "when": f"!{said}.results.env.big", "value": 1},
        {
            "id": "d",
            "type": "workflow",
            "inputs": {"how": f"${{{said}.status}}", "never": f"${{{said}.results.never}}"},
            "tasks": [{"id": "t", "type": "work", "value": "${inputs}"}],
        },
    ]
    main["steps"][3]["tasks"][0]["value"] = ["${inputs.how}", "${inputs.never}"]  # type: ignore
    await begin(app, main, setup)
    await any_world.settle()
    run = await app.orchestrator.get_process("main")
    assert run.ok, run.errors
    assert shop.given["main.a"] == "/opt/bin"
    assert [step.status.value for step in run.steps[1:3]] == ["COMPLETED", "SKIPPED"]
    assert shop.given[f"{run.steps[3].child_id}.t"] == ["COMPLETED", None]
    [started] = [
        event for event in await app.orchestrator.get_history("main") if event.kind == "run.started"
    ]
    assert started.data == {
        "processes": {
            "set-up": {
                "status": "COMPLETED",
                "results": {"env": {"path": "/opt", "big": True}, "never": None},
            }
        }
    }


async def test_lists_and_switches_read_dependencies_too(any_world: World) -> None:
    """What is gone through may come from another process, and so may what a branch depends on."""
    shop = Shop()
    app = await any_world.app(shop.work)
    read = "processes.env.results.found"
    steps = [
        {"id": "each", "type": "work", "for_each": f"${{{read}}}", "value": "${item}"},
        {
            "id": "many",
            "switch": [{"when": f"size({read}) > 1", "then": ["yes"]}],
            "default": ["no"],
        },
        {"id": "yes", "type": "work", "value": f"${{{read}[0]}}"},
        {"id": "no", "type": "work", "depends_on": ["many"]},
    ]
    env = process("env", values={"found": ["x", "y"]})
    await begin(app, env, {"id": "main", "steps": steps, "dependencies": ["env"]})
    await any_world.settle()
    run = await app.orchestrator.get_process("main")
    assert run.ok, run.errors
    assert (run.results["each"], run.results["yes"]) == (["x", "y"], "x")
    assert "no" not in run.results


async def test_what_was_read_stays_whatever_becomes_of_the_dependency(any_world: World) -> None:
    """Deleting it, a restart and another worker change nothing; nor does a retry of the reader."""
    shop = Shop()
    app = await any_world.app(shop.work)
    shop.broken = {"main"}
    late = {"id": "late", "type": "work", "value": "${processes.env.results.go}", "depends_on": []}
    main = process("main", ["env"])
    main["steps"] = [{"id": "nap", "type": "sleep", "seconds": 60}, {**late, "depends_on": ["nap"]}]
    await begin(app, process("env"), main)
    await any_world.settle()
    await app.orchestrator.delete_process("env")
    await any_world.leave(app)
    app = await any_world.app(shop.work)
    await any_world.passes(60)
    assert await status(app, "main") == "FAILED"
    assert shop.given.pop("main.late") == "env"
    shop.broken.clear()
    await app.orchestrator.retry_process("main")
    await any_world.settle()
    assert await status(app, "main") == "COMPLETED"
    assert shop.given["main.late"] == "env"
    assert (await app.orchestrator.replay("main")).difference is None


async def test_a_retry_with_another_definition_reads_what_was_written_down(
    any_world: World,
) -> None:
    """It may use that otherwise, and is refused where it would read more."""
    shop = Shop()
    shop.broken = {"main"}
    app = await any_world.app(shop.work)
    value = "${processes.env.results.go}"
    await begin(app, process("env", values={"go": "x", "more": "y"}))
    await begin(app, process("main", ["env"], {"a": value}))
    await any_world.settle()
    shop.broken.clear()
    more = process("main", ["env"], {"a": "${processes.env.results.more}"})
    with pytest.raises(StateError, match="reads other results of processes than it wrote down"):
        await app.orchestrator.retry_process("main", definition=more)
    fitting = process("main", ["env"], {"a": f"{value}!"})
    await app.orchestrator.retry_process("main", definition=fitting)
    await any_world.settle()
    assert shop.given["main.a"] == "x!"


async def test_another_worker_reads_the_same(any_world: World) -> None:
    """Who executes a step on loan finds what the process has read in its history."""
    shop, release = Shop(), asyncio.Event()

    async def held() -> None:
        await release.wait()

    first = await any_world.app(shop.work, held, max_concurrency=1, alert=True)
    await begin(first, process("env"))
    await any_world.settle()
    main = process("main", ["env"], {"a": "${processes.env.results.go}"})
    main["steps"].insert(0, {"id": "long", "type": "held", "depends_on": []})  # type: ignore
    await begin(first, main)
    await any_world.settle()
    await any_world.app(shop.work, alert=True)
    await any_world.passes(1)
    assert shop.given["main.a"] == "env"
    release.set()


async def test_wrong_references_are_refused_when_a_process_is_created(any_world: World) -> None:
    """What is not waited for, what is no part of a process, and steps that are known not to be."""
    app = await any_world.app(Shop().work)
    await begin(app, process("env", values={"paths": 1}))
    values = {
        "a": "${processes.other.results.go}",
        "b": "${processes.env.result.go}",
        "c": "${processes.env}",
    }
    with pytest.raises(DefinitionError) as told:
        await app.orchestrator.create_process(process("main", ["env"], values))
    there = "is not there; there are processes.env.results.STEP and processes.env.status"
    assert [problem.partition(": ")[2] for problem in told.value.problems] == [
        "processes.other.results.go is not waited for; add 'other' to dependencies",
        f"processes.env.result.go {there}",
        f"processes.env {there}",
    ]
    reader = process("main", ["env"], {"a": "${processes.env.results.path}"})
    with pytest.raises(DefinitionError, match="no step of process 'env'; did you mean 'paths'"):
        await app.orchestrator.create_process(reader)
    with pytest.raises(DefinitionError, match="no step of process 'new'; there are go"):
        await app.orchestrator.create_processes(
            [process("new"), process("main", ["new"], {"a": "${processes.new.results.path}"})]
        )
    with pytest.raises(DefinitionError, match="only a process waits for others"):
        await app.workflow_manager.create_workflow(
            "w", [{"type": "work", "value": "${processes.env.status}"}]
        )


async def test_what_cannot_be_read_fails_the_run_before_it_starts(any_world: World) -> None:
    """A step that turns out not to be there, or results that were deleted; a retry looks again."""
    shop = Shop()
    app = await any_world.app(shop.work)
    await begin(app, process("main", ["env"], {"a": "${processes.env.results.path}"}))
    await begin(app, process("env"))
    await any_world.settle()
    run = await app.orchestrator.get_process("main")
    assert run.status is ProcessStatus.FAILED
    [error] = run.errors
    unknown = "processes.env.results.path is no step of process 'env'; there are go"
    assert str(error) == f"DependencyNotReadable: {unknown}"
    assert "main.a" not in shop.given
    await app.orchestrator.delete_process("env")
    await app.orchestrator.retry_process("main")
    await any_world.settle()
    [error] = (await app.orchestrator.get_process("main")).errors
    assert "'env' was deleted after it had COMPLETED, and its results with it" in error.message
    await begin(app, process("env", values={"path": "/here"}))
    await any_world.settle()
    await app.orchestrator.retry_process("main")
    await any_world.settle()
    assert shop.given["main.a"] == "/here"
    await app.orchestrator.delete_process("env")
    await begin(app, process("plain", ["env"]))
    await any_world.settle()
    assert await status(app, "plain") == "COMPLETED", "how it ended is known, and that is enough"


@pytest.mark.parametrize("how", ["FAILED", "CANCELLED"])
async def test_policies_say_what_a_failure_means(any_world: World, how: str) -> None:
    """One waits for the retry, one fails too, one goes on without; the first to fail is enough."""
    shop = Shop()
    app = await any_world.app(shop.work)
    orchestrator = app.orchestrator
    shop.broken = {"env"}
    value = "${processes.env.status} ${processes.env.results.go}"
    await begin(app, process("waits", ["env"], {"a": value}))
    fails = [{"process": "env", "on_failure": "fail"}]
    await begin(app, process("fails", ["never", *fails], {"a": value}))
    skips = [{"process": "env", "on_failure": "skip"}]
    await begin(app, process("skips", skips, {"a": value}))
    if how == "FAILED":
        await begin(app, process("env"))
    else:
        await orchestrator.create_process(process("env"))
        await orchestrator.cancel_process("env")
    await any_world.settle()
    assert [await status(app, id) for id in ("waits", "fails", "skips")] == [
        "WAITING", "FAILED", "COMPLETED",
    ]  # fmt: skip
    assert (
        shop.given == {"env.go": "env", "skips.a": f"{how} "}
        if how == "FAILED"
        else {"skips.a": f"{how} "}
    )
    [error] = (await orchestrator.get_process("fails")).errors
    assert error.type == "DependencyFailed"
    assert f"'env', which is {how}" in error.message
    assert ("ValueError: env is broken" in error.message) == (how == "FAILED")
    history = await orchestrator.get_history("skips")
    assert [event.data["without"] for event in history if event.kind == "run.started"] == [["env"]]
    assert (await orchestrator.get_process("skips")).dependency_policies == {"env": "skip"}
    # The dependency goes on: who waited goes on by itself, who failed when it is retried.
    shop.broken.clear()
    await orchestrator.retry_process("env")
    await any_world.settle()
    assert [await status(app, id) for id in ("waits", "fails")] == ["COMPLETED", "FAILED"]
    await orchestrator.retry_process("fails")
    await any_world.settle()
    assert await status(app, "fails") == "WAITING"
    await begin(app, process("never"))
    await any_world.settle()
    assert await status(app, "fails") == "COMPLETED"
    assert shop.given["fails.a"] == "COMPLETED env"


async def test_circles_are_refused_when_the_last_edge_is_made(any_world: World) -> None:
    """Also through names that did not exist, in bulk, and by ids given beside the definition.

    The message shows the whole circle, and nothing was created.
    """
    app = await any_world.app(Shop().work)
    orchestrator = app.orchestrator
    await begin(app, process("a", ["b"]), process("b", ["c", "x"]))
    with pytest.raises(DefinitionError, match="in a circle: c -> a -> b -> c; none of them would"):
        await orchestrator.create_process(process("c", ["a"]))
    with pytest.raises(DefinitionError, match="in a circle: (c -> d -> a -> b|d -> a -> b -> c)"):
        await orchestrator.create_processes([process("d", ["a"]), process("c", ["d"])], start=True)
    alone = process("other", ["self"])
    del alone["id"]
    with pytest.raises(DefinitionError, match="circle: self -> self"):
        await orchestrator.create_process(alone, process_id="self")
    assert {str(run.id) for run in (await orchestrator.list_processes()).items} == {"a", "b"}
    await orchestrator.create_process(process("c", ["free"]))
    assert await orchestrator.create_process(process("c", ["free"])) == "c"
    await begin(app, process("x"), process("free"))
    await orchestrator.start_process("c")
    await any_world.settle()
    assert await status(app, "a") == "COMPLETED"
    await begin(app, process("again", ["a"]))
    await any_world.settle()
    assert await status(app, "again") == "COMPLETED"


async def test_a_circle_that_nobody_could_be_told_of_fails_the_last(any_world: World) -> None:
    """A child run that waits for its own parent; who may be retried counts as waiting."""
    app = await any_world.app(Shop().work)
    orchestrator = app.orchestrator
    child = {**process("child", ["p"]), "type": "process", "depends_on": []}
    await begin(app, {"id": "p", "steps": [child]})
    await any_world.settle()
    assert await status(app, "p") == "FAILED"
    [error] = (await orchestrator.get_process("p/child")).errors
    assert error.type == "DependencyCycle"
    assert "circle: p/child -> p -> p/child" in error.message
    await begin(app, process("one", ["two"]))
    await any_world.settle()
    await orchestrator.cancel_process("one")
    with pytest.raises(DefinitionError, match="two -> one -> two"):
        await orchestrator.create_process(process("two", ["one"]))
    await orchestrator.delete_process("one")
    await orchestrator.create_process(process("two", ["one"]))


async def test_circles_that_two_programs_close_at_once(any_world: World) -> None:
    """Of two creations that would close a circle together exactly one is refused."""
    first, second = await any_world.app(Shop().work), await any_world.app(Shop().work)
    for number in range(5):
        a, b = f"a{number}", f"b{number}"
        asked = asyncio.gather(
            first.orchestrator.create_process(process(a, [b])),
            second.orchestrator.create_process(process(b, [a])),
            return_exceptions=True,
        )
        await any_world.settle()
        refused = [answer for answer in await asked if isinstance(answer, DefinitionError)]
        assert len(refused) == 1, await asked
        assert "in a circle" in str(refused[0])


async def test_long_chains_cost_little(any_world: World) -> None:
    """Thousands in a row, made from either end and at once; the last edge is still looked at."""
    app = await any_world.app(Shop().work)
    many = 2_000
    chain = [process(f"n{number}", [f"n{number + 1}"]) for number in range(many)]
    asked = asyncio.ensure_future(app.orchestrator.create_processes(chain))
    await any_world.settle()
    await asked
    with pytest.raises(DefinitionError, match=r"n2000 -> n0 -> n1 -> .*more … -> .* -> n2000"):
        await any_world.after(app.orchestrator.create_process(process(f"n{many}", ["n0"])))
    await any_world.after(app.orchestrator.create_process(process("tip", ["n0"])))


async def test_explain_tells_the_whole_story(any_world: World) -> None:
    """What is waited for, what that waits for, who waits, and what to do about a failure."""
    shop = Shop()
    shop.broken = {"base"}
    app = await any_world.app(shop.work)
    await begin(
        app,
        process("top", ["mid", {"process": "extra", "on_failure": "skip"}]),
        process("mid", ["base", "lost"]),
        process("base"),
    )
    await any_world.settle()
    said = await app.orchestrator.explain("mid")
    assert said.sentence == (
        "Process 'mid' waits for process 'base', which is FAILED: retry it to go on (kallista"
        " process retry base), or cancel this one; it failed because of ValueError: base is broken"
        " and for 'lost', which does not exist yet."
    )
    assert (said.waits_for, said.awaited_by) == (("base", "lost"), ("top",))
    tree = (await app.orchestrator.explain("top")).to_dict()["dependencies"]
    assert [tuple(line.values()) for line in tree] == [  # type: ignore[union-attr]
        ("mid", "WAITING", "wait", "top", 1),
        ("base", "FAILED", "wait", "mid", 2),
        ("lost", None, "wait", "mid", 2),
        ("extra", None, "skip", "top", 1),
    ]
    assert (await app.orchestrator.explain("base")).awaited_by == ("mid",)


@pytest.mark.parametrize("policy", ["skip", "fail"])
async def test_explain_asks_for_a_worker_where_nothing_else_is_waited_for(
    any_world: World, policy: str
) -> None:
    """What it waited for has ended, and nobody is there to go on with it, or to let it fail."""
    app = await any_world.app(Shop().work, worker=False)
    await begin(app, process("base"), process("top", [{"process": "base", "on_failure": policy}]))
    await app.orchestrator.cancel_process("base")
    said = await app.orchestrator.explain("top")
    assert said.sentence == "Process 'top' waits for a worker to look at it; none is alive."
    assert (said.reason, said.waits_for) == ("waits_for_worker", ())
