"""Prefect with the server that its client starts, on SQLite."""

from __future__ import annotations

import os

from bench.adapter import BODIES, TASKS, System, case_of_arguments, serve
from bench.files import sqlite_bytes

os.environ["PREFECT_HOME"] = case_of_arguments().path("prefect")
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "90"
os.environ["DO_NOT_TRACK"] = "1"

from prefect import flow, task


@task
async def noop(step: int) -> dict[str, int]:
    return {"ok": step}


@flow
async def chain(number: int) -> dict[str, int]:
    result: dict[str, int] = {}
    for step in range(TASKS):
        result = await noop(step)
    return result


@flow
async def single(number: int) -> dict[str, int]:
    BODIES.began(number)
    return await noop(number)


class Prefect(System):
    """A workflow is a flow; the states of its tasks are sent to the server as they come."""

    async def chain(self, number: int) -> None:
        await chain(number)

    async def one(self) -> None:
        await single(0)

    async def stored_bytes(self) -> int:
        return sqlite_bytes(self.case.path("prefect/prefect.db"))


if __name__ == "__main__":
    serve(Prefect)
