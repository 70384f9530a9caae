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
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import apsw
import yaml
from handlers import LET_GO, say

from kallista import Kallista, KallistaError, StoreError

TRY_AGAIN_AFTER = 0.2
LOOK_AGAIN_AFTER = 0.05

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


class Faults:
    """Fails at some of the moments, as a broken or full disk does."""

    def __init__(self) -> None:
        self._chance = Random()
        self._share = 0.0
        self._full = False

    def choose(self, seed: int, share: float) -> None:
        """From now on let such a share of all syncs fail, half of them once they are done."""
        self._chance, self._share = Random(seed), share

    def fill(self, full: bool) -> None:
        """Whether nothing more can be written."""
        self._full = full

    def pass_by(self, moment: str) -> None:
        """Go on, unless the disk fails here.

        Raises:
            apsw.Error: It does.
        """
        if moment == "before_write":
            if self._full:
                raise apsw.FullError("no space left")
        elif self._chance.random() < self._share:
            error: Any = apsw.IOError(f"the disk has failed {moment}")
            error.extendedresult = apsw.SQLITE_IOERR_FSYNC
            say("failed", moment=moment)
            raise error


class Files(apsw.VFS):
    """The operating system's file layer, which passes what is done to the log on to others.

    Args:
        passers: Who may stop there, or fail.
    """

    def __init__(self, *passers: Stops | Faults) -> None:
        self.passers = passers
        self.below = apsw.vfs_names()[0]
        super().__init__("stopping", self.below, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        return File(self, name, flags)


class File(apsw.VFSFile):
    """A file at whose writes and syncs something may happen, if it is the log."""

    def __init__(self, files: Files, name: Any, flags: list[int]) -> None:
        self._passers = files.passers if flags[0] & apsw.SQLITE_OPEN_WAL else ()
        super().__init__(files.below, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._pass_by("before_write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._pass_by("before_sync")
        super().xSync(flags)
        self._pass_by("after_sync")

    def _pass_by(self, moment: str) -> None:
        for passer in self._passers:
            passer.pass_by(moment)


# time


class WallClock:
    """What this program takes for the wall clock, which can be set."""

    def __init__(self) -> None:
        self._offset = 0
        self._time_ns = time.time_ns

    def shift(self, seconds: float) -> None:
        """Set it so far from the machine's."""
        self._offset = int(seconds * 1e9)
        time.time_ns = lambda: self._time_ns() + self._offset
        time.time = lambda: time.time_ns() / 1e9


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


async def follow(app: Kallista, run: str, door: str = "workflow_manager") -> None:
    """Tell what happens to a run, as it happens; look again when the store fails."""
    seen = -1
    while True:
        try:
            async for event in getattr(app, door).watch(run):
                if event.seq > seen:
                    seen = event.seq
                    say("happened", run=run, seq=seen, kind=event.kind, task=event.task_id,
                        attempt=event.attempt)  # fmt: skip
        except StoreError as error:
            say("lost sight", run=run, type=type(error).__name__, message=str(error))
            await asyncio.sleep(TRY_AGAIN_AFTER)
        else:
            return


async def finish_schedule(app: Kallista, schedule: str) -> None:
    """Wait until a schedule has fired for the last time, and all that it started is over."""
    status = None
    while status != "FINISHED":
        await asyncio.sleep(LOOK_AGAIN_AFTER)
        status = (await app.scheduler.get_schedule(schedule)).status
    for task in (await app.scheduler.list_tasks(schedule_id=schedule)).items:
        await app.scheduler.wait_task(task.id)


class Ears:
    """Hears commands and answers them, one after the other.

    Args:
        app: What is commanded.
        stops: Where moments are chosen.
        faults: What fails.
    """

    def __init__(self, app: Kallista, stops: Stops, faults: Faults) -> None:
        self._app = app
        self._stops = stops
        self._faults = faults
        self._clock = WallClock()
        self._following: list[asyncio.Task[None]] = []

    async def listen(self) -> None:
        """Do what is read, to the end of the input."""
        while line := await read_line():
            name, arguments = json.loads(line)
            if name == "each":
                for call in arguments["calls"]:
                    await self._insist(*call)
                say("done", asked=arguments.get("name"))
            else:
                await self._try(name, arguments)
        for following in self._following:
            following.cancel()

    async def _insist(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Ask again as long as the store fails, as a patient user would."""
        error = await self._try(name, arguments)
        while isinstance(error, StoreError):
            await asyncio.sleep(TRY_AGAIN_AFTER)
            error = await self._try(name, arguments)

    async def _try(self, name: str, arguments: Mapping[str, Any]) -> KallistaError | None:
        """Do something, and tell how it went; returns the error, if there was one."""
        try:
            answer = await self._do(name, arguments)
        except KallistaError as error:
            say("refused", asked=name, type=type(error).__name__, message=str(error))
            return error
        say("answer", asked=name, value=answer)
        return None

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
            case "fail":
                self._faults.choose(**arguments)
                return None
            case "fill":
                self._faults.fill(**arguments)
                return None
            case "shift":
                self._clock.shift(**arguments)
                return None
            case "submit":
                return await submit(self._app, **arguments)
            case "finish_schedule":
                await finish_schedule(self._app, **arguments)
                return None
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
    stops, faults = Stops(), Faults()
    files = Files(stops, faults)
    sys.addaudithook(lambda event, _: stops.pass_by("rename") if event == "os.rename" else None)
    if chosen.stop is not None:
        stops.choose(chosen.stop[0], int(chosen.stop[1]))
    app = Kallista(worker=not chosen.looker)
    if chosen.awaits:
        say("ready")
        await read_line()
    async with app:
        say("open")
        await Ears(app, stops, faults).listen()
    files.unregister()


if __name__ == "__main__":
    asyncio.run(main())
