"""The bare journal: what one writer thread and group commit allow, with no engine on top.

asyncio, one writer thread, SQLite in WAL mode with ``synchronous=FULL``. A step awaits its handler
and then writes what no journal can do without: two rows of history (it began, it ended, when, with
which result), a row of its own, and an update of its run. It is awaited before the next one of its
run; whatever waits is committed together.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import apsw

from bench.adapter import BODIES, TASKS, System, serve
from bench.files import sqlite_bytes

SCHEMA = """
CREATE TABLE run (id INTEGER PRIMARY KEY, public TEXT UNIQUE, name TEXT, state TEXT,
                  version INTEGER, created INTEGER) STRICT;
CREATE TABLE step (run INTEGER, number INTEGER, state TEXT, began INTEGER, ended INTEGER,
                   result TEXT, PRIMARY KEY (run, number)) STRICT, WITHOUT ROWID;
CREATE TABLE history (run INTEGER, seq INTEGER, at INTEGER, kind TEXT, step INTEGER, body TEXT,
                      PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID;
"""
BORN = "INSERT INTO run VALUES (?, ?, 'chain', 'RUNNING', 0, ?)"
HISTORY = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)"
STEP = "INSERT INTO step VALUES (?, ?, 'COMPLETED', ?, ?, ?)"
RUN = "UPDATE run SET version = ?, state = ? WHERE id = ?"


class Write(NamedTuple):
    """What a step leaves behind."""

    run: int
    step: int
    began: int
    ended: int
    result: str
    last: bool


Waiting = tuple[Sequence[Write], "asyncio.Future[None]"]


async def noop() -> dict[str, bool]:
    return {"ok": True}


async def executed(run: int, step: int, last: bool) -> Write:
    """Execute a step."""
    began = time.time_ns()
    result = await noop()
    return Write(run, step, began, time.time_ns(), json.dumps(result), last)


class Journal(System):
    """Runs are numbers; a step is known by its run and its place."""

    async def open(self, *, worker: bool) -> None:
        self._inbox: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._connection = apsw.Connection(self.case.path("bench.db"))
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(SCHEMA)
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    async def close(self) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._writer.join)
        self._connection.close()

    def _write(self) -> None:
        open_ = True
        while open_:
            group = [self._inbox.get()]
            while not self._inbox.empty():
                group.append(self._inbox.get())
            open_ = None not in group
            waiting = [item for item in group if item is not None]
            self._commit([write for writes, _ in waiting for write in writes])
            self._loop.call_soon_threadsafe(_wake, [future for _, future in waiting])

    def _commit(self, writes: Sequence[Write]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for write in writes:
            run, step, began, ended, result, last = write
            if step == 0:
                execute(BORN, (run, str(uuid.uuid4()), began))
            execute(HISTORY, (run, step * 2, began, "task.started", step, None))
            execute(HISTORY, (run, step * 2 + 1, ended, "task.completed", step, result))
            execute(STEP, (run, step, began, ended, result))
            execute(RUN, (step + 1, "COMPLETED" if last else "RUNNING", run))
        execute("COMMIT")

    def _put(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put((writes, future))
        return future

    async def chain(self, number: int) -> None:
        run = self._next = self._next + 1
        for step in range(TASKS):
            await self._put([await executed(run, step, step == TASKS - 1)])

    async def submit(self, number: int) -> None:
        BODIES.began(number)
        await self._put([await executed(number + 1, 0, last=True)])

    async def submit_many(self, numbers: range) -> None:
        BODIES.begun += len(numbers)
        await self._put([await executed(number + 1, 0, last=True) for number in numbers])

    async def finished(self) -> int:
        return BODIES.begun

    async def stored_bytes(self) -> int:
        return sqlite_bytes(self.case.path("bench.db"))


def _wake(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


if __name__ == "__main__":
    serve(Journal)
