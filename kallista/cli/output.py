"""Prints what was found: tables and lines for people, one document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from kallista.core.snapshots import (
    HistoryEvent,
    Page,
    ProcessSnapshot,
    RunSnapshot,
    RunSummary,
    ScheduleSnapshot,
    Snapshot,
    StepSnapshot,
    TaskSnapshot,
    WorkflowSnapshot,
)
from kallista.logs import mask

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "magenta",
    "RUNNING": "cyan",
    "PAUSED": "yellow",
    "WAITING": "yellow",
    "SKIPPED": "dim",
}
SHOWN_AT_MOST = 400


@cache
def console() -> Console:
    """The terminal; whatever cannot be printed on it is replaced, never an error."""
    from rich.console import Console

    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console(highlight=False, soft_wrap=False)


def print_json(value: object) -> None:
    """One JSON document: snapshots by their plain form, secrets masked."""
    print(json.dumps(mask(_plain(value)), ensure_ascii=False, indent=2))


def _plain(value: object) -> object:
    if isinstance(value, Snapshot):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table, or one line that says that there is nothing."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(cell(value) for value in row))
        count += 1
    console().print(table if count else empty)


def cell(value: object) -> str:
    """A value as a table shows it."""
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, (list, tuple)):
        return escape(", ".join(map(str, value)))
    text = str(value)
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else escape(text)


def local(moment: datetime) -> str:
    """A moment in the machine's time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(began: datetime | None, ended: datetime | None) -> str:
    """How long something took."""
    if began is None or ended is None:
        return ""
    return f"{(ended - began).total_seconds():.2f} s"


def print_runs(page: Page[RunSummary], what: str) -> None:
    """A list of runs, and how to see more of them."""
    rows = [
        (run.id, run.name, run.status, run.created_at, seconds(run.started_at, run.ended_at))
        for run in page.items
    ]
    print_table(("id", "name", "status", "created", "took"), rows, f"no {what} match")
    if page.cursor is not None:
        console().print(f"[dim]more: --cursor {page.cursor}[/]")


def print_run(run: RunSnapshot) -> None:
    """A run with its steps and what failed."""
    from rich.markup import escape

    console().print(f"[bold]{escape(run.id)}[/]  {escape(run.name)}  {cell(run.word)}")
    if run.in_flight:
        console().print(f"in flight: {run.in_flight}")
    if isinstance(run, TaskSnapshot):
        _print_task(run)
    elif isinstance(run, WorkflowSnapshot | ProcessSnapshot):
        print_steps(run.tasks if isinstance(run, WorkflowSnapshot) else run.steps)
    for error in run.errors:
        console().print(f"[red]failed[/] {escape(str(error))}")


def _print_task(task: TaskSnapshot) -> None:
    rows = [
        ("type", task.type),
        ("config", short(mask(dict(task.config)))),
        ("attempt", task.attempt),
        ("scheduled", task.scheduled_time),
        ("started", task.started_at),
        ("ended", task.ended_at),
        ("note", task.note),
        ("result", short(mask(task.result))),
    ]
    print_table(("", ""), [row for row in rows if row[1] not in (None, "null")], "")


def print_steps(steps: Sequence[StepSnapshot]) -> None:
    """The steps of a run, a line each."""
    rows = [
        (
            step.id,
            step.type or step.child_id or step.kind,
            step.status,
            step.attempt or "",
            seconds(step.started_at, step.ended_at),
            step.note or "",
        )
        for step in steps
    ]
    print_table(("step", "what", "status", "attempt", "took", "note"), rows, "it has no steps")


def print_history(events: Sequence[HistoryEvent]) -> None:
    """A history, a line an event."""
    rows = [
        (
            event.seq,
            event.at.astimezone().strftime("%H:%M:%S.%f")[:-3],
            event.kind,
            event.task_id or "",
            event.attempt or "",
            "" if event.data is None else short(mask(event.data), 60),
        )
        for event in events
    ]
    print_table(("seq", "at", "event", "task", "attempt", "data"), rows, "nothing has happened")


def print_schedules(page: Page[ScheduleSnapshot]) -> None:
    """A list of schedules."""
    rows = [
        (item.id, item.trigger, item.type, item.status, item.next_fire_time, item.fired)
        for item in page.items
    ]
    columns = ("id", "trigger", "type", "status", "next", "fired")
    print_table(columns, rows, "no schedules match")
    if page.cursor is not None:
        console().print(f"[dim]more: --cursor {page.cursor}[/]")


def print_fields(snapshot: Snapshot) -> None:
    """Every field of a snapshot, a line each."""
    fields = mask(snapshot.to_dict())
    rows = [
        (name, value if isinstance(value, str) else short(value)) for name, value in fields.items()
    ]
    print_table(("", ""), rows, "")


def short(value: object, limit: int = SHOWN_AT_MOST) -> str:
    """A value as JSON on one line, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[:limit]}…"
