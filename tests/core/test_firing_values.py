"""What a schedule hands to what it starts: the firing's moment, filled in, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kallista.core.durations import to_micros
from kallista.core.firing_values import compile_firing_value, filled_in, scope_of, template_of
from kallista.core.parsing import Limits, parse_workflow
from kallista.core.triggers import AnyOf, Cron, Every, Trigger
from kallista.core.types import Json, ScheduleId
from kallista.errors import DefinitionError, ExpressionError

MOMENT = to_micros(datetime(2026, 3, 29, 22, 30, tzinfo=UTC))
BERLIN = Cron("30 0 * * *", "Europe/Berlin")
SCOPE = scope_of(ScheduleId("nightly"), BERLIN, MOMENT)


@pytest.mark.parametrize(
    ("trigger", "local", "date"),
    [
        (BERLIN, "2026-03-30T00:30:00+02:00", "2026-03-30"),
        (AnyOf(Every(5), BERLIN), "2026-03-30T00:30:00+02:00", "2026-03-30"),
        (Every(5), "2026-03-29T22:30:00+00:00", "2026-03-29"),
    ],
)
def test_a_firing_tells_its_moment(trigger: Trigger, local: str, date: str) -> None:
    """In UTC, and as the clock and the calendar of the cron expression's zone show it."""
    scope = scope_of(ScheduleId("nightly"), trigger, MOMENT)
    values: dict[str, Json] = {
        "at": "${firing.moment}",
        "local": "${firing.local}",
        "paths": ["${firing.schedule}/${firing.date}.csv", 5],
        "plain": {"x": "$5 for {you}"},
    }
    assert filled_in(values, scope) == {
        "at": "2026-03-29T22:30:00Z",
        "local": local,
        "paths": [f"nightly/{date}.csv", 5],
        "plain": {"x": "$5 for {you}"},
    }


def test_only_what_names_the_firing_is_filled_in() -> None:
    """Other texts stay as they are, also those that look like references."""
    assert filled_in({"a": "${inputs.x}", "b": "the firing squad"}, SCOPE) == {
        "a": "${inputs.x}",
        "b": "the firing squad",
    }
    assert filled_in({"a": "${firing.date} costs $${5}"}, SCOPE) == {"a": "2026-03-30 costs ${5}"}
    unread = object()
    assert compile_firing_value({"a": unread, "b": "x"}) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${firing.momentum}", "firing.momentum means nothing here.*firing.moment}.*firing.local}"),
        ("${firing.moment} ${inputs.x}", "inputs.x means nothing here"),
        ("${firing.moment", "never closed"),
        ("${firing.moment + }", ""),
    ],
)
def test_a_wrong_reference_says_what_there_is(text: str, says: str) -> None:
    """It is told when the schedule is created, not when it fires."""
    with pytest.raises(ExpressionError) as caught:
        compile_firing_value({"deep": [text]})
    assert pytest.importorskip("re").search(says, str(caught.value))


def test_a_template_keeps_what_was_checked_but_for_what_names_the_firing() -> None:
    """Defaults and conversions are those of the example; the texts are the user's own."""
    given: dict[str, Json] = {"day": "${firing.date}", "size": "5"}
    example: dict[str, Json] = {"day": "2026-03-30", "size": 5, "dry": False}
    assert template_of(given, example) == {"day": "${firing.date}", "size": 5, "dry": False}


def test_a_definition_knows_no_firing() -> None:
    """A workflow may run without a schedule; the message says where its moment is known."""
    with pytest.raises(DefinitionError, match="firing.moment is known where a schedule starts"):
        parse_workflow(
            "w",
            [{"type": "note", "config": {"at": "${firing.moment}"}}],
            None,
            lambda type, config, keys: [],
            Limits(),
        )
