"""Reads the URL of a database, and names it without its password."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from kallista.errors import StoreError

SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")

_OPTIONS: Final = frozenset(option.keyword.decode() for option in Conninfo.get_defaults())

_OPTIONS_TOLD: Final = (
    "write postgresql://user:password@host/database?sslmode=require, and a question mark in the"
    " password as %3F"
)

_UNLESS_SAID: Final = {
    "application_name": "kallista",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
    "client_encoding": "UTF8",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is.

    Args:
        conninfo: What libpq connects by, with the password.
        place: What people read: hosts, ports and database.
    """

    conninfo: str
    place: str


def read_url(url: str) -> Address:
    """Where a URL points to.

    Args:
        url: As SQLAlchemy or libpq writes it; several hosts are tried in their order, and the one
            that can be written to is taken.

    Raises:
        StoreError: It is no URL of a PostgreSQL database.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        raise StoreError("no URL of a PostgreSQL database; write postgresql://user@host/database")
    unknown: set[str] = set()
    try:
        unknown = {name for name, _ in parse_qsl(urlsplit(url).query)} - _OPTIONS
        given = conninfo_to_dict(f"postgresql://{_with_one_host_value(rest)}")
        # A slash in a password makes the rest of it the name of the database, which is shown.
        for port in filter(None, str(given.get("port", "")).split(",")):
            int(port)
    except (ProgrammingError, ValueError):
        # Without libpq's own words, which may quote the URL and with it the password.
        if unknown:
            near = get_close_matches(min(unknown), _OPTIONS, n=1)
            advice = f"did you mean {near[0]!r}?" if near else _OPTIONS_TOLD
            raise StoreError(
                f"PostgreSQL does not know an option in the URL, behind the question mark; {advice}"
            ) from None
        raise StoreError(
            "the URL of the PostgreSQL database cannot be read; write"
            " postgresql://user:password@host:5432/database, with special characters as %40 and"
            " the like"
        ) from None
    settings = {**_UNLESS_SAID, **{name: str(value) for name, value in given.items()}}
    return Address(make_conninfo(**settings), _place(settings))


def _with_one_host_value(rest: str) -> str:
    """SQLAlchemy repeats ``host=a:1&host=b:2`` where libpq wants lists of hosts and of ports."""
    parts = urlsplit(f"//{rest}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    hosts = [value for name, value in query if name == "host"]
    if len(hosts) < 2:
        return rest
    names = [host.rpartition(":")[0] or host for host in hosts]
    ports = [host.rpartition(":")[2] if ":" in host else "5432" for host in hosts]
    others = [(name, value) for name, value in query if name not in ("host", "port")]
    merged = urlencode([("host", ",".join(names)), ("port", ",".join(ports)), *others])
    return urlunsplit(parts._replace(query=merged)).removeprefix("//")


def _place(settings: dict[str, str]) -> str:
    hosts = settings.get("host", "localhost").split(",")
    ports = settings.get("port", "5432").split(",")
    if len(ports) < len(hosts):
        ports = ports * len(hosts)
    places = ",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return f"{places}/{settings.get('dbname', '')}"
