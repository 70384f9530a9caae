"""What rounds have measured, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """The figures of one scenario in one place.

    Args:
        rounds: How many rounds.
        faults: How many kills, freezes, restarts and so on.
        runs: How many runs have ended.
        tasks: How many tasks with an effect have completed.
        repeats: How many effects belong to attempts that a fault interrupted.
        waits: For each fault that something waited out, how many seconds it took.
        errors: Which errors reached the client, and how often.
    """

    rounds: int = 0
    faults: int = 0
    runs: int = 0
    tasks: int = 0
    repeats: int = 0
    waits: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        """Count another round in."""
        self.rounds += other.rounds
        self.faults += other.faults
        self.runs += other.runs
        self.tasks += other.tasks
        self.repeats += other.repeats
        self.waits += other.waits
        self.errors += other.errors

    @property
    def cells(self) -> Sequence[str]:
        """The figures as a row of the table under ``HEADINGS``."""
        waits = sorted(self.waits)
        half = f"{waits[len(waits) // 2]:.2f}" if waits else "-"
        longest = f"{waits[-1]:.2f}" if waits else "-"
        errors = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items()))
        counts = (self.rounds, self.faults, self.runs, self.tasks, self.repeats)
        return [*(f"{count:,}" for count in counts), half, longest, errors or "none"]


HEADINGS = (
    "scenario", "store", "rounds", "faults", "runs", "tasks", "repeats in flight",
    "taken over after (median, s)", "(longest, s)", "errors at the client",
)  # fmt: skip


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a Markdown table."""
    lines = [HEADINGS, ["---"] * HEADINGS.__len__(), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
