"""``kallista``: the commands that belong to no single object, and all others below them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from kallista.cli.limits import limits_commands
from kallista.cli.objects import (
    group,
    process_commands,
    schedule_commands,
    task_commands,
    workflow_commands,
)
from kallista.cli.options import ErrorOption
from kallista.cli.options import since as read_since
from kallista.cli.outside import add_outside
from kallista.cli.session import (
    DEBUG,
    FAILED,
    Format,
    OutputOption,
    Session,
    StoreOption,
    TasksOption,
    guarded,
)
from kallista.cli.stores import store_commands
from kallista.errors import UsageError

app = group("Durable workflows for Python: what a run has completed is never done again.")
app.add_typer(workflow_commands(), name="workflow")
app.add_typer(process_commands(), name="process")
app.add_typer(task_commands(), name="task")
app.add_typer(schedule_commands(), name="schedule")
app.add_typer(store_commands(), name="store")
add_outside(app)
app.add_typer(limits_commands(), name="limits")

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A YAML or JSON file; - reads standard input.")
]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A value for an input of the definition."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from kallista import __version__

        print(f"kallista {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: kallista demo")
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where errors happened; before the command.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


@app.command(
    short_help="Run a workflow or process from a file.",
    epilog="Example: kallista run inventory.yaml --set output_dir=output/mine --id mine",
)
def run(
    file: FileArgument,
    set_: SetOption = None,
    id: Annotated[
        str | None,
        typer.Option("--id", help="The run's id; else the file's own, else a generated one."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only submit it, for a worker to execute.")
    ] = False,
    deduplicate: Annotated[
        str | None,
        typer.Option("--deduplicate", metavar="KEY", help="Only once by this key; with --detach."),
    ] = None,
    window: Annotated[
        str, typer.Option("--window", help="For how long --deduplicate holds after the first.")
    ] = "1h",
    tasks: TasksOption = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Run a workflow or process from a file.

    The id makes it the same run: an unfinished one goes on where it stopped, a finished one is
    shown and not run again. Ctrl-C asks whether to leave it, to go on later.

    Exit codes: 0 it completed, 1 it failed or was cancelled, 2 the call was wrong, 130 it was
    left.
    """
    from kallista.cli.running import run_file

    session = Session(store, output, tuple(tasks or ()))
    same = None if deduplicate is None else {"key": deduplicate, "window": window}
    if same is not None and not detach:
        session.fail(UsageError("--deduplicate is for what is submitted: add --detach"))
    raise typer.Exit(run_file(session, file, set_ or (), id, detach=detach, deduplicate=same))


@app.command(short_help="Generate a complete C#/WPF application.", epilog="Example: kallista demo")
def demo(
    set_: SetOption = None, store: StoreOption = None, output: OutputOption = Format.TEXT
) -> None:
    """Design and generate a complete C#/WPF application in output/InventoryApp.

    Stop it halfway in whatever way: the same command goes on where it stopped.
    """
    from kallista.cli.demo import run_demo

    raise typer.Exit(run_demo(Session(store, output), set_ or ()))


@app.command(epilog="Example: kallista explain my-process")
def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="A run or a schedule.")],
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Say why a run or schedule is where it is, and what it waits for."""
    from kallista.cli.output import print_json
    from kallista.cli.tree import explanations
    from kallista.cli.waits import wait_lines
    from kallista.logs import one_line

    session = Session(store, output)
    told = session.ask(lambda app: explanations(app, id))
    if session.as_json:
        print_json(told[0])
    else:
        for explanation in told:
            print(one_line(str(explanation)))
            for line in wait_lines(explanation):
                print(line)


@app.command(epilog="Example: kallista replay my-process")
def replay(
    id: Annotated[str, typer.Argument(metavar="ID", help="A run.")],
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Follow the history of a run, and say whether it leads to where the run is."""
    from kallista.cli.output import print_json
    from kallista.logs import one_line

    session = Session(store, output)
    told = session.ask(lambda app: app.workflow_manager.replay(id))
    if session.as_json:
        print_json(told)
    else:
        print(one_line(str(told)))
    if not told.agrees:
        raise typer.Exit(FAILED)


