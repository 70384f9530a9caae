"""What people give to runs: answers to approvals, and signals; and what waits for an answer."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kallista.cli.options import CursorOption, LimitOption
from kallista.cli.session import Format, OutputOption, Session, StoreOption

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import Answered

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run, or one above it.", show_default=False)
]
StepArgument = Annotated[
    str | None,
    typer.Argument(metavar="[STEP]", help="Which approval, if several wait.", show_default=False),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="Who says so; by default who is logged in.", show_default=False),
]
CommentOption = Annotated[str | None, typer.Option("--comment", help="Kept in the history.")]
FormOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A field of the form."),
]


def add_outside(commands: typer.Typer) -> None:
    """Add ``approvals``, ``approve``, ``reject`` and ``signal``.

    Args:
        commands: Where they belong.
    """
    _add_answer(commands, "approve", "Approve what a run asks.", approved=True)
    _add_answer(commands, "reject", "Reject what a run asks.", approved=False)

    @commands.command(epilog="Example: kallista approvals")
    def approvals(
        run: Annotated[
            str | None,
            typer.Argument(
                metavar="[RUN]", help="Only of this run and those below.", show_default=False
            ),
        ] = None,
        cursor: CursorOption = None,
        limit: LimitOption = 50,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """List what waits for an answer, the longest waiting first."""
        session = Session(store, output)
        page = session.ask(
            lambda app: app.workflow_manager.list_approvals(run_id=run, cursor=cursor, limit=limit)
        )
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(page)
        else:
            from kallista.cli.views import show_approvals

            show_approvals(page)

    @commands.command(epilog="Example: kallista signal my-workflow paid '{amount: 5}'")
    def signal(
        run: Annotated[str, typer.Argument(metavar="RUN", help="The run.", show_default=False)],
        name: Annotated[
            str, typer.Argument(metavar="NAME", help="What it waits for.", show_default=False)
        ],
        payload: Annotated[
            str,
            typer.Argument(metavar="[PAYLOAD]", help="JSON or YAML; null when not said."),
        ] = "null",
        id: Annotated[
            str | None,
            typer.Option("--id", help="By which a repeat is known; sending it again is harmless."),
        ] = None,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        """Send a signal to a run; one that comes early is kept."""
        from kallista.cli.files import load_value

        session = Session(store, output)
        said = session.guard(lambda: load_value(payload, "the payload"))

        async def send(app: Kallista) -> tuple[str, bool]:
            sent = await app.workflow_manager.send_signal(run, name, said, id)
            return sent, await _nobody(app)

        sent, nobody = session.ask(send)
        if session.as_json:
            from kallista.cli.output import print_json

            print_json({"run_id": run, "name": name, "signal_id": sent})
        else:
            print(f"{run} has the signal {name} ({sent})")
            _tell(session, nobody=nobody)


def _add_answer(commands: typer.Typer, verb: str, help: str, *, approved: bool) -> None:
    @commands.command(
        verb, help=help, epilog=f'Example: kallista {verb} my-workflow review --comment "as agreed"'
    )
    def answer(
        run: RunArgument,
        step: StepArgument = None,
        by: ByOption = None,
        comment: CommentOption = None,
        set_: FormOption = None,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)

        async def act(app: Kallista) -> tuple[Answered, bool]:
            form = await _form(app, run, step, set_ or ())
            does = app.workflow_manager.approve if approved else app.workflow_manager.reject
            told = await does(run, step, by=by or _who(), comment=comment, form=form)
            return told, await _nobody(app)

        told, nobody = session.ask(act)
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(told)
            return
        word = "approved" if approved else "rejected"
        again = "" if told.changed else " (it was before; nothing has changed)"
        step, of = str(told.task_id), str(told.run_id)
        where = of if step == of else f"{step} of {of}"
        print(f"{where} is {word}{again}")
        _tell(session, nobody=nobody)


async def _form(
    app: Kallista, run: str, step: str | None, settings: Sequence[str]
) -> dict[str, object] | None:
    """What is filled in; texts are taken as they are where the form asks for texts."""
    if not settings:
        return None
    from kallista.cli.files import read_settings

    asked = await app.workflow_manager.list_approvals(run_id=run)
    forms = [item.form or {} for item in asked.items if step in (None, item.task_id)]
    known = forms[0].get("properties") if len(forms) == 1 else None
    fields = known if isinstance(known, dict) else {}
    schemas = {name: field for name, field in fields.items() if isinstance(field, dict)}
    return read_settings(settings, schemas)


def _who() -> str | None:
    """Who is logged in, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


async def _nobody(app: Kallista) -> bool:
    return not any(worker.alive for worker in await app.workers())


def _tell(session: Session, *, nobody: bool) -> None:
    if nobody:
        print(f"no worker is alive; start one with: {session.command('worker')}")
