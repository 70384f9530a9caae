"""What comes from outside: signals are delivered exactly once, and people are asked and answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from world import World

from kallista import (
    ConflictError,
    Kallista,
    NotFoundError,
    ProcessStatus,
    StateError,
    TaskStatus,
    UsageError,
    WorkflowStatus,
)
from kallista.core.inbox import Inbox
from kallista.core.types import RunKey
from kallista.store.memory import MemoryState, MemoryStore

pytestmark = pytest.mark.anyio

PAID: dict[str, object] = {"id": "paid", "type": "wait_for_signal"}
REVIEW: dict[str, object] = {"id": "review", "type": "approval"}
FORM = {"properties": {"reason": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
        "required": ["reason"]}  # fmt: skip


def at(seconds: float) -> datetime:
    """A moment after the beginning of the world."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


class Office:
    """Notes what it was given."""

    def __init__(self) -> None:
        self.notes: list[object] = []

    async def note(self, value: object = None) -> object:
        """Note something."""
        self.notes.append(value)
        return value


def note(value: object, **more: object) -> dict[str, object]:
    """A task that notes something."""
    return {"type": "note", "value": value, **more}


async def begun(world: World, app: Kallista, *tasks: dict[str, object], **config: object) -> str:
    """A workflow ``w`` that has gone as far as it can."""
    manager = app.workflow_manager
    await manager.create_workflow("w", list(tasks), config or None, workflow_id="w")
    await manager.start_workflow("w")
    await world.settle()
    return "w"


def statuses(run: Any) -> list[str]:
    """Where the tasks or steps of a run are."""
    return [step.status.value for step in getattr(run, "tasks", None) or run.steps]


async def kinds(app: Kallista, id: str = "w") -> list[str]:
    """What has happened to a workflow."""
    return [event.kind for event in await app.workflow_manager.get_history(id)]


