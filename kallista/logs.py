"""Logs: JSON lines in a file, readable lines on a terminal, and never a secret.

Everything goes through the standard library's logger ``kallista`` and its children. Nothing is
set up when this module is imported, and root's handlers are never touched: a program that embeds
Kallista sees its lines wherever it sends its own. structlog is imported when the first line of a
handler is written, not before: it costs more than a short program takes.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import pairwise
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar, cast
from urllib.parse import quote

from kallista.errors import UsageError

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger
    from structlog.typing import EventDict, WrappedLogger

MASK: Final = "***"

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

FILE_BYTES: Final = 10 * 1024 * 1024
OLD_FILES: Final = 5

_root: Final = logging.getLogger("kallista")
# Without it, the standard library prints warnings of unconfigured loggers on standard error.
_root.addHandler(logging.NullHandler())

_SECRET_WORDS: Final = frozenset(
    ("password", "passwd", "passphrase", "pwd", "token", "secret", "secrets", "authorization",
     "credential", "credentials", "cookie", "bearer", "apikey", "accesskey", "privatekey",
     "secretkey")
)  # fmt: skip
_SECRET_PAIRS: Final = frozenset(
    {("api", "key"), ("private", "key"), ("access", "key"), ("encryption", "key"), ("auth", "key")}
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

ValueT = TypeVar("ValueT")


def is_secret(key: str) -> bool:
    """Whether whole words of a key say that its value is secret.

    ``api_key``, ``apiKey``, ``X-Auth-Token`` and ``db_password`` are; ``max_tokens`` is not.
    """
    words = [word.lower() for word in _WORD.findall(key)]
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


def mask(value: ValueT) -> ValueT:
    """The same data, in which values under secret keys are ``***``.

    Args:
        value: Plain data: mappings, lists and what is in them. It is not changed.

    Returns:
        New mappings and lists as plain dicts and lists; None under a secret key stays None, so
        that one sees that nothing was set.
    """
    return cast(ValueT, _masked(value))


def secret_values(config: object) -> tuple[str, ...]:
    """The texts that stand under secret keys of a config, the longest first.

    Args:
        config: Plain data.

    Returns:
        Each text also as it looks inside of quotes, in JSON and in a URL, and the parts of it
        that may turn up alone: the lines of a key, what stands behind ``Bearer``.
    """
    forms = {form for secret in _secrets(config, False) for form in _forms(secret)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def mask_text(text: str, secrets: Iterable[str]) -> str:
    """A text in which known secrets are ``***``.

    Args:
        text: A message or a traceback.
        secrets: From ``secret_values``. One shorter than four characters is masked only where it
            stands as a word of its own.
    """
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, MASK)
        elif secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _masked(value: object) -> object:
    match value:
        case Mapping():
            return {
                key: MASK if item is not None and is_secret(str(key)) else _masked(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_masked(item) for item in value]
        case _:
            return value


def _secrets(value: object, inside: bool) -> Iterator[str]:
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _secrets(item, inside or is_secret(str(key)))
        case list() | tuple():
            for item in value:
                yield from _secrets(item, inside)
        case bool() | None:
            return
        case str() | int() | float() if inside and str(value).strip():
            yield str(value)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield quote(secret, safe="")
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= 8)
    scheme, _, rest = secret.partition(" ")
    if scheme.lower() in ("bearer", "basic", "token") and rest.strip():
        yield rest.strip()


def task_logger(**bound: str | int) -> BoundLogger:
    """A structlog logger whose every line carries these values (run, task, attempt)."""
    import structlog

    logger = structlog.wrap_logger(
        logging.getLogger("kallista.task"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _to_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return cast("BoundLogger", logger.bind(**bound))


def setup_logging(
    logs_dir: Path | str | None,
    level: str = "INFO",
    *,
    terminal: TextIO | None = None,
    terminal_level: str = "WARNING",
) -> Callable[[], None]:
    """Write Kallista's lines to a file, to a terminal, or both.

    The file is ``kallista.log`` with one JSON object a line; at 10 MiB it is put aside, and five
    old ones are kept. Only one program writes one file: a second one that runs beside it on the
    same folder writes to ``kallista.2.log``, and so on, because no two programs can turn over one
    file, on Windows least of all.

    Args:
        logs_dir: The folder, made if need be; None: no file.
        level: The lowest level that is written to the file.
        terminal: Where readable lines go; None: nowhere.
        terminal_level: The lowest level that is written there.

    Returns:
        A function that ends it.

    Raises:
        UsageError: The folder cannot be written to, or there is no such level.
    """
    handlers: list[logging.Handler] = []
    if logs_dir is not None:
        handlers.append(_file_handler(Path(logs_dir), _level(level)))
    if terminal is not None:
        handlers.append(_terminal_handler(terminal, _level(terminal_level)))
    earlier = _root.level
    wanted = [handler.level for handler in handlers]
    if wanted:
        _root.setLevel(min([*wanted, *([earlier] if earlier else [])]))
    for handler in handlers:
        _root.addHandler(handler)

    def end() -> None:
        _root.setLevel(earlier)
        for handler in handlers:
            _root.removeHandler(handler)
            handler.close()

    return end


def _to_record(
    logger: WrappedLogger, method: str, event: EventDict
) -> tuple[tuple[object, ...], dict[str, Any]]:
    """Hand a structlog event to the standard library; our formatters find its values again."""
    exc_info = event.pop("exc_info", None)
    stack_info = event.pop("stack_info", None)
    message = _filled_in(event.pop("event", ""), event.pop("positional_args", ()))
    # Masked here already: the handlers of an embedding program may show whatever they get.
    extra = {"kallista": mask(dict(event))}
    given = {"extra": extra, "exc_info": exc_info, "stack_info": bool(stack_info)}
    return (message,), given


def one_line(text: str) -> str:
    """A text without anything that moves a cursor or changes a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return json.dumps(_fields(record), ensure_ascii=False, default=str)


