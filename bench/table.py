"""Writes the table from what was measured: medians, ratios, exponents, durability."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

from bench.environments import Environment
from bench.goals import GOALS, JOURNAL
from bench.records import Record, Records, exponent, medians
from bench.rows import ROWS, Row
from bench.systems import Entry, Kind

NOTHING = "-"
EXPLAINED = """\
"x best peer" says how many times better it is than the best peer, "x journal" the same of the bare
journal. The exponent is the slope of cost over size, both in logarithms: 1 is linear."""


class Findings:
    """What the measurements say, by system and row.

    Args:
        records: All measurements.
        entries: All systems.
    """

    def __init__(self, records: Sequence[Record], entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._sorted: dict[tuple[str, str], dict[int, list[Record]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for record in records:
            self._sorted[record.system, record.row][record.size].append(record)

    def sizes(self, system: str, row: str) -> Mapping[int, Mapping[str, float]]:
        """The medians of each size that was measured."""
        found = self._sorted.get((system, row), {})
        by_size = {
            size: medians(record for record in records if not record.error)
            for size, records in sorted(found.items())
        }
        return {size: figures for size, figures in by_size.items() if figures}

    def main(self, entry: Entry, row: str) -> Mapping[str, float]:
        """The figures that are shown; empty: there are none."""
        if row == "W5":
            return self._disk(entry)
        amount = entry.amounts.get(row)
        return {} if amount is None else self.sizes(entry.name, row).get(amount.main, {})

    def _disk(self, entry: Entry) -> Mapping[str, float]:
        sizes = self.sizes(entry.name, "W1")
        known = {size: figures["bytes"] for size, figures in sizes.items() if "bytes" in figures}
        if len(known) < 2:
            return {}
        small, large = min(known), max(known)
        return {"bytes_each": (known[large] - known[small]) / (large - small)}

    def rounds(self, entry: Entry, row: str) -> int:
        """How often what is shown was measured."""
        amount = entry.amounts.get("W1" if row == "W5" else row)
        measured = self._sorted.get((entry.name, "W1" if row == "W5" else row), {})
        found = [] if amount is None else measured.get(amount.main, [])
        return sum(not record.error for record in found)

    def error(self, entry: Entry, row: str) -> str:
        """Why there is no figure; empty: nothing failed."""
        amount = entry.amounts.get(row)
        measured = self._sorted.get((entry.name, row), {})
        found = [] if amount is None else measured.get(amount.main, [])
        return next((record.error for record in reversed(found) if record.error), "")

    def exponent(self, entry: Entry, row: Row) -> float | None:
        """How the cost grows with the size: 1 is linear."""
        if row.cost is None or row.name == "W5":
            return None
        sizes = self.sizes(entry.name, row.name)
        return exponent({size: figures[row.cost] for size, figures in sizes.items()})

    def best_peer(self, row: Row) -> tuple[Entry, float] | None:
        """The peer that does best in a row, and its figure."""
        found = [
            (entry, figures[row.figure])
            for entry in self.entries
            if entry.kind is Kind.PEER and (figures := self.main(entry, row.name))
        ]
        if not found:
            return None
        return (max if row.more_is_better else min)(found, key=lambda pair: pair[1])

    def journal(self, row: Row) -> float | None:
        """The bare journal's figure in a row."""
        for entry in self.entries:
            if entry.name == JOURNAL:
                return self.main(entry, row.name).get(row.figure)
        return None

    def look(self, system: str, row: str, figure: str) -> float | None:
        """One figure of a system."""
        for entry in self.entries:
            if entry.name == system:
                return self.main(entry, row).get(figure)
        return None


def write(records: Records, entries: Sequence[Entry]) -> str:
    """The whole document."""
    measured = records.all()
    findings = Findings(measured, entries)
    facts, left_out = records.facts(), records.left_out()
    parts = [
        "# Results",
        "Written by `python -m bench`; see [README.md](README.md) for what the rows mean.",
        "\n".join(_machine(facts, measured)),
        "## Kallista",
        "\n".join(_summary(findings)),
        EXPLAINED,
        "## All",
        "\n".join(_everything(findings)),
        "## Systems",
        "\n".join(_systems(entries, left_out, measured)),
    ]
    if remarks := [*_failures(findings), *_remarks(findings)]:
        parts += ["## Remarks", "\n".join(remarks)]
    return "\n\n".join(parts) + "\n"


def short(records: Records, entries: Sequence[Entry]) -> str:
    """The table of a README: Kallista beside the bare journal and the best peer of each row."""
    findings = Findings(records.all(), entries)
    ours = [entry for entry in entries if entry.kind is Kind.KALLISTA]
    lines = [
        f"| | unit | {' | '.join(entry.name for entry in ours)} | best peer | bare journal |",
        _rule(4 + len(ours)),
    ]
    for row in ROWS:
        if row.name == "fsync":
            continue
        best = findings.best_peer(row)
        figures = [shown(row, findings.main(entry, row.name)) for entry in ours]
        peer = NOTHING if best is None else f"{shown(row, findings.main(best[0], row.name))}"
        name = "" if best is None else f" ({best[0].name})"
        journal = number(findings.journal(row))
        lines.append(_line([row.title, row.unit, *figures, peer + name, journal]))
    return "\n".join(lines)


def _machine(facts: Mapping[str, str], measured: Sequence[Record]) -> Iterator[str]:
    yield from (f"- {what}: {value}" for what, value in facts.items())
    if measured:
        first = datetime.fromtimestamp(min(record.at for record in measured), UTC)
        last = datetime.fromtimestamp(max(record.at for record in measured), UTC)
        minutes = sum(record.took for record in measured) / 60
        yield (
            f"- measured: {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC,"
            f" {minutes:.0f} minutes of measuring; clients, workers and servers share the machine"
        )
        loads = [record.load for record in measured]
        yield (
            f"- load when measurements began, of all that ran here: {median(loads):.1f} (median),"
            f" {max(loads):.1f} (most)"
        )


