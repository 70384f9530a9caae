"""The limits of the machine itself: one fsync, and plain asyncio tasks that nothing remembers."""

from __future__ import annotations

import asyncio
import os
import time

from bench.adapter import (
    CALLERS,
    TASKS,
    Case,
    Figures,
    answer,
    case_of_arguments,
    percentile,
    spread,
)

PAGE = bytes(4096)


def fsync(case: Case) -> Figures:
    """How long one fsync takes after 4 KiB were appended."""
    took = []
    handle = os.open(case.path("file"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(case.size):
        os.write(handle, PAGE)
        began = time.perf_counter()
        os.fsync(handle)
        took.append((time.perf_counter() - began) * 1000)
    os.close(handle)
    return {"p50_ms": percentile(took, 50), "p99_ms": percentile(took, 99)}


async def _noop() -> dict[str, bool]:
    return {"ok": True}


async def _chain(_: int) -> None:
    for _ in range(TASKS):
        await asyncio.create_task(_noop())


async def _wall(count: int, at_once: int) -> float:
    began = time.perf_counter()
    await spread(range(count), at_once, _chain)
    return time.perf_counter() - began


def chains(case: Case) -> Figures:
    """W1 of plain asyncio tasks."""
    wall = asyncio.run(_wall(case.size, CALLERS))
    return {"wall": wall, "steps_s": case.size * TASKS / wall}


def chain(case: Case) -> Figures:
    """W1, one at a time, of plain asyncio tasks."""
    wall = asyncio.run(_wall(case.size, 1))
    return {"wall": wall, "ms_step": wall / case.size / TASKS * 1000}


async def _tasks(count: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(asyncio.create_task(_noop()) for _ in range(count)))
    return time.perf_counter() - began


def tasks(case: Case) -> Figures:
    """W2 of plain asyncio tasks, all created and then awaited."""
    wall = asyncio.run(_tasks(case.size))
    return {"wall": wall, "tasks_s": case.size / wall}


MEASURES = {"fsync": fsync, "W1": chains, "W1 one": chain, "W2": tasks, "W2 bulk": tasks}

if __name__ == "__main__":
    case = case_of_arguments()
    answer(MEASURES[case.row](case))
