"""A plain model of moments: nothing begins or ends before its time, whatever clocks were stopped.

It adds up what histories say, and knows nothing of how the engine keeps its moments.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from kallista.core.definitions import Definition
from kallista.core.events import Event
from kallista.core.states import EventKind, RunKind
from kallista.core.types import JsonText

_E = EventKind

SKEW = 800_000
"""By how much the clocks of two programs may differ: who lends a step asks its own, and who borrows
it has asked another."""


def early(
    definition: Definition, events: Sequence[Event], set_back: Collection[tuple[int, int]]
) -> Iterator[str]:
    """What of a run has happened too early, or while its clocks stood still.

    Args:
        definition: What it runs.
        events: Its history.
        set_back: From where to where clocks were set back: what had become due by then may begin
            at once afterwards, and no history says that it was due.
    """
    due: dict[int, int] = {}
    limit: int | None = None
    still: int | None = None
    for event in events:
        if event.step is None:
            if event.kind is _E.RUN_PAUSED:
                stops = _told(event.data).get("stop_clocks")
                still = event.at if still is None and stops else still
            elif still is not None:
                length = max(event.at - still, 0)
                due = {step: moment + length for step, moment in due.items()}
                limit = None if limit is None else limit + length
                still = None
            if event.kind in (_E.RUN_STARTED, _E.RUN_RETRIED) and definition.deadline is not None:
                limit = event.at + definition.deadline
            if limit is not None and event.at < limit and _is_out_of_time(event, definition.kind):
                yield f"its deadline ends it {(limit - event.at) / 1e6} s too early"
            continue
        moment = due.pop(event.step, None)
        begins = event.kind in (_E.TASK_STARTED, _E.TASK_COMPLETED)
        slack = SKEW if event.kind is _E.TASK_STARTED else 0
        is_early = begins and moment is not None and event.at < moment - slack
        if is_early and not _was_due(moment, event.at, set_back):
            yield f"step {event.step} goes on {(moment - event.at) / 1e6} s too early"
        if event.kind is _E.TASK_STARTED and still is not None:
            yield f"step {event.step} begins while the clocks stand still"
        told = json.loads(event.data or "null")
        if event.kind in (_E.TASK_WAITING, _E.TASK_SNOOZED) and isinstance(told, int):
            due[event.step] = told
        elif event.kind is _E.TASK_RETRYING:
            due[event.step] = told["ready_at"]


def _was_due(moment: int, begun: int, set_back: Collection[tuple[int, int]]) -> bool:
    return any(to - SKEW <= begun and moment <= shown + SKEW for shown, to in set_back)


def _is_out_of_time(event: Event, kind: RunKind) -> bool:
    told = _told(event.data)
    own = str(told.get("message", "")).startswith(f"the {kind}'s deadline")
    return event.kind in (_E.RUN_FAILED, _E.RUN_COMPENSATING) and own


def _told(data: JsonText | None) -> dict[str, object]:
    told = json.loads(data or "null")
    return told if isinstance(told, dict) else {}
