"""The ids of runs, firings and attempts: checked when given, computed when made.

Nothing here draws luck or reads a clock: who makes an id brings both. Ids that Kallista makes
from others join them with characters that no user's id may hold, so they never collide with one.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import msgspec

from kallista.core.durations import to_datetime
from kallista.core.types import JsonText
from kallista.errors import UsageError

MAX_LENGTH = 200
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
_SHOWN = 60


def is_id(value: object) -> bool:
    """Whether a value may be an id that a user gives."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def may_exist(value: object) -> bool:
    """Whether anything can have this id; ids of users and those made from them are plain ASCII.

    Stores need not be asked for others, which some of them could not even compare.
    """
    return isinstance(value, str) and value.isascii() and value.isprintable()


def check_id(value: object, what: str) -> str:
    """Check an id that a user gives.

    Args:
        value: The id.
        what: What it names, for the message ("workflow id").

    Returns:
        The id, unchanged.

    Raises:
        UsageError: It is no text of 1 to 200 letters, digits and ``. _ : -`` that starts with a
            letter or a digit.
    """
    if isinstance(value, str) and is_id(value):
        return value
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}… ({len(shown)} characters)"
    raise UsageError(
        f"{shown} is no {what}: use 1 to {MAX_LENGTH} of A-Z a-z 0-9 . _ : - "
        "and start with a letter or a digit"
    )


def uuid7(now: int, entropy: bytes) -> str:
    """A UUID of version 7 (RFC 9562, 5.7), made from its arguments alone.

    Args:
        now: The moment, in microseconds since 1970; ids made later sort later, down to a
            quarter of a microsecond (method 3 of RFC 9562, 6.2).
        entropy: At least 8 random bytes.

    Returns:
        36 characters, lower case.

    Raises:
        ValueError: There is too little entropy, or the moment lies before 1970.
    """
    if len(entropy) < 8 or now < 0:
        raise ValueError("a UUIDv7 needs 8 bytes of entropy and a moment after 1970")
    milliseconds, micros = divmod(now, 1_000)
    high = (milliseconds & (1 << 48) - 1) << 16 | 0x7 << 12 | (micros << 12) // 1_000
    low = 0b10 << 62 | int.from_bytes(entropy[:8], "big") >> 2
    digits = f"{high << 64 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def child_id(run_id: str, step_id: str, generation: int) -> str:
    """The id of the run that a step starts; the same again for the same generation.

    Args:
        run_id: The parent's id.
        step_id: The step's id.
        generation: 0 at first, one more each time the step is done afresh.

    Returns:
        ``run/step``, or ``run/step~generation`` afterwards; a hash takes the place of
        the end where that would be longer than 200 characters.
    """
    return _bounded(f"{run_id}/{step_id}" + (f"~{generation}" if generation else ""))


def item_id(run_id: str, step_id: str, index: int) -> str:
    """The id of the run of one item: ``run/step/index``, so that an item runs once.

    Args:
        run_id: The id of the run whose step goes through the list.
        step_id: The step's id.
        index: Where the item stands in the list, from 0 on.
    """
    return _bounded(f"{run_id}/{step_id}/{index}")


def firing_id(schedule_id: str, moment: int) -> str:
    """The id of a firing's task: ``schedule@moment``, so that a moment fires once.

    Args:
        schedule_id: The schedule's id.
        moment: The due moment in microseconds since 1970.
    """
    return _bounded(f"{schedule_id}@{moment_text(moment)}")


def moment_text(moment: int) -> str:
    """A moment (microseconds since 1970) in UTC as ids show it: ``2030-05-01T09:00:00Z``."""
    due = to_datetime(moment)
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if due.microsecond else "%Y-%m-%dT%H:%M:%SZ"
    return due.strftime(form)


def _bounded(text: str) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: MAX_LENGTH - len(digest) - 1]}~{digest}"


def idempotency_key(run_id: str, task_id: str, generation: int) -> str:
    """What a handler hands to other systems so that they do a thing once.

    The same for every attempt of a task and for a retry of its run; another one for another
    generation (a task done afresh on purpose).

    Returns:
        32 hexadecimal characters, which any system's key field takes.
    """
    text = f"{len(run_id)}:{run_id}{len(task_id)}:{task_id}{generation}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def content_hash(data: object) -> str:
    """The hash of plain data, whatever the order of its keys.

    Returns:
        32 hexadecimal characters.

    Raises:
        UsageError: The data cannot be written as JSON.
    """
    return blake2b(_canonical(data), digest_size=16).hexdigest()


def text_hash(text: JsonText) -> str:
    """The hash of data whose canonical JSON this is: the same as ``content_hash`` of the data."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def canonical_json(data: object) -> JsonText:
    """Plain data as JSON with sorted keys: equal data give equal text.

    Raises:
        UsageError: The data cannot be written as JSON.
    """
    return JsonText(_canonical(data).decode())


def _canonical(data: object) -> bytes:
    try:
        return _encode_sorted(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as problem:
        raise UsageError(f"this is no plain data: {problem}") from problem
