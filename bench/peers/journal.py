"""The bare journal: what one writer thread and group commit allow, with no engine on top.

asyncio, one writer thread, SQLite in WAL mode with ``synchronous=FULL``. Each step inserts two rows
of history and one row of its own and updates its run, and is awaited before the next one of its
run; whatever waits is committed together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence

import apsw

from bench.adapter import BODIES, TASKS, System, serve
from bench.files import sqlite_bytes

Write = tuple[int, int]
Waiting = tuple[Sequence[Write], "asyncio.Future[None]"]

RESULT = '{"ok":true}'
SCHEMA = """
CREATE TABLE run (id INTEGER PRIMARY KEY, state TEXT, version INTEGER) STRICT;
CREATE TABLE step (run INTEGER, number INTEGER, state TEXT, result TEXT,
                   PRIMARY KEY (run, number)) STRICT, WITHOUT ROWID;
CREATE TABLE history (run INTEGER, seq INTEGER, kind INTEGER, at INTEGER, body TEXT,
                      PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID;
"""
BORN = "INSERT INTO run VALUES (?, 'RUNNING', 0)"
HISTORY = "INSERT INTO history VALUES (?, ?, ?, 1700000000000000, ?)"
STEP = "INSERT INTO step VALUES (?, ?, 'COMPLETED', ?)"
RUN = "UPDATE run SET version = version + 1 WHERE id = ?"


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
        for run, step in writes:
            if step == 0:
                execute(BORN, (run,))
            execute(HISTORY, (run, step * 2, 0, None))
            execute(HISTORY, (run, step * 2 + 1, 1, RESULT))
            execute(STEP, (run, step, RESULT))
            execute(RUN, (run,))
        execute("COMMIT")

    def _put(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put((writes, future))
        return future

    async def chain(self, number: int) -> None:
        run = self._next = self._next + 1
        for step in range(TASKS):
            await self._put([(run, step)])

    async def submit(self, number: int) -> None:
        BODIES.began(number)
        await self._put([(number + 1, 0)])

    async def submit_many(self, numbers: range) -> None:
        BODIES.begun += len(numbers)
        await self._put([(number + 1, 0) for number in numbers])

    async def finished(self) -> int:
        return BODIES.begun

    async def stored_bytes(self) -> int:
        return sqlite_bytes(self.case.path("bench.db"))


def _wake(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


if __name__ == "__main__":
    serve(Journal)
