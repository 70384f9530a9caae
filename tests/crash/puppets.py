"""Real programs for tests to command, to listen to and to kill; and what they leave behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from kallista import Kallista
from kallista.core.snapshots import AnySnapshot, HistoryEvent

PROGRAM: Final = Path(__file__).parent / "programs" / "puppet.py"
PATIENCE: Final = 30
"""Seconds that a line is waited for before the test fails; nothing here takes that long."""

Line = Mapping[str, Any]


class Refused(Exception):
    """The program answered with an error of ours."""


class Puppet:
    """A program under a test's hand.

    Args:
        folder: Where it works.
        looker: It executes nothing.
        awaits: It opens the store only when told to.
        stop: At which moment it stands still, and at the how manyth of them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        looker: bool = False,
        awaits: bool = False,
        stop: tuple[str, int] | None = None,
    ) -> None:
        options = [*["--looker"] * looker, *["--await"] * awaits]
        if stop is not None:
            options += ["--stop", stop[0], str(stop[1])]
        self._complaints = (folder / "complaints.txt").open("ab")
        self._program = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), *options],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.heard: list[Line] = []

    def _read(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    # talking

    def hear(self) -> Line:
        """The next thing it tells; ``{"told": "end"}`` when there is nothing more."""
        try:
            line = self._lines.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError(f"it told nothing more after {self.heard[-5:]}") from None
        told: Line = json.loads(line) if line else {"told": "end"}
        self.heard.append(told)
        return told

    def until(self, *told: str, **fields: object) -> Line:
        """Listen until it tells one of these, with these fields."""
        while True:
            line = self.hear()
            if line["told"] in told and fields.items() <= line.items():
                return line
            assert line["told"] != "end", f"it ended without telling {told}: {self.heard[-5:]}"

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

    def kill(self) -> None:
        """End it without a chance to do anything more; what it had told is still heard."""
        self._program.kill()
        self._close()
        while self.hear()["told"] != "end":
            pass

    def end(self) -> None:
        """Let it close properly, which it must do without a word of complaint."""
        assert self._program.stdin is not None
        self._program.stdin.close()
        assert self._program.wait(PATIENCE) == 0
        self._close()

    def _close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.wait(PATIENCE)
        self._reader.join(PATIENCE)
        with suppress(OSError):  # what it was told last never reached it
            self._program.stdin.close()
        self._program.stdout.close()
        self._complaints.close()

    def clear_away(self) -> None:
        """Kill it if it is still there."""
        if not self._complaints.closed:
            self._program.kill()
            self._close()


class Stage:
    """A folder in which programs work, and its store.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._puppets: list[Puppet] = []

    def waiting(self, *, awaits: bool = True) -> Puppet:
        """A program that opens the store when it is told anything."""
        return self._added(Puppet(self.folder, awaits=awaits))

    def worker(self, stop: tuple[str, int] | None = None) -> Puppet:
        """A program that executes tasks; with ``stop`` it may not come to open the store."""
        puppet = self._added(Puppet(self.folder, stop=stop))
        return puppet.opened() if stop is None else puppet

    def looker(self) -> Puppet:
        """A program that commands and looks."""
        return self._added(Puppet(self.folder, looker=True)).opened()

    def _added(self, puppet: Puppet) -> Puppet:
        self._puppets.append(puppet)
        return puppet

    def clear(self) -> None:
        """End what still runs; nobody may have complained."""
        for puppet in self._puppets:
            puppet.clear_away()
        complaints = self.folder / "complaints.txt"
        text = complaints.read_text("utf-8") if complaints.exists() else ""
        assert text == "", text

    # what is there, seen by this program

    def seen(self, look: Callable[[Kallista], Any]) -> Any:
        """What a look at the store, by a program that executes nothing, brings."""

        async def looked() -> Any:
            async with self.app() as app:
                return await look(app)

        return asyncio.run(looked())

    def app(self) -> Kallista:
        """The door to this store, for a program that executes nothing."""
        config = {
            "url": f"sqlite:///{(self.folder / 'data/workflows/kallista.db').as_posix()}",
            "logs_dir": str(self.folder / "logs"),
        }
        return Kallista(config=config, worker=False)

    def books(self) -> Mapping[str, Book]:
        """All runs with their histories, by id."""
        return dict(sorted(self.seen(_books).items()))

    def marks(self) -> Sequence[tuple[str, str, int]]:
        """Key, run and attempt of every mark that was left, in order."""
        file = self.folder / "marks.txt"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        fields = [line.split() for line in lines]
        return [(key, run, int(attempt)) for key, run, attempt in fields]


@dataclass(frozen=True)
class Book:
    """A run and its history."""

    run: AnySnapshot
    history: Sequence[HistoryEvent]

    @property
    def completed(self) -> Counter[str]:
        """How often each task has completed."""
        return Counter(str(event.task_id) for event in self._of("task.completed"))

    @property
    def interrupted(self) -> Sequence[int]:
        """Which attempts were interrupted."""
        return [event.attempt for event in self._of("task.interrupted")]

    def _of(self, kind: str) -> Sequence[HistoryEvent]:
        return [event for event in self.history if event.kind == kind]

    def check(self) -> None:
        """Whether it is a whole history of a run that has come to a good end."""
        assert [event.seq for event in self.history] == list(range(len(self.history)))
        assert self.run.ok, self.run
        assert self.run.in_flight == 0
        assert set(self.completed.values()) <= {1}, "a completed task never runs again"
        open: dict[str | None, int] = {}
        last = Counter[str | None]()
        for event in self.history:
            if event.kind == "task.started":
                assert event.task_id not in open, "an attempt began before the last one was over"
                assert event.attempt > last[event.task_id], "each attempt has a higher number"
                open[event.task_id] = last[event.task_id] = event.attempt
            elif event.kind in ENDS_ATTEMPT and open.pop(event.task_id, None) is not None:
                assert event.attempt == last[event.task_id]
        assert not open


ENDS_ATTEMPT: Final = (
    "task.completed", "task.failed", "task.retrying", "task.interrupted", "task.cancelled",
    "task.waiting",
)  # fmt: skip


async def _books(app: Kallista) -> dict[str, Book]:
    workflows = await app.workflow_manager.list_workflows(limit=1000)
    processes = await app.orchestrator.list_processes(limit=1000)
    tasks = await app.scheduler.list_tasks(limit=1000)
    books: dict[str, Book] = {}
    for item in workflows.items:
        history = await app.workflow_manager.get_history(item.id)
        books[item.id] = Book(await app.workflow_manager.get_workflow(item.id), history)
    for item in processes.items:
        history = await app.orchestrator.get_history(item.id)
        books[item.id] = Book(await app.orchestrator.get_process(item.id), history)
    for item in tasks.items:
        history = await app.scheduler.get_history(item.id)
        books[item.id] = Book(await app.scheduler.get_task(item.id), history)
    return books