class TestSignals:
    async def test_a_signal_is_the_result_of_the_step_that_waits(self, any_world: World) -> None:
        """It may be sent by any program; the step holds no worker, and what follows reads it."""
        office = Office()
        app = await any_world.app(office.note, max_concurrency=1, alert=True)
        other = await any_world.app(worker=False, alert=True)
        await begun(any_world, app, PAID, note("${tasks.paid.result.amount}"))
        await app.scheduler.schedule_task("beside", note("beside"))
        await any_world.settle()
        assert office.notes == ["beside"], "waiting takes a place"
        assert await other.workflow_manager.send_signal("w", "paid", {"amount": 5}, "bill-7")
        await any_world.passes(1)
        run = await any_world.after(app.workflow_manager.wait_workflow("w"))
        assert run.results == {"paid": {"amount": 5}, "note": 5}
        assert "signal.received" in await kinds(app)
        assert (await app.workflow_manager.replay("w")).agrees

    async def test_early_signals_are_kept_in_order_and_taken_once(self, any_world: World) -> None:
        """Before the run starts, while it works, and one step after the other takes the next."""
        office = Office()
        app = await any_world.app(office.note)
        manager = app.workflow_manager
        tasks = [
            {"id": "first", "type": "wait_for_signal", "signal": "part"},
            {"id": "second", "type": "wait_for_signal", "signal": "part"},
            {"id": "third", "type": "wait_for_signal", "signal": "part"},
        ]
        await manager.create_workflow("w", tasks, workflow_id="w")
        for number in (1, 2):
            await manager.send_signal("w", "part", number, f"part-{number}")
            await manager.send_signal("w", "part", number, f"part-{number}")
        await manager.start_workflow("w")
        await any_world.settle()
        assert statuses(await manager.get_workflow("w")) == ["COMPLETED", "COMPLETED", "WAITING"]
        await manager.send_signal("w", "part", 1, "part-1")
        await any_world.settle()
        assert statuses(await manager.get_workflow("w"))[2] == "WAITING"
        await manager.send_signal("w", "part", 3, "part-3")
        run = await any_world.after(manager.wait_workflow("w"))
        assert run.results == {"first": 1, "second": 2, "third": 3}
        assert await manager.send_signal("w", "part", 3, "part-3") == "part-3"
        assert (await kinds(app)).count("signal.received") == 3

    async def test_the_step_that_waits_longest_has_it(self, any_world: World) -> None:
        """Of several steps that wait for one name."""
        app = await any_world.app()
        steps = [
            {"id": "late", "type": "wait_for_signal", "signal": "go", "depends_on": ["nap"]},
            {"id": "soon", "type": "wait_for_signal", "signal": "go", "depends_on": []},
            {"id": "nap", "type": "sleep", "seconds": 5, "depends_on": []},
        ]
        await app.orchestrator.create_process({"id": "p", "steps": steps})
        await app.orchestrator.start_process("p")
        await any_world.passes(6)
        await app.orchestrator.send_signal("p", "go", "a")
        await any_world.settle()
        run = await app.orchestrator.get_process("p")
        assert [step.id for step in run.steps if step.status is TaskStatus.WAITING] == ["late"]
        await app.orchestrator.send_signal("p", "go", "b")
        run = await any_world.after(app.orchestrator.wait_process("p"))
        assert (run.results["soon"], run.results["late"]) == ("a", "b")

    async def test_what_can_never_be_taken_is_refused(self, any_world: World) -> None:
        """With a word on what would be: another name, payload, id or run; and once it is over."""
        app = await any_world.app()
        manager = app.workflow_manager
        schema = {"properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
        await begun(any_world, app, {**PAID, "schema": schema})
        with pytest.raises(UsageError, match="waits for 'paid'"):
            await manager.send_signal("w", "payed")
        with pytest.raises(UsageError, match="payload.amount must be integer, not 'five'"):
            await manager.send_signal("w", "paid", {"amount": "five"})
        with pytest.raises(UsageError, match=r"payload.amount is missing"):
            await manager.send_signal("w", "paid", {})
        with pytest.raises(NotFoundError, match="no run has the id 'nowhere'"):
            await manager.send_signal("nowhere", "paid")
        assert "signal.received" not in await kinds(app)
        await manager.send_signal("w", "paid", {"amount": 5}, "bill")
        with pytest.raises(ConflictError, match="another signal"):
            await manager.send_signal("w", "paid", {"amount": 6}, "bill")
        with pytest.raises(StateError, match="COMPLETED, so it takes no signal"):
            await manager.send_signal("w", "paid", {"amount": 5}, "bill-2")
        assert await manager.send_signal("w", "paid", {"amount": 5}, "bill") == "bill"
        await manager.delete_workflow("w")
        with pytest.raises(NotFoundError, match="was deleted"):
            await manager.send_signal("w", "paid", {"amount": 5}, "bill")

    async def test_a_child_run_is_sent_its_own(self, world: World) -> None:
        """Its parent says which id that is."""
        app = await world.app()
        child = {"id": "sub", "type": "workflow", "tasks": [PAID]}
        await app.orchestrator.create_process({"id": "p", "steps": [child]})
        await app.orchestrator.start_process("p")
        await world.settle()
        with pytest.raises(UsageError, match="its child 'p/sub' does"):
            await app.orchestrator.send_signal("p", "paid")
        await app.orchestrator.send_signal("p/sub", "paid")
        run = await world.after(app.orchestrator.wait_process("p"))
        assert run.status is ProcessStatus.COMPLETED

    @pytest.mark.parametrize("default", [None, {"amount": 0}])
    async def test_without_a_signal_in_time_the_default_counts(
        self, any_world: World, default: object
    ) -> None:
        """Also null, if that is the default; a signal that comes too late is not taken."""
        app = await any_world.app()
        task = {**PAID, "timeout": "20s", "config": {"default": default}}
        await begun(any_world, app, task, {"id": "rest", "type": "sleep", "seconds": 30})
        await any_world.passes(19)
        assert statuses(await app.workflow_manager.get_workflow("w")) == ["WAITING", "SCHEDULED"]
        await any_world.passes(2)
        await app.workflow_manager.send_signal("w", "paid", "late")
        await any_world.passes(30)
        run = await any_world.after(app.workflow_manager.wait_workflow("w"))
        assert run.results["paid"] == default

    async def test_who_is_late_has_failed_by_its_own_rules(self, any_world: World) -> None:
        """Its retry policy asks again, those of the workflow's config do not concern it."""
        app = await any_world.app()
        retry = {"max_attempts": 2, "retry_on": ["TimeoutError"]}
        task = {**PAID, "timeout": "20s", "retry": retry, "continue_on_error": True}
        await begun(any_world, app, task, {**REVIEW}, timeout="1s", retry={"max_attempts": 9})
        await any_world.passes(21)
        run = await app.workflow_manager.get_workflow("w")
        assert (statuses(run), run.tasks[0].attempt) == (["WAITING", "SCHEDULED"], 2)
        await any_world.passes(21)
        run = await app.workflow_manager.get_workflow("w")
        assert statuses(run) == ["FAILED", "WAITING"]
        assert str(run.errors[0]) == "paid: TimeoutError: no signal 'paid' came within 20 s"
        await any_world.passes(30)
        assert statuses(await app.workflow_manager.get_workflow("w")) == ["FAILED", "WAITING"]

    async def test_the_deadline_of_a_step_ends_its_waiting(self, any_world: World) -> None:
        """However many attempts are left."""
        app = await any_world.app()
        await begun(any_world, app, {**PAID, "deadline": "30s", "timeout": "20s", "retry": 9})
        await any_world.passes(21)
        await any_world.passes(10)
        run = await any_world.after(app.workflow_manager.wait_workflow("w"))
        assert "DeadlineExceeded" in str(run.errors[0])

    async def test_a_paused_run_takes_signals_and_starts_nothing(self, any_world: World) -> None:
        """What it waits for is recorded at once, what follows begins when it is resumed."""
        office = Office()
        app = await any_world.app(office.note)
        manager = app.workflow_manager
        await begun(any_world, app, PAID, note(1), {**PAID, "id": "more"}, note(2))
        await manager.pause_workflow("w")
        await manager.send_signal("w", "paid")
        await manager.send_signal("w", "more")
        await any_world.settle()
        assert office.notes == []
        assert (await manager.get_workflow("w")).status is WorkflowStatus.PAUSED
        await manager.resume_workflow("w")
        await any_world.after(manager.wait_workflow("w"))
        assert office.notes == [1, 2]

    async def test_a_cancelled_run_waits_for_nothing(self, any_world: World) -> None:
        """What it has not taken is dropped with it; a retry waits again, for the next one."""
        app = await any_world.app()
        manager = app.workflow_manager
        await begun(any_world, app, PAID, REVIEW)
        await manager.cancel_workflow("w")
        assert (await manager.list_approvals()).items == ()
        with pytest.raises(StateError, match="CANCELLED"):
            await manager.send_signal("w", "paid")
        await manager.retry_workflow("w")
        await any_world.settle()
        await manager.send_signal("w", "paid")
        await any_world.settle()
        assert statuses(await manager.get_workflow("w")) == ["COMPLETED", "WAITING"]

    async def test_a_run_does_not_keep_signals_without_end(self, world: World) -> None:
        """Whoever floods it is told so."""
        app = await world.app()
        await begun(world, app, REVIEW, PAID)
        for number in range(1_000):
            await app.workflow_manager.send_signal("w", "paid", number)
        with pytest.raises(StateError, match="1,000 signals that no step has taken"):
            await app.workflow_manager.send_signal("w", "paid")
        await app.workflow_manager.approve("w")
        run = await world.after(app.workflow_manager.wait_workflow("w"))
        assert run.results["paid"] == 0


class TestApprovals:
    async def test_a_person_is_asked_and_answers(self, any_world: World) -> None:
        """What is asked can be found, from any program; the answer is the result, and history."""
        office = Office()
        app = await any_world.app(office.note, alert=True)
        desk = (await any_world.app(worker=False, alert=True)).workflow_manager
        review = {**REVIEW, "title": "Costs", "prompt": "Pay ${tasks.cost.result}?", "form": FORM,
                  "approvers": "finance", "timeout": "2d"}  # fmt: skip
        told = note("${tasks.review.result.form.reason}")
        await begun(any_world, app, note(120, id="cost"), review, told)
        [asked] = (await desk.list_approvals()).items
        assert (asked.run_id, asked.task_id, asked.title) == ("w", "review", "Costs")
        assert (asked.prompt, asked.approvers) == ("Pay 120?", ("finance",))
        assert asked.until is not None
        assert (asked.until - asked.since).days == 2
        sentence = str(await desk.explain("w"))
        assert "waits for an answer to 'Costs' by finance (since " in sentence
        assert "kallista approve w review, or kallista reject w review" in sentence
        with pytest.raises(UsageError, match=r"form\.reason is missing"):
            await desk.approve("w", form={"limit": 0})
        form = {"reason": "planned", "limit": 3}
        assert (await desk.approve("w", by="ann", comment="ok", form=form)).changed
        await any_world.passes(1)
        assert (await desk.list_approvals()).items == ()
        run = await any_world.after(desk.wait_workflow("w"))
        answer = {"approved": True, "by": "ann", "comment": "ok", "form": form}
        assert run.results["review"] == answer
        assert office.notes == [120, "planned"]
        history = await desk.get_history("w")
        assert [event.data for event in history if event.kind == "task.answered"] == [
            {"answer": answer}
        ]
        assert (await desk.replay("w")).agrees

    async def test_an_answer_counts_once(self, any_world: World) -> None:
        """The same once more changes nothing, another one is a conflict."""
        app = await any_world.app()
        manager = app.workflow_manager
        await begun(any_world, app, REVIEW, {"type": "sleep", "seconds": 5})
        assert (await manager.approve("w", by="ann")).changed
        assert not (await manager.approve("w", by="ann")).changed
        assert not (await manager.approve("w", "review", by="ann")).changed
        with pytest.raises(ConflictError, match="answered already"):
            await manager.reject("w", by="bob")
        with pytest.raises(NotFoundError, match="no step 'reviews'"):
            await manager.approve("w", "reviews")
        with pytest.raises(UsageError, match="is no approval"):
            await manager.approve("w", "sleep")

    @pytest.mark.parametrize(
        ("on_reject", "status", "ends"),
        [
            (None, WorkflowStatus.FAILED, ["FAILED", "SKIPPED"]),
            ("fail", WorkflowStatus.FAILED, ["FAILED", "SKIPPED"]),
            ("cancel", WorkflowStatus.CANCELLED, ["CANCELLED", "SKIPPED"]),
            ("complete", WorkflowStatus.COMPLETED, ["COMPLETED", "COMPLETED"]),
        ],
    )
    async def test_what_a_rejection_does_can_be_chosen(
        self, any_world: World, on_reject: str | None, status: WorkflowStatus, ends: list[str]
    ) -> None:
        """By default nothing that comes after it happens; who said no and why is kept."""
        office = Office()
        app = await any_world.app(office.note)
        said = {} if on_reject is None else {"on_reject": on_reject}
        await begun(any_world, app, {**REVIEW, "form": FORM, **said, "retry": 5}, note("deployed"))
        manager = app.workflow_manager
        await manager.reject("w", by="ann", comment="too dear")
        run = await any_world.after(manager.wait_workflow("w"))
        assert (run.status, statuses(run)) == (status, ends)
        story = str([event.data for event in await manager.get_history("w")])
        assert "too dear" in story
        assert "ann" in story
        if on_reject in (None, "fail"):
            assert str(run.errors[0]) == "review: Rejected: rejected by ann: too dear"
            await manager.retry_workflow("w")
            await any_world.settle()
            await manager.approve("w", form={"reason": "cheaper now"})
            run = await any_world.after(manager.wait_workflow("w"))
            assert run.status is WorkflowStatus.COMPLETED
        assert office.notes == ([] if on_reject == "cancel" else ["deployed"])

    @pytest.mark.parametrize(
        ("default", "status"),
        [
            ("approved", WorkflowStatus.COMPLETED),
            ("rejected", WorkflowStatus.FAILED),
            ({"approved": True, "form": {"reason": "silence"}}, WorkflowStatus.COMPLETED),
            (None, WorkflowStatus.FAILED),
        ],
    )
    async def test_the_default_answers_when_nobody_does(
        self, any_world: World, default: object, status: WorkflowStatus
    ) -> None:
        """And without one the time that is over is a failure."""
        app = await any_world.app()
        said = {} if default is None else {"default": default}
        await begun(any_world, app, {**REVIEW, **said, "timeout": "20s"})
        await any_world.passes(20)
        run = await any_world.after(app.workflow_manager.wait_workflow("w"))
        assert run.status is status
        if status is WorkflowStatus.COMPLETED:
            assert run.results["review"]["timed_out"]
            assert run.results["review"]["by"] is None
        elif default is None:
            assert "nobody answered within 20 s" in str(run.errors[0])
        with pytest.raises(StateError, match="asks nothing now"):
            await app.workflow_manager.approve("w", "review")

    async def test_the_one_that_waits_in_a_tree_is_found(self, any_world: World) -> None:
        """From any run above it; where there are several, they are named."""
        app = await any_world.app()
        children = [
            {"id": id, "type": "workflow", "depends_on": [], "tasks": [REVIEW]} for id in "ab"
        ]
        await app.orchestrator.create_process({"id": "p", "steps": children})
        await app.orchestrator.start_process("p")
        await any_world.settle()
        with pytest.raises(UsageError, match=r"say which: p/a review, p/b review"):
            await app.orchestrator.approve("p")
        assert len((await app.orchestrator.list_approvals(run_id="p")).items) == 2
        assert len((await app.orchestrator.list_approvals(run_id="p/a")).items) == 1
        assert (await app.orchestrator.approve("p/a")).run_id == "p/a"
        await any_world.settle()
        assert (await app.orchestrator.approve("p")).run_id == "p/b"
        run = await any_world.after(app.orchestrator.wait_process("p"))
        assert run.status is ProcessStatus.COMPLETED
        with pytest.raises(StateError, match="nothing of process 'p' waits for an answer"):
            await app.orchestrator.approve("p")

    async def test_a_single_task_may_ask_too(self, any_world: World) -> None:
        """A person is asked by the task's id; a signal is called as the task."""
        app = await any_world.app()
        scheduler = app.scheduler
        await scheduler.schedule_task("ask", {"type": "approval", "prompt": "Go?"})
        await scheduler.schedule_task("call", {"type": "wait_for_signal"}, at(20))
        await scheduler.send_signal("call", "call", "early")
        await any_world.settle()
        assert "kallista approve ask, or" in str(await scheduler.explain("ask"))
        assert (await scheduler.approve("ask", by="ann")).task_id == "ask"
        done = await any_world.after(scheduler.wait_task("ask"))
        assert done.result["by"] == "ann"
        await any_world.passes(20)
        assert (await any_world.after(scheduler.wait_task("call"))).result == "early"

    async def test_they_may_stand_at_the_end_of_a_run(self, any_world: World) -> None:
        """What undoes a step may ask first, and so may what runs whatever the end."""
        office = Office()
        app = await any_world.app(office.note)
        tasks = [note(1, compensate={"type": "approval", "prompt": "Undo it?"}),
                 {"id": "bad", "type": "note", "when": "tasks.note.result.x"}]  # fmt: skip
        last = [{"id": "bye", "type": "wait_for_signal"}]
        await begun(any_world, app, *tasks, on_failure="rollback", **{"finally": last})
        manager = app.workflow_manager
        assert (await manager.get_workflow("w")).status is WorkflowStatus.COMPENSATING
        assert "waits for an answer" in str(await manager.explain("w"))
        await manager.send_signal("w", "bye")
        await manager.approve("w", "undo:note")
        run = await any_world.after(manager.wait_workflow("w"))
        assert run.status is WorkflowStatus.FAILED
        assert statuses(run) == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]

    async def test_lists_come_in_pages(self, any_world: World) -> None:
        """The longest waiting first, each once, whatever is answered meanwhile."""
        app = await any_world.app()
        for number in range(5):
            await app.scheduler.schedule_task(f"t{number}", {"type": "approval"})
            await any_world.passes(1)
        first = await app.scheduler.list_approvals(limit=2)
        await app.scheduler.approve("t0")
        second = await app.scheduler.list_approvals(limit=2, cursor=first.cursor)
        last = await app.scheduler.list_approvals(limit=2, cursor=second.cursor)
        pages = [[item.run_id for item in page.items] for page in (first, second, last)]
        assert pages == [["t0", "t1"], ["t2", "t3"], ["t4"]]
        assert last.cursor is None
        with pytest.raises(UsageError, match="no cursor"):
            await app.scheduler.list_approvals(cursor="bm9uZQ==")

    async def test_what_is_wrong_with_them_is_told_at_creation(self, world: World) -> None:
        """All of it at once."""
        app = await world.app()
        tasks = [
            {"id": "a", "type": "approval", "form": {"properties": {"x": {"type": "text"}}},
             "default": "perhaps", "on_reject": "explode", "approvers": [5]},
            {"id": "b", "type": "wait_for_signal", "signal": "${inputs.name}", "schema": 5},
            {"id": "c", "type": "wait_for_signal", "schema": {"type": "integer"}, "default": "no"},
        ]  # fmt: skip
        with pytest.raises(UsageError) as told:
            await app.workflow_manager.create_workflow("w", tasks, {"inputs": {"name": None}})
        for problem in (
            "task 'a': form: property 'x': there is no type 'text'",
            "task 'a': default: must be approved or rejected, or say so, not 'perhaps'",
            "task 'a': on_reject must be one of fail, complete, cancel, not 'explode'",
            "task 'a': an approver must be a text, not 5",
            "task 'b': signal has to be known beforehand",
            "task 'b': schema: a schema must be a mapping, not 5",
            "task 'c': default must be integer, not 'no'",
        ):
            assert any(problem in line for line in told.value.problems), told.value.problems


