"""Forks: new runs that keep what another one did before a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from world import World

from kallista import (
    ConflictError,
    DefinitionError,
    Kallista,
    NotFoundError,
    StateError,
    TaskContext,
    UsageError,
    WorkflowStatus,
)
from kallista.core.types import JsonText, RunKey
from kallista.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Author:
    """Writes, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []
        self.broken: set[object] = set()
        self.gates: dict[str, asyncio.Event] = {}

    async def write(
        self, ctx: TaskContext, text: str = "", seconds: float = 0, of: object = None
    ) -> object:
        """Write something."""
        self.calls.append(f"{ctx.task_id} {text}".strip())
        self.keys.append(ctx.idempotency_key)
        if ctx.task_id in self.gates:
            await self.gates[ctx.task_id].wait()
        if text in self.broken:
            raise ValueError(f"{text} is broken")
        return {"text": text, "of": of, "before": sorted(ctx.results)}

    async def erase(self, what: object = None) -> None:
        """Take it back."""
        self.calls.append(f"erase {what}")


def draft(id: str, **more: object) -> dict[str, object]:
    return {"id": id, "type": "write", "text": id, **more}


BOOK = [
    draft("plan"),
    draft("draft", of="${tasks.plan.result.text}"),
    draft("print", of="${tasks.draft.result.text}"),
]


async def wrote(world: World, author: Author, tasks: object = BOOK, **how: object) -> Kallista:
    """A program that has run a workflow named ``book``."""
    app = await world.app(author.write, author.erase)
    manager = app.workflow_manager
    run = manager.run_workflow("book", tasks, workflow_id="book", **how)  # type: ignore[arg-type]
    await world.after(run)
    return app


async def test_a_fork_keeps_what_was_before_and_does_the_rest_again(any_world: World) -> None:
    """With other values where asked for, under new keys; the source stays as it is."""
    author = Author()
    app = await wrote(any_world, author, priority=3, tags=["novel"])
    manager = app.workflow_manager
    before = await any_world.after(manager.get_workflow("book"))
    forked = await any_world.after(
        manager.fork_workflow(
            "book",
            "draft",
            config_changes={"draft": {"text": "better"}},
            fork_id="again",
            reason="it was dull",
        )
    )
    run = await any_world.after(manager.wait_workflow("again"))
    assert author.calls[3:] == ["draft better", "print print"]
    assert len(set(author.keys)) == 5
    assert run.status is WorkflowStatus.COMPLETED
    assert run.results == {
        "plan": before.results["plan"],
        "draft": {"text": "better", "of": "plan", "before": ["plan"]},
        "print": {"text": "print", "of": "better", "before": ["draft", "plan"]},
    }
    assert (run.forked_from, run.forked_at, run.priority, run.tags) == (
        "book", "draft", 3, ("novel",)
    )  # fmt: skip
    assert forked.id == "again"
    assert forked.kept == ("plan",)
    events = await any_world.after(manager.get_history("again"))
    assert [(event.kind, event.task_id) for event in events[:3]] == [
        ("run.forked", None), ("task.kept", "plan"), ("run.started", None)
    ]  # fmt: skip
    assert events[0].data == {
        "run": "book", "task": "draft", "changed": ["draft"], "reason": "it was dull",
    }  # fmt: skip
    assert str(await any_world.after(manager.explain("again"))).startswith(
        "Workflow 'again', forked from 'book' at 'draft', is COMPLETED"
    )
    assert (await any_world.after(manager.replay("again"))).agrees
    assert await any_world.after(manager.get_workflow("book")) == before
    # What it keeps is its own: also once the source is gone.
    await any_world.after(manager.delete_workflow("book"))
    assert (await any_world.after(manager.get_workflow("again"))).results == run.results


