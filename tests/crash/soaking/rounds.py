"""What a round is given: a place, a folder, and luck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from puppets import PATIENCE, Stage


class Place(Protocol):
    """A kind of store, of which every round gets a new one."""

    name: str

    def url(self, folder: Path) -> str | None:
        """A new, empty store for programs of this folder; None: a file in it."""
        ...


class Sqlite:
    """A file in the round's own folder."""

    name = "sqlite"

    def url(self, folder: Path) -> str | None:
        """The default."""
        return None


@dataclass(frozen=True)
class Round:
    """One round of a scenario.

    Args:
        place: What its store is.
        folder: Where its programs work; it is empty.
        chance: What everything in it is drawn from.
        size: How many workflows there are; other work goes with it.
        jitter: How many seconds at most a fault may come later than what it waits for; 0: at once.
        patience: For how many seconds a program may be silent before the round fails.
    """

    place: Place
    folder: Path
    chance: Random
    size: int = 4
    jitter: float = 0
    patience: float = PATIENCE

    def stage(self, settings: Mapping[str, str] | None = None) -> Stage:
        """Where its programs work, with these settings."""
        return Stage(self.folder, self.place.url(self.folder), settings, self.patience)
