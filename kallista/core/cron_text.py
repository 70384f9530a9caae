"""The language of cron: what an expression says, read by cronsim; no time zone comes into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from kallista.errors import UsageError

_WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L (the last day) or LW (the last weekday), and a day its months have",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (the last Friday) or 1#2 "
    "(the second Monday)",
}
_FIRST_YEAR: Final = datetime(2000, 1, 1)


def check_expression(expression: object) -> None:
    """Check a cron expression.

    Raises:
        UsageError: It cannot be read, or no date ever fits.
    """
    if not isinstance(expression, str) or not expression.isascii():
        raise UsageError(f'a cron expression is a text like "0 9 * * MON-FRI", not {expression!r}')
    fields = spelled_out(expression)
    if next(wall_times(fields, _FIRST_YEAR), None) is None:
        raise UsageError(f"no date ever fits the cron expression {expression!r}")


def spelled_out(expression: str) -> str:
    """The fields of an expression, which may be a word such as ``@daily``.

    Raises:
        UsageError: There is no such word; those that there are are listed.
    """
    stripped = expression.strip()
    if not stripped.startswith("@"):
        return stripped
    if stripped.lower() in _WORDS:
        return _WORDS[stripped.lower()]
    raise UsageError(f"there is no cron word {stripped!r}; there are {', '.join(_WORDS)}")


def is_every_hour(fields: str) -> bool:
    """Whether the hour is left open, so that a rhythm is meant."""
    return fields.split()[-4] in {"*", "*/1"}


def wall_times(fields: str, after: datetime) -> Iterator[datetime]:
    """The naive wall-clock times that fit, strictly after one, each once and ascending.

    Raises:
        UsageError: The fields cannot be read.
    """
    # Imported here: only who uses cron pays for it at start.
    from cronsim import CronSim, CronSimError

    try:
        return iter(CronSim(fields, after))
    except (CronSimError, AssertionError, TypeError, ValueError) as problem:
        raise UsageError(_explained(fields, str(problem))) from None


def _explained(fields: str, problem: str) -> str:
    parts = fields.split()
    names = list(_FIELDS)[-len(parts) :]
    name = problem.removeprefix("Bad ")
    if len(parts) not in (5, 6):
        return (
            f"the cron expression {fields!r} has {len(parts)} fields; it needs five "
            "(minute hour day-of-month month day-of-week), or six with seconds first"
        )
    if name not in names:
        return f"the cron expression {fields!r} cannot be read"
    part = parts[names.index(name)]
    return f"{name} {part!r} in the cron expression {fields!r} does not fit: {_FIELDS[name]}"