async def test_a_preview_says_what_runs_again_and_how_long_it_took(world: World) -> None:
    """Nothing is created by it."""
    author = Author()
    app = await world.app(author.write)
    manager = app.workflow_manager
    nap = {"id": "nap", "type": "sleep", "seconds": 90}
    tasks = [draft("plan"), nap, draft("print")]
    await manager.create_workflow("book", tasks, workflow_id="book")
    await world.after(manager.start_workflow("book"))
    await world.passes(90)
    plan = await world.after(manager.fork_workflow("book", "nap", fork_id="again", dry_run=True))
    assert plan.id is None
    assert [(task.id, task.changed, task.last_seconds) for task in plan.again] == [
        ("nap", False, 90.0), ("print", False, 0.0)
    ]  # fmt: skip
    assert plan.estimated_seconds == 90
    assert str(plan) == (
        "a fork of 'book' from 'nap': 1 kept (plan); 2 run again: nap (1m 30s), print (0s);"
        " about 1m 30s"
    )
    with pytest.raises(NotFoundError):
        await world.after(manager.get_workflow("again"))


async def test_the_same_fork_twice_is_one_and_another_under_its_id_is_refused(
    any_world: World,
) -> None:
    """An id is what makes a request the same, as everywhere."""
    author = Author()
    app = await wrote(any_world, author)
    manager = app.workflow_manager
    for _ in range(2):
        forked = await any_world.after(manager.fork_workflow("book", "print", fork_id="again"))
        assert forked.id == "again"
        await any_world.after(manager.wait_workflow("again"))
    assert author.calls.count("print print") == 2
    with pytest.raises(ConflictError):
        await any_world.after(manager.fork_workflow("book", "draft", fork_id="again"))
    with pytest.raises(ConflictError):
        await any_world.after(manager.create_workflow("book", BOOK, workflow_id="again"))


async def test_what_did_not_complete_runs_again_and_what_was_let_pass_is_kept(
    world: World,
) -> None:
    """A fork does again what a retry would, and what comes after the task."""
    author = Author()
    author.broken = {"tolerated", "bad"}
    tasks = [
        draft("tolerated", continue_on_error=True),
        draft("never", when="false"),
        draft("bad"),
        draft("after"),
        draft("last"),
    ]
    app = await wrote(world, author, tasks)
    author.broken, author.calls = set(), []
    manager = app.workflow_manager
    await world.after(manager.fork_workflow("book", "last", fork_id="again"))
    run = await world.after(manager.wait_workflow("again"))
    assert author.calls == ["bad bad", "after after", "last last"]
    assert [task.status.value for task in run.tasks] == [
        "FAILED", "SKIPPED", "COMPLETED", "COMPLETED", "COMPLETED",
    ]  # fmt: skip
    assert run.status is WorkflowStatus.COMPLETED
    assert [error.task_id for error in run.errors] == ["tolerated"]


async def test_a_process_keeps_all_that_the_step_does_not_lead_to(any_world: World) -> None:
    """Child runs too: their results are kept, and no child is started for them."""
    author = Author()
    app = await any_world.app(author.write)
    orchestrator = app.orchestrator
    steps: list[dict[str, object]] = [
        {"id": "one", "depends_on": [], "type": "workflow", "tasks": [draft("inner")]},
        {"id": "two", "depends_on": [], **draft("two")},
        {"id": "three", "depends_on": ["one", "two"],
         **draft("three", of="${steps.one.result.inner.text}")},
    ]  # fmt: skip
    await any_world.after(orchestrator.run_process({"id": "p", "steps": steps}))
    forked = await any_world.after(orchestrator.fork_process("p", "two", fork_id="q"))
    run = await any_world.after(orchestrator.wait_process("q"))
    assert forked.kept == ("one",)
    assert author.calls[3:] == ["two two", "three three"]
    first = await any_world.after(orchestrator.get_process("p"))
    assert run.results == first.results
    assert run.steps[0].child_id is None
    await any_world.after(orchestrator.delete_process("p"))
    # A fork of a fork keeps what that has kept.
    await any_world.after(orchestrator.fork_process("q", "three", fork_id="r"))
    run = await any_world.after(orchestrator.wait_process("r"))
    assert run.results == first.results
    assert author.calls[5:] == ["three three"]


