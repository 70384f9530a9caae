"""Whether and when a failed task is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from hashlib import blake2b
from typing import Final, TypeVar

from msgspec import Struct

from kallista.core.durations import LONGEST, parse_duration
from kallista.core.types import Micros
from kallista.errors import DefinitionError, UsageError

T = TypeVar("T")

NO_DELAY = Micros(0)


class RetryPolicy(Struct, frozen=True, gc=False):
    """How failed attempts of a task are tried again; by default not at all.

    Args:
        max_attempts: How many attempts there are, the first included.
        delay: The pause before the second attempt.
        backoff: By what each further pause is multiplied; 1 keeps it constant.
        max_delay: No pause is longer; None: a hundred years.
        jitter: The fraction (0 to 1) of a pause that may be cut off at random, so that many
            tasks that failed together don't return together.
        retry_on: Names of exceptions, short or qualified; only these are tried again. Empty:
            every one is.
        give_up_on: Names of exceptions that are never tried again; wins over ``retry_on``.
    """

    max_attempts: int = 1
    delay: Micros = NO_DELAY
    backoff: float = 2.0
    max_delay: Micros | None = None
    jitter: float = 0.0
    retry_on: tuple[str, ...] = ()
    give_up_on: tuple[str, ...] = ()


NO_RETRY: Final = RetryPolicy()
"""One attempt, and that is all."""


def parse_retry(data: object) -> RetryPolicy:
    """Read what a user gave as ``retry``.

    Args:
        data: None (no retry), a number of attempts, a mapping with the fields of
            ``RetryPolicy`` (lengths in any form ``parse_duration`` reads), or a policy.

    Raises:
        DefinitionError: Something in it is wrong; ``problems`` lists everything.
    """
    match data:
        case None:
            return NO_RETRY
        case RetryPolicy():
            return data
        case Mapping():
            return _parse_mapping(data)
        case _:
            return _parse_mapping({"max_attempts": data})


def _parse_mapping(data: Mapping[object, object]) -> RetryPolicy:
    problems = [*_unknown_keys(data)]
    default = NO_RETRY

    def read(key: str, reader: Callable[[object], T], otherwise: T) -> T:
        if key not in data:
            return otherwise
        try:
            return reader(data[key])
        except UsageError as problem:
            problems.append(f"retry.{key}: {problem}")
            return otherwise

    policy = RetryPolicy(
        max_attempts=read("max_attempts", _attempts, default.max_attempts),
        delay=read("delay", parse_duration, default.delay),
        backoff=read("backoff", _backoff, default.backoff),
        max_delay=read("max_delay", _optional_duration, default.max_delay),
        jitter=read("jitter", _fraction, default.jitter),
        retry_on=read("retry_on", _names, default.retry_on),
        give_up_on=read("give_up_on", _names, default.give_up_on),
    )
    if problems:
        raise DefinitionError("the retry policy has problems", problems)
    return policy


def _unknown_keys(data: Mapping[object, object]) -> Iterable[str]:
    known = RetryPolicy.__struct_fields__
    for key in data:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            yield f"retry.{key}: there is no such key; {hint}"


def _attempts(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000:
        return value
    raise UsageError(f"must be a whole number from 1 to 1000000, the first included, not {value!r}")


def _backoff(value: object) -> float:
    factor = _finite(value)
    if factor < 1:
        raise UsageError(f"must be 1 (constant) or more, not {value!r}")
    return factor


def _fraction(value: object) -> float:
    fraction = _finite(value)
    if not 0 <= fraction <= 1:
        raise UsageError(f"must be a fraction from 0 to 1, not {value!r}")
    return fraction


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f"must be finite, not {value!r}")
    return number


def _optional_duration(value: object) -> Micros | None:
    return None if value is None else parse_duration(value)


def _names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(map(_is_dotted_name, names)):
        raise UsageError(
            f"must be names of exceptions, like [TimeoutError, httpx.HTTPError], not {value!r}"
        )
    return tuple(names)


def _is_dotted_name(value: object) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def delay_before(
    policy: RetryPolicy, attempt: int, noise: float, at_least: Micros = NO_DELAY
) -> Micros:
    """How long to wait before an attempt.

    Args:
        policy: The task's policy.
        attempt: The number of the attempt to come; the first (1) is never delayed.
        noise: From 0 up to but not including 1; how much of the jitter is cut off. Take it from
            ``noise``, so that the same decision made twice waits the same.
        at_least: What the failure itself asks for.

    Returns:
        ``delay * backoff ** (attempt - 2)`` less the jitter's share, or ``at_least`` if that is
        longer; at most ``max_delay``.
    """
    if attempt <= 1:
        return NO_DELAY
    ceiling = LONGEST if policy.max_delay is None else policy.max_delay
    length = 0
    if policy.delay > 0:
        length = min(_grown(policy.delay, policy.backoff, attempt - 2, ceiling), ceiling)
        length -= int(length * policy.jitter * noise)
    return Micros(max(length, min(at_least, ceiling)))


def _grown(delay: int, factor: float, times: int, ceiling: int) -> int:
    # Compared as logarithms first: the power itself would overflow for high attempts.
    if math.log(delay) + times * math.log(factor) >= math.log(max(ceiling, 1)):
        return ceiling
    return int(delay * factor**times)


def noise(run_id: str, task_id: str, attempt: int) -> float:
    """A number from 0 up to but not including 1 that looks random and is always the same.

    Decisions must come out the same on replay, so luck is a hash of whom it concerns.
    """
    text = f"{len(run_id)}:{run_id}{len(task_id)}:{task_id}{attempt}"
    digest = blake2b(text.encode(), digest_size=8).digest()
    # 53 bits are what a float holds exactly; more would round up to 1.0 now and then.
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def retryable(policy: RetryPolicy, error_types: Sequence[str]) -> bool:
    """Whether a failure of this kind may be tried again, attempts left over or not.

    Args:
        policy: The task's policy.
        error_types: The names of the exception's class and of all its bases, short, qualified
            or both; a name of the policy matches its short or its qualified form.
    """
    names = {form for name in error_types for form in (name, name.rpartition(".")[2])}
    if not names.isdisjoint(policy.give_up_on):
        return False
    return not policy.retry_on or not names.isdisjoint(policy.retry_on)
