"""The task type ``wait_for_signal``: what comes from outside, with no worker held meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from kallista.core import fields
from kallista.core.outcomes import Asks
from kallista.core.payloads import payload_problems, payload_schema
from kallista.core.plain import plain
from kallista.core.problems import Problems
from kallista.core.questions import Question
from kallista.core.types import Json
from kallista.errors import UsageError

STATIC: Final = ("signal", "schema")
"""What decides whether a signal is taken has to be known when the task is created."""


async def wait_for_signal(
    signal: object = "", schema: object = None, default: object = UNSET
) -> Asks:
    """Wait for a signal; that survives restarts and holds no worker.

    ``timeout`` of the task is how long to wait. The result is the signal's payload.

    Args:
        signal: The signal's name; the task's id when not said.
        schema: The JSON Schema of its payload; another one is refused when it is sent.
        default: The result once the time is over; without it the task fails.
    """
    problems = Problems()
    question = _question(signal, schema, default, problems)
    if problems:
        raise UsageError("the signal cannot be waited for", problems.lines)
    return Asks(question)


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """What is wrong with a task that waits for a signal, as far as it is known yet."""
    problems = Problems()
    for key in STATIC:
        if key in unresolved:
            problems.add(f"{key} has to be known beforehand; leave the ${{…}} out")
    known = {key: value for key, value in config.items() if key not in unresolved}
    default = known.get("default", UNSET)
    _question(known.get("signal", ""), known.get("schema"), default, problems)
    return problems.lines


def _question(signal: object, schema: object, default: object, problems: Problems) -> Question:
    name = "" if signal == "" else fields.identifier(signal, "name of a signal", problems)
    form = None if schema is None else payload_schema(schema, problems.at("schema"))
    value: Json | UnsetType = UNSET
    if not isinstance(default, UnsetType):
        wrong: list[str] = []
        value = plain(default, "default", wrong)
        problems.add_all(wrong)
        if form is not None:
            problems.add_all(payload_problems(value, form, "default"))
    return Question(signal=name or "", schema=form, default=value)
