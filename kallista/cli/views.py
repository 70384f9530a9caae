"""What people see of runs, histories, schedules, task types and the store."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from kallista.cli.output import ago, cell, console, local, plain, print_table, say, short, took
from kallista.cli.parameters import Parameter, parameters_of
from kallista.cli.tree import OVER, Node, draw, steps_of
from kallista.cli.waits import wait_lines
from kallista.core.durations import format_duration, to_datetime
from kallista.core.plan import DEFAULT_QUEUE, queue_of_lane, type_of_lane
from kallista.core.snapshots import (
    AnySnapshot,
    ApprovalSnapshot,
    BackfillMoment,
    Explanation,
    Forked,
    HistoryEvent,
    LimitInfo,
    NextFiring,
    Page,
    RunSummary,
    ScheduleSnapshot,
    Snapshot,
    TaskSnapshot,
)
from kallista.core.states import RunKind
from kallista.core.types import Json, Micros
from kallista.logs import mask

if TYPE_CHECKING:
    from kallista.app import Diagnosis, TypeInfo

MOST_LINES: Final = 500
MOST_RESULTS: Final = 50

_INDENT: Final = (0, 0, 0, 2)


def show_runs(page: Page[RunSummary], what: str) -> None:
    """A list of runs, and how to see more of them."""
    rows = [(run.id, run.name, _status(run), ago(run.created_at), _time(run)) for run in page.items]
    columns = ("id", "name", "status", "created", "took")
    print_table(columns, rows, empty=f"no {what} match", flexible=1)
    _tell_more(page.cursor)


def _status(run: RunSummary) -> str:
    return run.status if run.progress is None else f"{run.status} {run.progress:.0%}"


def _time(run: RunSummary) -> str:
    under_way = run.status == "RUNNING"
    return took(run.started_at, datetime.now(UTC) if under_way else run.ended_at)


def show_schedules(page: Page[ScheduleSnapshot]) -> None:
    """A list of schedules, and how to see more of them."""
    rows = [
        (item.id, item.trigger, item.name, item.status, item.next_fire_time, item.fired)
        for item in page.items
    ]
    columns = ("id", "trigger", "starts", "status", "next", "fired")
    print_table(columns, rows, empty="no schedules match", flexible=1)
    _tell_more(page.cursor)


def show_approvals(page: Page[ApprovalSnapshot]) -> None:
    """What waits for an answer, and how to see more of it."""
    rows = [
        (
            item.run_id,
            "" if item.kind is RunKind.TASK else item.task_id,
            item.prompt or item.title,
            item.approvers,
            ago(item.since),
            item.until,
        )
        for item in page.items
    ]
    columns = ("run", "step", "what", "who", "since", "until")
    print_table(columns, rows, empty="nothing waits for an answer", flexible=2)
    _tell_more(page.cursor)


def show_limits(limits: Sequence[LimitInfo]) -> None:
    """What is counted over all workers, how full it is, and by whom."""
    rows = [
        (it.kind, it.key, it.rate or f"{it.held} of {it.number}", it.waiting, "; ".join(it.held_by))
        for it in limits
    ]
    columns = ("kind", "key", "running", "waiting", "held by")
    print_table(
        columns, rows, empty="nothing runs or waits under a limit", flexible=1, wrapped=(4,)
    )


def _tell_more(cursor: str | None) -> None:
    if cursor is not None:
        say(f"there are more: --cursor {cursor}", style="dim")


def show_run(
    run: AnySnapshot, tree: Node, told: Sequence[Explanation], spent: Mapping[str, Decimal]
) -> None:
    """A run with its steps, what they returned, and what failed.

    Args:
        run: The run.
        tree: The same with the runs it has started.
        told: Why it is where it is, and what it waits for.
        spent: What it has spent with all that it has started, by unit.
    """
    for line in draw(tree, console(), MOST_LINES):
        console().print(line, no_wrap=True, overflow="ellipsis")
    if run.word not in OVER:
        say()
        for explanation in told:
            say(str(explanation))
            for waits in wait_lines(explanation):
                say(waits)
    say()
    facts = list(_facts(run))
    if spent:
        facts.append(("spent", [f"{amount:,f} {unit}" for unit, amount in spent.items()]))
    print_table(("", ""), facts, empty="", wrapped=(1,))
    _show_results(run)
    _show_errors(run)


def _facts(run: AnySnapshot) -> Iterator[tuple[str, object]]:
    yield "created", run.created_at
    if isinstance(run, TaskSnapshot):
        yield from _task_facts(run)
    for name, value in (("started", run.started_at), ("ended", run.ended_at)):
        if value is not None:
            yield name, value
    if run.expires_at is not None:
        yield "expires", run.expires_at
    if run.in_flight:
        yield "in flight", run.in_flight
    if run.clocks_stopped_at is not None:
        yield "clocks stand still", run.clocks_stopped_at
    if run.inputs:
        yield "inputs", short(run.inputs)
    if run.priority:
        yield "priority", run.priority
    if run.tags:
        yield "tags", run.tags
    if run.parent_id is not None:
        yield "part of", run.parent_id
    if run.forked_from is not None:
        yield "forked from", f"{run.forked_from} at {run.forked_at}"
    dependencies = getattr(run, "dependencies", ())
    if dependencies:
        yield "waits for", dependencies


def _task_facts(task: TaskSnapshot) -> Iterator[tuple[str, object]]:
    yield "type", task.type
    yield "config", short(task.config)
    if task.scheduled_time is not None:
        yield "due", task.scheduled_time
    if task.schedule_id is not None:
        yield "schedule", task.schedule_id
    if task.attempt > 1:
        yield "attempts", task.attempt
    if task.progress is not None:
        yield "progress", f"{task.progress:.0%} {task.progress_message or ''}".rstrip()
    if task.heartbeat_at is not None:
        yield "heard of", ago(task.heartbeat_at)
    if task.heartbeat_details is not None:
        yield "heartbeat", short(task.heartbeat_details)
    if task.note:
        yield "note", task.note
    if task.result is not None:
        yield "result", short(task.result)


def _show_results(run: AnySnapshot) -> None:
    results = [(step.id, short(step.result)) for step in steps_of(run) if step.result is not None]
    if not results:
        return
    say("\nresults", style="bold")
    print_table(("", ""), results[:MOST_RESULTS], empty="", flexible=1)
    if len(results) > MOST_RESULTS:
        say(f"{len(results) - MOST_RESULTS:,} more: -o json", style="dim")


def _show_errors(run: AnySnapshot) -> None:
    steps = {step.id: step for step in steps_of(run)}
    for error in run.errors[:MOST_RESULTS]:
        where = f" in {error.task_id}" if error.task_id else ""
        attempt = f", attempt {error.attempt}" if error.attempt > 1 else ""
        say(f"\nfailed{where}{attempt}", style="bold red")
        say((error.traceback or f"{error.type}: {error.message}").rstrip())
        step = None if error.task_id is None else steps.get(error.task_id)
        if step is not None and step.child_id is not None:
            say(f"more: kallista {step.kind} show {step.child_id}", style="dim")
        if step is not None and step.items is not None:
            for id in step.items.failed_ids[:MOST_RESULTS]:
                say(f"more: kallista {step.kind} show {id}", style="dim")
    if len(run.errors) > MOST_RESULTS:
        say(f"\n{len(run.errors) - MOST_RESULTS:,} more: -o json", style="dim")


def show_history(events: Sequence[HistoryEvent]) -> None:
    """A history, a line an event; the day stands there where it changes."""
    day = None
    rows: list[tuple[object, ...]] = []
    for event in events:
        at = event.at.astimezone()
        if at.date() != day:
            day = at.date()
            rows.append(("", cell(f"{day}"), "", "", "", ""))
        attempt = event.attempt if event.attempt > 1 else ""
        time = at.strftime("%H:%M:%S.%f")[:-3]
        rows.append((event.seq, time, event.kind, event.task_id, attempt, told_by(event)))
    columns = ("", "at", "event", "step", "attempt", "")
    print_table(columns, rows, empty="nothing has happened yet", flexible=5)


def told_by(event: HistoryEvent) -> str:
    """What an event says beside its kind, for people."""
    match event.kind, event.data:
        case ("task.started", _) | (_, None):
            return ""
        case "task.ready", int(moment):
            at = to_datetime(Micros(moment))
            return f"due at {local(at)}" if at > event.at else ""
        case "task.waiting" | "task.snoozed", int(moment):
            return f"until {local(to_datetime(Micros(moment)))}"
        case "task.waiting", str(child):
            return f"for {child}"
        case "task.waiting", {"question": dict(question)}:
            name = question.get("signal")
            return "for an answer" if name is None else f"for the signal {name}"
        case "signal.received", {"name": str(name), "payload": payload}:
            return f"{name}: {short(payload)}"
        case "task.answered", {"signal": int(seq)}:
            return f"by the signal {seq}"
        case "task.answered", {"answer": dict(answer)}:
            return _answer(answer)
        case "task.answered", _:
            return "by nobody in time"
        case "task.retrying", {"ready_at": int(moment), "error": dict(error)}:
            return f"{_failure(error)}; again at {local(to_datetime(Micros(moment)))}"
        case "task.failed" | "run.failed", {"message": _, "type": _}:
            assert isinstance(event.data, dict), "it was matched"
            return _failure(event.data)
        case "run.forked", {"run": str(source), "task": str(task)}:
            reason = event.data.get("reason") if isinstance(event.data, dict) else None
            return f"from {source} at {task}{f'; {reason}' if reason else ''}"
        case "run.redefined", {"after": str(after), "changed": list(changed), "added": list(added)}:
            ids = ", ".join(map(str, [*changed, *added]))
            return f"definition {after[:12]}{f': {ids}' if ids else ''}"
        case "run.paused", {"stop_clocks": True}:
            reason = event.data.get("reason") if isinstance(event.data, dict) else None
            return f"{reason}; its clocks stand still" if reason else "its clocks stand still"
        case _, {"items": {"count": int(count), "begun": int(begun), "open": list(open)}}:
            return f"{begun:,} of {count:,} items begun, {len(open):,} under way"
        case "task.chosen", {"then": list(then), "when": when}:
            branch = ", ".join(map(str, then)) or "nothing"
            return branch if when is None else f"{branch}: {when}"
        case "run.started", dict(found):
            return _found(found)
        case _, {"reason": str(reason)}:
            return reason
        case _, str(text):
            return text
        case _:
            return short(event.data)


def _found(found: dict[str, Json]) -> str:
    """What a process has found of those it waited for."""
    read, without = found.get("processes"), found.get("without")
    told = [f"with {short(read)}"] if read else []
    if isinstance(without, list):
        told.append(f"without {', '.join(map(str, without))}")
    return "; ".join(told)


def show_fork(forked: Forked) -> None:
    """What a fork keeps and does again, or would."""
    what = "it would keep" if forked.id is None else f"{forked.id} is started; it keeps"
    print(f"{what} {', '.join(forked.kept) or 'nothing'}")
    rows = [
        (
            task.id,
            "changed" if task.changed else "",
            "" if task.last_seconds is None else _length(task.last_seconds),
        )
        for task in forked.again
    ]
    print_table(("runs again", "", "took"), rows, empty="")
    print(f"about {_length(forked.estimated_seconds)} by the last times")


def _length(seconds: float) -> str:
    return format_duration(round(seconds * 1e6))


def _answer(answer: dict[str, Json]) -> str:
    word = "approved" if answer.get("approved") else "rejected"
    by, comment = answer.get("by"), answer.get("comment")
    return word + (f" by {by}" if by else "") + (f": {comment}" if comment else "")


def _failure(error: dict[str, Json]) -> str:
    message = str(error.get("message", "")).partition("\n")[0]
    return f"{str(error.get('type', '')).rpartition('.')[2]}: {message}"


def show_schedule(schedule: ScheduleSnapshot, told: Explanation) -> None:
    """Every field of a schedule, and why it is where it is."""
    say(f"{told}\n")
    values = {name: getattr(schedule, name) for name in schedule.__struct_fields__}
    rows = [
        (name.replace("_", " "), _field(value))
        for name, value in values.items()
        if value not in (None, (), {})
    ]
    print_table(("", ""), rows, empty="", wrapped=(1,))


def show_next(schedule: ScheduleSnapshot, firings: Sequence[NextFiring]) -> None:
    """When a schedule fires next, in its own zone, and what changes of the clocks do to that."""
    print(f"{schedule.in_words}\n")
    if not firings:
        print(f"{schedule.id} fires no more")
    for firing in firings:
        when = _with_offset(firing.moment) if firing.fires else f"({firing.moment:%Y-%m-%d})"
        told = [] if firing.change_over is None else [str(firing.change_over)]
        if firing.starts_at != firing.moment:
            told.append(f"starts at {_with_offset(firing.starts_at).split()[1]}")
        print(f"{when:25}  {', '.join(told)}".rstrip())


def show_backfill(id: str, found: Sequence[BackfillMoment], count: int) -> None:
    """For which moments a backfill would fire, and which of them have a run already."""
    rows = [(item.moment, item.run_id, item.status or "would start") for item in found]
    print_table(("moment", "run", "status"), rows, empty=f"{id} has no moment there", flexible=1)
    if len(found) == count:
        say(f"there may be more than {count}: -n shows more", style="dim")


def _with_offset(moment: datetime) -> str:
    """A moment in its own zone, or in the machine's if it has none."""
    return (moment.astimezone() if moment.tzinfo is UTC else moment).isoformat(" ", "seconds")