async def test_choices_and_lists_are_kept_as_they_are(any_world: World) -> None:
    """What a switch has chosen stays chosen, and the items of a list do not run again."""
    author = Author()
    tasks: list[dict[str, object]] = [
        draft("each", of="${item}", for_each=["a", "b"]),
        {"id": "choose", "switch": [{"when": "true", "then": ["yes"]}], "default": ["no"]},
        draft("yes"),
        draft("no"),
        draft("last", of="${tasks.each.result[1].of}"),
    ]
    app = await wrote(any_world, author, tasks)
    manager = app.workflow_manager
    before = await any_world.after(manager.get_workflow("book"))
    assert before.status is WorkflowStatus.COMPLETED
    author.calls = []
    await any_world.after(manager.fork_workflow("book", "yes", fork_id="early"))
    await any_world.after(manager.fork_workflow("book", "last", fork_id="late"))
    await any_world.after(manager.delete_workflow("book"))
    for id in ("early", "late"):
        run = await any_world.after(manager.wait_workflow(id))
        assert run.status is WorkflowStatus.COMPLETED
        assert run.results["last"] == before.results["last"]
        assert run.results["each"] == before.results["each"]
        assert (await any_world.after(manager.replay(id))).agrees
    assert sorted(author.calls) == ["last last", "last last", "yes yes"]


async def test_what_is_kept_is_not_undone_by_the_fork(world: World) -> None:
    """Its effects are the source's, which may still need them; what the fork did is undone."""
    author = Author()
    undo = {"type": "erase", "what": "it"}
    tasks = [
        draft("plan", compensate={**undo, "what": "plan"}),
        draft("draft", compensate={**undo, "what": "draft"}),
        draft("print"),
    ]
    app = await wrote(world, author, tasks, config={"on_failure": "rollback"})
    author.broken = {"print"}
    manager = app.workflow_manager
    await world.after(manager.fork_workflow("book", "draft", fork_id="again"))
    run = await world.after(manager.wait_workflow("again"))
    assert run.status is WorkflowStatus.FAILED
    assert author.calls[3:] == ["draft draft", "print print", "erase draft"]


async def test_what_was_undone_is_done_again(any_world: World) -> None:
    """Its result is there and its effects are not, so neither it nor what came of it is kept."""
    author = Author()
    author.broken = {"print"}
    app = await any_world.app(author.write, author.erase)
    undo = [
        {"type": "erase", "what": "paper"},
        {"type": "wait_for_signal", "signal": "erased"},
    ]
    tasks = [
        draft("idea"),
        draft("paper", compensate=undo[0]),
        draft("pencil", compensate=undo[1]),
        draft("plan", of="${tasks.paper.result.text}"),
        draft("print"),
    ]
    manager = app.workflow_manager
    await manager.create_workflow("book", tasks, {"on_failure": "rollback"}, workflow_id="book")
    await manager.start_workflow("book")
    await any_world.settle()
    with pytest.raises(StateError, match="is undoing what it has done; fork it once it is FAILED"):
        await any_world.after(manager.fork_workflow("book", "print"))
    await manager.send_signal("book", "erased", None)
    await any_world.after(manager.wait_workflow("book"))
    author.broken, author.calls = set(), []
    forked = await any_world.after(manager.fork_workflow("book", "print", fork_id="again"))
    assert forked.kept == ("idea",)
    run = await any_world.after(manager.wait_workflow("again"))
    assert run.status is WorkflowStatus.COMPLETED
    assert author.calls == ["paper paper", "pencil pencil", "plan plan", "print print"]


