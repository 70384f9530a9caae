"""Makes one measurement: an empty store, the adapter started on it, watched, its answer read."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.adapter import SLOW, TASKS, Figures
from bench.environments import Environment, LeftOut
from bench.records import Record
from bench.rows import BY_NAME
from bench.servers import Servers, Temporal
from bench.systems import Amount, Entry, Needs

ROOT = Path(__file__).parent.parent
TOLD = 400
PLACES = re.compile(r"(/[\w.@+-]+){2,}")


class Failed(Exception):
    """A measurement came to nothing; the message says why."""


class Measurer:
    """Makes measurements, one after the other.

    Args:
        servers: What systems connect to.
        environments: The folder of the environments.
        scratch: Where stores are made; on the disk that is to be measured.
        log: Where the errors of adapters go.
    """

    def __init__(self, servers: Servers, environments: Path, scratch: Path, log: Path) -> None:
        self._servers = servers
        self._environments = environments
        self._scratch = scratch
        self._log = log
        self._made: dict[str, Environment] = {}

    def prepare(self, entry: Entry) -> None:
        """Make what the system needs.

        Raises:
            LeftOut: It is not to be had here.
        """
        if entry.environment is not None and entry.environment not in self._made:
            made = Environment(entry.environment, self._environments, entry.python)
            made.make()
            self._made[entry.environment] = made
        if entry.needs is Needs.POSTGRES:
            self._servers.postgres()
        if entry.needs is Needs.REDIS:
            self._servers.redis()

    def measure(self, entry: Entry, row: str, size: int, amount: Amount, turn: int) -> Record:
        """One measurement; a failing one is recorded as such."""
        load = os.getloadavg()[0]
        at = time.time()
        figures: Figures = {}
        error = ""
        try:
            with self._place(entry) as (folder, url):
                figures = self._figures(entry, row, size, amount, folder, url)
        except (Failed, LeftOut, subprocess.SubprocessError, OSError) as problem:
            error = PLACES.sub("...", str(problem))[-TOLD:]
        return Record(
            entry.name, row, size, turn, figures, error, at, time.time() - at, round(load, 2)
        )

    @contextmanager
    def _place(self, entry: Entry) -> Iterator[tuple[Path, str]]:
        """An empty folder, and the URL of an empty store."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        temporal: Temporal | None = None
        try:
            match entry.needs:
                case None:
                    yield folder, f"sqlite:///{folder / 'bench.db'}"
                case Needs.POSTGRES:
                    database = folder.name
                    url = self._servers.postgres().create(database)
                    try:
                        yield folder, url
                    finally:
                        self._servers.postgres().drop(database)
                case Needs.REDIS:
                    redis = self._servers.redis()
                    redis.empty()
                    yield folder, redis.url
                case Needs.TEMPORAL:
                    temporal = Temporal(folder, self._made[str(entry.environment)])
                    yield folder, temporal.url
        finally:
            if temporal is not None:
                temporal.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _figures(
        self, entry: Entry, row: str, size: int, amount: Amount, folder: Path, url: str
    ) -> Figures:
        case = {**amount.options, "size": size, "folder": str(folder), "url": url}
        run = _Runs(self._command(entry), folder, self._log, BY_NAME[row].limit, case)
        if row == "W4":
            return run.cold()
        if row == "W6":
            return run.killed()
        if row == "W8":
            return run.filled_and_drained()
        return run.answer(row)

    def _command(self, entry: Entry) -> Sequence[str]:
        python = (
            sys.executable
            if entry.environment is None
            else str(self._made[entry.environment].python)
        )
        return [python, "-m", f"bench.peers.{entry.module}"]