@app.command(
    short_help="Show what failed, by error and task type.",
    epilog="Example: kallista failures --since 7d",
)
def failures(
    error: ErrorOption = None,
    type: Annotated[str | None, typer.Option("--type", help="Of this task type.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Failed since a moment (2026-01-31) or for a length (2h)."),
    ] = None,
    examples: Annotated[
        int, typer.Option("-n", min=1, max=100, help="How many of each are shown.")
    ] = 3,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show what is FAILED now, by error and task type, with the newest of each.

    All that failed by one error goes on by: kallista workflow retry --error RateLimited, and the
    same for processes and tasks.
    """
    session = Session(store, output)
    moment = session.guard(lambda: read_since(since))
    found = session.ask(
        lambda app: app.reports.failures(error=error, type=type, since=moment, examples=examples)
    )
    if session.as_json:
        from kallista.cli.output import print_json

        print_json(list(found))
    else:
        from kallista.cli.reports import show_failures

        show_failures(found)


@app.command(
    short_help="Show what was spent, by run, task type, tag or unit.",
    epilog="Example: kallista spending --by tag --since 30d",
)
def spending(
    by: Annotated[str, typer.Option("--by", help="run, type, tag or unit.")] = "run",
    unit: Annotated[str | None, typer.Option("--unit", help="Only of this unit.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Spent since a moment (2026-01-31) or for a length (30d)."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Spent before a moment.")] = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show what handlers have spent, summed up by run, task type, tag or unit.

    A run counts with all that it has started, and so do attempts that failed.
    """
    session = Session(store, output)
    first = session.guard(lambda: read_since(since))
    last = session.guard(lambda: read_since(until))
    found = session.ask(lambda app: app.reports.spending(by, unit=unit, since=first, until=last))
    if session.as_json:
        from kallista.cli.output import print_json

        print_json(list(found))
    else:
        from kallista.cli.reports import show_spending

        show_spending(found, by)


@app.command(epilog="Example: kallista types shell sleep")
def types(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TYPE]...", help="Only these; all by default."),
    ] = None,
    tasks: TasksOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """List the task types with their parameters."""
    from kallista.cli.inspecting import task_types

    session = Session(None, output, tuple(tasks or ()))
    found = session.guard(lambda: task_types(session, names or ()))
    if session.as_json:
        from kallista.cli.output import print_json

        print_json(found)
    else:
        from kallista.cli.views import show_types

        show_types(found)


@app.command(epilog="Example: kallista worker --tasks my_tasks.py --concurrency 20")
def worker(
    tasks: TasksOption = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="How many tasks at once; 100 by default."),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAMES",
            help="Only tasks of these queues, like default,gpu=2 (two of gpu at once);"
            " `default` when not said.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Execute whatever is due, until it is stopped.

    Ctrl-C stops it and lets tasks in flight finish; a second one ends it at once. Either way
    nothing is lost: what was under way goes on with the next worker.
    """
    from kallista.cli.working import work

    session = Session(store, output, tuple(tasks or ()))
    session.run(work(session, concurrency, queue))


@app.command(
    short_help="Write a small commented project to start from.",
    epilog="Example: kallista init my-project",
)
def init(
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="Made if need be.")] = ".",
    output: OutputOption = Format.TEXT,
) -> None:
    """Write a small commented project to start from; nothing is overwritten."""
    from kallista.cli.starter import write_starter

    session = Session(output=output)
    paths = session.guard(lambda: write_starter(folder))
    if session.as_json:
        from kallista.cli.output import print_json

        print_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        print(f"wrote {path}")
    print("\nTry it:")
    if folder != ".":
        print(f"  cd {folder}")
    print("  kallista run hello.yaml")


@app.command(epilog="Example: kallista validate inventory.yaml")
def validate(
    file: FileArgument,
    tasks: TasksOption = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Check a definition file; all its problems are listed at once."""
    from kallista.cli.inspecting import checked

    session = Session(store, output, tuple(tasks or ()))
    definition = session.run(checked(session, file)).definition
    steps = len(definition.steps)
    if session.as_json:
        from kallista.cli.output import print_json

        kind = definition.kind.value
        print_json({"valid": True, "kind": kind, "name": definition.name, "steps": steps})
    else:
        what = "task" if definition.kind == "workflow" else "step"
        count = f"1 {what}" if steps == 1 else f"{steps:,} {what}s"
        print(f"{file} is valid: the {definition.kind} {definition.name!r} with {count}")


@app.command(epilog="Example: kallista doctor --store sqlite:///data.db")
def doctor(store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
    """Show how the store and its workers are, and what waits in vain."""
    session = Session(store, output)
    found = session.ask(lambda app: app.diagnose())
    from kallista.cli.views import diagnosis_as_data, show_diagnosis

    if session.as_json:
        from kallista.cli.output import print_json

        print_json(diagnosis_as_data(found))
    else:
        show_diagnosis(found)


@app.command(epilog="Example: kallista schema > kallista.schema.json")
def schema(output: OutputOption = Format.JSON) -> None:
    """Print the JSON Schema of definition files, for editors; it is JSON in any case."""
    from kallista.cli.inspecting import schema_text

    print(schema_text(), end="")


def main() -> None:
    """The entry point of the ``kallista`` command."""
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
