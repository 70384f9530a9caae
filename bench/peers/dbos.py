"""dbos, on SQLite or PostgreSQL: workflows of steps started directly, tasks through a queue."""

from __future__ import annotations

import asyncio
import time

from dbos import DBOS, SetEnqueueOptions

from bench.adapter import BODIES, SLOW, TASKS, Case, System, mark, serve, spread, until
from bench.files import sqlite_bytes

SUBMITTERS = 32


@DBOS.step()
async def noop() -> dict[str, bool]:
    return {"ok": True}


@DBOS.workflow()
async def chain(number: int) -> dict[str, bool]:
    for _ in range(TASKS):
        result = await noop()
    return result


@DBOS.workflow()
async def single(number: int) -> dict[str, bool]:
    return await noop()


@DBOS.workflow()
async def counted(number: int) -> dict[str, int]:
    BODIES.began(number)
    return {"ok": number}


@DBOS.step()
async def slow(path: str, number: int, step: int) -> dict[str, int]:
    mark(path, number, step)
    await asyncio.sleep(SLOW)
    return {"ok": step}


@DBOS.workflow()
async def slow_chain(path: str, number: int) -> dict[str, int]:
    for step in range(TASKS):
        await slow(path, number, step)
    return {"ok": number}


class Dbos(System):
    """Its defaults; a queued task is a workflow without steps, the least there is."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._sqlite = case.url.startswith("sqlite")

    async def open(self, *, worker: bool) -> None:
        DBOS(
            config={
                "name": "bench",
                "log_level": "ERROR",
                "application_version": "1",
                "executor_id": "local",
                "system_database_url": self.case.url,
            }
        )
        if not worker:
            DBOS.listen_queues([])
        DBOS.launch()
        if self.case.row in ("W2", "W3", "W7", "W8", "W8 drain"):
            await DBOS.register_queue_async("q")
            await asyncio.sleep(1 if self.case.row == "W3" else 0)

    async def close(self) -> None:
        DBOS.destroy()

    async def chain(self, number: int) -> None:
        handle = await DBOS.start_workflow_async(chain, number)
        await handle.get_result()

    async def one(self) -> None:
        handle = await DBOS.start_workflow_async(single, 0)
        await handle.get_result()

    async def slow_chains(self, count: int) -> None:
        async def begin(number: int) -> None:
            handle = await DBOS.start_workflow_async(slow_chain, self.case.marks, number)
            await handle.get_result()

        await asyncio.gather(*(begin(number) for number in range(count)))

    async def slow_chains_left(self, count: int) -> None:
        async def finished() -> bool:
            return await self.finished() >= count

        await until(finished, 0.02)

    async def submit(self, number: int) -> None:
        await DBOS.enqueue_workflow_async("q", counted, number)

    async def submit_all_at(self, due: list[float]) -> None:
        async def submit(number: int) -> None:
            with SetEnqueueOptions(delay_seconds=max(0.0, due[number] - time.time())):
                await DBOS.enqueue_workflow_async("q", counted, number)

        await spread(range(len(due)), SUBMITTERS, submit)

    async def finished(self) -> int:
        return await asyncio.to_thread(self._count)

    def _count(self) -> int:
        if self._sqlite:
            import sqlite3

            connection = sqlite3.connect(self.case.path("bench.db"), timeout=30)
            question = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
            found = connection.execute(question).fetchone()
            connection.close()
            return int(found[0])
        import psycopg

        with psycopg.connect(self.case.url) as postgres:
            question = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
            row = postgres.execute(question).fetchone()
            return 0 if row is None else int(row[0])

    async def stored_bytes(self) -> int:
        if self._sqlite:
            return sqlite_bytes(self.case.path("bench.db"))
        from bench.postgres import database_bytes

        return database_bytes(self.case.url)


if __name__ == "__main__":
    serve(Dbos)
