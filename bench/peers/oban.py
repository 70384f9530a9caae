"""oban on PostgreSQL: what tasks return is not kept by default."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
from oban import Oban, job
from oban.schema import install_sql
from psycopg_pool import AsyncConnectionPool

from bench.adapter import BODIES, Case, System, serve

PIECE = 1_000
LIMIT = 100
FINISHED = "SELECT count(*) FROM oban_jobs WHERE state = 'completed'"


@job(queue="q")
async def counted(number: int) -> None:
    BODIES.began(number)


class ObanSystem(System):
    """One worker in this process of 100 tasks at a time."""

    worker_first = False

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._oban: Oban | None = None

    async def open(self, *, worker: bool) -> None:
        if self._oban is None:
            self._watcher = await psycopg.AsyncConnection.connect(self.case.url, autocommit=True)
            found = await self._watcher.execute("SELECT to_regclass('oban_jobs') IS NULL")
            if (await found.fetchone())[0]:
                await self._watcher.execute(install_sql())
            self._pool = AsyncConnectionPool(self.case.url, min_size=2, max_size=10, open=False)
            await self._pool.open()
            self._oban = Oban(pool=self._pool)
        if worker:
            self._oban = Oban(pool=self._pool, queues={"q": LIMIT}, name="worker")
            await self._oban.start()

    async def submit(self, number: int) -> None:
        await self._oban.enqueue(counted.new(number))

    async def submit_many(self, numbers: range) -> None:
        for begin in range(0, len(numbers), PIECE):
            piece = numbers[begin : begin + PIECE]
            await self._oban.enqueue_many([counted.new(number) for number in piece])

    async def submit_all_at(self, due: Sequence[float]) -> None:
        jobs = []
        for number, moment in enumerate(due):
            made = counted.new(number)
            made.scheduled_at = datetime.fromtimestamp(moment, UTC)
            made.state = "scheduled"
            jobs.append(made)
        for begin in range(0, len(jobs), PIECE):
            await self._oban.enqueue_many(jobs[begin : begin + PIECE])

    async def finished(self) -> int:
        return int((await (await self._watcher.execute(FINISHED)).fetchone())[0])

    async def close(self) -> None:
        if self.case.row == "W4":
            await self._oban.stop()
            await self._watcher.close()
            await self._pool.close()


if __name__ == "__main__":
    serve(ObanSystem)
