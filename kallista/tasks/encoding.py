"""Encodes what a handler returns, once, as JSON text."""

from __future__ import annotations

from typing import Final

import msgspec

from kallista.core.plain import as_basic, plain
from kallista.core.types import JsonText, StepId
from kallista.errors import UsageError

NULL: Final = JsonText("null")

_encoder = msgspec.json.Encoder(enc_hook=as_basic)


def encode(value: object, task_id: StepId, limit: int, what: str = "the result") -> JsonText:
    """A result as JSON text.

    Args:
        value: What a handler returned.
        task_id: Of which task, for the message.
        limit: How many bytes it may have.
        what: What it is, for the message.

    Raises:
        UsageError: It is no plain data (the message names the place and the type), holds NaN or
            infinity, or is too large.
    """
    if value is None:
        return NULL
    try:
        data = _encoder.encode(value)
        text = JsonText(data.decode())
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise _explained(value, task_id, what) or UsageError(
            f"{what} of {task_id!r} cannot be written as JSON: {error}"
        ) from error
    if len(data) > limit:
        raise too_large(f"{what} of {task_id!r}", len(data), limit)
    # NaN and infinity are written as null; a look at the text is cheaper than one at every value.
    if "null" in text:
        problem = _explained(value, task_id, what)
        if problem is not None:
            raise problem
    return text


def too_large(what: str, size: int, limit: int) -> UsageError:
    """The error for a payload beyond the limit."""
    return UsageError(
        f"{what} has {size:,} bytes, and a payload may have {limit:,}; write it to a file and"
        " return the file's name, or raise the limit (max_payload_bytes)"
    )


def _explained(value: object, task_id: StepId, what: str) -> UsageError | None:
    problems: list[str] = []
    plain(value, "", problems)
    if not problems:
        return None
    hint = "give JSON-like data, datetimes, UUIDs, bytes, dataclasses or pydantic models"
    return UsageError(f"{what} of {task_id!r} cannot be kept: {'; '.join(problems[:5])}; {hint}")
