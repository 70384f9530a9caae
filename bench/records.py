"""What was measured: one JSON line a measurement, kept so that a run can go on or be looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Record:
    """One measurement.

    Args:
        system: Which system.
        row: Which row.
        size: How much work.
        round: In which round, from 0 on.
        figures: What was found; empty when it failed.
        error: Why it failed; empty when it did not.
        at: When, in seconds since the epoch.
        took: How long it took altogether, in seconds.
        load: The machine's load at its beginning, of all that ran on it.
    """

    system: str
    row: str
    size: int
    round: int
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    at: float = 0.0
    took: float = 0.0
    load: float = 0.0

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What it is a measurement of."""
        return self.system, self.row, self.size, self.round


class Records:
    """The measurements that are kept in a folder.

    Args:
        folder: Where; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "measurements.jsonl"
        self._left_out = folder / "left-out.json"
        self._facts = folder / "machine.json"

    def all(self) -> Sequence[Record]:
        """Every measurement, the last of each kind."""
        if not self._file.exists():
            return []
        lines = self._file.read_text(encoding="utf-8").splitlines()
        found = [Record(**json.loads(line)) for line in lines]
        return list({record.key: record for record in found}.values())

    def add(self, record: Record) -> None:
        """Keep one more."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")

    def forget(self, gone: Callable[[Record], bool]) -> None:
        """Drop the measurements that are to be made anew."""
        kept = [record for record in self.all() if not gone(record)]
        lines = [json.dumps(asdict(record)) + "\n" for record in kept]
        self._file.write_text("".join(lines), encoding="utf-8")

    def left_out(self) -> dict[str, str]:
        """Systems that could not be measured, and why."""
        return _read(self._left_out)

    def leave_out(self, reasons: Mapping[str, str], tried: Iterable[str]) -> None:
        """Remember which of the systems tried could not be measured."""
        known = {name: why for name, why in self.left_out().items() if name not in set(tried)}
        self._left_out.write_text(json.dumps({**known, **reasons}), encoding="utf-8")

    def facts(self) -> dict[str, str]:
        """What is known of the machine and the servers."""
        return _read(self._facts)

    def note(self, facts: Mapping[str, str]) -> None:
        """Remember more of the machine."""
        self._facts.write_text(json.dumps({**self.facts(), **facts}), encoding="utf-8")


def medians(records: Iterable[Record]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.figures.items():
            found.setdefault(name, []).append(value)
    return {name: median(values) for name, values in found.items()}


def exponent(costs: Mapping[int, float]) -> float | None:
    """The slope of the cost over the size, both in logarithms; None: fewer than two sizes."""
    points = [(math.log(size), math.log(cost)) for size, cost in costs.items() if cost > 0]
    if len(points) < 2:
        return None
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / sum(
        (x - middle_x) ** 2 for x, _ in points
    )


def _read(file: Path) -> dict[str, str]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
