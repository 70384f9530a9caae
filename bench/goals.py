"""What Kallista must reach in each row, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

JOURNAL = "bare journal"
SQLITE = "kallista (SQLite)"
POSTGRES = "kallista (PostgreSQL)"
RIVAL = "pgqueuer"

Look = Callable[[str, str, str], float | None]


@dataclass(frozen=True)
class Goal:
    """Something that must be reached.

    Args:
        words: What, for people.
        reached: Whether it is, by a function that finds a figure of a system, a row and a name;
            it raises ``TypeError`` where a figure is missing.
    """

    words: str
    reached: Callable[[str, Look], bool]


def _at_least(least: float, row: str, figure: str) -> Callable[[str, Look], bool]:
    return lambda system, look: _known(look(system, row, figure)) >= least


def _at_most(row: str, **most: float) -> Callable[[str, Look], bool]:
    return lambda system, look: all(
        _known(look(system, row, name)) <= limit for name, limit in most.items()
    )


def _known(value: float | None) -> float:
    if value is None:
        raise TypeError
    return value


def _of_journal(system: str, look: Look) -> bool:
    return _known(look(system, "W1", "steps_s")) >= 0.4 * _known(look(JOURNAL, "W1", "steps_s"))


def _of_fsync(system: str, look: Look) -> bool:
    return _known(look(system, "W1 one", "ms_step")) <= 2 * _known(look("fsync", "fsync", "p50_ms"))


def _above_rival(system: str, look: Look) -> bool:
    own = _known(look(system, "W2 bulk", "tasks_s"))
    return own >= 9_000 and own > _known(look(RIVAL, "W2 bulk", "tasks_s"))


def _recovery(system: str, look: Look) -> bool:
    late = _known(look(system, "W6", "recovered_s")) - _known(look(system, "W6", "needed_s"))
    lost = _known(look(system, "W6", "twice_not_in_flight"))
    return late <= 0.5 and lost == 0


def _waiting(system: str, look: Look) -> bool:
    rate = _known(look(system, "W8", "tasks_s"))
    return (
        rate >= 0.8 * _known(look(system, "W2 bulk", "tasks_s"))
        and _known(look(system, "W8", "peak_mib")) < 150
        and _known(look(system, "W8", "first_s")) < 1
    )


def _both(words: str, reached: Callable[[str, Look], bool]) -> Mapping[str, Goal]:
    return dict.fromkeys((SQLITE, POSTGRES), Goal(words, reached))


GOALS: Mapping[str, Mapping[str, Goal]] = {
    "W1": {
        SQLITE: Goal("40 % of the bare journal", _of_journal),
        POSTGRES: Goal("5,000", _at_least(5_000, "W1", "steps_s")),
    },
    "W1 one": _both("2 x fsync", _of_fsync),
    "W2": {SQLITE: Goal("8,000", _at_least(8_000, "W2", "tasks_s"))},
    "W2 bulk": {
        SQLITE: Goal("20,000", _at_least(20_000, "W2 bulk", "tasks_s")),
        POSTGRES: Goal("9,000, above pgqueuer", _above_rival),
    },
    "W3": _both("1 / 3", _at_most("W3", p50_ms=1, p99_ms=3)),
    "W4": _both("0.4 / 50", _at_most("W4", wall=0.4, peak_mib=50)),
    "W5": _both("2,500", _at_most("W5", bytes_each=2_500)),
    "W6": _both("what remains + 0.5; only bodies in flight", _recovery),
    "W7": _both("2 / 20", _at_most("W7", p50_ms=2, p99_ms=20)),
    "W8": _both("80 % of W2 in bulk / 150, first start under 1 s", _waiting),
    "W9": _both("4,000", _at_least(4_000, "W9", "steps_s")),
    "W10": _both("0.5", _at_most("W10", core_percent=0.5)),
}
