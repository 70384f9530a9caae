"""What runs in a process of handlers: calls what it is told to, and tells what comes of it."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import runpy
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Generator
from functools import partial
from queue import SimpleQueue
from types import ModuleType
from typing import BinaryIO, Final, cast

from kallista.core.handlers import Invocation
from kallista.core.outcomes import Outcome, outcome_text
from kallista.core.raising import asked_pause, failure_of
from kallista.core.types import JsonText
from kallista.errors import UsageError
from kallista.tasks import loading
from kallista.tasks.families import end_own_family, follow
from kallista.tasks.handler import FunctionHandler
from kallista.tasks.messages import (
    Answer,
    Call,
    Ended,
    Heartbeat,
    Line,
    Progress,
    Raised,
    Report,
    Returned,
    Spent,
    Welcome,
    framed,
    read_order,
    received,
)
from kallista.tasks.parameters import Function

MAIN: Final = "__kallista_main__"
"""As what the worker's own program is loaded, so that it does not run once more."""

SIGNS_EVERY: Final = 0.05
"""Seconds between two tellings of how far a handler is."""


def main() -> None:
    """Serve a worker until it goes."""
    orders, told = _own_pipes()
    voice = _Voice(told)
    calls: SimpleQueue[Call | None] = SimpleQueue()
    welcome = _next(orders)
    if not isinstance(welcome, Welcome):
        return
    follow(welcome.parent)
    faulthandler.enable()
    _send_logs(voice, welcome)
    servant = _Servant(voice, welcome.main)
    threading.Thread(target=servant.listen, args=(orders, calls), daemon=True).start()
    while (call := calls.get()) is not None:
        servant.serve(call)


