"""How values look on a terminal: moments, lengths, tables, JSON; for people and for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from kallista.core.snapshots import Snapshot
from kallista.logs import mask, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES: Final = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "magenta",
    "RUNNING": "cyan",
    "PAUSED": "yellow",
    "COMPENSATING": "yellow",
    "WAITING": "yellow",
    "ACTIVE": "green",
    "alive": "green",
    "dead": "red",
}
_GAP: Final = 2
_LEAST: Final = 12
_PIPED_WIDTH: Final = 1_000


@cache
def console() -> Console:
    """Standard output. What is not a terminal is never wrapped: a program reads it."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            nobody_reads()

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Output(highlight=False, width=_PIPED_WIDTH if piped else None)


def say(text: str = "", style: str | None = None) -> None:
    """Print a text for people, wrapped between words."""
    console().print("\n".join(map(one_line, text.split("\n"))), style=style, markup=False)


def say_whole(line: str) -> None:
    """Print a line that is not broken, so that a command in it can be copied."""
    console().print(one_line(line), markup=False, soft_wrap=True)


def nobody_reads() -> None:
    """Whoever read the output has seen enough: from now on it goes nowhere, without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: object) -> None:
    """One JSON document: snapshots by their plain form, secrets masked."""
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(mask(plain(value)), ensure_ascii=not utf8, indent=2))


def plain(value: object) -> object:
    """Snapshots and moments, also within lists, as plain data."""
    match value:
        case Snapshot():
            return value.to_dict()
        case datetime():
            return value.isoformat()
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    empty: str,
    flexible: int | None = None,
    wrapped: Collection[int] = (),
) -> None:
    """A table that stays readable on a narrow terminal.

    Args:
        columns: What stands above each column; all empty: nothing does.
        rows: The cells.
        empty: What is said when there are no rows.
        flexible: The column that is cut when there is too little room.
        wrapped: The columns that take several lines then.
    """
    if not rows:
        print(empty)
        return
    from rich.table import Table

    cells = [[cell(value) for value in row] for row in rows]
    table = Table(
        box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", show_edge=False,
        show_header=any(columns),
    )  # fmt: skip
    room = _room(columns, cells, flexible)
    for index, column in enumerate(columns):
        if index in wrapped:
            table.add_column(column, overflow="fold")
        else:
            most = room if index == flexible else None
            table.add_column(column, no_wrap=True, overflow="ellipsis", max_width=most)
    for row in cells:
        table.add_row(*row)
    console().print(table)


def _room(
    columns: Sequence[str], cells: Sequence[Sequence[Text]], flexible: int | None
) -> int | None:
    if flexible is None:
        return None
    widths = [
        max(len(column), *(row[index].cell_len for row in cells)) + _GAP
        for index, column in enumerate(columns)
    ]
    return max(console().width - sum(widths) + widths[flexible] - _GAP, _LEAST)


def cell(value: object) -> Text:
    """A value as a table shows it."""
    from rich.text import Text

    match value:
        case Text():
            return value
        case None:
            return Text()
        case datetime():
            return Text(local(value))
        case list() | tuple():
            return Text(one_line(", ".join(map(str, value))))
        case _:
            text = one_line(str(value))
            return Text(text, style=STYLES.get(text, ""))


def local(moment: datetime) -> str:
    """A moment in the machine's time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was, in one unit."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def length(seconds: float) -> str:
    """A length of time for people: ``0.21 s``, ``12.3 s``, ``4:05 min``, ``2:30:00 h``."""
    if seconds < 0.995:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h"


def took(began: datetime | None, ended: datetime | None) -> str:
    """How long something took; empty while that is not known."""
    if began is None or ended is None:
        return ""
    return length((ended - began).total_seconds())


def short(value: object, limit: int = 200) -> str:
    """A value on one line, masked, and cut where it gets long."""
    text = json.dumps(mask(value), ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
