"""celery with Redis for its queue and its results; its own command runs two worker processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import redis
from celery import Celery

from bench.adapter import Case, System, serve, until

PROCESSES = 2
URL = os.environ.get("BENCH_REDIS", "")
app = Celery("bench", broker=f"{URL}/0", backend=f"{URL}/1")


@app.task(name="counted")
def counted(number: int) -> dict[str, float]:
    return {"ok": number, "began": time.time()}


class CelerySystem(System):
    """When a body began is read from its result."""

    in_process = False

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        os.environ["BENCH_REDIS"] = case.url
        app.conf.update(broker_url=f"{case.url}/0", result_backend=f"{case.url}/1")
        self._results = redis.Redis.from_url(f"{case.url}/1")
        self._sent: list[str] = []

    async def open(self, *, worker: bool) -> None:
        if not worker:
            return
        self._start()
        if self.case.row not in ("W4", "W8 drain"):
            counted.delay(-1).get(timeout=60)
            self._results.flushdb()

    def _start(self) -> None:
        folder = os.path.dirname(sys.executable)
        command = f"-A bench.peers.celery worker -P prefork -c {PROCESSES} -l ERROR"
        self._worker = subprocess.Popen(
            [f"{folder}/celery", *command.split(), "--without-mingle", "--without-gossip"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def submit(self, number: int) -> None:
        sent = counted.delay(number)
        if self.case.row in ("W3", "W7") and number >= 0:
            self._sent.append(sent.id)

    async def submit_all_at(self, due: Sequence[float]) -> None:
        with app.producer_pool.acquire(block=True) as producer:
            for number, moment in enumerate(due):
                sent = counted.apply_async(
                    (number,), countdown=max(0.0, moment - time.time()), producer=producer
                )
                self._sent.append(sent.id)

    async def one(self) -> None:
        counted.delay(0).get(timeout=60)

    async def finished(self) -> int:
        return int(self._results.dbsize())

    async def began(self, number: int, moments: Mapping[int, float]) -> float:
        result = app.AsyncResult(self._sent[-1]).get(timeout=60, interval=0.002)
        return float(result["began"])

    async def all_began(
        self, count: int, moments: Mapping[int, float], end: float
    ) -> Mapping[int, float]:
        async def begun() -> bool:
            return self._results.dbsize() >= count or time.time() > end

        await until(begun, 0.05)
        found = [app.AsyncResult(id) for id in self._sent]
        return {
            number: float(result.result["began"])
            for number, result in enumerate(found)
            if result.successful()
        }

    async def close(self) -> None:
        if self.case.row == "W4":
            self._worker.terminate()
            await asyncio.to_thread(self._worker.wait)


if __name__ == "__main__":
    serve(CelerySystem)
