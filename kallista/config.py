"""Settings: from a file, the environment and arguments, merged in one place.

An argument wins over the environment, and that over the file: ``kallista.toml`` in the working
folder, or the table ``[tool.kallista]`` of its ``pyproject.toml``. What nobody set has its default.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Final

from kallista.errors import UsageError

ENVIRONMENT: Final = "KALLISTA_"
FILE: Final = "kallista.toml"
PROJECT: Final = "pyproject.toml"

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql://", "postgres://", "postgresql+psycopg://")
_HALF_A_YEAR: Final = 182 * 86_400
_MOST: Final = 2**31 - 1
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _setting(default: Any, read: Callable[[object], object], *, shown: bool = True) -> Any:
    return field(default=default, repr=shown, metadata={"read": read})


def _text(value: object) -> str:
    if isinstance(value, str | os.PathLike) and str(value).strip():
        return str(value)
    raise UsageError(f"must be a text, not {value!r}")


def _count(value: object) -> int:
    number = _number_of(value, int)
    if number is None or isinstance(value, bool | float) or not 1 <= number <= _MOST:
        raise UsageError(f"must be a whole number from 1 on, not {value!r}")
    return int(number)


def _seconds(value: object) -> float:
    number = _number_of(value, float)
    if number is None or isinstance(value, bool) or not isfinite(number) or number < 0:
        raise UsageError(f"must be a number of seconds, 0 or more, not {value!r}")
    return float(number)


def _number_of(value: object, kind: type[int] | type[float]) -> float | None:
    try:
        return kind(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


def _level(value: object) -> str:
    if isinstance(value, str) and value.upper() in _LEVELS:
        return value.upper()
    raise UsageError(f"must be one of {', '.join(_LEVELS)}, not {value!r}")


def _names(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if isinstance(listed, list | tuple) and all(isinstance(name, str) for name in listed):
        return tuple(name.strip() for name in listed if name.strip())
    raise UsageError(f"must be a list of names, not {value!r}")


def _queues(value: object) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        value = [name if most is None else f"{name}={most}" for name, most in value.items()]
    found: dict[str, str] = {}
    for text in _names(value):
        name, says, most = text.partition("=")
        if says and not (most.isascii() and most.isdigit() and int(most) > 0):
            raise UsageError(
                f"must be names, and behind one how many at once, like gpu=2; not {text!r}"
            )
        found[name] = text
    if not found:
        raise UsageError("must name at least one queue")
    return tuple(found.values())


def queue_limits(queues: Sequence[str]) -> Mapping[str, int | None]:
    """How many tasks of each queue at once: ``("default", "gpu=2")``; None: as many as there are.

    Args:
        queues: The setting of that name.
    """
    parts = (text.partition("=") for text in queues)
    return {name: int(most) if most else None for name, _, most in parts}


def _networks(value: object) -> tuple[str, ...]:
    from ipaddress import ip_network

    names = _names(value)
    for name in names:
        try:
            ip_network(name)
        except ValueError as error:
            raise UsageError(
                f"must be networks or addresses, like 10.1.0.0/16 or 127.0.0.1: {error}"
            ) from None
    return names


def _retention(value: object) -> tuple[tuple[str, object], ...]:
    """Pairs of what is kept and for how long; what they mean is read where it matters."""
    if isinstance(value, str) and "=" in value:
        pairs = [part.partition("=") for part in value.split(",")]
        return tuple((key.strip(), length.strip()) for key, _, length in pairs)
    if not isinstance(value, Mapping):
        return (("", value),)
    found: list[tuple[str, object]] = []
    for kind, length in value.items():
        if isinstance(length, Mapping):
            found += [(f"{kind}.{status}", each) for status, each in length.items()]
        else:
            found.append((str(kind), length))
    return tuple(found)


def _lease(value: object) -> float:
    seconds = _seconds(value)
    if seconds < 1:
        raise UsageError(f"must be at least 1 second, not {value!r}")
    return seconds


def _zone(value: object) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    name = _text(value)
    try:
        return ZoneInfo(name).key
    except (KeyError, OSError, ValueError):
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "write it like 'Europe/Lisbon'"
        raise UsageError(f"there is no time zone {name!r}; {hint}") from None


def _url(value: object) -> str:
    url = _text(value)
    if not url.startswith(_POSTGRESQL):
        sqlite_path(url)
    return url


@dataclass(frozen=True)
class Config:
    """All settings; make one with ``load_config``, which checks them.

    Args:
        data_dir: The folder of the store, unless ``url`` says otherwise.
        url: The store, with its password if it has one; None: ``kallista.db`` in ``data_dir``.
        logs_dir: The folder of the log files.
        log_level: The lowest level that is logged.
        max_concurrency: How many attempts one program runs at once.
        processes: How many of them may have a process of their own (``executor="process"``); by
            default as many as the machine has processors.
        queues: The queues whose tasks a program executes; others are left to other workers. How
            many of a queue at once may stand behind it: ``default,gpu=2``.
        lease: For how many seconds a worker may be silent before others take over its work; at
            least 1.
        ageing: For how many seconds a task has to wait to be served before those of a priority
            higher by one that have become due by then; 0: it never is.
        grace: For how many seconds attempts in flight may go on when a program closes.
        timezone: The IANA name by which naive datetimes are read; None: the machine's.
        tasks: Modules whose task types a worker loads.
        http_allow: Networks and addresses that the task type ``http`` may reach besides public
            ones, like ``10.1.0.0/16``; no definition can open one.
        retention: For how long runs are kept once they are over: one length for all (``"90d"``), or
            a table by kind (``workflow``, ``process``, ``task``), of lengths or of tables by
            status. Those of which nothing is said are kept for ever.
        max_steps: How many steps a definition may have.
        max_payload_bytes: How large a task's config, a run's inputs or a result may be.
        max_definition_bytes: How large a whole definition may be.
    """

    data_dir: str = _setting("data/workflows", _text)
    url: str = _setting("", _url, shown=False)
    logs_dir: str = _setting("logs", _text)
    log_level: str = _setting("INFO", _level)
    max_concurrency: int = _setting(100, _count)
    processes: int = _setting(os.cpu_count() or 1, _count)
    queues: tuple[str, ...] = _setting(("default",), _queues)
    lease: float = _setting(30.0, _lease)
    ageing: float = _setting(60.0, _seconds)
    grace: float = _setting(10.0, _seconds)
    timezone: str | None = _setting(None, _zone)
    tasks: tuple[str, ...] = _setting((), _names)
    http_allow: tuple[str, ...] = _setting((), _networks)
    retention: tuple[tuple[str, object], ...] = _setting((), _retention)
    max_steps: int = _setting(10_000, _count)
    max_payload_bytes: int = _setting(1024 * 1024, _count)
    max_definition_bytes: int = _setting(8 * 1024 * 1024, _count)

    def __post_init__(self) -> None:
        if not self.url:
            object.__setattr__(self, "url", _url_in(self.data_dir))

    @property
    def is_postgresql(self) -> bool:
        """Whether the store is a PostgreSQL database instead of a file."""
        return self.url.startswith(_POSTGRESQL)

    @cached_property
    def store_path(self) -> str:
        """The file of the store, relative to the working folder or absolute."""
        return sqlite_path(self.url)

    @property
    def shown_url(self) -> str:
        """The store, for people to read: without its password."""
        return without_password(self.url)

    def zone_name(self) -> str:
        """The IANA name by which naive datetimes are read."""
        return self.timezone or self._machine_zone

    @cached_property
    def _machine_zone(self) -> str:
        from zoneinfo import ZoneInfoNotFoundError

        from tzlocal import get_localzone, get_localzone_name

        for name_of in (get_localzone_name, lambda: str(get_localzone())):
            with suppress(ZoneInfoNotFoundError):
                name = name_of() or "UTC"
                if _is_machine_zone(name):
                    return name
        raise UsageError(
            "the machine's time zone has no name that others would understand (the variable TZ is"
            f" {os.environ.get('TZ')!r}); name it in the setting timezone, or in KALLISTA_TIMEZONE,"
            ' like "Europe/Berlin"'
        )


def load_config(
    config: Config | Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    **arguments: object,
) -> Config:
    """Merge what was set where.

    Args:
        config: Settings as a mapping of the fields of ``Config``, which win over the environment
            and the file; or a whole ``Config``, and neither is looked at.
        environ: The environment: ``KALLISTA_`` and a field's name in capitals, like
            ``KALLISTA_LOGS_DIR``; ``KALLISTA_STORE`` is the same as ``KALLISTA_URL``. None: the
            program's own.
        folder: Where the file is looked for; None: the working folder.
        arguments: Settings that win over all; None: not set.

    Returns:
        All settings, checked.

    Raises:
        UsageError: Keys that there are not, or values that do not fit; ``problems`` lists all.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    problems: list[str] = []
    if isinstance(config, Config):
        found = _read(given, "{}", problems)
        _raise(problems)
        if config.url == _url_in(config.data_dir):
            found.setdefault("url", "")
        return replace(config, **found)
    place = folder or Path()
    merged = {
        **_from_file(place, problems),
        **_from_environment(os.environ if environ is None else environ, problems),
        **_read(dict(config or {}), "config: {}", problems),
        **_read(given, "{}", problems),
    }
    _raise(problems)
    return Config(**merged)


