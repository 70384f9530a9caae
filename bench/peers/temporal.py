"""Temporal's SDK on its development server, which keeps everything in an SQLite file."""

from __future__ import annotations

import asyncio
import time

from temporalio.client import Client
from temporalio.worker import Worker

from bench.adapter import Case, System, serve, spread, until
from bench.files import sqlite_bytes
from bench.peers import temporal_workflows as workflows

SUBMITTERS = 64
QUEUE = "bench"


class Temporal(System):
    """A task is a workflow of one activity; a timer is a workflow that starts later."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._next = 0

    async def open(self, *, worker: bool) -> None:
        self._client = await Client.connect(self.case.url)
        if worker:
            self._worker = Worker(
                self._client,
                task_queue=QUEUE,
                workflows=[
                    workflows.Chain,
                    workflows.Counted,
                    workflows.SlowChain,
                    workflows.Timed,
                ],
                activities=[workflows.noop, workflows.counted, workflows.slow],
                max_concurrent_activities=200,
                max_concurrent_workflow_tasks=200,
            )
            await self._worker.__aenter__()

    async def close(self) -> None:
        await self._worker.__aexit__(None, None, None)

    async def chain(self, number: int) -> None:
        self._next += 1
        await self._client.execute_workflow(
            workflows.Chain.run, number, id=f"chain-{self._next}", task_queue=QUEUE
        )

    async def one(self) -> None:
        await self._client.execute_workflow(
            workflows.Counted.run, 0, id=f"one-{self.case.size}", task_queue=QUEUE
        )

    async def slow_chains(self, count: int) -> None:
        async def begin(number: int) -> None:
            await self._client.execute_workflow(
                workflows.SlowChain.run,
                args=[self.case.marks, number],
                id=f"slow-{number}",
                task_queue=QUEUE,
            )

        await asyncio.gather(*(begin(number) for number in range(count)))

    async def slow_chains_left(self, count: int) -> None:
        for number in range(count):
            await self._client.get_workflow_handle(f"slow-{number}").result()

    async def submit(self, number: int) -> None:
        await self._client.start_workflow(
            workflows.Counted.run, number, id=f"t{number}", task_queue=QUEUE
        )

    async def submit_all_at(self, due: list[float]) -> None:
        from datetime import timedelta

        async def submit(number: int) -> None:
            await self._client.start_workflow(
                workflows.Timed.run,
                number,
                id=f"t{number}",
                task_queue=QUEUE,
                start_delay=timedelta(seconds=max(0.0, due[number] - time.time())),
            )

        await spread(range(len(due)), SUBMITTERS, submit)

    async def finish(self, count: int) -> None:
        async def finished() -> bool:
            query = "ExecutionStatus = 'Completed'"
            return (await self._client.count_workflows(query)).count >= count

        await until(finished, 0.1)

    async def stored_bytes(self) -> int:
        return sqlite_bytes(self.case.path("temporal.db"))


if __name__ == "__main__":
    serve(Temporal)