async def test_who_asks_survives_its_worker(any_world: World) -> None:
    """A run that waits is nobody's; the next program goes on with it when the answer is there."""
    office = Office()
    first = await any_world.app(office.note)
    await begun(any_world, first, REVIEW, PAID, note("done"))
    await any_world.leave(first)
    desk = await any_world.app(worker=False)
    await desk.workflow_manager.approve("w")
    await desk.workflow_manager.send_signal("w", "paid")
    second = await any_world.app(office.note)
    run = await any_world.after(second.workflow_manager.wait_workflow("w"))
    assert (run.status, office.notes) == (WorkflowStatus.COMPLETED, ["done"])


async def test_a_signal_and_a_driver_do_not_miss_each_other(any_world: World) -> None:
    """Sent by another program while the run is driven: it is there when its step comes to it."""
    office, gate = Office(), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    app = await any_world.app(office.note, work)
    other = await any_world.app(worker=False)
    await begun(any_world, app, {"type": "work"}, PAID, note("${tasks.paid.result}"))
    await other.workflow_manager.send_signal("w", "paid", "early", "s")
    gate.set()
    await any_world.after(app.workflow_manager.wait_workflow("w"))
    assert office.notes == ["early"]
    assert await app.workflow_manager.send_signal("w", "paid", "early", "s") == "s"