_MANY_LINES: Final = ("exception", "stack")


class ReadableLines(logging.Formatter):
    """Lines for people, as structlog writes them on a terminal.

    Args:
        colors: Whether the terminal shows colours.
    """

    def __init__(self, colors: bool) -> None:
        super().__init__()
        self._colors = colors
        self._render: Callable[[Any, str, dict[str, Any]], str] | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        if self._render is None:
            from structlog.dev import ConsoleRenderer

            self._render = ConsoleRenderer(
                colors=self._colors, pad_event_to=0, timestamp_key="time", sort_keys=False
            )
        fields = _fields(record)
        fields["time"] = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields.pop("logger")
        for key, value in fields.items():
            if key in _MANY_LINES:
                fields[key] = "\n".join(map(one_line, value.split("\n")))
            elif isinstance(value, str):
                fields[key] = one_line(value)
        return self._render(None, record.levelname.lower(), fields)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": _filled_in(record.msg, record.args),
    }
    fields.update(mask(getattr(record, "kallista", {})))
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _filled_in(text: object, values: Any) -> str:
    """A line's text with its values; a slip in it is no reason to fail a task or lose the line."""
    try:
        return str(text) % values if values else str(text)
    except (TypeError, ValueError, KeyError):
        return f"{text} {values}"


def _level(name: str) -> int:
    number = logging.getLevelNamesMapping().get(str(name).upper())
    if number is None or str(name).upper() not in LEVELS:
        raise UsageError(f"{name!r} is no log level; there are {', '.join(LEVELS)}")
    return number


def _terminal_handler(stream: TextIO, level: int) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setLevel(level)
    handler.setFormatter(ReadableLines(stream.isatty()))
    return handler


def _file_handler(folder: Path, level: int) -> logging.Handler:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = LogFile(folder)
    except OSError as error:
        raise UsageError(
            f"logs cannot be written to {folder}: {error.strerror or error}; choose another"
            " folder (logs_dir, KALLISTA_LOGS_DIR)"
        ) from error
    handler.setLevel(level)
    handler.setFormatter(JsonLines())
    return handler


class LogFile(RotatingFileHandler):
    """The first ``kallista[.n].log`` of a folder that no other program writes.

    Args:
        folder: Where it is; it exists.
    """

    def __init__(self, folder: Path) -> None:
        name, self._hold = _own_name(folder)
        self._told = False
        super().__init__(
            folder / name,
            maxBytes=FILE_BYTES,
            backupCount=OLD_FILES,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def doRollover(self) -> None:  # noqa: N802  # the base class's name
        """Put the full file aside; if that fails (somebody reads it on Windows), go on in it."""
        try:
            super().doRollover()
        except OSError:
            self.stream = self.stream or self._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base class's name
        """Say once, on standard error, that lines are being lost, and let the work go on."""
        if not self._told:
            self._told = True
            error = sys.exc_info()[1]
            sys.stderr.write(f"kallista: log lines are lost, {self.baseFilename}: {error}\n")

    def close(self) -> None:
        """Close the file and leave its name to others."""
        super().close()
        self._hold.close()


def _own_name(folder: Path) -> tuple[str, TextIOWrapper]:
    for name in _names():
        hold = open(folder / f".{name}.lock", "a", encoding="utf-8")  # noqa: SIM115  # is kept open
        if _locked(hold):
            return name, hold
        hold.close()
    raise AssertionError("there is always a next name")


def _names() -> Iterator[str]:
    yield "kallista.log"
    number = 2
    while True:
        yield f"kallista.{number}.log"
        number += 1


if sys.platform == "win32":
    import msvcrt

    def _locked(file: TextIOWrapper) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(file: TextIOWrapper) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
