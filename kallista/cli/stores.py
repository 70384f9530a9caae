"""``kallista store``: what is done with the store itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kallista.cli.objects import group
from kallista.cli.options import IdArgument
from kallista.cli.session import FAILED, Format, OutputOption, Session, StoreOption

if TYPE_CHECKING:
    from kallista.engine.care import StoreCheck, StoreStats


def store_commands() -> typer.Typer:
    """``kallista store``."""
    commands = group("Look after the store, while workers go on.")

    @commands.command(epilog="Example: kallista store stats -o json")
    def stats(store: StoreOption = None, output: OutputOption = Format.TEXT) -> None:
        """Show how much is in the store, and what has been unfinished for longest."""
        session = Session(store, output)
        found = session.ask(lambda app: app.store.stats())
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(found)
        else:
            _show_stats(found)

    @commands.command(
        short_help="Look for damage and for broken promises.",
        epilog="Example: kallista store check --quick",
    )
    def check(
        quick: Annotated[
            bool,
            typer.Option("--quick", help="Leave out finished runs and what takes longest."),
        ] = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """Look for damage and for broken promises; the store is read and not changed.

        Whether the file is sound, whether all that is pointed to is there, whether each history
        leads to the state that is stored, and whether something will go on with what is
        unfinished.

        Exit codes: 0 all is well, 1 something is wrong, 2 the call was wrong.
        """
        session = Session(store, output)
        found = session.ask(lambda app: app.store.check(quick=quick))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(found)
        else:
            _show_check(found)
        if not found.ok:
            raise typer.Exit(FAILED)

    @commands.command(
        short_help="Write a backup while workers go on.",
        epilog="Example: kallista store backup backups/monday.db",
    )
    def backup(
        file: Annotated[str, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """Write a backup while workers go on.

        Of a SQLite store it is another SQLite file, looked through before it gets its name. A store
        in PostgreSQL is written by pg_dump, for pg_restore.
        """
        session = Session(store, output)
        made = session.ask(lambda app: app.store.backup(file))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(made)
        else:
            print(f"wrote {file} ({made.size_bytes:,} bytes)")

    @commands.command(
        short_help="Remove runs that are over.",
        epilog="Example: kallista store purge --older-than 30d --kind task",
    )
    def purge(
        older_than: Annotated[
            str, typer.Option("--older-than", help="How long ago they ended, like 30d or 12h.")
        ],
        kind: Annotated[
            str | None, typer.Option("--kind", help="Only workflow, process or task.")
        ] = None,
        status: Annotated[
            list[str] | None,
            typer.Option("--status", help="Only what ended so, like COMPLETED; several times."),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Remove nothing; say how many runs would go.")
        ] = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """Remove runs that are over, with the runs they have started, while workers go on.

        What others could still wait for stays. The file does not shrink: its room is used by what
        is written next.
        """
        session = Session(store, output)
        removed = session.ask(
            lambda app: app.store.purge(
                older_than, kind=kind, status=status or None, dry_run=dry_run
            )
        )
        if session.as_json:
            from kallista.cli.output import print_json

            print_json({"would_remove" if dry_run else "removed": removed})
        else:
            print(f"runs {'that would go' if dry_run else 'removed'}: {removed:,}")

    @commands.command(epilog="Example: kallista store export my-run > my-run.json")
    def export(
        id: IdArgument, store: StoreOption = None, output: OutputOption = Format.JSON
    ) -> None:
        """Print all that is known of a run, whatever kind it is; it is JSON in any case."""
        from kallista.cli.output import print_json

        session = Session(store, output)
        print_json(session.ask(lambda app: app.store.export(id)))

    return commands


def _show_check(found: StoreCheck) -> None:
    from kallista.cli.output import say

    for problem in found.problems:
        say(f"! {problem}", style="yellow")
    result = "all is well" if found.ok else f"problems: {len(found.problems):,}"
    print(f"{result}; runs looked at: {found.runs:,}")


def _show_stats(found: StoreStats) -> None:
    from kallista.cli.output import ago, print_table

    oldest = found.oldest_unfinished
    rows: list[tuple[str, object]] = [("size bytes", f"{found.size_bytes:,}")]
    if found.free_bytes is not None:
        rows.append(("free bytes", f"{found.free_bytes:,}"))
    rows += [(name, f"{count:,}") for name, count in found.rows.items()]
    rows += [(kind_and_status, f"{count:,}") for kind_and_status, count in found.runs.items()]
    rows += [(f"queued {type}", f"{count:,}") for type, count in found.queued.items()]
    if oldest is not None:
        since = ago(oldest.created_at)
        rows.append(("oldest unfinished", f"{oldest.kind} {oldest.id}, {oldest.status}, {since}"))
    print_table(("", ""), rows, empty="", wrapped=(1,))
