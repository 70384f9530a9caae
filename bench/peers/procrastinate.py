"""procrastinate on PostgreSQL: what tasks return is not kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import procrastinate
import psycopg

from bench.adapter import BODIES, Case, System, serve

PIECE = 1_000
FINISHED = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"


class Procrastinate(System):
    """For many tasks two worker processes of 50 tasks at a time; else one in this process."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._many = case.row in ("W2", "W2 bulk", "W8 drain")
        self.in_process = not self._many
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=case.url, min_size=4, max_size=20)
        )

        @self._app.task(name="counted")
        async def counted(number: int) -> dict[str, int]:
            BODIES.began(number)
            return {"ok": number}

        self._task = counted

    async def open(self, *, worker: bool) -> None:
        await self._app.open_async()
        self._watcher = await psycopg.AsyncConnection.connect(self.case.url, autocommit=True)
        found = await self._watcher.execute("SELECT to_regclass('procrastinate_jobs') IS NULL")
        if (await found.fetchone())[0]:
            await self._app.schema_manager.apply_schema_async()
        if worker and self._many:
            self.start_workers(2)
        elif worker:
            self._working = asyncio.create_task(self._run())
            await asyncio.sleep(0)

    async def _run(self) -> None:
        await self._app.run_worker_async(concurrency=50, install_signal_handlers=False)

    async def work(self) -> None:
        await self._app.open_async()
        self.ready()
        await self._run()

    async def submit(self, number: int) -> None:
        await self._task.defer_async(number=number)

    async def submit_many(self, numbers: range) -> None:
        for begin in range(0, len(numbers), PIECE):
            piece = numbers[begin : begin + PIECE]
            await self._task.batch_defer_async(*({"number": number} for number in piece))

    async def submit_at(self, number: int, moment: float) -> None:
        due = datetime.fromtimestamp(moment, UTC)
        await self._task.configure(schedule_at=due).defer_async(number=number)

    async def finished(self) -> int:
        return int((await (await self._watcher.execute(FINISHED)).fetchone())[0])


if __name__ == "__main__":
    serve(Procrastinate)
