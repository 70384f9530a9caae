"""``kallista limits``: what is counted over all workers."""

from __future__ import annotations

from typing import Annotated

import typer

from kallista.cli.objects import group
from kallista.cli.session import Format, OutputOption, Session, StoreOption


def limits_commands() -> typer.Typer:
    """The verbs of ``kallista limits``."""
    commands = group("Look at limits over all workers.")

    @commands.command("list", epilog="Example: kallista limits list")
    def list_limits(
        limit: Annotated[
            int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")
        ] = 100,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """List the limits that tasks run or wait under: how full each is, and by whom."""
        session = Session(store, output)
        found = session.ask(lambda app: app.limits.list(limit))
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(found)
        else:
            from kallista.cli.views import show_limits

            show_limits(found)

    return commands
