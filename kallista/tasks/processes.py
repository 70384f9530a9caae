"""Calls handlers in processes of their own, which can be ended at any moment."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process, SubprocessStreamProtocol
from contextlib import suppress
from typing import Final

from kallista.core.handlers import Handler, Invocation
from kallista.core.outcomes import Failure, Outcome, outcome_of
from kallista.core.raising import RaisedElsewhere, kinds, qualified
from kallista.core.types import JsonText, Micros
from kallista.errors import ProcessDiedError
from kallista.tasks.families import APART, Leash, how_it_ended, leash
from kallista.tasks.handler import FunctionHandler, program_of_main
from kallista.tasks.messages import (
    HEADER,
    Answer,
    Call,
    Ended,
    Heartbeat,
    Line,
    Order,
    Progress,
    Raised,
    Report,
    Returned,
    Spent,
    Welcome,
    framed,
    read_report,
)

PATIENCE: Final = 5.0
"""Seconds that a process may take to be gone after it was killed, or asked to go."""

_BUFFER: Final = 1 << 16

_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    " from kallista.tasks.child import main; main()"
)


class Processes:
    """Processes that are started when they are needed, and kept for the next call."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._closed = False

    async def call(self, handler: Handler, invocation: Invocation) -> JsonText | Outcome:
        """Let a process call a handler; see ``engine.processes``.

        Raises:
            RaisedElsewhere: The handler raised, or its process ended before it did.
        """
        assert isinstance(handler, FunctionHandler), "only functions are called elsewhere"
        child = self._free() or await _Child.started()
        try:
            answer = await child.call(_call(handler, invocation), invocation)
        except BaseException:
            await child.end()
            raise
        if self._closed:
            await child.end()
        else:
            self._idle.append(child)
        return _meant(answer)

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.leave() for child in idle))

    def _free(self) -> _Child | None:
        """The one that has been used last, for it is the one that has least been paged out."""
        while self._idle:
            child = self._idle.pop()
            if child.lives:
                return child
        return None


class _Streams(SubprocessStreamProtocol):
    """The pipes of a process: what it has forked, and is left of it, must not hold them open."""

    family: Leash | None = None

    def process_exited(self) -> None:
        """It is gone; end what it has started."""
        super().process_exited()
        if self.family is not None:
            self.family.end()


class _Child:
    """A process that calls one handler at a time.

    Args:
        process: The process.
        family: A hold on it and on all that it has started.
    """

    def __init__(self, process: Process, family: Leash) -> None:
        self._process = process
        self._family = family

    @classmethod
    async def started(cls) -> _Child:
        """A new one."""
        loop = asyncio.get_running_loop()
        transport, streams = await loop.subprocess_exec(
            lambda: _Streams(limit=_BUFFER, loop=loop),
            sys.executable, "-c", _PROGRAM, json.dumps(sys.path),
            stdin=PIPE, stdout=PIPE, stderr=None if sys.stderr is not None else DEVNULL, **APART,
        )  # fmt: skip
        process = Process(transport, streams, loop)
        streams.family = leash(process.pid)
        child = cls(process, streams.family)
        child._tell(Welcome(os.getpid(), program_of_main(), _levels()))
        return child

    @property
    def lives(self) -> bool:
        """Whether it is still there."""
        return self._process.returncode is None

    async def call(self, call: Call, invocation: Invocation) -> Answer:
        """Let it call a handler, and pass on what that says on its way.

        Raises:
            RaisedElsewhere: It ended before it had answered.
        """
        self._tell(call)
        while True:
            report = await self._hear()
            match report:
                case Progress(fraction, message):
                    invocation.progress(fraction, message)
                case Heartbeat(details):
                    invocation.heartbeat(None if details is None else JsonText(details))
                case Spent(amount, unit):
                    if invocation.spend is not None:
                        invocation.spend(amount, unit)
                case Line():
                    _log(report)
                case _:
                    return report

    async def end(self) -> None:
        """End it and all that it has started; come back once it is gone."""
        self._family.end()
        await self._gone()

    async def leave(self) -> None:
        """Let it end in good order, for it has nothing to do."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._gone()
        self._family.end()

    def _tell(self, order: Order) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(framed(order))

    async def _hear(self) -> Report:
        stream = self._process.stdout
        assert stream is not None
        try:
            (length,) = HEADER.unpack(await stream.readexactly(HEADER.size))
            return read_report(await stream.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        exit_code = await self._gone()
        how = "closed its pipe" if exit_code is None else how_it_ended(exit_code)
        raise RaisedElsewhere(
            Failure(
                qualified(ProcessDiedError),
                f"the process that executed the handler {how}",
                None,
                kinds(ProcessDiedError),
            )
        )

    async def _gone(self) -> int | None:
        """Its exit code once it is gone; None: it is still there."""
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), PATIENCE)
        self._family.end()
        return None


def _call(handler: FunctionHandler, invocation: Invocation) -> Call:
    home = handler.home
    assert home is not None, "it is found by its name in another process"
    return Call(
        *home,
        invocation.type,
        invocation.run_id,
        invocation.task_id,
        invocation.attempt,
        invocation.config,
        invocation.results,
        invocation.max_result_bytes,
        invocation.generation,
        invocation.heartbeat_details,
    )


def _meant(answer: Answer) -> JsonText | Outcome:
    match answer:
        case Returned(result):
            return JsonText(result)
        case Ended(outcome):
            return outcome_of(JsonText(outcome))
        case Raised(type, message, trace, kinds, pause):
            raise RaisedElsewhere(Failure(type, message, trace, kinds), Micros(pause))


def _levels() -> dict[str, int]:
    """From which level on lines are wanted; more of them need not be sent."""
    return {name: logging.getLogger(name).getEffectiveLevel() for name in ("root", "kallista")}


def _log(line: Line) -> None:
    """Write a line as if it had been logged here."""
    logger = logging.getLogger(line.logger)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(
        line.logger, line.level, "", 0, line.text, (), None,
        extra={"kallista": json.loads(line.fields)},
    )  # fmt: skip
    record.created = line.at
    logger.handle(record)
