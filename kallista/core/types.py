"""The small names that every layer shares: ids, JSON, moments and lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NewType, TypeAlias

RunId = NewType("RunId", str)
"""What a user calls a run: given by the user, or a generated UUIDv7."""

RunKey = NewType("RunKey", int)
"""What the store calls a run: a small integer, so that rows stay small."""

StepId = NewType("StepId", str)
"""The id of a step or task inside its definition."""

ScheduleId = NewType("ScheduleId", str)

WorkerKey = NewType("WorkerKey", int)

TaskType = NewType("TaskType", str)
"""The name under which a handler is registered."""

Micros = NewType("Micros", int)
"""Whole microseconds: a length, or a moment in UTC since 1970."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a payload may be once it is plain data."""

JsonMap: TypeAlias = "Mapping[str, Json]"

JsonText = NewType("JsonText", str)
"""A payload already encoded: it is encoded once and carried as text."""

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""How long one encoded payload may be unless configured otherwise: 1 MiB."""
