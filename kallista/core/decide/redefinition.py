"""A run that has failed goes on with another definition."""

from __future__ import annotations

from kallista.core.commands import Command
from kallista.core.encoding import definition_hash
from kallista.core.redefining import misfits, redefined, told
from kallista.core.run import Draft
from kallista.core.states import EventKind
from kallista.core.types import Micros
from kallista.errors import StateError


def is_other(draft: Draft, command: Command) -> bool:
    """Whether a command brings a definition that is another one than the run's."""
    if command.definition is None:
        return False
    return definition_hash(command.definition) != definition_hash(draft.run.definition)


def adopt(draft: Draft, command: Command, now: Micros) -> None:
    """Let the run go on with the definition that a command brings.

    Raises:
        StateError: It does not fit what was done; all reasons are told.
    """
    run, definition = draft.run, command.definition
    assert definition is not None, "who asks has looked"
    problems = [*misfits(run, definition)]
    if problems:
        raise StateError(
            f"{run.kind} {run.id!r} cannot go on with that definition: {'; '.join(problems)};"
            f" fork it instead, or retry it with its own"
        )
    data = told(run, definition)
    draft.go_on_as(redefined(run, definition))
    draft.record(EventKind.RUN_REDEFINED, now, data=data)
