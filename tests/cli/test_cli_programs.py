"""Programs of their own: signals and kills that come from outside, pipes that close."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import HELLO, Typed, Typist, program, read_until, written

from kallista.cli.main import app
from kallista.cli.session import guarded
from kallista.engine.embedded import EmbeddedEngine

IN_FLIGHT = f"""\
kind: workflow
id: work
name: Work
tasks:
  - {{id: before, type: python, function: "builtins:len", args: [[1]]}}
  - id: waits
    type: shell
    command: ['{sys.executable}', waits.py]
  - {{id: after, type: python, function: "builtins:len", args: [[1]]}}
"""
WAITS = """\
import contextlib, socket
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", {port})).recv(1)
"""
IMPATIENT = {"KALLISTA_GRACE": "0"}


signals = pytest.mark.skipif(sys.platform == "win32", reason="programs get no signals there")


class Gate:
    """Where a task waits until it is opened."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._arrived: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]

    def somebody_waits(self) -> None:
        """Wait until a task has come."""
        self._arrived.append(self._server.accept()[0])

    def open(self) -> None:
        """Let it through, and all that come later."""
        for one in (self._server, *self._arrived):
            one.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Closed at first."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def file(folder: Path, gate: Gate) -> str:
    """A workflow whose second task waits at the gate."""
    (folder / "waits.py").write_text(WAITS.format(port=gate.port), encoding="utf-8")
    return written(folder, IN_FLIGHT, "work.yaml")


@contextlib.contextmanager
def started(folder: Path, *words: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has printed a word; it is not left behind."""
    with program(folder, *words, env=IMPATIENT) as running:
        try:
            read_until(running, until)
            yield running
        finally:
            running.kill()


def ended(running: subprocess.Popen[str]) -> Typed:
    """What a program says until it ends."""
    out, err = running.communicate(timeout=20)
    return Typed(running.returncode, out, err)


def goes_on(file: str, typed: Typist) -> list[str]:
    """Let the same command finish the run; returns the kinds of its events."""
    again = typed("run", file)
    assert again.code == 0
    assert "work goes on: 1 task was done before" in again.out
    history = typed("workflow", "history", "work", "-o", "json").answer
    completed = [event["task_id"] for event in history if event["kind"] == "task.completed"]
    assert completed == ["before", "waits", "after"]
    return [event["kind"] for event in history]


@signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_run_is_left_in_good_order(
    number: signal.Signals, folder: Path, file: str, gate: Gate, typed: Typist
) -> None:
    """Nobody can be asked: it leaves at once, hands its attempt back, and the same command goes on.

    The attempt that was handed back is started by the next program without waiting for anything.
    """
    with started(folder, "run", file, until="RUNNING    waits") as running:
        running.send_signal(number)
        left = ended(running)
    assert left.code == 130
    assert "work is kept: the same command goes on with it" in " ".join(left.err.split())
    assert "Traceback" not in left.err
    gate.open()
    assert "task.interrupted" in goes_on(file, typed)


def test_a_killed_run_goes_on(folder: Path, file: str, gate: Gate, typed: Typist) -> None:
    """No good-bye at all: the same command takes over at once, and nothing runs twice."""
    with started(folder, "run", file, until="RUNNING    waits") as running:
        running.kill()
        ended(running)
    gate.open()
    assert "task.interrupted" in goes_on(file, typed)


@signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_worker_stops_in_good_order(
    number: signal.Signals, folder: Path, file: str, gate: Gate, typed: Typist
) -> None:
    """Exit code 0; what was in flight goes on with whoever comes next."""
    typed("run", file, "--detach")
    with started(folder, "worker", until="task types:") as running:
        gate.somebody_waits()
        running.send_signal(number)
        stopped = ended(running)
    assert stopped.code == 0
    assert stopped.out.endswith("stopped\n")
    assert not stopped.err
    gate.open()
    assert typed("run", file).code == 0


@signals
def test_a_worker_that_begins_is_stopped_in_good_order_too(
    typed: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal while it opens its store: exit code 0, and it is no worker any more."""
    start = EmbeddedEngine._start_working

    async def interrupted(engine: EmbeddedEngine) -> None:
        signal.raise_signal(signal.SIGTERM)
        await start(engine)

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedEngine, "_start_working", interrupted)
        stopped = typed("worker")
    assert (stopped.code, stopped.out, stopped.err) == (0, "stopped\n", "")
    assert typed("doctor", "-o", "json").answer["workers"] == []


def test_a_worker_executes_what_others_submit(folder: Path, typed: Typist) -> None:
    """A run that is submitted while a worker is alive is done by it; its answer is one document."""
    typed("run", written(folder, HELLO), "--detach", "--id", "first")
    with started(folder, "worker", "-o", "json", until="}"):
        submitted = typed("run", "hello.yaml", "--detach", "--id", "second", "-o", "json").answer
        assert submitted["worker_alive"] is True
        assert typed("run", "hello.yaml", "--id", "second").code == 0
        (worker,) = typed("doctor", "-o", "json").answer["workers"]
        assert worker["alive"] is True
    assert typed("run", "hello.yaml", "--id", "first").code == 0


def test_a_reader_that_has_seen_enough_ends_no_run(
    folder: Path, file: str, gate: Gate, typed: Typist
) -> None:
    """``kallista run … | head -1``: the run completes, in silence."""
    with program(folder, "run", file) as running:
        read_until(running, "starts")
        gate.somebody_waits()
        assert running.stdout is not None
        running.stdout.close()
        gate.open()
        assert running.wait(timeout=20) == 0
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert typed("workflow", "show", "work", "-o", "json").answer["status"] == "COMPLETED"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_odd_terminal_gets_what_it_can_show(encoding: str, folder: Path, typed: Typist) -> None:
    """What a terminal has no character for is replaced; JSON is escaped and loses nothing."""
    name = "Łódź ✓"
    typed("run", written(folder, HELLO), "--set", f"name={name}")
    env = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding, "TERM": "dumb", "NO_COLOR": "1"}
    with program(folder, "workflow", "show", "hello", env=env) as running:
        shown = ended(running)
    assert (shown.code, shown.err) == (0, "")
    assert "greeting" in shown.out
    with program(folder, "workflow", "show", "hello", "-o", "json", env=env) as running:
        assert json.loads(ended(running).out)["inputs"]["name"] == name


def test_a_program_without_streams_is_served(
    folder: Path, typed: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service or a window may start it: nothing is printed, nothing can be confirmed."""
    assert typed("run", written(folder, HELLO)).code == 0
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert guarded(app, ("workflow", "list")) == 0
    assert guarded(app, ("workflow", "delete", "nobody")) == 2
    assert guarded(app, ("workflow", "cancel", "--status", "COMPLETED")) == 2
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_an_answer_that_finds_no_room_is_an_error_that_says_so(
    folder: Path, typed: Typist, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk that the output goes to is full: nothing is wrong with the program."""
    assert typed("run", written(folder, HELLO)).code == 0
    with (folder / "answer").open("w", encoding="utf-8") as answer:
        monkeypatch.setattr(answer, "write", _full)
        monkeypatch.setattr(sys, "stdout", answer)
        assert guarded(app, ("workflow", "list")) == 1
    told = capsys.readouterr().err
    assert "not all of the answer could be written" in told
    assert "No space left on device" in told
    assert "should not have happened" not in told


def _full(text: str) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
