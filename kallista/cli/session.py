"""One call of the command line: opens the app, answers or fails, ends with the right code."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar, cast

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
    from kallista.config import Config

ResultT = TypeVar("ResultT")

OK, FAILED, USAGE, LEFT = 0, 1, 2, 130
"""Exit codes: done or COMPLETED; FAILED, CANCELLED or a broken store; a wrong call; left by
Ctrl-C."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

DEBUG: Final = "KALLISTA_DEBUG"
ISSUES: Final = "please report it with what you did and the output of `kallista doctor`"

# The class of what is wrong with a command line, which typer exports under no name of its own.
_WrongCall: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


class Format(StrEnum):
    """How answers are printed."""

    TEXT = "text"
    JSON = "json"


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where everything is kept, such as sqlite:///data.db. By default KALLISTA_STORE,"
        " else data/workflows/kallista.db.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Format,
    typer.Option(
        "--output", "-o", help="Text for people, or one JSON document.", show_default=False
    ),
]
TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="MODULE",
        help="A module or .py file with @task handlers; may be given several times.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Session:
    """What the options of a command say.

    Args:
        store: The URL of the store; None: the configured one.
        output: How to print.
        tasks: Modules with handlers to load, besides the configured ones.
    """

    store: str | None = None
    output: Format = Format.TEXT
    tasks: tuple[str, ...] = ()

    @property
    def as_json(self) -> bool:
        """Whether the answer is to be one JSON document."""
        return self.output is Format.JSON

    @cached_property
    def settings(self) -> Config:
        """All settings.

        Raises:
            UsageError: One of them is wrong.
        """
        from kallista.config import load_config

        return load_config(None, url=self.store)

    @property
    def has_store(self) -> bool:
        """Whether anything has been kept yet."""
        return self.settings.is_postgresql or Path(self.settings.store_path).exists()

    def app(
        self,
        *,
        worker: bool = False,
        within: str | None = None,
        concurrency: int | None = None,
        queues: str | None = None,
        url: str | None = None,
    ) -> Kallista:
        """The app, not yet open; task modules are loaded.

        Args:
            worker: Whether it executes tasks.
            within: Execute only this run and the runs it starts.
            concurrency: How many tasks at once.
            queues: The queues to serve, with commas between.
            url: Another store than the session's.

        Raises:
            UsageError: A module cannot be loaded, or a setting is wrong.
        """
        from kallista.app import Kallista
        from kallista.tasks import load_module

        for module in (*self.settings.tasks, *self.tasks):
            load_module(module)
        return Kallista(
            url,
            config=self.settings,
            worker=worker,
            within=within,
            max_concurrency=concurrency,
            queues=None if queues is None else queues.split(","),
        )

    def ask(self, question: Callable[[Kallista], Awaitable[ResultT]]) -> ResultT:
        """Open the app only to look or to command, and ask it something.

        A store that is not there is not made: nobody could find anything in it.
        """

        async def asked() -> ResultT:
            if not self.has_store:
                raise NotFoundError(
                    f"there is no store {self.settings.store_path} yet; `kallista run FILE` makes"
                    " it, and --store names another"
                )
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
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        problems = error.problems if isinstance(error, UsageError) else (str(error),)
        tell_error(type(error).__name__, str(error), problems, as_json=self.as_json)
        asked_wrongly = isinstance(error, UsageError | NotFoundError | ConflictError | StateError)
        raise typer.Exit(USAGE if asked_wrongly else FAILED)

    def command(self, words: str) -> str:
        """A command to try next, with the options that it needs to find the same store."""
        return f"kallista {words} --store {self.store}" if self.store else f"kallista {words}"


def tell_error(type: str, message: str, problems: Sequence[str], *, as_json: bool) -> None:
    """Print an error on standard error, where it disturbs nobody who reads the answers.

    Args:
        type: The name of its class.
        message: What went wrong and what to do.
        problems: Each single thing that is wrong.
        as_json: Print one JSON document.
    """
    if as_json:
        told = {"error": {"type": type, "message": message, "problems": list(problems)}}
        print(json.dumps(told, indent=2), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)


def guarded(command: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the whole command line and turn whatever happens into an exit code.

    Args:
        command: Parses the arguments and does what they say.
        arguments: What was typed after the program's name; None: the program's own.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    _open_what_is_closed()
    _let_everything_be_printed()
    try:
        code: object = command(args=list(typed), prog_name="kallista", standalone_mode=False)
        sys.stdout.flush()
    except _WrongCall as error:
        return _tell_wrong_call(error, as_json=_wants_json(typed))
    except (KeyboardInterrupt, typer.Abort):
        return LEFT
    except BrokenPipeError:
        from kallista.cli.output import nobody_reads

        nobody_reads()
        return OK
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            return _tell_surprise(error, as_json=_wants_json(typed))
        return _tell_cut_off(error, as_json=_wants_json(typed))
    except Exception as error:
        return _tell_surprise(error, as_json=_wants_json(typed))
    return code if isinstance(code, int) else OK


def _open_what_is_closed() -> None:
    """Whoever starts a program without these streams reads nothing, and types nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _let_everything_be_printed() -> None:
    """What a terminal has no character for is replaced, never an error."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def _tell_wrong_call(error: typer.BadParameter, *, as_json: bool) -> int:
    message = error.format_message()
    if as_json:
        tell_error("UsageError", message, [message], as_json=True)
    else:
        error.show()
    return USAGE


def _tell_cut_off(error: OSError, *, as_json: bool) -> int:
    from kallista.cli.output import nobody_reads

    message = f"not all of the answer could be written where it goes: {error.strerror}"
    tell_error(type(error).__name__, message, [message], as_json=as_json)
    nobody_reads()  # else the rest is tried once more as the program ends
    return FAILED


def _tell_surprise(error: Exception, *, as_json: bool) -> int:
    debug = bool(os.environ.get(DEBUG))
    if debug:
        traceback.print_exception(error)
    where = "" if debug else "; `kallista --debug …` shows where it happened"
    message = f"this should not have happened: {type(error).__name__}: {error}{where}; {ISSUES}"
    tell_error(type(error).__name__, message, [message], as_json=as_json)
    return FAILED


def _wants_json(typed: Sequence[str]) -> bool:
    """Whether the answer is to be JSON, for errors that come before the options are read."""
    pairs = pairwise([*typed, ""])
    return any(
        word in ("-ojson", "--output=json") or (word in ("-o", "--output") and after == "json")
        for word, after in pairs
    )
