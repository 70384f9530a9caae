"""Task types whose effects and moments a test can see, for puppets and ``kallista worker``."""

from __future__ import annotations

import asyncio
import json
import os
import time

from kallista import TaskContext, task

LET_GO = asyncio.Event()


def say(told: str, **more: object) -> None:
    """Tell something, a line of JSON, in one write: several threads may speak."""
    os.write(1, (json.dumps({"told": told, **more}) + "\n").encode())


def leave(ctx: TaskContext, file: str) -> str:
    """Leave a line in a file, durably, and say so; returns the idempotency key."""
    words = (ctx.run_id, ctx.task_id, ctx.attempt, ctx.idempotency_key)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    say("marked", run=ctx.run_id, task=ctx.task_id, attempt=ctx.attempt)
    return ctx.idempotency_key


@task("mark")
def mark(ctx: TaskContext, file: str, before: float = 0, after: float = 0) -> str:
    """Leave a mark, on a thread, between two spells of work of some seconds."""
    time.sleep(before)
    key = leave(ctx, file)
    time.sleep(after)
    return key


@task("etch")
async def etch(ctx: TaskContext, file: str, before: float = 0, after: float = 0) -> str:
    """The same on the event loop, where it can be told to stop."""
    await asyncio.sleep(before)
    key = leave(ctx, file)
    await asyncio.sleep(after)
    return key


@task("stay")
async def stay(ctx: TaskContext, attempts: int = 1) -> int:
    """Stay at it until let go, in the first attempts; a later one ends at once."""
    here = {"run": ctx.run_id, "attempt": ctx.attempt, "key": ctx.idempotency_key}
    say("staying", **here)
    if ctx.attempt <= attempts:
        try:
            await LET_GO.wait()
        except asyncio.CancelledError:
            say("sent away", **here)
            raise
    return ctx.attempt


@task("warm_up", executor="process")
def warm_up() -> None:
    """Let there be a process."""


@task("grind", executor="process")
def grind(pipe: str) -> None:
    """Work for ever in a process of its own, which holds the pipe open."""
    descriptor = os.open(pipe, os.O_WRONLY)
    os.write(descriptor, b"at work")
    while True:
        sum(range(1000))


@task("pace")
async def pace(ctx: TaskContext) -> object:
    """Tell what it was left, and, unless that is something, pace on until let go."""
    left = ctx.heartbeat_details
    say("paces", attempt=ctx.attempt, left=left)
    if left is None:
        for lap in range(1_000_000):
            ctx.heartbeat({"lap": lap})
            ctx.progress(lap / 1_000_000, f"lap {lap}")
            await asyncio.sleep(0.05)
    return left


@task("poison")
def poison(ctx: TaskContext) -> None:
    """End the whole program, as a fault in native code would."""
    say("poisoned", run=ctx.run_id, attempt=ctx.attempt)
    os._exit(9)
