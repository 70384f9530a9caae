"""pgqueuer through asyncpg, durability "durable": what tasks return is not kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.queries import Queries

from bench.adapter import BODIES, Case, System, serve, until

BATCH = 100
PIECE = 1_000


class Pgqueuer(System):
    """One worker in this process that takes 100 tasks at a time, its fastest way here."""

    worker_first = False

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._queries: Queries | None = None

    async def open(self, *, worker: bool) -> None:
        if self._queries is None:
            await self._connect()
        if worker:
            self._begin_work()

    async def _connect(self) -> None:
        self._watcher = await asyncpg.connect(self.case.url)
        self._pool = await asyncpg.create_pool(self.case.url, min_size=2, max_size=10)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))
        if await self._watcher.fetchval("SELECT to_regclass('pgqueuer') IS NULL"):
            await Queries(AsyncpgDriver(self._watcher)).install()

    def _begin_work(self) -> None:
        worker = self._worker = PgQueuer(AsyncpgPoolDriver(self._pool))

        @worker.entrypoint("counted")
        async def counted(job: object) -> None:
            BODIES.began(int(job.payload))

        self._working = asyncio.create_task(worker.run(batch_size=BATCH))

    async def submit(self, number: int) -> None:
        await self._queries.enqueue("counted", str(number).encode())

    async def submit_many(self, numbers: range) -> None:
        for begin in range(0, len(numbers), PIECE):
            piece = numbers[begin : begin + PIECE]
            payloads = [str(number).encode() for number in piece]
            await self._queries.enqueue(["counted"] * len(piece), payloads, [0] * len(piece))

    async def submit_all_at(self, due: Sequence[float]) -> None:
        for begin in range(0, len(due), PIECE):
            piece = range(begin, min(begin + PIECE, len(due)))
            now = time.time()
            await self._queries.enqueue(
                ["counted"] * len(piece),
                [str(number).encode() for number in piece],
                [0] * len(piece),
                [timedelta(seconds=due[number] - now) for number in piece],
            )

    async def finish(self, count: int) -> None:
        async def empty() -> bool:
            return not await self._watcher.fetchval("SELECT count(*) FROM pgqueuer")

        await until(empty, 0.02)

    async def close(self) -> None:
        if self.case.row == "W4":
            self._worker.shutdown.set()
            await self._working


if __name__ == "__main__":
    serve(Pgqueuer)
