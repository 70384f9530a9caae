"""Triggers for people: in short, and in words.

Both are read from stored data, so that a machine which does not know a trigger's zone can tell what
it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from kallista.core.cron_text import spelled_out
from kallista.core.durations import format_duration, to_datetime
from kallista.core.types import Json

_SOME_DAY: Final = datetime(2000, 1, 1)

_DST: Final = {
    "after": "a time that does not exist runs after the gap",
    "skip": "a time that does not exist is left out",
    "first": "one that comes twice runs the first time",
    "second": "one that comes twice runs the second time",
    "both": "one that comes twice runs both times",
}


def in_short(trigger: Mapping[str, Json]) -> str:
    """What a stored trigger says, as it was written: ``cron 30 2 * * * (Europe/Berlin)``."""
    match trigger:
        case {"type": "cron", "expression": str(expression), "timezone": str() | None as timezone}:
            unusual = f", {trigger['dst']}" if "dst" in trigger else ""
            return f"cron {expression} ({timezone or 'UTC'}{unusual})"
        case {"type": "every", "interval": int(interval)}:
            return f"every {format_duration(interval)}"
        case {"type": "at", "moment": int(moment)}:
            return f"at {to_datetime(moment)}"
        case {"type": "any", "of": list(parts)}:
            return ", ".join(in_short(part) for part in parts if isinstance(part, dict))
        case _:
            return json.dumps(trigger)


def in_words(trigger: Mapping[str, Json]) -> str:
    """What a stored trigger says, as a sentence would: ``at 02:30 every day, Europe/Berlin``."""
    match trigger:
        case {"type": "cron", "expression": str(expression), "timezone": str() | None as timezone}:
            dst = trigger.get("dst")
            unusual = f"; where clocks change, {_dst_words(dst)}" if isinstance(dst, str) else ""
            return f"{_cron_words(expression)}, {timezone or 'UTC'}{unusual}"
        case {"type": "every", "interval": int(interval), "start": int(start)}:
            return f"every {format_duration(interval)}, counted from {_moment(start)}"
        case {"type": "at", "moment": int(moment)}:
            return f"once, at {_moment(moment)}"
        case {"type": "any", "of": list(parts)}:
            return "; and ".join(in_words(part) for part in parts if isinstance(part, dict))
        case _:
            return in_short(trigger)


def _cron_words(expression: str) -> str:
    from cronsim import CronSim

    words = str(CronSim(spelled_out(expression), _SOME_DAY).explain())
    return words[:1].lower() + words[1:]


def _dst_words(dst: str) -> str:
    return ", ".join(_DST.get(word, word) for word in dst.split())


def _moment(moment: int) -> str:
    due = to_datetime(moment)
    form = "%Y-%m-%d %H:%M:%S.%f UTC" if due.microsecond else "%Y-%m-%d %H:%M:%S UTC"
    return due.strftime(form)
