"""Writes ``docs/states.md``: the state diagrams, drawn from the tables of ``kallista.core.states``.

Run it after changing a table; a test fails when the two differ::

    python tools/draw_states.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kallista.core.decide import possible
from kallista.core.states import (
    FINISHED_RUN,
    FINISHED_STEP,
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    EventKind,
    ProcessStatus,
    TaskStatus,
)

TARGET = Path(__file__).parent.parent / "docs" / "states.md"


def main() -> None:
    """Write the page."""
    TARGET.write_text(drawn(), encoding="utf-8", newline="\n")


def drawn() -> str:
    """The whole page."""
    return f"""# States

This page is drawn from the tables in `kallista/core/states.py` by `tools/draw_states.py`; they are
the only place that knows which event leads from which state to which.

## Workflows and processes

Only a process is ever WAITING (for the processes in its `dependencies`).

{_diagram(ProcessStatus.PENDING, RUN_TRANSITIONS, FINISHED_RUN)}

What can be asked of a run in each state; a repeat changes nothing, all else is a `StateError`:

| state | commands that do something |
|---|---|
{_commands()}

## Tasks and steps

READY is not stored: a SCHEDULED step whose moment has come is READY, so that nobody has to move it.

{_diagram(TaskStatus.SCHEDULED, STEP_TRANSITIONS, FINISHED_STEP)}
"""


def _diagram(
    first: ProcessStatus | TaskStatus,
    table: Mapping[tuple[ProcessStatus, EventKind], ProcessStatus]
    | Mapping[tuple[TaskStatus, EventKind], TaskStatus],
    last: frozenset[ProcessStatus] | frozenset[TaskStatus],
) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {before} --> {after}: {event}" for (before, event), after in table.items()]
    lines += [f"    {state} --> [*]" for state in sorted(last)]
    return "\n".join([*lines, "```"])


def _commands() -> str:
    return "\n".join(
        f"| {state} | {', '.join(possible(state)) or '(none)'} |"
        for state in ProcessStatus
        if state is not ProcessStatus.COMPENSATING
    )


if __name__ == "__main__":
    main()
