"""absurd on PostgreSQL, its schema from its own tool."""

from __future__ import annotations

import asyncio

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from bench.adapter import BODIES, SLOW, TASKS, Case, System, mark, serve, spread, until
from bench.postgres import database_bytes

WORKERS = 4
SUBMITTERS = 8
QUICK = 0.002
FINISHED = "SELECT count(*) FROM absurd.t_q WHERE state = 'completed'"


def client(url: str) -> AsyncAbsurd:
    """A connection that knows the tasks."""
    made = AsyncAbsurd(url, queue_name="q")

    async def noop() -> dict[str, bool]:
        return {"ok": True}

    @made.register_task("chain")
    async def chain(params: dict[str, int], context: object) -> dict[str, bool]:
        for step in range(TASKS):
            result = await context.step(f"s{step}", noop)
        return result

    @made.register_task("single")
    async def single(params: dict[str, int], context: object) -> dict[str, bool]:
        return await context.step("s", noop)

    @made.register_task("counted")
    async def counted(params: dict[str, int], context: object) -> dict[str, int]:
        BODIES.began(params["number"])
        return {"ok": params["number"]}

    @made.register_task("slow")
    async def slow(params: dict[str, object], context: object) -> dict[str, object]:
        for step in range(TASKS):

            async def body(step: int = step) -> dict[str, int]:
                mark(str(params["path"]), int(str(params["number"])), step)
                await asyncio.sleep(SLOW)
                return {"ok": step}

            await context.step(f"s{step}", body)
        return {"ok": params["number"]}

    return made


class Absurd(System):
    """Four workers of 13 tasks in this process; for many tasks two processes of two workers.

    It looks for work every 0.25 s; with one workflow at a time that is cut to 2 ms, for it would
    measure nothing else.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._many = case.row in ("W2", "W8 drain")
        self.in_process = not self._many

    async def open(self, *, worker: bool) -> None:
        self._watcher = await psycopg.AsyncConnection.connect(self.case.url, autocommit=True)
        self._submitters = [client(self.case.url) for _ in range(SUBMITTERS)]
        await self._install()
        if not worker:
            return
        if self._many:
            self.start_workers(2)
        elif self.case.row == "W1 one":
            self._begin(1, concurrency=1, poll_interval=QUICK)
        else:
            self._begin(WORKERS, concurrency=50 // WORKERS + 1)

    async def _install(self) -> None:
        found = await self._watcher.execute("SELECT to_regclass('absurd.t_q') IS NULL")
        if (await found.fetchone())[0]:
            await self._watcher.execute(BUNDLED_SCHEMA_SQL)
            await self._submitters[0].create_queue("q")

    def _begin(self, workers: int, **settings: float) -> None:
        made = [client(self.case.url) for _ in range(workers)]
        self._working = [
            asyncio.create_task(worker.start_worker(worker_id=f"w{number}", **settings))
            for number, worker in enumerate(made)
        ]

    async def work(self) -> None:
        self._begin(2, concurrency=25)
        self.ready()
        await asyncio.gather(*self._working)

    async def chains(self, count: int, at_once: int) -> None:
        before = await self.finished()
        if at_once == 1:
            for number in range(count):
                await self._submitters[0].spawn("chain", {"number": number})
                await self._until(before + number + 1, QUICK)
            return
        await self._spawn_all("chain", count)
        await self._until(before + count, 0.01)

    async def _spawn_all(self, task: str, count: int) -> None:
        async def spawn(number: int) -> None:
            submitter = self._submitters[number % SUBMITTERS]
            await submitter.spawn(task, {"number": number, "path": self.case.marks})

        await spread(range(count), SUBMITTERS, spawn)

    async def _until(self, count: int, poll: float) -> None:
        async def finished() -> bool:
            return await self.finished() >= count

        await until(finished, poll)

    async def one(self) -> None:
        await self._submitters[0].spawn("single", {"number": 0})
        await self._until(self.case.size, 0.005)

    async def slow_chains(self, count: int) -> None:
        await self._spawn_all("slow", count)
        await self._until(count, 0.02)

    async def slow_chains_left(self, count: int) -> None:
        await self._until(count, 0.02)

    async def submit(self, number: int) -> None:
        await self._submitters[number % SUBMITTERS].spawn("counted", {"number": number})

    async def finished(self) -> int:
        return int((await (await self._watcher.execute(FINISHED)).fetchone())[0])

    async def stored_bytes(self) -> int:
        return database_bytes(self.case.url)


if __name__ == "__main__":
    serve(Absurd)
