"""``kallista workflow|process fork``: go on from before a step of a run, in a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Protocol, TypeAlias, TypedDict, Unpack

import typer

from kallista.cli.options import IdArgument, ReasonOption
from kallista.cli.session import Format, OutputOption, Session, StoreOption
from kallista.errors import UsageError

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import Forked

DefinitionOption = Annotated[
    str | None,
    typer.Option(
        "--definition",
        help="What it runs: current (what its name stands for now), or a definition file.",
    ),
]

FromOption = Annotated[
    str, typer.Option("--from", help="The first task or step that runs again.", show_default=False)
]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="task.key=value: give a task something else."),
]
ForkIdOption = Annotated[str | None, typer.Option("--id", help="The id of the new one.")]
PreviewOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what is kept, and what runs again.")
]


class ForkArguments(TypedDict):
    """How a run is forked; each as the argument of that name of ``fork_workflow``."""

    config_changes: Mapping[str, Mapping[str, object]] | None
    definition: Mapping[str, object] | str | None
    fork_id: str | None
    reason: str | None
    dry_run: bool


Forking: TypeAlias = "Awaitable[Forked]"


class Fork(Protocol):
    """How runs of a kind are forked."""

    def __call__(self, app: Kallista, id: str, task: str, **how: Unpack[ForkArguments]) -> Forking:
        """Fork a run."""
        ...


def add_fork(commands: typer.Typer, word: str, step: str, fork: Fork) -> None:
    """Add ``fork``.

    Args:
        commands: Where it belongs.
        word: What is forked, such as ``workflow``.
        step: What its parts are called.
        fork: Forks one.
    """

    @commands.command(
        "fork",
        help=f"Start a new {word} that keeps what another one did before a {step}.",
        epilog=f"Example: kallista {word} fork my-{word} --from draft"
        ' --set draft.style="short" --dry-run',
    )
    def command(
        id: IdArgument,
        task: FromOption,
        changes: ChangesOption = None,
        definition: DefinitionOption = None,
        fork_id: ForkIdOption = None,
        reason: ReasonOption = None,
        dry_run: PreviewOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        wanted = session.guard(lambda: described(session, definition))
        given = session.guard(lambda: _changes(changes or (), step))
        forked = session.ask(
            lambda app: fork(
                app, id, task, config_changes=given or None, definition=wanted, fork_id=fork_id,
                reason=reason, dry_run=dry_run,
            )
        )  # fmt: skip
        if session.as_json:
            from kallista.cli.output import print_json

            print_json(forked)
        else:
            from kallista.cli.views import show_fork

            show_fork(forked)
            _tell_if_nobody_works(session, forked)


def described(session: Session, definition: str | None) -> Mapping[str, object] | str | None:
    """What ``--definition`` means: ``current`` as it stands, or what a file holds."""
    if definition is None or definition == "current":
        return definition
    from kallista.cli.files import load_file

    data = load_file(definition, session.settings.max_definition_bytes)
    if not isinstance(data, Mapping):
        raise UsageError(f"{definition} holds no definition")
    return {str(key): value for key, value in data.items()}


def _changes(settings: Sequence[str], step: str) -> dict[str, dict[str, object]]:
    from kallista.cli.files import load_value

    changes: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    for setting in settings:
        place, equals, text = setting.partition("=")
        id, dot, key = place.rpartition(".")
        if not (equals and dot and id and key):
            problems.append(f"--set takes {step}.key=value, not {setting!r}")
        elif key in changes.setdefault(id, {}):
            problems.append(f"--set {place} is given twice")
        else:
            changes[id][key] = load_value(text, f"--set {place}")
    if problems:
        raise UsageError("--set is wrong", problems)
    return changes


def _tell_if_nobody_works(session: Session, forked: Forked) -> None:
    if forked.id is None:
        return
    workers = session.ask(lambda app: app.workers())
    if not any(worker.alive for worker in workers):
        print(f"no worker is alive; start one with: {session.command('worker')}")
