"""What failed: by error and task type, found again by it, and retried together."""

from __future__ import annotations

import pytest
from world import MemoryWorld, World

from kallista import UsageError
from kallista.core.types import RunId

pytestmark = pytest.mark.anyio


class RateLimited(Exception):
    """The other side wants to be asked less often."""


class Service:
    """Handlers that fail for as long as they are told to."""

    def __init__(self) -> None:
        self.is_down = True

    async def ask(self) -> None:
        """Fail by a class of our own."""
        if self.is_down:
            raise RateLimited("try again later\nor not at all")

    async def reckon(self) -> None:
        """Fail by a class of Python's."""
        if self.is_down:
            raise ValueError("no number")


async def test_what_failed_is_told_by_error_and_retried_by_it(any_world: World) -> None:
    """In the trees of processes too: the run at the top is what a retry is asked of."""
    service = Service()
    app = await any_world.app(service.ask, service.reckon)
    tasks = [{"task_id": f"t{n}", "task_data": {"type": "ask"}} for n in range(4)]
    await app.scheduler.schedule_tasks([*tasks, {"id": "r", "type": "reckon"}])
    inner = {"id": "inner", "type": "workflow", "tasks": [{"type": "ask"}]}
    await app.orchestrator.create_processes([{"id": "p", "steps": [inner]}], start=True)
    await any_world.settle()
    groups = await app.reports.failures()
    assert [(group.error.rpartition(".")[2], group.type, group.count) for group in groups] == [
        ("RateLimited", "ask", 5),
        ("ChildFailed", "workflow", 1),
        ("ValueError", "reckon", 1),
    ]
    example = next(it for it in groups[0].examples if it.root_id == "p")
    assert (example.run_id, example.task_id, example.root_kind) == ("p/inner", "ask", "process")
    assert example.message.startswith("try again later")
    assert [group.type for group in await app.reports.failures(type="reckon")] == ["reckon"]
    assert await app.reports.failures(until="2001-01-01") == []

    limited = await app.scheduler.list_tasks(error="RateLimited")
    assert [run.id for run in limited.items] == ["t3", "t2", "t1", "t0"]
    assert (await app.scheduler.list_tasks(error="\0")).items == ()
    service.is_down = False
    told = await app.scheduler.retry_tasks(error=groups[0].error)
    assert (told.matched, told.changed) == (4, 4)
    assert (await app.orchestrator.retry_processes(error="RateLimited")).changed == 1
    await any_world.settle()
    assert (await app.orchestrator.get_process("p")).ok
    assert [group.error for group in await app.reports.failures()] == ["ValueError"]


async def test_a_run_that_is_out_of_time_is_told_as_well(any_world: World) -> None:
    """It has failed by itself; whoever lets it go on takes it off the list."""
    app = await any_world.app()
    manager = app.workflow_manager
    nap = [{"type": "sleep", "seconds": 60}]
    undone = [{**nap[0], "compensate": {"type": "sleep", "seconds": 0}}]
    await manager.create_workflow("w", nap, {"deadline": 5}, workflow_id="w")
    config = {"deadline": 5, "on_failure": "rollback"}
    await manager.create_workflow("u", undone, config, workflow_id="u")
    for id in ("w", "u"):
        await manager.start_workflow(id)
    await any_world.settle()
    await any_world.passes(5)
    [group] = await app.reports.failures()
    assert (group.error, group.type, group.count) == ("DeadlineExceeded", "workflow", 2)
    assert {(it.run_id, it.task_id) for it in group.examples} == {("w", None), ("u", None)}
    assert (await manager.retry_workflows(error="DeadlineExceeded")).changed == 2
    await any_world.settle()
    assert await app.reports.failures() == []


async def test_a_failure_that_is_let_pass_is_told(world: World) -> None:
    """The run COMPLETES with it; that it has failed is worth knowing nevertheless."""
    service = Service()
    app = await world.app(service.reckon)
    task = {"type": "reckon", "continue_on_error": True}
    await app.workflow_manager.create_workflows([{"name": "w", "tasks": [task]}], start=True)
    await world.settle()
    [group] = await app.reports.failures(error="ValueError")
    assert group.count == 1
    assert (await app.workflow_manager.retry_workflows(error="ValueError")).matched == 0


async def test_what_a_task_returned_does_not_pass_for_a_failure(any_world: World) -> None:
    """It may look like one; nobody is told that a run has failed because of it."""

    async def mail() -> dict[str, str]:
        return {"type": "mail", "message": "all is well"}

    app = await any_world.app(mail, Service().reckon)
    tasks = [{"type": "mail"}, {"type": "reckon"}]
    steps: list[dict[str, object]] = [
        {"id": "one", "type": "workflow", "tasks": tasks},
        {"id": "each", "type": "workflow", "tasks": tasks, "for_each": [1], "depends_on": []},
    ]
    orchestrator = app.orchestrator
    run = await any_world.after(orchestrator.run_process({"id": "p", "steps": steps}))
    told = [str(await any_world.after(orchestrator.explain(id))) for id in ("p", "p/one")]
    for text in (*told, *map(str, run.errors)):
        assert "ValueError: no number" in text
        assert "all is well" not in text


async def test_a_list_that_is_not_what_histories_tell_is_noticed(world: MemoryWorld) -> None:
    """Whoever looks the store through learns of it."""
    service = Service()
    app = await world.app(service.ask)
    await app.scheduler.schedule_task("t", {"type": "ask"})
    await world.settle()
    kept = world.state.failures.pop(world.state.keys[RunId("t")])
    told = await app.store.check()
    assert told.problems == (
        "task 't': what is listed of its failures is not what its history tells of them",
    )
    world.state.failures[world.state.keys[RunId("t")]] = kept


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"since": "yesterday"}])
async def test_what_is_asked_wrongly_is_told(world: World, wrong: dict[str, object]) -> None:
    """Numbers and moments are checked before anything is read."""
    app = await world.app()
    with pytest.raises(UsageError):
        await app.reports.failures(**wrong)  # type: ignore[arg-type]  # wrong on purpose