async def test_a_run_that_is_under_way_is_forked_from_what_has_its_turn(world: World) -> None:
    """But nothing that it is still to do comes before in another run at the same time."""
    author = Author()
    author.gates["draft"] = asyncio.Event()
    app = await world.app(author.write)
    manager = app.workflow_manager
    await manager.create_workflow("book", BOOK, workflow_id="book")
    await world.after(manager.start_workflow("book"))
    with pytest.raises(StateError, match="has still to complete draft, which 'print' comes"):
        await world.after(manager.fork_workflow("book", "print"))
    await world.after(manager.fork_workflow("book", "draft", fork_id="again"))
    author.gates["draft"].set()
    for id in ("book", "again"):
        run = await world.after(manager.wait_workflow(id))
        assert run.status is WorkflowStatus.COMPLETED
    assert author.calls.count("plan plan") == 1


async def test_what_cannot_be_forked_is_told(world: World) -> None:
    """Each message says what is there instead."""
    author = Author()
    app = await wrote(world, author, config={"finally": [draft("end")]})
    fork = app.workflow_manager.fork_workflow
    for arguments, error, message in (
        (("book", "drft"), UsageError, "no task 'drft'; did you mean 'draft'"),
        (("book", "end"), UsageError, "is done at the end of the run"),
        (("book", None), UsageError, "no task None; there are plan"),
        (("bok", "draft"), NotFoundError, "no workflow has the id 'bok'"),
    ):
        with pytest.raises(error, match=message):
            await world.after(fork(*arguments))
    for changes, wrong, message in (
        ({"plan": {"text": "x"}}, UsageError, "'plan' is kept and does not run again"),
        ({"prnt": {"text": "x"}}, DefinitionError, "no task 'prnt'; did you mean 'print'"),
        ({"print": {"txt": "x"}}, DefinitionError, "'txt'"),
        ({"draft": {"of": "${tasks.print.result}"}}, DefinitionError, "does not run before"),
    ):
        with pytest.raises(wrong, match=message):
            await world.after(fork("book", "draft", config_changes=changes))
    with pytest.raises(NotFoundError, match="no workflow is defined under the name 'book'"):
        await world.after(fork("book", "draft", definition="current"))


async def test_a_fork_may_run_the_definition_of_today(world: World) -> None:
    """Steps of the same id are the same; others are new, or gone."""
    author = Author()
    app = await wrote(world, author)
    manager = app.workflow_manager
    check = draft("check", of="${tasks.plan.result.text}")
    await manager.define_workflow("book", [BOOK[0], check, draft("print", of="x")])
    forked = await world.after(
        manager.fork_workflow("book", "check", definition="current", fork_id="again")
    )
    assert [(task.id, task.changed) for task in forked.again] == [("check", True), ("print", True)]
    run = await world.after(manager.wait_workflow("again"))
    assert author.calls[3:] == ["check check", "print print"]
    assert list(run.results) == ["plan", "check", "print"]
    described = {"tasks": [BOOK[0], draft("print", of="${tasks.plan.result.text}")]}
    await world.after(manager.fork_workflow("book", "print", definition=described, fork_id="third"))
    run = await world.after(manager.wait_workflow("third"))
    assert run.results["print"] == {"text": "print", "of": "plan", "before": ["plan"]}


class SlowStore(MemoryStore):
    """Something happens before results are read."""

    happens: Callable[[], Awaitable[object]]

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        await self.happens()
        return await super().outcomes(run, steps)


async def test_what_is_deleted_while_it_is_forked_keeps_nothing(world: World) -> None:
    """Else the fork would go on with results that are null."""
    author = Author()
    app = await wrote(world, author)
    store = SlowStore(world.state)  # type: ignore[attr-defined]  # it is one in memory
    store.happens = lambda: app.workflow_manager.delete_workflow("book")
    other = await world.app(author.write, worker=False, store=store)
    with pytest.raises(NotFoundError, match="'book' was deleted"):
        await world.after(other.workflow_manager.fork_workflow("book", "draft", fork_id="again"))
    assert (await app.workflow_manager.list_workflows()).items == ()
