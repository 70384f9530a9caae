"""Collects what is wrong with a description, each line naming the place."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final

from kallista.errors import DefinitionError, UsageError

_SHOWN: Final = 100
# Looking for near names in thousands of ids takes longer than all the rest; nobody reads so many.
_HINTS: Final = 20


class Problems:
    """Problems of one place; those of the places within it are kept in the same list.

    Args:
        place: What comes before each line, like ``step 'design'``; empty at the top.
        found: The list to add to.
    """

    __slots__ = ("_found", "_place")

    def __init__(self, place: str = "", found: list[str] | None = None) -> None:
        self._place = place
        self._found: list[str] = [] if found is None else found

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def lines(self) -> list[str]:
        """All of them, those of inner places too."""
        return self._found

    def add(self, problem: str) -> None:
        """Note a problem of this place."""
        self._found.append(f"{self._place}: {problem}" if self._place else problem)

    def add_all(self, problems: Iterable[str]) -> None:
        """Note several problems of this place."""
        for problem in problems:
            self.add(problem)

    def add_error(self, error: UsageError, what: str = "") -> None:
        """Note what an error says: each of its problems where it lists several."""
        lead = f"{what}: " if what else ""
        self.add_all(f"{lead}{problem}" for problem in error.problems)

    def at(self, place: str) -> Problems:
        """The problems of a place within this one."""
        return Problems(f"{self._place}: {place}" if self._place else place, self._found)

    def near(self, word: str, known: Collection[str], otherwise: str) -> str:
        """A hint at the known word that was perhaps meant.

        Args:
            word: What was written.
            known: What there is.
            otherwise: What to say when nothing is near.
        """
        if len(self._found) >= _HINTS:
            return otherwise
        near = get_close_matches(word, known, n=2)
        return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise

    def raise_if_any(self, what: str) -> None:
        """Raise ``DefinitionError`` with everything found, if anything was.

        Args:
            what: What was read, for the first line.
        """
        if not self._found:
            return
        problems = self._found[:_SHOWN]
        if len(self._found) > _SHOWN:
            problems.append(f"… and {len(self._found) - _SHOWN:,} more")
        count = "a problem" if len(self._found) == 1 else f"{len(self._found):,} problems"
        raise DefinitionError(f"{what} has {count}", problems)
