"""Handlers that run in processes of their own, which have to find them in a module."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

from kallista import FailForGood, Snooze, TaskContext


def tell(ctx: TaskContext, day: datetime, text: str) -> dict[str, object]:
    """Return what it was given and knows."""
    ctx.logger.warning("told %s", text, api_key="secret")
    logging.getLogger("of.the.handler").warning("said %s", text)
    sys.stdout.write("printed, which is no answer\n")
    return {
        "pid": os.getpid(),
        "year": day.year,
        "at": datetime(2030, 1, 2, tzinfo=UTC),
        "text": text,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
        "results": dict(ctx.results),
    }


def work(ctx: TaskContext, file: str, attempts: int = 1) -> int | None:
    """Work for ever in the first attempts, with a helper; both hold the file's lock."""
    if ctx.attempt > attempts:
        return ctx.attempt
    import fcntl  # not everywhere

    descriptor = os.open(file, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    helper = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with subprocess.Popen(helper, pass_fds=[descriptor]):
        ctx.progress(0.5, "at work")
        threading.Event().wait()
    return None


def beat(ctx: TaskContext) -> object:
    """Say much in no time, and fail; the second attempt returns what it was left."""
    if ctx.attempt > 1:
        return ctx.heartbeat_details
    for mile in range(100_000):
        ctx.heartbeat({"mile": mile})
    ctx.heartbeat()
    ctx.spend("0.5", "usd")
    raise LookupError("lost")


def fall_silent(ctx: TaskContext) -> None:
    """Say something, and then nothing more."""
    ctx.progress(0.5, "at work")
    threading.Event().wait()


def mumble(ctx: TaskContext) -> object:
    """Say what is no Unicode or no number, and fail; then return what was left."""
    if ctx.attempt > 1:
        return ctx.heartbeat_details
    ctx.progress(float("nan"), "read \udcff.txt")
    ctx.heartbeat("heard")
    raise LookupError("there is no \udcff.txt")


_EARLIER: list[TaskContext] = []


def linger(ctx: TaskContext) -> object:
    """Let the contexts of earlier attempts speak, as threads do that nobody has ended."""
    for earlier in _EARLIER:
        earlier.heartbeat("of another one")
        earlier.progress(1, "of another one")
        earlier.spend(1, "usd")
    _EARLIER.append(ctx)
    if ctx.attempt == 1:
        raise LookupError("lost")
    return ctx.heartbeat_details


def leave_behind() -> None:
    """Vanish, and leave another process behind that holds all pipes open."""
    if os.fork() == 0:
        threading.Event().wait()
    os._exit(3)


def end(ctx: TaskContext, how: str, password: str = "") -> object:
    """End in one of many ways."""
    match how:
        case "raise":
            raise LookupError(f"refused: {password}")
        case "exit":
            sys.exit(3)
        case "vanish":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
            return None
        case "snooze":
            return Snooze(10)
        case "fail":
            return FailForGood("for good")
        case "large":
            return "x" * 3_000_000
        case _:
            return {1, object()}
