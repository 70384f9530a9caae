"""Verbs that change runs: one by its id, or all that match."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kallista.cli.forking import DefinitionOption, described
from kallista.cli.options import (
    ErrorOption,
    NameOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    TagOption,
    since,
)
from kallista.cli.session import USAGE, Format, OutputOption, Session, StoreOption
from kallista.errors import UsageError

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.snapshots import Commanded
    from kallista.workflows.many import Which

SomeIdArgument = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Its id; without it, say which.", show_default=False),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say how many match, and which are the first.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="UNIT=AMOUNT", help="A higher limit of what it may spend."),
]
RollbackOption = Annotated[
    bool, typer.Option("--rollback", help="Undo what has completed (compensate).")
]
StopClocksOption = Annotated[
    bool,
    typer.Option("--stop-clocks", help="Let sleeps and deadlines be later by the pause."),
]


@dataclass(frozen=True)
class Told:
    """What a command is told besides which runs are meant.

    Args:
        reason: Kept in the history.
        rollback: Undo what has completed.
        dry_run: Change nothing.
        stop_clocks: No time passes for what is paused.
        definition: What a run goes on with; None: with its own.
        budget: New limits, by unit.
    """

    reason: str | None = None
    rollback: bool = False
    dry_run: bool = False
    stop_clocks: bool = False
    definition: Mapping[str, object] | str | None = None
    budget: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Deed:
    """Something that can be done to one run of a kind, or to many.

    Args:
        word: What is acted on, such as ``workflow``.
        plural: The same for several.
        verb: The verb.
        help: What it does.
        done: What is printed afterwards, after the id.
        one: Does it to one.
        many: Does it to all that match.
        makes_work: Whether a worker is needed for what comes of it.
        can_undo: Whether what has completed can be undone by it.
        can_stop_clocks: Whether clocks can be stopped by it.
        can_redefine: Whether one can go on with another definition by it.
        can_raise: Whether a budget can be raised by it.
    """

    word: str
    plural: str
    verb: str
    help: str
    done: str
    one: Callable[[Kallista, str, Told], Awaitable[object]]
    many: Callable[[Kallista, Which, Told], Awaitable[Commanded]]
    makes_work: bool = False
    can_undo: bool = False
    can_stop_clocks: bool = False
    can_redefine: bool = False
    can_raise: bool = False


def add_deed(commands: typer.Typer, deed: Deed) -> None:
    """Add a verb for one or many.

    Args:
        commands: Where it belongs.
        deed: What it does.
    """

    def plain(
        id: SomeIdArgument = None,
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        created: SinceOption = None,
        error: ErrorOption = None,
        reason: ReasonOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        given = _given(status, name, tag, created, error)
        told = Told(reason, dry_run=dry_run)
        _do(Session(store, output), deed, id, given, told, yes=yes)

    def with_rollback(
        id: SomeIdArgument = None,
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        created: SinceOption = None,
        error: ErrorOption = None,
        reason: ReasonOption = None,
        rollback: RollbackOption = False,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        given = _given(status, name, tag, created, error)
        told = Told(reason, rollback, dry_run)
        meant = replace(deed, done="is being rolled back", makes_work=True) if rollback else deed
        _do(Session(store, output), meant, id, given, told, yes=yes)

    def with_clocks(
        id: SomeIdArgument = None,
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        created: SinceOption = None,
        error: ErrorOption = None,
        reason: ReasonOption = None,
        stop_clocks: StopClocksOption = False,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        given = _given(status, name, tag, created, error)
        told = Told(reason, dry_run=dry_run, stop_clocks=stop_clocks)
        _do(Session(store, output), deed, id, given, told, yes=yes)

    def with_budget(
        id: SomeIdArgument = None,
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        created: SinceOption = None,
        error: ErrorOption = None,
        reason: ReasonOption = None,
        budget: BudgetOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        given = _given(status, name, tag, created, error)
        limits = session.guard(lambda: _limits(budget or ()))
        if id is None and limits:
            session.fail(UsageError("--budget is for one: give an ID"))
        told = Told(reason, dry_run=dry_run, budget=limits or None)
        _do(session, deed, id, given, told, yes=yes)

    def with_definition(
        id: SomeIdArgument = None,
        status: StatusOption = None,
        name: NameOption = None,
        tag: TagOption = None,
        created: SinceOption = None,
        error: ErrorOption = None,
        reason: ReasonOption = None,
        definition: DefinitionOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        store: StoreOption = None,
        output: OutputOption = Format.TEXT,
    ) -> None:
        session = Session(store, output)
        told = Told(reason, dry_run=dry_run)
        if definition is None:
            given = _given(status, name, tag, created, error)
            _do(session, deed, id, given, told, yes=yes)
        elif id is None:
            session.fail(
                UsageError("give an ID; one run at a time goes on with another definition")
            )
        else:
            other = session.guard(lambda: described(session, definition))
            redefined = replace(told, definition=other)
            act_on_one(
                session, deed.word, id, deed.verb, "would go on" if dry_run else "goes on",
                lambda app: deed.one(app, id, redefined), makes_work=not dry_run,
            )  # fmt: skip

    does = (
        with_rollback
        if deed.can_undo
        else with_clocks
        if deed.can_stop_clocks
        else with_definition
        if deed.can_redefine
        else with_budget
        if deed.can_raise
        else plain
    )
    commands.command(
        deed.verb,
        help=f"{deed.help} All that match, where no ID is given.",
        epilog=f'Example: kallista {deed.word} {deed.verb} --tag nightly --reason "too slow"',
    )(does)


def _limits(given: Sequence[str]) -> Mapping[str, str]:
    """``unit=amount`` options. Raises ``UsageError``."""
    limits: dict[str, str] = {}
    for option in given:
        unit, equals, amount = option.partition("=")
        if not (unit and equals and amount):
            raise UsageError(f"--budget takes unit=amount, like usd=10, not {option!r}")
        limits[unit] = amount
    return limits


def _given(
    status: list[str] | None,
    name: str | None,
    tag: str | None,
    created: str | None,
    error: str | None,
) -> Mapping[str, object]:
    """Which runs are meant, as far as that was said."""
    return {
        "status": status or None, "name": name, "tag": tag, "created_from": created, "error": error,
    }  # fmt: skip


def _do(
    session: Session,
    deed: Deed,
    id: str | None,
    given: Mapping[str, object],
    told: Told,
    *,
    yes: bool,
) -> None:
    created = session.guard(lambda: since(cast("str | None", given["created_from"])))
    chosen = {**given, "created_from": created}
    which = cast("Which", {key: value for key, value in chosen.items() if value is not None})
    if id is None:
        _act_on_many(session, deed, which, told, yes=yes)
    elif which:
        session.fail(UsageError(f"give an ID, or say which {deed.plural} are meant, not both"))
    elif told.dry_run:
        problem = f"--dry-run says which {deed.plural} are meant, and an ID says that already"
        session.fail(UsageError(problem))
    else:
        act_on_one(
            session, deed.word, id, deed.verb, deed.done,
            lambda app: deed.one(app, id, told), makes_work=deed.makes_work,
        )  # fmt: skip


def act_on_one(
    session: Session,
    word: str,
    id: str,
    verb: str,
    done: str,
    act: Callable[[Kallista], Awaitable[object]],
    *,
    makes_work: bool,
    otherwise: str = "it had finished before",
) -> None:
    """Do something to what has an id, and say what came of it.

    Args:
        session: The call.
        word: What is acted on, such as ``workflow``.
        id: Which one.
        verb: What is done.
        done: What is printed afterwards, after the id.
        act: Does it; what it returns other than None goes into the answer.
        makes_work: Whether a worker is needed for what comes of it.
        otherwise: Why it may be that there is nothing to do.
    """

    async def acted(app: Kallista) -> tuple[object, bool]:
        answer = await act(app)
        return answer, makes_work and not any(worker.alive for worker in await app.workers())

    answer, nobody = session.ask(acted)
    if session.as_json:
        from kallista.cli.output import plain, print_json

        print_json({"id": id, "verb": verb, "answer": plain(answer)})
    elif answer is False:
        print(f"{id}: nothing to {verb}, {otherwise}")
    else:
        print(f"{id} {done}" if answer in (None, True) else f"{id} {done} {answer}")
        if nobody:
            print(f"no worker is alive; start one with: {session.command('worker')}")
            if word in ("workflow", "process"):
                print("or run its file again: that goes on with it")


def _act_on_many(session: Session, deed: Deed, which: Which, told: Told, *, yes: bool) -> None:
    if not which:
        session.fail(
            UsageError(
                f"give an ID, or say which {deed.plural} are meant:"
                " --tag, --name, --status, --since, --error"
            )
        )
    preview = session.ask(lambda app: deed.many(app, which, replace(told, dry_run=True)))
    if not told.dry_run and preview.matched:
        if not yes:
            _make_sure(session, deed, preview)
        preview = session.ask(lambda app: deed.many(app, which, told))
    if session.as_json:
        from kallista.cli.output import print_json

        print_json(preview)
    elif told.dry_run or not preview.matched:
        print(_counted(preview.matched, deed))
        _tell_ids(preview)
    else:
        print(f"{_counted(preview.matched, deed)}; {preview.changed}: {deed.done}")
        for id, why in preview.refused.items():
            print(f"  {id}: {why}")
        if preview.refusals > len(preview.refused):
            print(f"  and {preview.refusals - len(preview.refused)} more that refused it")


def _make_sure(session: Session, deed: Deed, preview: Commanded) -> None:
    """Ask whoever sits there; nobody else's runs are changed by a slip."""
    if not sys.stdin.isatty():
        counted = _counted(preview.matched, deed)
        session.fail(UsageError(f"{counted}; add --yes to {deed.verb} them, or --dry-run to see"))
    print(_counted(preview.matched, deed))
    _tell_ids(preview)
    if not typer.confirm(f"{deed.verb} them?"):
        raise typer.Exit(USAGE)


def _counted(count: int, deed: Deed) -> str:
    return f"1 {deed.word} matches" if count == 1 else f"{count:,} {deed.plural} match"


def _tell_ids(preview: Commanded) -> None:
    for id in preview.ids:
        print(f"  {id}")
    if preview.matched > len(preview.ids):
        print(f"  and {preview.matched - len(preview.ids):,} more")
