"""A program that does what it reads and tells what it does, each a line of JSON.

    python puppet.py [--looker] [--await] [--stop MOMENT NUMBER]

It works in the folder it is started in. ``--looker`` executes nothing; ``--await`` opens the store
only when it reads the first line; ``--stop`` makes it stand still at the so manyth such moment, so
that it can be killed right there (see ``Stops``). At the end of its input it closes properly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
import yaml

from kallista import Kallista, KallistaError, TaskContext

LET_GO = asyncio.Event()


def say(told: str, **more: object) -> None:
    """Tell something, in one write: several threads may speak."""
    os.write(1, (json.dumps({"told": told, **more}) + "\n").encode())


# moments to be killed at


class Stops:
    """Stands still at a moment that was chosen beforehand.

    Moments are ``before_sync`` and ``after_sync`` (a commit is written to the log, but not synced;
    or synced, but nobody knows), and ``rename`` (a generated file is whole, under its temporary
    name).
    """

    def __init__(self) -> None:
        self._wanted = ""
        self._left = 0

    def choose(self, moment: str, number: int) -> None:
        """Stop at the so manyth of these moments, counted from now."""
        self._wanted, self._left = moment, number

    def pass_by(self, moment: str) -> None:
        """Go on, unless this is the moment."""
        if moment != self._wanted:
            return
        self._left -= 1
        if self._left == 0:
            say("stopped", moment=moment)
            threading.Event().wait()


class Files(apsw.VFS):
    """The operating system's file layer, which passes the syncs of the log on to ``Stops``."""

    def __init__(self, stops: Stops) -> None:
        self.stops = stops
        self.below = apsw.vfs_names()[0]
        super().__init__("stopping", self.below, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        return File(self, name, flags)


class File(apsw.VFSFile):
    """A file whose syncs may be stopped at, if it is the log."""

    def __init__(self, files: Files, name: Any, flags: list[int]) -> None:
        self._stops = files.stops
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__(files.below, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._is_log:
            self._stops.pass_by("before_sync")
        super().xSync(flags)
        if self._is_log:
            self._stops.pass_by("after_sync")


# what it can execute


def mark(ctx: TaskContext, file: str) -> str:
    """Leave a line in a file, durably, and say so."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, f"{ctx.idempotency_key} {ctx.run_id} {ctx.attempt}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    say("marked", run=ctx.run_id, task=ctx.task_id, attempt=ctx.attempt)
    return ctx.idempotency_key


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


# what it can be told


def load(file: str) -> object:
    """What a file says."""
    return yaml.safe_load(Path(file).read_text("utf-8"))


async def submit(app: Kallista, file: str) -> str:
    """Start what a definition file holds."""
    return await app.submit(await app.check(load(file)))


async def workers(app: Kallista) -> list[object]:
    """All workers known."""
    return [worker.to_dict() for worker in await app.workers()]


async def follow(app: Kallista, run: str) -> None:
    """Tell what happens to a workflow, as it happens."""
    async for event in app.workflow_manager.watch(run):
        say("happened", kind=event.kind, task=event.task_id, attempt=event.attempt)


class Ears:
    """Hears commands and answers them, one after the other.

    Args:
        app: What is commanded.
        stops: Where moments are chosen.
    """

    def __init__(self, app: Kallista, stops: Stops) -> None:
        self._app = app
        self._stops = stops
        self._following: list[asyncio.Task[None]] = []

    async def listen(self) -> None:
        """Do what is read, to the end of the input."""
        while line := await read_line():
            name, arguments = json.loads(line)
            try:
                answer = await self._do(name, arguments)
            except KallistaError as error:
                say("refused", type=type(error).__name__, message=str(error))
            else:
                say("answer", value=answer)
        for following in self._following:
            following.cancel()

    async def _do(self, name: str, arguments: Mapping[str, Any]) -> object:
        match name:
            case "let_go":
                LET_GO.set()
                return None
            case "doze":
                say("dozing")
                sys.stdin.readline()  # on the event loop: until then nothing at all goes on
                LET_GO.set()
                return None
            case "stop":
                self._stops.choose(**arguments)
                return None
            case "submit":
                return await submit(self._app, **arguments)
            case "workers":
                return await workers(self._app)
            case "follow":
                self._following.append(asyncio.create_task(follow(self._app, **arguments)))
                return None
        door, method = name.split(".")
        answer = await getattr(getattr(self._app, door), method)(**arguments)
        return answer.to_dict() if hasattr(answer, "to_dict") else answer


async def read_line() -> str:
    """The next line of input, empty at its end."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--looker", action="store_true")
    parser.add_argument("--await", dest="awaits", action="store_true")
    parser.add_argument("--stop", nargs=2, metavar=("MOMENT", "NUMBER"))
    chosen = parser.parse_args()
    stops = Stops()
    files = Files(stops)
    sys.addaudithook(lambda event, _: stops.pass_by("rename") if event == "os.rename" else None)
    if chosen.stop is not None:
        stops.choose(chosen.stop[0], int(chosen.stop[1]))
    app = Kallista(worker=not chosen.looker, tasks=[mark, stay])
    if chosen.awaits:
        say("ready")
        await read_line()
    async with app:
        say("open")
        await Ears(app, stops).listen()
    files.unregister()


if __name__ == "__main__":
    asyncio.run(main())
