"""The workflows and activities for Temporal, which imports them again in its sandbox."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from bench.adapter import BODIES, SLOW, TASKS, mark

LIMIT = timedelta(seconds=60)


@activity.defn
async def noop(step: int) -> dict[str, int]:
    return {"ok": step}


@activity.defn
async def counted(number: int) -> dict[str, int]:
    BODIES.began(number)
    return {"ok": number}


@activity.defn
async def slow(path: str, number: int, step: int) -> dict[str, int]:
    mark(path, number, step)
    await asyncio.sleep(SLOW)
    return {"ok": step}


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, number: int) -> dict[str, int]:
        result: dict[str, int] = {}
        for step in range(TASKS):
            result = await workflow.execute_activity(noop, step, start_to_close_timeout=LIMIT)
        return result


@workflow.defn
class Counted:
    @workflow.run
    async def run(self, number: int) -> dict[str, int]:
        return await workflow.execute_activity(counted, number, start_to_close_timeout=LIMIT)


@workflow.defn
class Timed:
    """The least that can be due at a moment: a workflow without activities."""

    @workflow.run
    async def run(self, number: int) -> dict[str, int]:
        with workflow.unsafe.sandbox_unrestricted():
            BODIES.began(number)
        return {"ok": number}


@workflow.defn
class SlowChain:
    @workflow.run
    async def run(self, path: str, number: int) -> dict[str, int]:
        for step in range(TASKS):
            await workflow.execute_activity(
                slow, args=[path, number, step], start_to_close_timeout=LIMIT
            )
        return {"ok": number}
