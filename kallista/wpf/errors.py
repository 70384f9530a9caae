"""What can go wrong while an application is designed and generated, by whose turn it is to act."""

from __future__ import annotations

from collections.abc import Sequence

from kallista.errors import ConflictError, KallistaError, UsageError


class DesignError(UsageError):
    """The specification cannot become an application; ``problems`` lists everything at once."""


class PatternError(DesignError):
    """The specification asks for an architecture that there are no templates for."""


class OutputError(KallistaError):
    """The output folder cannot be written, or what it holds is not what was generated."""


class OutputConflictError(ConflictError):
    """The output folder holds other files of this name, written by somebody else.

    Args:
        folder: The output folder, as it was asked for.
        problems: A line for each file, saying whose it is.
    """

    def __init__(self, folder: str, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        message = (
            f"{folder} already holds other content under {len(self.problems)} of these names; "
            "choose another output_dir, or set overwrite: true to replace it:"
        )
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))