class _Voice:
    """The way to the worker, for all threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def tell(self, report: Report) -> None:
        """Tell the worker something."""
        data = framed(report)
        with self._lock:
            self._stream.write(data)
            self._stream.flush()


class _Signs:
    """What a handler says on its way: only the newest of it is told, a few times a second."""

    def __init__(self, voice: _Voice) -> None:
        self._voice = voice
        self._newest: dict[type[Report], Report] = {}
        self._telling = threading.Lock()
        self._any = threading.Event()
        threading.Thread(target=self._tell_on, daemon=True).start()

    def note(self, report: Report) -> None:
        """Tell this soon, instead of what else of its kind has not been told yet."""
        self._newest[type(report)] = report
        self._any.set()

    def tell(self) -> None:
        """Tell now what has not been told."""
        with self._telling:
            newest, self._newest = self._newest, {}
            for report in newest.values():
                self._voice.tell(report)

    def _tell_on(self) -> None:
        while True:
            self._any.wait()
            self._any.clear()
            self.tell()
            time.sleep(SIGNS_EVERY)


class _Servant:
    """Calls handlers, one after another.

    Args:
        voice: The way to the worker.
        main: What the worker's own program is.
    """

    def __init__(self, voice: _Voice, main: str | None) -> None:
        self._voice = voice
        self._main = main
        self._signs: _Signs | None = None
        self._handlers: dict[tuple[str, str, str], FunctionHandler] = {}
        self._is_busy = False
        self._heard: Call | None = None
        """The call that is under way: threads that earlier ones have left behind say no more."""
        self._hearing = threading.Lock()
        self._details: JsonText | None = None
        """What the handler has left for the next attempt so far."""

    def listen(self, orders: BinaryIO, calls: SimpleQueue[Call | None]) -> None:
        """Take calls until the worker goes; then nothing that is under way here is wanted."""
        while (order := _next(orders)) is not None:
            if isinstance(order, Call):
                self._is_busy = True
                calls.put(order)
        calls.put(None)
        if self._is_busy:
            end_own_family()

    def serve(self, call: Call) -> None:
        """Make a call, and tell how it ended."""
        self._heard, self._details = call, None
        answer = self._answer(call)
        with self._hearing:
            self._heard = None
        if self._signs is not None:
            self._signs.tell()
        self._is_busy = False
        self._voice.tell(answer)

    def _answer(self, call: Call) -> Answer:
        try:
            ending = self._handler(call).call(self._invocation(call))
            if isinstance(ending, Awaitable):
                ending = asyncio.run(_awaited(ending))
        except BaseException as error:  # whatever it raises, the worker is to be told
            failure = failure_of(error)
            return Raised(
                failure.type,
                failure.message,
                failure.traceback,
                failure.kinds,
                asked_pause(error),
            )
        return Returned(ending) if isinstance(ending, str) else Ended(outcome_text(ending))

    def _handler(self, call: Call) -> FunctionHandler:
        place = (call.type, call.module, call.name)
        handler = self._handlers.get(place)
        if handler is None:
            handler = FunctionHandler(call.type, cast(Function, self._function(call)))
            self._handlers[place] = handler
        return handler

    def _function(self, call: Call) -> object:
        found: object = self._module(call.module, call.file)
        for part in call.name.split("."):
            found = getattr(found, part)
        return found

    def _module(self, name: str, file: str | None) -> ModuleType:
        with loading.as_child():
            if name != "__main__":
                return loading.load_again(name, file)
            if MAIN not in sys.modules:
                sys.modules[MAIN] = sys.modules["__main__"] = _program(self._main)
            return sys.modules[MAIN]

    def _invocation(self, call: Call) -> Invocation:
        return Invocation(
            call.run_id,
            call.task_id,
            call.type,
            call.attempt,
            call.config,
            call.results,
            partial(self._progress, call),
            lambda: False,
            call.max_result_bytes,
            call.generation,
            spend=partial(self._spend, call),
            heartbeat=partial(self._beat, call),
            heartbeat_details=None
            if call.heartbeat_details is None
            else JsonText(call.heartbeat_details),
        )

    def _spend(self, call: Call, amount: int, unit: str) -> Awaitable[None]:
        with self._hearing:
            if call is self._heard:
                self._voice.tell(Spent(amount, unit))
        return _Told()

    def _progress(self, call: Call, fraction: float, message: str | None) -> None:
        with self._hearing:
            if call is self._heard:
                self._sign(Progress(fraction, message))

    def _beat(self, call: Call, details: JsonText | None) -> None:
        with self._hearing:
            if call is self._heard:
                self._details = self._details if details is None else details
                self._sign(Heartbeat(self._details))

    def _sign(self, report: Report) -> None:
        if self._signs is None:
            self._signs = _Signs(self._voice)
        self._signs.note(report)


class _Told:
    """What is awaited of something that the worker has been told, and sees to."""

    def __await__(self) -> Generator[object, None, None]:
        yield from ()


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the worker, out of the way of handlers that read and print."""
    orders, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, told


def _next(orders: BinaryIO) -> Welcome | Call | None:
    data = received(orders)
    return None if data is None else read_order(data)


async def _awaited(ending: Awaitable[JsonText | Outcome]) -> JsonText | Outcome:
    return await ending


def _program(main: str | None) -> ModuleType:
    """The worker's own program, loaded as a module."""
    if main is None:
        raise UsageError("the program has no file that another process could load")
    module = ModuleType(MAIN)
    run = runpy.run_path if os.path.isabs(main) else runpy.run_module
    module.__dict__.update(run(main, run_name=MAIN))
    return module


class _Forwarder(logging.Handler):
    """Sends lines to the worker, whose logs they belong to."""

    def __init__(self, voice: _Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        try:
            fields = dict(getattr(record, "kallista", {}))
            if record.exc_info and record.exc_info[1] is not None:
                fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
            text = json.dumps(fields, ensure_ascii=False, default=str)
            line = Line(record.name, record.levelno, record.getMessage(), record.created, text)
            self._voice.tell(line)
        except Exception:
            self.handleError(record)


def _send_logs(voice: _Voice, welcome: Welcome) -> None:
    for name, level in welcome.levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().addHandler(_Forwarder(voice))
