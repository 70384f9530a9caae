"""Real programs for tests to command, to listen to and to kill; and what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from evidence import Book, Evidence, Mark, books

from kallista import Kallista

PROGRAM: Final = Path(__file__).parent / "programs" / "puppet.py"
PATIENCE: Final = 30
"""Seconds that a line is waited for before the test fails; nothing here takes that long."""

Line = Mapping[str, Any]


class Refused(Exception):
    """The program answered with an error of ours."""


class Puppet:
    """A program under a test's hand.

    Args:
        stage: Where it works.
        command: What is started, by default the program that does as it is told.
        options: What follows it.
    """

    def __init__(
        self, stage: Stage, options: Sequence[str] = (), command: Sequence[str] | None = None
    ) -> None:
        self.stage = stage
        self._complaints = (stage.folder / "complaints.txt").open("ab")
        program = command or [sys.executable, "-W", "error", str(PROGRAM)]
        self._program = subprocess.Popen(
            [*program, *options],
            cwd=stage.folder,
            env={**os.environ, **stage.settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._lines: SimpleQueue[Line] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.heard: list[Line] = []

    def _read(self) -> None:
        assert self._program.stdout is not None
        for text in self._program.stdout:
            line = _line(text)
            self._lines.put(line)
            if line["told"] == "marked":
                self.stage.marked.put(line)
        self._lines.put({"told": "end"})

    # talking

    def hear(self) -> Line:
        """The next thing it tells; ``{"told": "end"}`` when there is nothing more."""
        try:
            line = self._lines.get(timeout=self.stage.patience)
        except Empty:
            raise AssertionError(f"it told nothing more after {self._last_words()}") from None
        self.heard.append(line)
        return line

    def until(self, *told: str, **fields: object) -> Line:
        """Listen until it tells one of these, with these fields."""
        while True:
            line = self.hear()
            if line["told"] in told and fields.items() <= line.items():
                return line
            story = f"it ended without telling {told}: {self._last_words()}"
            assert line["told"] != "end", story

    def _last_words(self) -> str:
        return "; ".join(str(line)[:200] for line in self.heard[-5:])

    def told(self, what: str) -> list[Line]:
        """Everything of a kind that it has told so far."""
        return [line for line in self.heard if line["told"] == what]

    def opened(self) -> Puppet:
        """Itself, once it has opened the store."""
        self.until("open")
        return self

    def tell(self, name: str, /, **arguments: object) -> None:
        """Tell it to do something, and don't wait for the answer."""
        assert self._program.stdin is not None
        self._program.stdin.write((json.dumps([name, arguments]) + "\n").encode())
        self._program.stdin.flush()

    def ask(self, name: str, /, **arguments: object) -> Any:
        """Let it do something.

        Args:
            name: ``workflow_manager.create_workflow`` and the like, or one of its own commands.
            arguments: By keyword.

        Returns:
            What came back, as plain data.

        Raises:
            Refused: It raised an error of ours.
        """
        self.tell(name, **arguments)
        return self.answer()

    def answer(self) -> Any:
        """The answer to what it was told last."""
        line = self.until("answer", "refused")
        if line["told"] == "refused":
            raise Refused(f"{line['type']}: {line['message']}")
        return line["value"]

    # ending

    def freeze(self) -> None:
        """Let it stand still, all of it, until it is thawed."""
        self._program.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, if it still can."""
        self._program.send_signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._program.send_signal(number)

    def ended(self) -> int:
        """Its exit code, once it has ended by itself and all that it told is heard."""
        code = self._program.wait(self.stage.patience)
        self._close()
        self._hear_out()
        return code

    def kill(self) -> None:
        """End it without a chance to do anything more; what it had told is still heard."""
        self._program.kill()
        self._close()
        self._hear_out()

    def _hear_out(self) -> None:
        while not self.heard or self.heard[-1]["told"] != "end":
            self.hear()

    def end(self) -> None:
        """Let it close properly, which it must do without a word of complaint."""
        assert self._program.stdin is not None
        self._program.stdin.close()
        assert self.ended() == 0

    def _close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.wait(self.stage.patience)
        self._reader.join(self.stage.patience)
        with suppress(OSError):  # what it was told last never reached it
            self._program.stdin.close()
        self._program.stdout.close()
        self._complaints.close()

    def clear_away(self) -> None:
        """Kill it if it is still there."""
        if not self._complaints.closed:
            self._program.kill()
            self._close()


def _line(text: bytes) -> Line:
    """What a program told; what is no JSON is told by one that speaks to people."""
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if isinstance(line, dict) and "told" in line:
        return line
    return {"told": "text", "text": text.decode(errors="replace").rstrip()}


class Stage:
    """A folder in which programs work, and their store.

    Args:
        folder: The folder.
        url: The store; by default a file in the folder.
        settings: Settings of Kallista for all programs, by their names in the environment.
        patience: Seconds that a line is waited for.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        settings: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{(folder / 'data/workflows/kallista.db').as_posix()}"
        self.settings = {"KALLISTA_STORE": self.url, **(settings or {})}
        self.patience = patience
        self.marked: SimpleQueue[Line] = SimpleQueue()
        self._puppets: list[Puppet] = []

    # programs

    def waiting(self) -> Puppet:
        """A program that opens the store when it is told anything."""
        return self.program("--await")

    def worker(self, stop: tuple[str, int] | None = None) -> Puppet:
        """A program that executes tasks; with ``stop`` it may not come to open the store."""
        if stop is None:
            return self.program().opened()
        return self.program("--stop", stop[0], str(stop[1]))

    def workers(self, count: int) -> list[Puppet]:
        """So many programs that execute tasks, started at once."""
        started = [self.program() for _ in range(count)]
        return [puppet.opened() for puppet in started]

    def looker(self) -> Puppet:
        """A program that commands and looks."""
        return self.program("--looker").opened()

    def program(self, *options: str, command: Sequence[str] | None = None) -> Puppet:
        """Any program; see ``Puppet``."""
        puppet = Puppet(self, options, command)
        self._puppets.append(puppet)
        return puppet

    def hear_marks(self, number: int) -> None:
        """Listen until so many more tasks, of whichever programs, have had their effect."""
        for _ in range(number):
            self.marked.get(timeout=self.patience)

    def forget_marks(self) -> None:
        """Listen from now on."""
        with suppress(Empty):
            while True:
                self.marked.get_nowait()

    def clear(self) -> None:
        """End what still runs; nobody may have complained."""
        for puppet in self._puppets:
            puppet.clear_away()
        assert self.complaints == "", self.complaints

    @property
    def complaints(self) -> str:
        """What programs have printed as errors."""
        file = self.folder / "complaints.txt"
        return file.read_text("utf-8") if file.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    # what is there, seen by this program

    def seen(self, look: Callable[[Kallista], Any]) -> Any:
        """What a look at the store, by a program that executes nothing, brings."""

        async def looked() -> Any:
            async with self.app() as app:
                return await look(app)

        return asyncio.run(looked())

    def app(self) -> Kallista:
        """The door to this store, for a program that executes nothing."""
        config = {"url": self.url, "logs_dir": str(self.folder / "logs")}
        return Kallista(config=config, worker=False)

    def books(self) -> Mapping[str, Book]:
        """All runs with their histories, by id."""
        return dict(sorted(self.seen(books).items()))

    def marks(self) -> Sequence[Mark]:
        """Every mark that was left, in order."""
        file = self.folder / "marks.txt"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [Mark.read(line) for line in lines]

    def evidence(self) -> Evidence:
        """All that was left."""
        return Evidence(self.books(), self.marks())
