"""Shows a run while it goes on: a live tree on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kallista.cli.output import COLOURS, console, seconds
from kallista.core.snapshots import (
    ProcessSnapshot,
    RunSnapshot,
    StepSnapshot,
    WorkflowSnapshot,
)
from kallista.core.states import RunKind

if TYPE_CHECKING:
    from rich.tree import Tree

    from kallista.app import Kallista

REFRESH = 0.1
SYMBOLS = {
    "COMPLETED": "✔",
    "FAILED": "✘",
    "CANCELLED": "✘",
    "SKIPPED": "-",
    "RUNNING": "▶",
    "WAITING": "…",
}


async def follow(app: Kallista, kind: RunKind, id: str, *, quiet: bool) -> RunSnapshot:
    """Show a run until it has finished.

    Args:
        app: The app that runs it.
        kind: A workflow or a process.
        id: Which one.
        quiet: Show nothing, only wait.
    """
    waiting = asyncio.ensure_future(_wait(app, kind, id))
    try:
        if quiet:
            return await waiting
        if console().is_terminal:
            await _live(app, kind, id, waiting)
        else:
            await _lines(app, kind, id)
        return await waiting
    finally:
        waiting.cancel()


async def _wait(app: Kallista, kind: RunKind, id: str) -> RunSnapshot:
    if kind is RunKind.WORKFLOW:
        return await app.workflow_manager.wait_workflow(id)
    return await app.orchestrator.wait_process(id)


async def _get(app: Kallista, kind: RunKind, id: str) -> WorkflowSnapshot | ProcessSnapshot:
    if kind is RunKind.WORKFLOW:
        return await app.workflow_manager.get_workflow(id)
    return await app.orchestrator.get_process(id)


async def _live(
    app: Kallista, kind: RunKind, id: str, waiting: asyncio.Future[RunSnapshot]
) -> None:
    from rich.live import Live

    with Live(await tree(app, kind, id), console=console(), refresh_per_second=10) as live:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=REFRESH)
            live.update(await tree(app, kind, id))


async def _lines(app: Kallista, kind: RunKind, id: str) -> None:
    door = app.workflow_manager if kind is RunKind.WORKFLOW else app.orchestrator
    async for event in door.watch(id):
        what = f" {event.task_id}" if event.task_id else ""
        attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        print(f"{event.at.astimezone():%H:%M:%S} {event.kind}{what}{attempt}", flush=True)


async def tree(app: Kallista, kind: RunKind, id: str) -> Tree:
    """A run with its steps, child runs inside theirs."""
    from rich.tree import Tree

    run = await _get(app, kind, id)
    top = Tree(_line(run.name, run.word, run.started_at, run.ended_at, ""))
    await _add(app, top, run)
    return top


async def _add(app: Kallista, branch: Tree, run: WorkflowSnapshot | ProcessSnapshot) -> None:
    for step in run.tasks if isinstance(run, WorkflowSnapshot) else run.steps:
        twig = branch.add(_step(step))
        child = step.child_id if step.kind is not RunKind.TASK else None
        if child is not None and await app.kind_of(child) is not None:
            await _add(app, twig, await _get(app, step.kind, child))


def _step(step: StepSnapshot) -> str:
    told = []
    if step.attempt > 1:
        told.append(f"attempt {step.attempt}")
    if step.progress is not None:
        message = f" {step.progress_message}" if step.progress_message else ""
        told.append(f"{step.progress:.0%}{message}")
    if step.error is not None:
        told.append(f"{step.error.type}: {step.error.message}")
    elif step.note:
        told.append(step.note)
    return _line(step.name, step.status, step.started_at, step.ended_at, ", ".join(told))


def _line(name: str, status: str, began: datetime | None, ended: datetime | None, told: str) -> str:
    from rich.markup import escape

    symbol, colour = SYMBOLS.get(status, "·"), COLOURS.get(status, "dim")
    running = began is not None and ended is None and status in ("RUNNING", "WAITING")
    took = seconds(began, datetime.now(UTC) if running else ended)
    extra = f"  [dim]{escape(told)}[/]" if told else ""
    return f"[{colour}]{symbol}[/] {escape(name)}  [dim]{took}[/]{extra}"