class SlowStore(MemoryStore):
    """What was sent to a run is read late, and what others write is not heard of."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self.reads = asyncio.Event()

    def changed(self) -> bool:
        """See the port."""
        return False

    async def inbox(self, run: RunKey) -> Inbox:
        """See the port."""
        await self.reads.wait()
        return await super().inbox(run)


@pytest.mark.parametrize("works", [False, True])
async def test_a_signal_may_come_while_the_run_begins_to_wait_for_it(
    world: World, works: bool
) -> None:
    """Who sends it has read the run before that, and what the run asks after it.

    Seeds 31238 and 39084: by a program that only looks, or could drive the run itself.
    """
    store = SlowStore(world.state)  # type: ignore[attr-defined]  # it is one in memory
    sender = await world.app(worker=works, store=store, queues=["other"])
    await sender.workflow_manager.create_workflow("w", [PAID], workflow_id="w")
    sending = asyncio.ensure_future(sender.workflow_manager.send_signal("w", "paid", 7))
    await world.settle()
    app = await world.app()
    await app.workflow_manager.start_workflow("w")
    await world.settle()
    assert (await app.workflow_manager.get_workflow("w")).tasks[0].status is TaskStatus.WAITING
    store.reads.set()
    await sending
    await world.settle()
    assert (await app.workflow_manager.get_workflow("w")).results == {"paid": 7}
