"""Reads what is done at the end of a run: what undoes its steps, and what runs whatever the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from kallista.core import fields
from kallista.core.definitions import Phase, StepSpec
from kallista.core.parsing.defaults import Defaults
from kallista.core.parsing.tasks import Reading, References, read_step, read_task, too_many
from kallista.core.problems import Problems

UNDO: Final = "undo:"
"""What the id of a step begins with that undoes the one named behind it."""

NOT_IN_UNDOING: Final = (
    "id", "name", "when", "depends_on", "trigger_rule", "compensate", "tags", "continue_on_error",
    "expires_at",
)  # fmt: skip
"""Keys of a task that mean nothing where it undoes another one."""

NOT_IN_FINALLY: Final = ("depends_on", "trigger_rule", "compensate", "tags", "expires_at")
"""Keys of a task that mean nothing where it runs whatever the end."""


class Last:
    """The last steps of a definition, as they are read one by one.

    Args:
        defaults: What the definition says.
        reading: Knows the task types and the limits.
    """

    def __init__(self, defaults: Defaults, reading: Reading) -> None:
        self._defaults = defaults
        self._reading = reading
        self._undoing: list[tuple[StepSpec, References, Problems]] = []
        self._finals: list[tuple[StepSpec, References, Problems]] = []

    def undo(self, id: str, position: int, data: Mapping[str, object], problems: Problems) -> None:
        """Read what undoes a step, if it says so.

        Args:
            id: The step's id.
            position: Where it stands.
            data: The step.
            problems: Where its problems are noted.
        """
        given = data.get("compensate")
        if given is None:
            return
        place = problems.at("compensate")
        task = fields.mapping(given, "compensate", place)
        for key in NOT_IN_UNDOING:
            if key in task:
                place.add(f"{key!r} has no meaning there; leave it out")
        work, read = read_task(task, self._defaults, self._reading, place)
        spec = read_step(f"{UNDO}{id}", task, work, (), self._defaults, place)
        # Whatever holds for the others: what could not be undone must not pass for undone.
        spec = replace(spec, phase=Phase.UNDO, undoes=position, continue_on_error=False)
        self._undoing.append((spec, read, place))

    def final(self, id: str, data: Mapping[str, object], problems: Problems) -> None:
        """Read a task that runs whatever the end.

        Args:
            id: Its id.
            data: The task.
            problems: Where its problems are noted.
        """
        for key in NOT_IN_FINALLY:
            if key in data:
                problems.add(f"{key!r} has no meaning in finally; leave it out")
        work, read = read_task(data, self._defaults, self._reading, problems)
        spec = read_step(id, data, work, (), self._defaults, problems)
        self._finals.append((replace(spec, phase=Phase.FINALLY), read, problems))

    @property
    def all(self) -> Sequence[tuple[StepSpec, References, Problems]]:
        """The steps in the order of a definition, what each reads, and where problems are noted."""
        return [*self._undoing, *self._finals]

    def too_many(self, main: int) -> str | None:
        """What is wrong with a definition that has so many main steps beside these, if anything."""
        count, limits = main + len(self._undoing) + len(self._finals), self._reading.limits
        if count == main or count <= limits.max_steps:
            return None
        return too_many(count, "steps, with what undoes them and what runs at the end", limits)

    @property
    def can_undo(self) -> bool:
        """Whether anything is undone at all."""
        return bool(self._undoing)


def read_by(step: StepSpec, main: int) -> tuple[int, ...]:
    """The positions of the steps that a last step may read.

    Args:
        step: What undoes another one may read that; what runs at the end all of the main phase.
        main: How many those are.
    """
    return tuple(range(main)) if step.undoes is None else (step.undoes,)
