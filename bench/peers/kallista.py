"""Kallista by its public objects, on SQLite or PostgreSQL: the same program with another URL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from bench.adapter import BODIES, SLOW, TASKS, System, mark, serve
from bench.files import sqlite_bytes
from kallista import Kallista, task


@task("noop")
async def noop() -> dict[str, bool]:
    return {"ok": True}


@task("count")
async def count(number: int) -> dict[str, int]:
    BODIES.began(number)
    return {"ok": number}


@task("slow")
async def slow(path: str, number: int, step: int) -> dict[str, int]:
    mark(path, number, step)
    await asyncio.sleep(SLOW)
    return {"ok": step}


CHAIN = [{"type": "noop"} for _ in range(TASKS)]
PARENTS = 3


class KallistaSystem(System):
    """The three objects on one store."""

    app: Kallista

    async def open(self, *, worker: bool) -> None:
        self.app = Kallista(self.case.url, worker=worker, max_concurrency=200)
        await self.app.__aenter__()

    async def close(self) -> None:
        await self.app.__aexit__(None, None, None)

    async def chain(self, number: int) -> None:
        run = await self.app.workflow_manager.run_workflow("chain", CHAIN)
        run.raise_for_status()

    async def one(self) -> None:
        run = await self.app.workflow_manager.run_workflow("one", CHAIN[:1])
        run.raise_for_status()

    def _slow_chain(self, number: int) -> list[dict[str, object]]:
        return [
            {"type": "slow", "path": self.case.marks, "number": number, "step": step}
            for step in range(TASKS)
        ]

    async def slow_chains(self, count: int) -> None:
        manager = self.app.workflow_manager

        async def begin(number: int) -> None:
            await manager.run_workflow(
                "slow", self._slow_chain(number), workflow_id=f"slow-{number}"
            )

        await asyncio.gather(*(begin(number) for number in range(count)))

    async def slow_chains_left(self, count: int) -> None:
        manager = self.app.workflow_manager
        waits = (manager.wait_workflow(f"slow-{number}") for number in range(count))
        for run in await asyncio.gather(*waits):
            run.raise_for_status()

    async def submit(self, number: int) -> None:
        await self.app.scheduler.schedule_task(f"t{number + 1}", _counted(number))

    async def submit_many(self, numbers: range) -> None:
        await self.app.scheduler.schedule_tasks(
            [{"id": f"t{number + 1}", **_counted(number)} for number in numbers]
        )

    async def submit_at(self, number: int, moment: float) -> None:
        await self.app.scheduler.schedule_task(
            f"t{number + 1}", _counted(number), datetime.fromtimestamp(moment, UTC)
        )

    async def finished(self) -> int:
        return (await self.app.diagnose()).runs.get("task COMPLETED", 0)

    async def graph(self, steps: int) -> None:
        run = await self.app.orchestrator.run_process(
            {"id": f"graph-{steps}", "steps": layered(steps)}
        )
        run.raise_for_status()

    async def schedules(self, count: int) -> None:
        for number in range(count):
            await self.app.scheduler.schedule_task(
                f"s{number}", _counted(number), cron="0 0 1 1 *", timezone="UTC"
            )

    async def stored_bytes(self) -> int:
        if self.case.url.startswith("sqlite"):
            return sqlite_bytes(self.case.path("bench.db"))
        from bench.postgres import database_bytes

        return database_bytes(self.case.url)


def _counted(number: int) -> Mapping[str, object]:
    return {"type": "count", "number": number}


def layered(steps: int) -> list[dict[str, object]]:
    """So many steps in layers as wide as there are layers, each depending on three above it."""
    width = max(PARENTS, round(steps**0.5))
    return [
        {
            "id": f"s{step}",
            "type": "noop",
            "depends_on": []
            if step < width
            else [
                f"s{(step // width - 1) * width + (step + shift) % width}"
                for shift in range(PARENTS)
            ],
        }
        for step in range(steps)
    ]


if __name__ == "__main__":
    serve(KallistaSystem)
