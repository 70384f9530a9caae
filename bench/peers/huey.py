"""huey on SQLite, by its defaults: WAL, and SQLite's own synchronous=FULL."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import datetime

from huey import SqliteHuey

from bench.adapter import BODIES, Case, System, serve


class Huey(System):
    """One worker thread, which is the fastest here; the consumer runs in this process."""

    worker_first = False

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        logging.getLogger("huey").setLevel(logging.ERROR)
        self._file = case.path("bench.db")
        self._huey = SqliteHuey("bench", filename=self._file)
        self._connection: sqlite3.Connection | None = None

        @self._huey.task()
        def counted(number: int) -> dict[str, int]:
            BODIES.began(number)
            return {"ok": number}

        self._task = counted

    async def open(self, *, worker: bool) -> None:
        if worker:
            self._consumer = self._huey.create_consumer(
                workers=1, worker_type="thread", periodic=False
            )
            self._consumer.start()

    async def submit(self, number: int) -> None:
        self._task(number)

    async def submit_at(self, number: int, moment: float) -> None:
        self._task.schedule((number,), eta=datetime.fromtimestamp(moment))

    async def one(self) -> None:
        await asyncio.to_thread(self._task(0), blocking=True)

    async def finished(self) -> int:
        if self._connection is None:
            self._connection = sqlite3.connect(self._file)
        return int(self._connection.execute("SELECT count(*) FROM kv").fetchone()[0])

    async def close(self) -> None:
        if self.case.row == "W4":
            self._consumer.stop(graceful=True)


if __name__ == "__main__":
    serve(Huey)
