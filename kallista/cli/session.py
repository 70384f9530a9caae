"""One call of the command line: opens the app, prints the answer, ends with the right code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from kallista.errors import (
    ConflictError,
    KallistaError,
    NotFoundError,
    StateError,
    UsageError,
)

if TYPE_CHECKING:
    from kallista.app import Kallista

ResultT = TypeVar("ResultT")

OK, FAILED, USAGE, LEFT = 0, 1, 2, 130


class Format(StrEnum):
    """How answers are printed."""

    TEXT = "text"
    JSON = "json"


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where everything is kept, such as sqlite:///data.db; else KALLISTA_STORE, else"
        " data/workflows/kallista.db.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="Print text for people or one JSON document.")
]
TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="MODULE",
        help="A module or file whose @task handlers to load; may be given several times.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Session:
    """What the options of a command say.

    Args:
        store: The URL of the store.
        output: How to print.
        tasks: Modules with handlers to load.
    """

    store: str | None = None
    output: Format = Format.TEXT
    tasks: tuple[str, ...] = ()

    @property
    def as_json(self) -> bool:
        """Whether the answer is to be one JSON document."""
        return self.output is Format.JSON

    def app(
        self, *, worker: bool = False, within: str | None = None, concurrency: int | None = None
    ) -> Kallista:
        """The app, not yet open; task modules and plug-ins are loaded.

        Raises:
            UsageError: A module cannot be loaded, or a setting is wrong.
        """
        from kallista.app import Kallista
        from kallista.config import load_config
        from kallista.tasks import load_module, load_plugins

        settings = load_config(None, url=self.store, max_concurrency=concurrency)
        load_plugins()
        for module in (*settings.tasks, *self.tasks):
            load_module(module)
        return Kallista(config=settings, worker=worker, within=within)

    def ask(self, question: Callable[[Kallista], Awaitable[ResultT]]) -> ResultT:
        """Open the app only to look or to command, and ask it something."""

        async def asked() -> ResultT:
            async with self.app() as app:
                return await question(app)

        return self.run(asked())

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Do something on an event loop; errors end the program with one clear message."""
        return self.guard(lambda: asyncio.run(work))

    def guard(self, work: Callable[[], ResultT]) -> ResultT:
        """Do something; errors end the program with one clear message."""
        try:
            return work()
        except KallistaError as error:
            self.fail(error)

    def fail(self, error: KallistaError) -> NoReturn:
        """Print an error and end: 2 if the request has to be changed, else 1."""
        asked_wrongly = isinstance(error, UsageError | NotFoundError | ConflictError | StateError)
        if self.as_json:
            problems = list(error.problems) if isinstance(error, UsageError) else [str(error)]
            kind = type(error).__name__
            told = {"error": {"type": kind, "message": str(error), "problems": problems}}
            print(json.dumps(told, ensure_ascii=False, indent=2))
        else:
            print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(USAGE if asked_wrongly else FAILED)


def guarded(command: Callable[[], None], *, debug: bool) -> int:
    """Run the whole command line and turn what is left into an exit code.

    Args:
        command: Parses the arguments and does what they say.
        debug: Whether to show where an unexpected error happened.
    """
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE
    except KeyboardInterrupt:
        return LEFT
    except BrokenPipeError:
        # Whoever read the output has seen enough; a second complaint at exit is prevented.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(
            f"error: this should not have happened: {type(error).__name__}: {error}\n"
            "Run the same command with KALLISTA_DEBUG=1 to see where, and please report it.",
            file=sys.stderr,
        )
        return FAILED
    return OK
