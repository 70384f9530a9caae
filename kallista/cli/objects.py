"""``kallista workflow|process|task|schedule VERB``: what the three objects can do with an id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from kallista.cli.session import Format, OutputOption, Session, StoreOption

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import HistoryEvent, Page, RunSnapshot, RunSummary

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id.", show_default=False)]
StatusOption = Annotated[
    list[str] | None, typer.Option("--status", help="Only in this status; several are possible.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="Only of exactly this name.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="Only with this tag.")]
CursorOption = Annotated[str | None, typer.Option("--cursor", help="Where the page before ended.")]
LimitOption = Annotated[int, typer.Option("--limit", help="How many at most.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Kept in the history.")]

Filter: TypeAlias = "dict[str, object]"
Act: TypeAlias = "Callable[[Kallista, str], Awaitable[object]]"
ActWhy: TypeAlias = "Callable[[Kallista, str, str | None], Awaitable[object]]"


def object_commands(
    word: str,
    plural: str,
    show: Callable[[Kallista, str], Awaitable[RunSnapshot]],
    history: Callable[[Kallista, str], Awaitable[Sequence[HistoryEvent]]],
    listed: Callable[[Kallista, Filter], Awaitable[Page[RunSummary]]],
) -> typer.Typer:
    """The verbs that look: ``list``, ``show`` and ``history``.

    Args:
        word: What the object's runs are called, such as ``workflow``.
        plural: The same for several.
        show: Gives the run of an id.
        history: Gives the history of an id.
        listed: Gives a page of runs that match a filter.
    """
    commands = typer.Typer(
        help=f"Look at {plural} and command them.", no_args_is_help=True, rich_markup_mode=None
    )

    @commands.command(
        "list",
        help=f"List {plural}, the newest first.",
        epilog=f"Example: kallista {word} list --status FAILED --limit 20",
    )
    def list_(
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        cursor: CursorOption = None,
        limit: LimitOption = 50,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        wanted: Filter = {
            "status": status or None,
            "name": name,
            "tag": tag,
            "cursor": cursor,
            "limit": limit,
        }
        page = session.ask(lambda app: listed(app, wanted))
        from kallista.cli.output import print_json, print_runs

        if session.as_json:
            print_json(page)
        else:
            print_runs(page, plural)

    @commands.command(
        "show",
        help=f"Show a {word} with its steps, results and errors.",
        epilog=f"Example: kallista {word} show my-{word}",
    )
    def show_(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        session = Session(store, output)
        run = session.ask(lambda app: show(app, id))
        from kallista.cli.output import print_json, print_run

        if session.as_json:
            print_json(run)
        else:
            print_run(run)

    @commands.command(
        "history",
        help=f"Show all that happened to a {word}.",
        epilog=f"Example: kallista {word} history my-{word} -o json",
    )
    def history_(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        session = Session(store, output)
        events = session.ask(lambda app: history(app, id))
        from kallista.cli.output import print_history, print_json

        if session.as_json:
            print_json(list(events))
        else:
            print_history(events)

    return commands


def add_verb(commands: typer.Typer, word: str, verb: str, help: str, done: str, act: Act) -> None:
    """A verb that does something with an id.

    Args:
        commands: Where it belongs.
        word: What is acted on, such as ``workflow``.
        verb: The verb.
        help: What it does.
        done: What is printed afterwards, after the id.
        act: Does it; what it returns other than None goes into the JSON answer.
    """

    @commands.command(verb, help=help, epilog=f"Example: kallista {word} {verb} my-{word}")
    def command(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        _tell(Session(store, output), id, verb, done, lambda app: act(app, id))


def add_verb_with_reason(
    commands: typer.Typer, word: str, verb: str, help: str, done: str, act: ActWhy
) -> None:
    """A verb whose reason is kept in the history; arguments as for ``add_verb``."""

    @commands.command(
        verb, help=help, epilog=f'Example: kallista {word} {verb} my-{word} --reason "too dear"'
    )
    def command(
        id: IdArgument,
        reason: ReasonOption = None,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        _tell(Session(store, output), id, verb, done, lambda app: act(app, id, reason))


def _tell(
    session: Session,
    id: str,
    verb: str,
    done: str,
    act: Callable[[Kallista], Awaitable[object]],
) -> None:
    answer = session.ask(act)
    from kallista.cli.output import print_json

    if session.as_json:
        print_json({"id": id, "verb": verb, "answer": answer})
    elif answer is False:
        print(f"{id}: nothing to {verb}")
    else:
        print(f"{id}: {done}" if answer in (None, True) else f"{id}: {done} {answer}")


def workflow_commands() -> typer.Typer:
    """``kallista workflow``."""
    commands = object_commands(
        "workflow",
        "workflows",
        lambda app, id: app.workflow_manager.get_workflow(id),
        lambda app, id: app.workflow_manager.get_history(id),
        lambda app, wanted: app.workflow_manager.list_workflows(**wanted),  # type: ignore[arg-type]
    )
    add_verb(
        commands, "workflow", "start", "Start a PENDING workflow.", "started",
        lambda app, id: app.workflow_manager.start_workflow(id),
    )  # fmt: skip
    add_verb_with_reason(
        commands, "workflow", "pause", "Start nothing new in it; what is in flight finishes.",
        "paused", lambda app, id, why: app.workflow_manager.pause_workflow(id, why),
    )  # fmt: skip
    add_verb(
        commands, "workflow", "resume", "Let a paused workflow go on.", "goes on",
        lambda app, id: app.workflow_manager.resume_workflow(id),
    )  # fmt: skip
    add_verb_with_reason(
        commands, "workflow", "cancel", "End it; tasks in flight are told to stop.", "cancelled",
        lambda app, id, why: app.workflow_manager.cancel_workflow(id, why),
    )  # fmt: skip
    add_verb(
        commands, "workflow", "retry", "Go on from what did not complete.", "goes on",
        lambda app, id: app.workflow_manager.retry_workflow(id),
    )  # fmt: skip
    add_verb(
        commands, "workflow", "delete", "Remove a finished workflow.", "deleted",
        lambda app, id: app.workflow_manager.delete_workflow(id),
    )  # fmt: skip
    return commands


def process_commands() -> typer.Typer:
    """``kallista process``."""
    commands = object_commands(
        "process",
        "processes",
        lambda app, id: app.orchestrator.get_process(id),
        lambda app, id: app.orchestrator.get_history(id),
        lambda app, wanted: app.orchestrator.list_processes(**wanted),  # type: ignore[arg-type]
    )
    add_verb(
        commands, "process", "start", "Start a PENDING process.", "started",
        lambda app, id: app.orchestrator.start_process(id),
    )  # fmt: skip
    add_verb_with_reason(
        commands, "process", "pause", "Start nothing new in it; what is in flight finishes.",
        "paused", lambda app, id, why: app.orchestrator.pause_process(id, why),
    )  # fmt: skip
    add_verb(
        commands, "process", "resume", "Let a paused process go on.", "goes on",
        lambda app, id: app.orchestrator.resume_process(id),
    )  # fmt: skip
    add_verb_with_reason(
        commands, "process", "cancel", "End it and what it has started.", "cancelled",
        lambda app, id, why: app.orchestrator.cancel_process(id, why),
    )  # fmt: skip
    add_verb(
        commands, "process", "retry", "Run again what failed or was skipped.", "goes on",
        lambda app, id: app.orchestrator.retry_process(id),
    )  # fmt: skip
    add_verb(
        commands, "process", "delete", "Remove a finished process and the runs it started.",
        "deleted", lambda app, id: app.orchestrator.delete_process(id),
    )  # fmt: skip
    return commands


def task_commands() -> typer.Typer:
    """``kallista task``."""
    commands = object_commands(
        "task",
        "tasks",
        lambda app, id: app.scheduler.get_task(id),
        lambda app, id: app.scheduler.get_history(id),
        lambda app, wanted: app.scheduler.list_tasks(**wanted),  # type: ignore[arg-type]
    )
    add_verb_with_reason(
        commands, "task", "cancel", "Cancel a task, or end a recurring one.", "cancelled",
        lambda app, id, why: app.scheduler.cancel_task(id, why),
    )  # fmt: skip
    add_verb(
        commands, "task", "retry", "Run a failed task again.", "goes on",
        lambda app, id: app.scheduler.retry_task(id),
    )  # fmt: skip
    add_verb(
        commands, "task", "delete", "Remove a finished task.", "deleted",
        lambda app, id: app.scheduler.delete_task(id),
    )  # fmt: skip
    return commands


def schedule_commands() -> typer.Typer:
    """``kallista schedule``."""
    commands = typer.Typer(
        help="Look at schedules and command them.", no_args_is_help=True, rich_markup_mode=None
    )

    @commands.command(
        "list",
        help="List schedules by their ids.",
        epilog="Example: kallista schedule list --status ACTIVE",
    )
    def list_(
        status: Annotated[
            str | None, typer.Option("--status", help="ACTIVE, PAUSED or FINISHED.")
        ] = None,
        cursor: CursorOption = None,
        limit: LimitOption = 50,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        page = session.ask(
            lambda app: app.scheduler.list_schedules(status=status, cursor=cursor, limit=limit)
        )
        from kallista.cli.output import print_json, print_schedules

        if session.as_json:
            print_json(page)
        else:
            print_schedules(page)

    @commands.command(
        "show", help="Show a schedule.", epilog="Example: kallista schedule show nightly"
    )
    def show(id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
        session = Session(store, output)
        schedule = session.ask(lambda app: app.scheduler.get_schedule(id))
        from kallista.cli.output import print_fields, print_json

        if session.as_json:
            print_json(schedule)
        else:
            print_fields(schedule)

    @commands.command(
        "next",
        help="Show when it fires next.",
        epilog="Example: kallista schedule next nightly -n 20",
    )
    def next_(
        id: IdArgument,
        count: Annotated[int, typer.Option("-n", help="How many moments.")] = 10,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        moments = session.ask(lambda app: app.scheduler.next_fire_times(id, count))
        from kallista.cli.output import local, print_json

        if session.as_json:
            print_json(list(moments))
        else:
            for moment in moments:
                print(local(moment))

    add_verb(
        commands, "schedule", "pause", "Let it fire no more until it is resumed.", "paused",
        lambda app, id: app.scheduler.pause_schedule(id),
    )  # fmt: skip
    add_verb(
        commands, "schedule", "resume", "Let it fire again.", "goes on",
        lambda app, id: app.scheduler.resume_schedule(id),
    )  # fmt: skip
    add_verb(
        commands, "schedule", "trigger", "Fire it once, now.", "started",
        lambda app, id: app.scheduler.trigger_schedule(id),
    )  # fmt: skip
    add_verb(
        commands, "schedule", "delete", "Remove it; the tasks it started stay.", "deleted",
        lambda app, id: app.scheduler.delete_schedule(id),
    )  # fmt: skip
    return commands
