"""``kallista workflow|process|task|schedule VERB``: what the three objects can do with an id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypedDict, Unpack

import typer

from kallista.cli.commanding import act_on_one, add_deed
from kallista.cli.deeds import (
    PROCESS_CANCEL,
    PROCESS_PAUSE,
    PROCESS_RESUME,
    PROCESS_RETRY,
    TASK_CANCEL,
    TASK_RETRY,
    WORKFLOW_CANCEL,
    WORKFLOW_PAUSE,
    WORKFLOW_RESUME,
    WORKFLOW_RETRY,
)
from kallista.cli.forking import ForkArguments, Forking, add_fork
from kallista.cli.options import (
    CursorOption,
    ErrorOption,
    IdArgument,
    LimitOption,
    NameOption,
    PartOfOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    TagOption,
)
from kallista.cli.options import since as read_since
from kallista.cli.session import Format, OutputOption, Session, StoreOption

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import AnySnapshot, HistoryEvent, Page, RunSummary
    from kallista.core.types import Json


class Filter(TypedDict):
    """Which runs a list shows."""

    status: Sequence[str] | None
    name: str | None
    tag: str | None
    created_from: datetime | None
    part_of: str | None
    error: str | None
    cursor: str | None
    limit: int


def group(help: str) -> typer.Typer:
    """A command that only has commands below it."""
    return typer.Typer(
        help=help, no_args_is_help=True, rich_markup_mode=None, add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip


def object_commands(
    word: str,
    plural: str,
    show: Callable[[Kallista, str], Awaitable[AnySnapshot]],
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
    commands = group(f"Look at {plural} and command them.")

    @commands.command(
        "list",
        help=f"List {plural}, the newest first.",
        epilog=f"Example: kallista {word} list --status FAILED --since 7d",
    )
    def list_(
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        since: SinceOption = None,
        part_of: PartOfOption = None,
        error: ErrorOption = None,
        cursor: CursorOption = None,
        limit: LimitOption = 50,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        wanted = Filter(
            status=status or None,
            name=name,
            tag=tag,
            created_from=session.guard(lambda: read_since(since)),
            part_of=part_of,
            error=error,
            cursor=cursor,
            limit=limit,
        )
        page = session.ask(lambda app: listed(app, wanted))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(page)
        else:
            from kallista.cli.views import show_runs

            show_runs(page, plural)

    @commands.command(
        "show",
        help=f"Show a {word}: where it is, what it returned, what failed.",
        epilog=f"Example: kallista {word} show my-{word}",
    )
    def show_(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        session = Session(store, output)

        async def shown(app: Kallista) -> dict[str, Json]:
            run = await show(app, id)
            spent = await app.reports.spent(id)
            return {**run.to_dict(), "spent": {unit: f"{spent[unit]:f}" for unit in spent}}

        if session.as_json:
            from kallista.cli.output import print_json

            print_json(session.ask(shown))
            return

        async def look(app: Kallista) -> None:
            from kallista.cli.tree import TreeReader, explanations
            from kallista.cli.views import show_run

            run = await show(app, id)
            tree = await TreeReader(app).read(run.kind, run.id)
            spent = await app.reports.spent(id)
            show_run(run, tree, await explanations(app, id), spent)

        session.ask(look)

    @commands.command(
        "history",
        help=f"Show all that happened to a {word}, in order.",
        epilog=f"Example: kallista {word} history my-{word} -o json",
    )
    def history_(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        session = Session(store, output)
        events = session.ask(lambda app: history(app, id))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(list(events))
        else:
            from kallista.cli.views import show_history

            show_history(events)

    return commands


def add_verb(
    commands: typer.Typer,
    word: str,
    verb: str,
    help: str,
    done: str,
    act: Callable[[Kallista, str], Awaitable[object]],
    *,
    makes_work: bool = False,
) -> None:
    """A verb that does something with an id.

    Args:
        commands: Where it belongs.
        word: What is acted on, such as ``workflow``.
        verb: The verb.
        help: What it does.
        done: What is printed afterwards, after the id.
        act: Does it; what it returns other than None goes into the answer.
        makes_work: Whether a worker is needed for what comes of it.
    """

    @commands.command(verb, help=help, epilog=f"Example: kallista {word} {verb} my-{word}")
    def command(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        session = Session(store, output)
        act_on_one(session, word, id, verb, done, lambda app: act(app, id), makes_work=makes_work)


def add_verb_with_reason(
    commands: typer.Typer,
    word: str,
    verb: str,
    help: str,
    done: str,
    act: Callable[[Kallista, str, str | None], Awaitable[object]],
    *,
    makes_work: bool = False,
) -> None:
    """A verb whose reason is kept; arguments as for ``add_verb``."""

    @commands.command(
        verb, help=help, epilog=f'Example: kallista {word} {verb} my-{word} --reason "too slow"'
    )
    def command(
        id: IdArgument,
        reason: ReasonOption = None,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        act_on_one(
            session, word, id, verb, done, lambda app: act(app, id, reason), makes_work=makes_work
        )


def workflow_commands() -> typer.Typer:
    """``kallista workflow``."""
    commands = object_commands(
        "workflow",
        "workflows",
        lambda app, id: app.workflow_manager.get_workflow(id),
        lambda app, id: app.workflow_manager.get_history(id),
        lambda app, wanted: app.workflow_manager.list_workflows(**wanted),
    )
    add_verb(
        commands, "workflow", "start", "Start a PENDING workflow.", "is started",
        lambda app, id: app.workflow_manager.start_workflow(id), makes_work=True,
    )  # fmt: skip
    add_deed(commands, WORKFLOW_PAUSE)
    add_deed(commands, WORKFLOW_RESUME)
    add_deed(commands, WORKFLOW_CANCEL)
    add_deed(commands, WORKFLOW_RETRY)
    add_fork(commands, "workflow", "task", _fork_workflow)
    add_verb(
        commands, "workflow", "delete", "Remove a finished workflow.", "is deleted",
        lambda app, id: app.workflow_manager.delete_workflow(id),
    )  # fmt: skip
    return commands


def _fork_workflow(app: Kallista, id: str, task: str, **how: Unpack[ForkArguments]) -> Forking:
    return app.workflow_manager.fork_workflow(id, task, **how)


def process_commands() -> typer.Typer:
    """``kallista process``."""
    commands = object_commands(
        "process",
        "processes",
        lambda app, id: app.orchestrator.get_process(id),
        lambda app, id: app.orchestrator.get_history(id),
        lambda app, wanted: app.orchestrator.list_processes(**wanted),
    )
    add_verb(
        commands, "process", "start", "Start a PENDING process.", "is started",
        lambda app, id: app.orchestrator.start_process(id), makes_work=True,
    )  # fmt: skip
    add_deed(commands, PROCESS_PAUSE)
    add_deed(commands, PROCESS_RESUME)
    add_deed(commands, PROCESS_CANCEL)
    add_deed(commands, PROCESS_RETRY)
    add_fork(commands, "process", "step", _fork_process)
    add_verb(
        commands, "process", "delete", "Remove a finished process and the runs it started.",
        "is deleted", lambda app, id: app.orchestrator.delete_process(id),
    )  # fmt: skip
    return commands


def _fork_process(app: Kallista, id: str, task: str, **how: Unpack[ForkArguments]) -> Forking:
    return app.orchestrator.fork_process(id, task, **how)


def task_commands() -> typer.Typer:
    """``kallista task``."""
    commands = object_commands(
        "task",
        "tasks",
        lambda app, id: app.scheduler.get_task(id),
        lambda app, id: app.scheduler.get_history(id),
        lambda app, wanted: app.scheduler.list_tasks(**wanted),
    )

    @commands.command(
        "result",
        help="Print what a task returned, as JSON.",
        epilog="Example: kallista task result my-task",
    )
    def result(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT
    ) -> None:
        from kallista.cli.output import print_json

        print_json(Session(store, output).ask(lambda app: app.scheduler.get_task_result(id)))

    add_deed(commands, TASK_CANCEL)
    add_deed(commands, TASK_RETRY)
    add_verb(
        commands, "task", "delete", "Remove a finished task.", "is deleted",
        lambda app, id: app.scheduler.delete_task(id),
    )  # fmt: skip
    return commands


def _add_backfill(commands: typer.Typer) -> None:
    @commands.command(
        "backfill",
        help="Let it fire for moments of the past, one after the other.",
        epilog="Example: kallista schedule backfill nightly --start 2026-01-01"
        " --until 2026-01-31 --preview",
    )
    def backfill(
        id: IdArgument,
        start: Annotated[str, typer.Option("--start", help="The first moment that counts.")],
        until: Annotated[str, typer.Option("--until", help="The last one; it is past.")],
        preview: Annotated[
            bool, typer.Option("--preview", help="Show the moments, and start nothing.")
        ] = False,
        priority: Annotated[
            int | None, typer.Option("--priority", help="Of the runs; by default one less.")
        ] = None,
        count: Annotated[
            int, typer.Option("-n", min=1, max=1000, help="How many moments to show.")
        ] = 20,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        if not preview:
            act_on_one(
                session, "schedule", id, "backfill", f"fires for {start} to {until}",
                lambda app: app.scheduler.backfill_schedule(id, start, until, priority=priority),
                makes_work=True, otherwise="that is under way already",
            )  # fmt: skip
            return
        found = session.ask(lambda app: app.scheduler.preview_backfill(id, start, until, count))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(list(found))
        else:
            from kallista.cli.views import show_backfill

            show_backfill(id, found, count)


def schedule_commands() -> typer.Typer:
    """``kallista schedule``."""
    commands = group("Look at schedules and command them.")

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
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(page)
        else:
            from kallista.cli.views import show_schedules

            show_schedules(page)

    @commands.command(
        "show",
        help="Show a schedule: its trigger, what it starts, when it fires next.",
        epilog="Example: kallista schedule show nightly",
    )
    def show(id: IdArgument, store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
        session = Session(store, output)
        schedule = session.ask(lambda app: app.scheduler.get_schedule(id))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(schedule)
        else:
            from kallista.cli.views import show_schedule

            show_schedule(schedule, session.ask(lambda app: app.scheduler.explain(id)))

    @commands.command(
        "next",
        help="Show when it fires next, and what changes of the clocks do to that.",
        epilog="Example: kallista schedule next nightly -n 20",
    )
    def next_(
        id: IdArgument,
        count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many moments.")] = 10,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        schedule = session.ask(lambda app: app.scheduler.get_schedule(id))
        firings = session.ask(lambda app: app.scheduler.next_firings(id, count))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(list(firings))
        else:
            from kallista.cli.views import show_next

            show_next(schedule, firings)

    add_verb_with_reason(
        commands, "schedule", "pause", "Let it fire no more until it is resumed.", "is paused",
        lambda app, id, why: app.scheduler.pause_schedule(id, why),
    )  # fmt: skip
    add_verb_with_reason(
        commands, "schedule", "resume", "Let it fire again, in its own rhythm.", "fires again",
        lambda app, id, why: app.scheduler.resume_schedule(id, why), makes_work=True,
    )  # fmt: skip
    add_verb(
        commands, "schedule", "trigger", "Fire it once, now; its rhythm stays.", "has started",
        lambda app, id: app.scheduler.trigger_schedule(id), makes_work=True,
    )  # fmt: skip
    _add_backfill(commands)
    add_verb(
        commands, "schedule", "cancel-backfill", "Leave out what its backfill has not started.",
        "backfills no more", lambda app, id: app.scheduler.cancel_backfill(id),
    )  # fmt: skip
    add_verb(
        commands, "schedule", "delete", "Remove it; the tasks it has started stay.", "is deleted",
        lambda app, id: app.scheduler.delete_schedule(id),
    )  # fmt: skip
    return commands