def _summary(findings: Findings) -> Iterator[str]:
    ours = [entry for entry in findings.entries if entry.kind is Kind.KALLISTA]
    names = " | ".join(
        f"{entry.name} | x journal | x best peer | exponent | wanted" for entry in ours
    )
    yield f"| work | unit | bare journal | best peer | {names} |"
    yield _rule(4 + 5 * len(ours))
    for row in ROWS:
        if row.name == "fsync":
            continue
        best = findings.best_peer(row)
        cells = [
            f"{row.name}: {row.title}",
            row.unit,
            number(findings.journal(row)),
            NOTHING if best is None else f"{best[0].name} {number(best[1])}",
        ]
        for entry in ours:
            cells += [
                shown(row, findings.main(entry, row.name)),
                *_ratios(findings, row, entry),
                number(findings.exponent(entry, row), 2),
                _wanted(findings, row, entry),
            ]
        yield _line(cells)


def _wanted(findings: Findings, row: Row, entry: Entry) -> str:
    goal = GOALS.get(row.name, {}).get(entry.name)
    if goal is None:
        return NOTHING
    try:
        verdict = "reached" if goal.reached(entry.name, findings.look) else "**not reached**"
    except TypeError:
        verdict = "not measured"
    return f"{goal.words}: {verdict}"


def _ratios(findings: Findings, row: Row, entry: Entry) -> tuple[str, str]:
    own = findings.main(entry, row.name).get(row.figure)
    best = findings.best_peer(row)
    return _times(row, own, findings.journal(row)), _times(row, own, best[1] if best else None)


def _times(row: Row, own: float | None, other: float | None) -> str:
    if not own or not other:
        return NOTHING
    ratio = own / other if row.more_is_better else other / own
    return f"{ratio:.1f} x" if ratio >= 2 else f"{ratio:.2f} x"


def _everything(findings: Findings) -> Iterator[str]:
    yield "| work | system | figure | unit | x journal | x best peer | exponent | rounds |"
    yield _rule(8)
    for row in ROWS:
        for entry in _ranked(findings, row):
            figures = findings.main(entry, row.name)
            amount = entry.amounts.get(row.name)
            less = (
                f" (n = {amount.main:,})" if amount is not None and amount.main != row.main else ""
            )
            yield _line(
                [
                    f"{row.name}{less}",
                    entry.name,
                    shown(row, figures),
                    row.unit,
                    *_ratios(findings, row, entry),
                    number(findings.exponent(entry, row), 2),
                    str(findings.rounds(entry, row.name)),
                ]
            )


def _ranked(findings: Findings, row: Row) -> Sequence[Entry]:
    """Those that have a figure in this row, the best one first."""
    have = [entry for entry in findings.entries if findings.main(entry, row.name)]
    return sorted(
        have,
        key=lambda entry: findings.main(entry, row.name)[row.figure],
        reverse=row.more_is_better,
    )


def _systems(
    entries: Sequence[Entry], left_out: Mapping[str, str], measured: Sequence[Record]
) -> Iterator[str]:
    yield "| system | version | durable when acknowledged | minutes of measuring | left out |"
    yield _rule(5)
    for entry in entries:
        yield _line(
            [
                entry.name,
                versions(entry),
                entry.durability,
                f"{sum(one.took for one in measured if one.system == entry.name) / 60:.1f}",
                left_out.get(entry.name, ""),
            ]
        )


def versions(entry: Entry) -> str:
    """The pinned versions of a system's packages, in words."""
    from pathlib import Path

    if entry.environment is None:
        return ""
    return Environment(entry.environment, Path()).versions(entry.packages)


def _failures(findings: Findings) -> Iterator[str]:
    for row in ROWS:
        for entry in findings.entries:
            if error := findings.error(entry, row.name):
                yield f"- {row.name}, {entry.name}: {error}"


def _remarks(findings: Findings) -> Iterator[str]:
    """What a figure does not show."""
    for entry in findings.entries:
        timers, crash = findings.main(entry, "W7"), findings.main(entry, "W6")
        if timers.get("overran"):
            yield (
                f"- W7, {entry.name}: still handing in {timers['overran']:.1f} s after the first"
                " were due, so this is not the lateness of timers alone"
            )
        if entry.amounts.get("W7") and timers and timers["begun"] < entry.amounts["W7"].main:
            yield f"- W7, {entry.name}: only {timers['begun']:,.0f} began within a minute"
        if crash:
            yield (
                f"- W6, {entry.name}: what remained needed {crash['needed_s']:.2f} s;"
                f" {crash['twice_not_in_flight']:.0f} of the bodies run twice had ended before,"
                f" {crash['never']:.0f} never ran"
            )
        waiting = findings.main(entry, "W8").get("first_s", math.nan)
        if not math.isnan(waiting):
            yield f"- W8, {entry.name}: the first began {waiting:.2f} s after the worker's start"


def shown(row: Row, figures: Mapping[str, float]) -> str:
    """The figures of a row as they are printed."""
    if not figures:
        return NOTHING
    first = number(figures.get(row.figure))
    return first if row.second is None else f"{first} / {number(figures.get(row.second))}"


def number(value: float | None, places: int | None = None) -> str:
    """A figure with as many digits as mean something."""
    if value is None or value != value:
        return NOTHING
    if places is not None:
        return f"{value:.{places}f}"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns
