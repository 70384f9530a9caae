"""Steps a second of many small workflows: 200 of 10 no-op tasks, 50 at a time, on SQLite.

    python bench/steps.py [--workflows 200] [--tasks 10] [--at-a-time 50] [--rounds 3]

Every step is durable before the next one starts: SQLite in WAL mode with ``synchronous=FULL``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from kallista import Kallista, task


@task("bench_noop")
async def bench_noop() -> dict[str, bool]:
    return {"ok": True}


async def measure(url: str, workflows: int, tasks: int, at_a_time: int) -> float:
    """Steps a second from the first creation to the last result."""
    described = [{"type": "bench_noop"} for _ in range(tasks)]
    async with Kallista(url, max_concurrency=max(at_a_time, 1)) as app:
        places = asyncio.Semaphore(at_a_time)

        async def one(number: int) -> None:
            async with places:
                run = await app.workflow_manager.run_workflow("bench", described)
                run.raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(workflows)))
        return workflows * tasks / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--at-a-time", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rates = []
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'bench.db'}"
            rates.append(
                asyncio.run(measure(url, chosen.workflows, chosen.tasks, chosen.at_a_time))
            )
    what = f"{chosen.workflows} workflows of {chosen.tasks} tasks, {chosen.at_a_time} at a time"
    print(f"{what}: {statistics.median(rates):,.0f} steps/s (median of {chosen.rounds})")


if __name__ == "__main__":
    main()
