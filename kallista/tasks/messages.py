"""What a worker and the processes of its handlers tell each other: JSON, its length in front."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec

from kallista.core.types import RunId, StepId, TaskType

HEADER: Final = struct.Struct("!I")
"""How many bytes follow."""


class _Message(msgspec.Struct, frozen=True, tag_field="is", tag=True):
    """Anything they tell."""


class Welcome(_Message, frozen=True):
    """The first message to a process.

    Args:
        parent: The worker's process id.
        main: The program that the worker is: the name of a module, or a file; None: neither.
        levels: The lowest level that is logged, for each logger that says so itself.
    """

    parent: int
    main: str | None
    levels: dict[str, int]


class Call(_Message, frozen=True):
    """A handler is to be called.

    Args:
        module: Where its function stands.
        file: The module's file, if it has one.
        name: The function's qualified name there.
        type: The task type; this and the rest are as in ``Invocation``.
    """

    module: str
    file: str | None
    name: str
    type: TaskType
    run_id: RunId
    task_id: StepId
    attempt: int
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    max_result_bytes: int
    generation: int
    heartbeat_details: str | None


class Progress(_Message, frozen=True):
    """How far the handler is."""

    fraction: float
    message: str | None


class Heartbeat(_Message, frozen=True):
    """The handler goes on; the details, if it has given any, are JSON."""

    details: str | None


class Spent(_Message, frozen=True):
    """The handler has spent so many billionths of a unit."""

    amount: int
    unit: str


class Line(_Message, frozen=True):
    """Something was logged.

    Args:
        logger: By which logger.
        level: How important it is.
        text: The line.
        at: When, in seconds since 1970.
        fields: What else it says, as JSON.
    """

    logger: str
    level: int
    text: str
    at: float
    fields: str


class Returned(_Message, frozen=True):
    """The handler has returned a result, which is JSON."""

    result: str


class Ended(_Message, frozen=True):
    """The handler has ended otherwise, without raising: an outcome, as JSON."""

    outcome: str


class Raised(_Message, frozen=True):
    """The handler has raised; the fields are those of ``Failure`` and ``Failed``."""

    type: str
    message: str
    traceback: str | None
    kinds: tuple[str, ...]
    retry_after: int


Order: TypeAlias = Welcome | Call
"""What a worker tells a process."""

Answer: TypeAlias = Returned | Ended | Raised
"""The last that a process tells about a call."""

Report: TypeAlias = Progress | Heartbeat | Spent | Line | Answer
"""What a process tells its worker."""

_read_order: Final = msgspec.json.Decoder(Order)
_read_report: Final = msgspec.json.Decoder(Report)
_write: Final = msgspec.json.Encoder().encode


def read_order(data: bytes) -> Order:
    """What a worker has told."""
    order: Order = _read_order.decode(data)
    return order


def read_report(data: bytes) -> Report:
    """What a process has told."""
    report: Report = _read_report.decode(data)
    return report


def framed(message: Order | Report) -> bytes:
    """A message as it is sent; what its texts hold that is no Unicode is replaced."""
    try:
        data = _write(message)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(message), ensure_ascii=False)
        data = text.encode("utf-8", "replace")
    return HEADER.pack(len(data)) + data


def received(stream: BinaryIO) -> bytes | None:
    """The next message; None: whoever sends them has gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    data = stream.read(length)
    return data if len(data) == length else None
