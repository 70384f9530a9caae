"""What a firing hands to the run it starts: values that may name it, as ``${firing.moment}``.

They are written where the schedule is created, checked there on an example, and filled in when it
fires; the run that is started sees plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from kallista.core.durations import to_datetime
from kallista.core.expressions import Compiled, Scope, compile_value
from kallista.core.ids import moment_text
from kallista.core.triggers import Cron, Trigger, parts_of
from kallista.core.types import Json, Micros, ScheduleId
from kallista.core.wall_clock import zone_named
from kallista.errors import ExpressionError

FIRING: Final = "firing"
"""Where references to a firing start."""

NAMES: Final = ("moment", "local", "date", "schedule")
"""What they may name: its moment in UTC, the same on the wall clock of the schedule's zone and the
day there, each in ISO 8601, and the schedule's id."""


def scope_of(schedule: ScheduleId, trigger: Trigger, moment: Micros) -> Scope:
    """What the values of a firing may read.

    Args:
        schedule: Which schedule fires.
        trigger: Its trigger; the zone is that of its first cron expression, UTC if it has none.
        moment: The moment of the firing.
    """
    zones = [part.timezone for part in parts_of(trigger) if isinstance(part, Cron)]
    local = to_datetime(moment).astimezone(zone_named((zones and zones[0]) or "UTC"))
    return {
        FIRING: {
            "moment": moment_text(moment),
            "local": local.isoformat(),
            "date": local.date().isoformat(),
            "schedule": schedule,
        }
    }


def compile_firing_value(value: object) -> Compiled | None:
    """Read what of a value names the firing.

    Args:
        value: Plain data, or data that holds something else where no text is.

    Returns:
        The compiled form; None if nothing in it names the firing.

    Raises:
        ExpressionError: An expression is wrong, or reads something else beside the firing.
    """
    if not _mentions(value):
        return None
    compiled = compile_value(cast("Json", value))
    references = () if compiled is None else sorted(compiled.references)
    if not any(reference.root == FIRING for reference in references):
        return None
    wrong = [
        f"{reference} means nothing here: a schedule knows {', '.join(map(_reference, NAMES))}"
        for reference in references
        if reference.root != FIRING or reference.name not in NAMES
    ]
    if wrong:
        raise ExpressionError("what the schedule starts holds wrong expressions", wrong)
    return compiled


def filled_in(values: Mapping[str, Json], scope: Scope) -> Mapping[str, Json]:
    """Values with the firing put in where they name it.

    Raises:
        ExpressionError: An operation does not fit its values.
    """
    compiled = {key: compile_firing_value(value) for key, value in values.items()}
    return {
        key: value if (part := compiled[key]) is None else part.evaluate(scope)
        for key, value in values.items()
    }


def template_of(given: Mapping[str, Json], example: Mapping[str, Json]) -> Mapping[str, Json]:
    """Values to be filled in at each firing.

    Args:
        given: As a user gave them.
        example: The same for one firing, checked and completed.
    """
    return {
        key: given[key] if key in given and compile_firing_value(given[key]) else value
        for key, value in example.items()
    }


def _reference(name: str) -> str:
    return f"${{{FIRING}.{name}}}"


def _mentions(value: object) -> bool:
    """Whether any text in it may name the firing."""
    match value:
        case str():
            return "${" in value and FIRING in value
        case list():
            return any(map(_mentions, value))
        case dict():
            return any(map(_mentions, value.values()))
        case _:
            return False
