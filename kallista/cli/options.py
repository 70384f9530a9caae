"""The options by which runs are chosen and commanded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id.", show_default=False)]
StatusOption = Annotated[
    list[str] | None, typer.Option("--status", help="In this status; several are possible.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="Of exactly this name.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="With this tag.")]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="Created since a moment (2026-01-31) or for a length (2h, 7d)."),
]
PartOfOption = Annotated[
    str | None,
    typer.Option("--part-of", help="Started by this run: its children, the items of its lists."),
]
ErrorOption = Annotated[
    str | None,
    typer.Option("--error", help="Of which something has failed by it, like RateLimited."),
]
CursorOption = Annotated[
    str | None, typer.Option("--cursor", help="Where the page before ended, as that says.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1000, help="How many at most.", show_default=True)
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Kept in the history.")]


def since(text: str | None) -> datetime | None:
    """A moment, from a moment or from how long ago it was."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        from kallista.core.durations import parse_duration

        return datetime.now(UTC) - timedelta(microseconds=parse_duration(text))
