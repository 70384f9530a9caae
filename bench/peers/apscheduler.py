"""APScheduler with its SQLAlchemy store on SQLite: no results, and what is finished is deleted."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from bench.adapter import System, serve, until
from bench.peers import counting


class Apscheduler(System):
    """Ten threads; a task that is late is executed all the same."""

    worker_first = False
    _scheduler: BackgroundScheduler | None = None

    async def open(self, *, worker: bool) -> None:
        if self._scheduler is None:
            logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
            self._scheduler = BackgroundScheduler(
                jobstores={
                    "default": SQLAlchemyJobStore(f"sqlite:///{self.case.path('bench.db')}")
                },
                executors={"default": ThreadPoolExecutor(10)},
                job_defaults={"misfire_grace_time": None},
                timezone=UTC,
            )
            self._scheduler.start(paused=not worker)
        elif worker:
            self._scheduler.resume()

    async def one(self) -> None:
        await self.submit(0)

        async def finished() -> bool:
            return counting.finished() > 0

        await until(finished, 0.001)

    async def submit(self, number: int) -> None:
        self._scheduler.add_job(counting.counted, args=(number,))

    async def submit_at(self, number: int, moment: float) -> None:
        due = datetime.fromtimestamp(moment, UTC)
        self._scheduler.add_job(counting.counted, "date", run_date=due, args=(number,))

    async def schedules(self, count: int) -> None:
        for number in range(count):
            self._scheduler.add_job(
                counting.counted, "cron", month=1, day=1, args=(number,), id=f"s{number}"
            )

    async def finished(self) -> int:
        return counting.finished()

    async def close(self) -> None:
        if self.case.row == "W4":
            await asyncio.to_thread(self._scheduler.shutdown)


if __name__ == "__main__":
    serve(Apscheduler)