def _field(value: object) -> object:
    if isinstance(value, Snapshot):
        return str(value)
    return value if isinstance(value, str | int | datetime) else short(value)


def show_types(types: Sequence[TypeInfo]) -> None:
    """Every task type with what it does and its parameters."""
    from rich.padding import Padding

    for info in types:
        where = "  (on a thread)" if info.blocking else ""
        if info.in_process:
            where = "  (in a process of its own)"
        console().print(cell(info.type).append(where, style="dim"), style="bold")
        console().print(Padding(cell(info.description), _INDENT))
        rows = [_parameter(parameter) for parameter in parameters_of(info.schema)]
        if rows:
            print_table(("", "", "", ""), rows, empty="", wrapped=(1, 3))
        say()


def _parameter(parameter: Parameter) -> tuple[object, ...]:
    if parameter.required:
        default = "required"
    else:
        default = "" if parameter.default is None else f"= {short(parameter.default, 24)}"
    return f"  {parameter.name}", parameter.type, default, parameter.description


def show_diagnosis(found: Diagnosis) -> None:
    """How the store and its workers are, and what is wrong."""
    from kallista import __version__

    rows: list[tuple[str, object]] = [
        ("kallista", __version__),
        ("python", f"{platform.python_version()} on {platform.system()}"),
        ("store", found.store),
        *((name.replace("_", " "), _grouped(value)) for name, value in found.details.items()),
        *((kind_and_status, f"{count:,}") for kind_and_status, count in found.runs.items()),
    ]
    print_table(("", ""), rows, empty="", wrapped=(1,))
    say()
    workers = [
        (
            worker.name,
            "alive" if worker.alive else "dead",
            ago(worker.started_at),
            worker.queues,
            worker.types,
        )
        for worker in found.workers
    ]
    columns = ("worker", "", "since", "queues", "task types")
    print_table(columns, workers, empty="no worker is known", wrapped=(4,))
    for problem in problems_of(found):
        say(f"\n! {problem}", style="yellow")


def _grouped(value: str) -> str:
    return f"{int(value):,}" if value.isdecimal() else value


def problems_of(found: Diagnosis) -> Iterator[str]:
    """What somebody should do something about."""
    if found.missing_types and not any(worker.alive for worker in found.workers):
        yield "work is waiting and no worker is alive; start one with: kallista worker"
        return
    elsewhere = {type for worker in found.workers if worker.alive for type in worker.types}
    for missing in found.missing_types:
        type, queue = type_of_lane(missing), queue_of_lane(missing)
        if type in elsewhere:
            yield (
                f"queued work of task type {type!r} waits in queue {queue!r}, which no worker alive"
                f" serves that has the type; start one: kallista worker --queue {queue}"
            )
            continue
        option = "" if queue == DEFAULT_QUEUE else f" --queue {queue}"
        yield (
            f"queued work needs the task type {type!r}, which no worker alive has; start one with"
            f" the module that registers it: kallista worker --tasks MODULE{option}"
        )


def diagnosis_as_data(found: Diagnosis) -> object:
    """The diagnosis as plain data, with the problems in words."""
    data = plain(found)
    assert isinstance(data, dict), "a snapshot is a mapping"
    return mask({**data, "problems": list(problems_of(found))})
