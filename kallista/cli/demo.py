"""``kallista demo``: the main job, a complete WPF application, from the example that ships."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from kallista.cli.files import load_file
from kallista.cli.output import say, say_whole
from kallista.cli.running import attend
from kallista.cli.session import FAILED, LEFT, OK, Session
from kallista.cli.tree import OVER
from kallista.errors import ConflictError

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import AnySnapshot

EXAMPLE: Final = "inventory_app.yaml"


def run_demo(session: Session, settings: Sequence[str]) -> int:
    """Go on with the demo that is unfinished, else start a new one.

    Args:
        session: The options.
        settings: Inputs as ``key=value``.

    Returns:
        The exit code.
    """
    data = cast("dict[str, Any]", load_file(str(example())))
    ended = session.run(_demo(session, data, settings))
    if ended is None:
        return LEFT
    if not session.as_json:
        if ended.ok:
            _tell_where(session, ended)
        elif any(error.type.endswith("OutputConflictError") for error in ended.errors):
            _tell_other_place()
    return OK if ended.ok else FAILED


def example() -> Path:
    """The definition: inside the package where that is installed, beside it in a checkout."""
    packaged = Path(str(files("kallista"))) / "examples" / EXAMPLE
    checkout = Path(__file__).parents[2] / "examples" / EXAMPLE
    return packaged if packaged.is_file() else checkout


async def _demo(
    session: Session, data: dict[str, Any], settings: Sequence[str]
) -> AnySnapshot | None:
    numbered = re.compile(rf"{re.escape(data['id'])}(?:-([0-9]{{1,9}}))?")
    number, unfinished = await _newest(session, data["name"], numbered)
    if unfinished:
        try:
            return await _run(session, data, settings, number)
        except ConflictError:
            # An unfinished run of this id that is none of the demo's: it is left alone.
            pass
    return await _run(session, data, settings, number + 1)


async def _run(
    session: Session, data: dict[str, Any], settings: Sequence[str], number: int
) -> AnySnapshot | None:
    id = data["id"] if number == 1 else f"{data['id']}-{number}"
    return await attend(session, {**data, "id": id}, settings, id)


async def _newest(session: Session, name: str, numbered: re.Pattern[str]) -> tuple[int, bool]:
    """The number of the last demo, 0 if there was none, and whether it is unfinished."""
    if not session.has_store:
        return 0, False
    async with session.app() as app:
        return await _newest_in(app, name, numbered)


async def _newest_in(app: Kallista, name: str, numbered: re.Pattern[str]) -> tuple[int, bool]:
    cursor: str | None = None
    while True:
        page = await app.orchestrator.list_processes(name=name, cursor=cursor)
        for run in page.items:
            found = numbered.fullmatch(run.id)
            if found:
                return int(found[1] or 1), run.status not in OVER
        cursor = page.cursor
        if cursor is None:
            return 0, False


def _tell_other_place() -> None:
    say("\nFiles that were changed are never replaced. To generate it in another folder:")
    say_whole("  kallista demo --set output_dir=output/second")


def _tell_where(session: Session, run: AnySnapshot) -> None:
    manifest = cast("dict[str, Any]", getattr(run, "results", {}).get("manifest", {}))
    folder = Path(str(manifest["output_dir"]))
    say(
        f"""
A complete C#/WPF application lies in {folder} ({len(manifest["files"])} files).

What to look at next:
  {folder / "docs" / "design.md"}
      what was designed: layers, entities, views, with a diagram
  {folder / manifest["solution"]}
      the solution, for Visual Studio, Rider or `dotnet build` on Windows
  {session.command(f"process show {run.id}")}
      its steps, how long each took, and what it returned
  {session.command(f"process history {run.id}")}
      all that happened, in order

`kallista demo` again generates it anew; stopped halfway, it goes on."""
    )