class _Runs:
    """The runs of one adapter on one store."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log: Path,
        limit: float,
        case: Mapping[str, object],
    ) -> None:
        self._command = command
        self._folder = folder
        self._answers = folder / "answers"
        self._log = log
        self._limit = limit
        self._case = case

    def answer(self, row: str, **more: object) -> Figures:
        """Run it, and read what it answers."""
        with self._started(row, **more) as process:
            try:
                process.wait(timeout=self._limit)
            except subprocess.TimeoutExpired:
                raise Failed(f"not done after {self._limit:.0f} s") from None
        said = self._answers.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in said.splitlines() if line.startswith("{")]
        if not lines:
            raise Failed(self._why(process.returncode))
        return dict(json.loads(lines[-1]))

    def cold(self) -> Figures:
        """W4: the whole process is timed, the second one on a store, when all is compiled."""
        self.answer("W4", size=1)
        began = time.perf_counter()
        figures = self.answer("W4", size=2)
        return {**figures, "wall": time.perf_counter() - began}

    def killed(self) -> Figures:
        """W6: killed when half of the bodies have begun, and started again."""
        marks = self._folder / "marks"
        size = int(str(self._case["size"]))
        until = time.monotonic() + self._limit
        with self._started("W6") as process:
            while len(_marks(marks)) < size * TASKS // 2:
                if process.poll() is not None:
                    raise Failed(f"ended before it was killed: {self._why(process.returncode)}")
                if time.monotonic() > until:
                    raise Failed("its tasks do not run")
                time.sleep(0.005)
            process.kill()
            process.wait()
        before = _marks(marks)
        restarted = time.time()
        figures = self.answer("W6 again")
        return _recovery(before, _marks(marks), size, figures["completed_at"] - restarted)

    def filled_and_drained(self) -> Figures:
        """W8: tasks are handed in by one process and executed by the next one."""
        filled = self.answer("W8")
        drained = self.answer("W8 drain", spawned=time.time())
        wall = filled["fill_wall"] + drained["drain_wall"]
        return {
            **filled,
            **drained,
            "wall": wall,
            "tasks_s": int(str(self._case["size"])) / wall,
            "peak_mib": max(filled["peak_mib"], drained["peak_mib"]),
        }

    @contextmanager
    def _started(self, row: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
        case = json.dumps({**self._case, **more, "row": row, "watched": True})
        # Into a file: a server that an adapter has started would hold a pipe open after its end.
        with self._log.open("ab") as log, self._answers.open("wb") as answers:
            log.write(f"\n=== {' '.join(self._command[1:])} {row}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [*self._command, case],
                cwd=self._folder,
                env=_environment(str(self._case["url"])),
                stdin=subprocess.PIPE,
                stdout=answers,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                _end_group(process)

    def _why(self, status: int) -> str:
        written = self._log.read_text(encoding="utf-8", errors="replace").rsplit("\n===", 1)[-1]
        lines = [line for line in written.splitlines() if line.strip()]
        return lines[-1] if len(lines) > 1 else f"ended with status {status}"


def _environment(url: str) -> dict[str, str]:
    """What a measured process finds: compiled modules are kept, as they are for users."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "BENCH_REDIS": url}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and the workers that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _marks(file: Path) -> Sequence[tuple[int, int]]:
    """Which bodies have begun, in order: number of the workflow and of its step."""
    if not file.exists():
        return []
    text = file.read_text(encoding="ascii")
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [(int(number), int(step)) for number, step in (line.split() for line in lines)]


def _recovery(
    before: Sequence[tuple[int, int]],
    after: Sequence[tuple[int, int]],
    size: int,
    recovered: float,
) -> Figures:
    """What the marks tell of a restart."""
    counts = Counter(after)
    twice = [body for body, count in counts.items() if count > 1]
    reached = dict.fromkeys(range(size), -1)
    for number, step in before:
        reached[number] = max(reached[number], step)
    return {
        "recovered_s": recovered,
        "twice": float(sum(counts[body] - 1 for body in twice)),
        "twice_not_in_flight": float(sum(step < reached[number] for number, step in twice)),
        "needed_s": max(TASKS - max(step, 0) for step in reached.values()) * SLOW,
        "never": float(size * TASKS - len(counts)),
        "killed_at": float(len(before)),
    }