def sqlite_path(url: str) -> str:
    """The file that a URL names.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite:///C:/file.db``.

    Raises:
        UsageError: It is no such URL; the message says how to write it.
    """
    path = url.removeprefix(_SQLITE)
    if path in ("", "/", ":memory:"):
        raise UsageError(
            f"{url!r} names no file; name one, or use kallista.testing to keep runs in memory"
        )
    if path == url:
        raise UsageError(_other_scheme(url))
    if "?" in path:
        raise UsageError(f"{url!r} has options behind the question mark; there are none")
    return path


def _is_machine_zone(name: str) -> bool:
    """Whether naive datetimes mean this zone; ``TZ=JST-9``, say, wins over the machine's files."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not os.environ.get("TZ"):
        return True
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    now = time.time()
    return all(
        datetime.fromtimestamp(moment, zone).utcoffset()
        == timedelta(seconds=time.localtime(moment).tm_gmtoff)
        for moment in (now, now + _HALF_A_YEAR)
    )


def without_password(url: str) -> str:
    """A URL that may be shown and logged."""
    # A password that holds a slash or a question mark, which is no URL, is hidden all the same.
    hidden = re.sub(
        r"(://[^/?#@:]*):(?:[^/?#]*@|(?!\d*(?:[,/?#]|$)).*@)", r"\1:***@", url, flags=re.DOTALL
    )
    return re.sub(r"([?&](?:ssl)?password=)[^&#]*", r"\1***", hidden)


def _url_in(data_dir: str) -> str:
    return f"{_SQLITE}{(Path(data_dir) / 'kallista.db').as_posix()}"


def _other_scheme(url: str) -> str:
    scheme, colon, _ = url.partition("://")
    if not colon and not scheme.startswith("postgres"):
        return f"{url!r} is no URL of a store; write {_SQLITE}{url}"
    if not colon:
        return f"{url!r} is no URL of a store; write postgresql://user@host/database"
    if scheme.startswith("postgres"):
        return f"{scheme}:// is no store that there is; write postgresql://user@host/database"
    return (
        f"{scheme}:// is no store that there is; write sqlite:///file.db (three slashes) or"
        " postgresql://user@host/database"
    )


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    field.name: field.metadata["read"] for field in fields(Config)
}
_OTHER_NAMES: Final = {"store": "url"}


def _from_file(folder: Path, problems: list[str]) -> dict[str, Any]:
    own, project = folder / FILE, folder / PROJECT
    if own.is_file():
        return _read(_toml(own, problems), f"{FILE}: {{}}", problems)
    # The word is looked for first: reading TOML takes longer than most programs start.
    if project.is_file() and b"tool.kallista" in project.read_bytes():
        table = _toml(project, problems).get("tool", {}).get("kallista", {})
        return _read(table, f"{PROJECT}, [tool.kallista]: {{}}", problems)
    return {}


def _toml(file: Path, problems: list[str]) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file.name} is no valid TOML: {error}")
        return {}


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    found = {
        key.removeprefix(ENVIRONMENT).lower(): value
        for key, value in environ.items()
        if key.startswith(ENVIRONMENT) and value
    }
    for key in [key for key in found if key not in _READERS and key not in _OTHER_NAMES]:
        del found[key]
        # Others may have variables of this prefix too; only what looks like a slip is refused.
        near = get_close_matches(key, _READERS, n=1, cutoff=0.8)
        if near:
            name = f"{ENVIRONMENT}{key.upper()}"
            meant = f"{ENVIRONMENT}{near[0].upper()}"
            problems.append(f"there is no variable {name}; did you mean {meant}?")
    return _read(found, f"{ENVIRONMENT}{{}}", problems, str.upper)


def _read(
    given: Mapping[str, object],
    source: str,
    problems: list[str],
    spelled: Callable[[str], str] = str,
) -> dict[str, Any]:
    """The settings of one source; ``source`` is what its problems begin with."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = _OTHER_NAMES.get(key, key)
        place = source.format(spelled(key))
        if name not in _READERS:
            problems.append(f"{place}: there is no such setting; {_near(key)}")
        elif name in found:
            problems.append(f"{place}: {name} is set twice; leave one of them out")
        else:
            found.update(_one(name, value, place, problems))
    return found


def _one(name: str, value: object, place: str, problems: list[str]) -> Iterator[tuple[str, object]]:
    if value is None:
        return
    try:
        yield name, _READERS[name](value)
    except UsageError as problem:
        problems.append(f"{place}: {problem}")


def _near(key: object) -> str:
    near = get_close_matches(str(key), _READERS, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_READERS)}"


def _raise(problems: list[str]) -> None:
    if len(problems) == 1:
        raise UsageError(f"a setting is wrong: {problems[0]}")
    if problems:
        raise UsageError("settings are wrong", problems)
