"""Pauses that stop the clocks of a run: since when they stand still, and what is later by that."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from kallista.core.events import Event, RunHead, StepState
from kallista.core.json_text import from_json
from kallista.core.states import ProcessStatus
from kallista.core.types import Micros

STOP_CLOCKS: Final = "stop_clocks"
"""What a pause that stops the clocks says in history."""


def clocks_after(head: RunHead, event: Event, state: ProcessStatus) -> tuple[Micros | None, Micros]:
    """Since when a run's clocks stand still after an event, and how long they did before.

    Args:
        head: The run before the event.
        event: What happens to the run.
        state: Where that leads to.
    """
    still = head.still_since
    if state is ProcessStatus.PAUSED:
        stops = event.data is not None and from_json(event.data).get(STOP_CLOCKS) is True
        return (event.at if still is None and stops else still), head.stood_still
    if still is None:
        return None, head.stood_still
    return None, Micros(head.stood_still + max(event.at - still, 0))


def moved(step: StepState, by: Micros) -> StepState:
    """A step for which no time has passed: all that is to come, and its deadline, is later.

    Args:
        step: The step as it was when the clocks were stopped.
        by: For how long they have stood still.
    """
    if step.ended_at is not None or (step.ready_at is None and step.since is None):
        return step
    return replace(
        step,
        ready_at=None if step.ready_at is None else Micros(step.ready_at + by),
        since=None if step.since is None else Micros(step.since + by),
    )
