"""taskiq with a Redis list for its queue and Redis for results; its command runs two workers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping

import redis
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from bench.adapter import Case, System, serve

PROCESSES = 2
URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1")
broker = ListQueueBroker(f"{URL}/0").with_result_backend(RedisAsyncResultBackend(f"{URL}/1"))


@broker.task(task_name="counted")
async def counted(number: int) -> dict[str, float]:
    return {"ok": number, "began": time.time()}


class Taskiq(System):
    """When a body began is read from its result."""

    in_process = False

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._results = redis.Redis.from_url(f"{case.url}/1")

    async def open(self, *, worker: bool) -> None:
        await broker.startup()
        if not worker:
            return
        self._start()
        if self.case.row not in ("W4", "W8 drain"):
            await (await counted.kiq(-1)).wait_result(timeout=60)
            self._results.flushdb()

    def _start(self) -> None:
        folder = os.path.dirname(sys.executable)
        command = f"worker bench.peers.taskiq:broker --workers {PROCESSES} --max-async-tasks 100"
        self._worker = subprocess.Popen(
            [f"{folder}/taskiq", *command.split(), "--log-level", "ERROR"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def submit(self, number: int) -> None:
        self._last = await counted.kiq(number)

    async def one(self) -> None:
        await (await counted.kiq(0)).wait_result(check_interval=0.002, timeout=60)

    async def finished(self) -> int:
        return int(self._results.dbsize())

    async def began(self, number: int, moments: Mapping[int, float]) -> float:
        result = await self._last.wait_result(check_interval=0.002, timeout=60)
        return float(result.return_value["began"])

    async def close(self) -> None:
        if self.case.row == "W4":
            await broker.shutdown()
            self._worker.terminate()
            await asyncio.to_thread(self._worker.wait)


if __name__ == "__main__":
    serve(Taskiq)
