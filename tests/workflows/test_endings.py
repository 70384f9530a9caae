"""What a handler may return instead of a result: not yet, not at all, never again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from world import World

from kallista import Cancel, FailForGood, Kallista, Snooze, TaskContext, TaskStatus

pytestmark = pytest.mark.anyio


class Handler:
    """Returns what it is told, one after the other; the last of it again and again."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.attempts: list[int] = []
        self.keys: set[str] = set()

    async def work(self, ctx: TaskContext) -> Any:
        """Return the next answer."""
        self.attempts.append(ctx.attempt)
        self.keys.add(ctx.idempotency_key)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def scheduled(world: World, handler: Handler, **more: object) -> Kallista:
    """An app in which one task is to run."""
    app = await world.app(handler.work)
    await app.scheduler.schedule_task("t", {"type": "work", **more})
    await world.settle()
    return app


async def test_what_snoozes_is_tried_again_later(any_world: World) -> None:
    """It is no failure: no attempt of its policy is used up, and no worker is held."""
    handler = Handler(Snooze("10s"), Snooze(5), "done")
    app = await scheduled(any_world, handler, retry={"max_attempts": 1})
    task = await app.scheduler.get_task("t")
    assert (task.status, handler.attempts) == (TaskStatus.SCHEDULED, [1])
    assert "waits until" in str(await app.scheduler.explain("t"))
    await any_world.passes(9)
    assert handler.attempts == [1]
    await any_world.passes(1)
    await any_world.passes(5)
    task = await app.scheduler.get_task("t")
    assert (task.status, task.result, handler.attempts) == (TaskStatus.COMPLETED, "done", [1, 2, 3])
    assert len(handler.keys) == 1
    kinds = [event.kind for event in await app.scheduler.get_history("t")]
    assert kinds.count("task.snoozed") == 2


async def test_a_deadline_counts_while_it_snoozes(world: World) -> None:
    """What would be over by then is told at once."""
    app = await scheduled(world, Handler(Snooze("1m")), deadline=30)
    task = await app.scheduler.get_task("t")
    assert task.status is TaskStatus.FAILED
    assert task.error is not None
    assert task.error.type == "DeadlineExceeded"


async def test_failing_for_good_is_not_tried_again(any_world: World) -> None:
    """Whatever the policy says; a person may still ask for it."""
    handler = Handler(FailForGood("there is no such order"), "found")
    app = await scheduled(any_world, handler, retry={"max_attempts": 5})
    task = await app.scheduler.get_task("t")
    assert (task.status, handler.attempts) == (TaskStatus.FAILED, [1])
    assert str(task.error) == "t: FailForGood: there is no such order"
    await app.scheduler.retry_task("t")
    assert (await any_world.after(app.scheduler.wait_task("t"))).ok


@pytest.mark.parametrize(
    ("asked", "retry", "waits"),
    [
        (30, {}, 30),
        (timedelta(seconds=30), {}, 30),
        (30, {"delay": 60, "backoff": 1}, 60),
        (30, {"max_delay": 20}, 20),
        ("soon", {}, 0),
        (-1, {}, 0),
        (float("nan"), {}, 0),
    ],
)
async def test_a_failure_may_ask_for_a_pause(
    world: World, asked: object, retry: dict[str, object], waits: int
) -> None:
    """What a service asks for is waited for, within the policy; what means nothing is not."""
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        error = ConnectionError("too many requests")
        error.retry_after = asked  # type: ignore[attr-defined]  # as clients of services do
        raise error

    app = await world.app(work)
    await app.scheduler.schedule_task("t", {"type": "work", "retry": {"max_attempts": 2, **retry}})
    await world.settle()
    if waits:
        await world.passes(waits - 1)
        assert attempts == 1
        await world.passes(1)
    assert attempts == 2


async def test_what_is_called_off_is_cancelled(any_world: World) -> None:
    """With its reason; nothing after it runs, and nothing has failed."""
    handler = Handler(Cancel("sold out"))
    app = await any_world.app(handler.work)
    tasks = [{"id": "a", "type": "work"}, {"type": "sleep", "seconds": 0}]
    run = await any_world.after(app.workflow_manager.run_workflow("w", tasks, workflow_id="w"))
    assert [(task.status.value, task.note) for task in run.tasks] == [
        ("CANCELLED", "sold out"),
        ("SKIPPED", "'a' did not complete"),
    ]
    assert (run.status.value, run.errors) == ("CANCELLED", ())
    handler.answers = ["bought"]
    await app.workflow_manager.retry_workflow("w")
    assert (await any_world.after(app.workflow_manager.wait_workflow("w"))).ok


async def test_a_failure_counts_more_than_what_is_called_off(world: World) -> None:
    """A process in which both happen is FAILED."""
    called_off, failing = Handler(Cancel("no")), Handler(FailForGood("no"))

    async def fail(ctx: TaskContext) -> Any:
        return await failing.work(ctx)

    app = await world.app(called_off.work, fail)
    steps = [{"type": "work", "depends_on": []}, {"type": "fail", "depends_on": []}]
    run = await world.after(app.orchestrator.run_process({"steps": steps}))
    assert run.status.value == "FAILED"


@pytest.mark.parametrize("ending", [Snooze(1), Cancel("no"), FailForGood("no")])
async def test_plain_functions_end_in_the_same_way(world: World, ending: object) -> None:
    """On a thread as well as on the event loop."""

    def work() -> Any:
        return ending

    handler: Callable[..., object] = work
    app = await world.app(handler)
    await app.scheduler.schedule_task("t", {"type": "work"})
    await world.settle()
    history = await app.scheduler.get_history("t")
    ends = {"task.snoozed", "task.cancelled", "task.failed"}
    assert len(ends.intersection(event.kind for event in history)) == 1


async def test_a_length_that_cannot_be_read_is_a_failure(world: World) -> None:
    """The handler's mistake is told like any other."""
    app = await scheduled(world, Handler(Snooze("soon")))
    task = await app.scheduler.get_task("t")
    assert task.error is not None
    assert "soon" in task.error.message
