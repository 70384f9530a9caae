"""``kallista``: the commands that belong to no single object, and all others below them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kallista.cli.objects import (
    process_commands,
    schedule_commands,
    task_commands,
    workflow_commands,
)
from kallista.cli.session import (
    Format,
    OutputOption,
    Session,
    StoreOption,
    TasksOption,
    guarded,
)

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.parsing import Document

app = typer.Typer(
    name="kallista",
    help="Durable workflows for Python.",
    epilog="Example: kallista demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(workflow_commands(), name="workflow")
app.add_typer(process_commands(), name="process")
app.add_typer(task_commands(), name="task")
app.add_typer(schedule_commands(), name="schedule")

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A YAML or JSON file; - reads standard input.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from kallista import __version__

        print(f"kallista {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Example: kallista run inventory.yaml --set output_dir=output/mine --id my-inventory"
)
def run(
    file: FileArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A value for an input of the definition."),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="The run's id; the file's own by default.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only submit it, for a worker to execute.")
    ] = False,
    tasks: TasksOption = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Run a workflow or process from a file; a run of that id that is unfinished goes on.

    The exit code is 0 when it completed, 1 when it failed, 2 when the call was wrong.
    """
    from kallista.cli.running import run_file

    session = Session(store, output, tuple(tasks or ()))
    raise typer.Exit(session.guard(lambda: run_file(session, file, set_ or [], id, detach=detach)))


@app.command(epilog="Example: kallista demo")
def demo(store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
    """Design and generate a complete C#/WPF application; interrupted, it goes on next time."""
    from kallista.cli.running import run_demo

    session = Session(store, output)
    raise typer.Exit(session.guard(lambda: run_demo(session)))


@app.command(epilog="Example: kallista explain my-process")
def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="A run or a schedule.")],
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Say why a run or schedule is where it is."""
    session = Session(store, output)
    told = session.ask(lambda app: app.orchestrator.explain(id))
    if session.as_json:
        from kallista.cli.output import print_json

        print_json(told)
    else:
        print(told)


@app.command(epilog="Example: kallista types --tasks my_tasks.py")
def types(
    tasks: TasksOption = None, store: StoreOption = None, output: OutputOption = Format.TEXT
) -> None:
    """List the task types with their parameters."""
    from kallista.cli.output import print_json, print_table

    session = Session(store, output, tuple(tasks or ()))
    found = session.guard(lambda: session.app().task_types())
    if session.as_json:
        print_json(list(found))
        return
    rows = [(info.type, info.description, ", ".join(_parameters(info.schema))) for info in found]
    print_table(("type", "what it does", "parameters"), rows, "there are no task types")


def _parameters(schema: object) -> list[str]:
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    required = schema.get("required", []) if isinstance(schema, dict) else []
    return [name if name in required else f"[{name}]" for name in properties]


@app.command(epilog="Example: kallista worker --tasks my_tasks.py --concurrency 20")
def worker(
    tasks: TasksOption = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="How many tasks at once; 100.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Execute what is due until it is stopped; Ctrl-C lets tasks in flight finish first."""
    session = Session(store, Format.TEXT, tuple(tasks or ()))
    session.run(_work(session, concurrency))


async def _work(session: Session, concurrency: int | None) -> None:
    stop = asyncio.Event()
    async with session.app(worker=True, concurrency=concurrency) as opened:
        _on_stop(stop)
        names = ", ".join(info.type for info in opened.task_types())
        print(f"working on {names}; Ctrl-C stops", flush=True)
        await stop.wait()
        print("stopping; tasks in flight may finish, Ctrl-C again ends at once", flush=True)


def _on_stop(stop: asyncio.Event) -> None:
    """Let the first signal stop gracefully and the second end the program."""
    loop = asyncio.get_running_loop()

    def handler(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop.set)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)


@app.command(epilog="Example: kallista init my-project")
def init(
    folder: Annotated[str, typer.Argument(help="Where to put it; made if need be.")] = ".",
) -> None:
    """Write a small commented project to start from; nothing there is overwritten."""
    from kallista.cli.starter import write_starter

    session = Session()
    for path in session.guard(lambda: write_starter(folder)):
        print(f"wrote {path}")
    print(f"\nTry it:\n  cd {folder}\n  kallista run hello.yaml --tasks tasks.py")


@app.command(epilog="Example: kallista validate inventory.yaml")
def validate(
    file: FileArgument,
    tasks: TasksOption = None,
    store: StoreOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Check a definition file; all its problems are listed at once."""
    session = Session(store, output, tuple(tasks or ()))

    async def check(opened: Kallista) -> Document:
        from kallista.cli.files import load_file

        return await opened.check(load_file(file))

    document = session.ask(check)
    definition = document.definition
    if session.as_json:
        told = {"valid": True, "kind": definition.kind, "name": definition.name}
        print(json.dumps(told, ensure_ascii=False))
    else:
        steps = len(definition.steps)
        print(f"{file} is a valid {definition.kind}: {definition.name!r} with {steps} steps")


@app.command(epilog="Example: kallista doctor --store sqlite:///data.db")
def doctor(store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
    """Show how the store and its workers are, and what waits in vain."""
    from kallista.cli.output import print_json, print_table

    session = Session(store, output)
    found = session.ask(lambda app: app.diagnose())
    if session.as_json:
        print_json(found)
        return
    rows = [("store", found.store), *found.details.items(), *found.runs.items()]
    print_table(("", ""), rows, "")
    workers = [
        (worker.name, "alive" if worker.alive else "dead", worker.started_at, worker.types)
        for worker in found.workers
    ]
    print_table(("worker", "", "since", "task types"), workers, "no worker is known")
    for type in found.missing_types:
        print(f"queued work needs the task type {type!r}, which no worker alive has")


@app.command(epilog="Example: kallista schema > kallista.schema.json")
def schema() -> None:
    """Print the JSON Schema of definition files, for editors that complete them."""
    from kallista.core.schema import definition_schema

    print(json.dumps(definition_schema(), indent=2, ensure_ascii=False))


def main() -> None:
    """The entry point of the ``kallista`` command."""
    debug = os.environ.get("KALLISTA_DEBUG", "") not in ("", "0")
    sys.exit(guarded(app, debug=debug))


if __name__ == "__main__":
    main()
