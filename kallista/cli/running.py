"""``kallista run`` and ``kallista demo``: execute what a definition file holds, and watch it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kallista.cli.files import load_file, read_settings
from kallista.cli.interrupts import Leaving, signals_call
from kallista.cli.live import View, follow, view_for
from kallista.cli.output import local, print_json, say, say_whole, short, took
from kallista.cli.session import FAILED, LEFT, OK, Session
from kallista.cli.tree import OVER, TreeReader, brief, get_run, steps_of
from kallista.core.definitions import Phase
from kallista.core.states import TaskStatus

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.definitions import Definition
    from kallista.core.parsing import Document
    from kallista.core.snapshots import AnySnapshot
    from kallista.core.states import RunKind

_RESULTS: Final = 10


def run_file(
    session: Session,
    path: str,
    settings: Sequence[str],
    id: str | None,
    *,
    detach: bool,
    deduplicate: Mapping[str, object] | None = None,
) -> int:
    """Run a definition file; the same call again goes on with the run of the same id.

    Args:
        session: The options.
        path: The file.
        settings: Inputs as ``key=value``.
        id: The run's id; None: the file's own, else a generated one.
        detach: Only submit it, for a worker to execute.
        deduplicate: What makes it the same as an earlier one.

    Returns:
        The exit code.
    """
    data = session.guard(lambda: load_file(path, session.settings.max_definition_bytes))
    own = data.get("id") if isinstance(data, Mapping) else None
    chosen = id or (own if isinstance(own, str) else None) or _generated_id()
    if detach:
        return session.run(_submit(session, data, settings, chosen, deduplicate))
    ended = session.run(attend(session, data, settings, chosen))
    return _code(ended)


async def _submit(
    session: Session,
    data: object,
    settings: Sequence[str],
    chosen: str,
    deduplicate: Mapping[str, object] | None,
) -> int:
    async with session.app() as app:
        document = await app.check(data)
        inputs = _inputs(document.definition, settings)
        id = await app.submit(document, id=chosen, inputs=inputs, deduplicate=deduplicate)
        run = await get_run(app, document.definition.kind, id)
        alive = any(worker.alive for worker in await app.workers())
    if session.as_json:
        print_json({"id": id, "kind": run.kind, "status": run.word, "worker_alive": alive})
        return OK
    print(f"{run.kind} {id} is {run.word}" if run.word in OVER else f"{run.kind} {id} is submitted")
    if not alive and run.word not in OVER:
        print(f"no worker is alive; start one with: {session.command('worker')}")
    return OK


async def attend(
    session: Session, data: object, settings: Sequence[str], id: str
) -> AnySnapshot | None:
    """Execute and show a run until it has finished or is left to go on later.

    Args:
        session: The options.
        data: The definition as plain data.
        settings: Inputs as ``key=value``.
        id: The run's id.

    Returns:
        The finished run; None: the user has left it.
    """
    # Nothing is executed before it is known that this is the run that was meant.
    async with session.app() as app:
        document = await app.check(data)
        inputs = _inputs(document.definition, settings)
        before = await _submitted(session, app, document, id, inputs)
    if before is not None and before.word in OVER:
        _tell_finished_before(session, before)
        return before
    ended = await _executed(session, document.definition.kind, id)
    if ended is not None:
        _tell_ended(session, ended)
    return ended


async def _submitted(
    session: Session, app: Kallista, document: Document, id: str, inputs: Mapping[str, object]
) -> AnySnapshot | None:
    """Create and start the run; returns it as it was before, if it was there."""
    kind = document.definition.kind
    before = await get_run(app, kind, id) if await app.kind_of(id) == kind else None
    done = 0 if before is None else await _done_already(app, before)
    await app.submit(document, id=id, inputs=inputs)
    if before is None and not session.as_json:
        say(f"{kind} {id} starts")
    elif before is not None and before.word not in OVER and not session.as_json:
        tasks = {0: "no task was", 1: "1 task was"}.get(done, f"{done:,} tasks were")
        say(f"{kind} {id} goes on: {tasks} done before")
    return before


async def _executed(session: Session, kind: RunKind, id: str) -> AnySnapshot | None:
    view = view_for(quiet=session.as_json, since=datetime.now(UTC))
    asked = sys.stdin is not None and sys.stdin.isatty() and not session.as_json
    leaving = Leaving(view, f"Leave {id} now, to go on with it later?" if asked else None)
    try:
        with signals_call(leaving.signalled):
            async with session.app(worker=True, within=id) as app:
                return await _watched(app, kind, id, view, leaving)
    finally:
        view.close()


async def _watched(
    app: Kallista, kind: RunKind, id: str, view: View, leaving: Leaving
) -> AnySnapshot | None:
    watched = asyncio.ensure_future(follow(app, kind, id, view))
    leaving.by(watched.cancel)
    try:
        return await watched
    except asyncio.CancelledError:
        if not leaving.is_leaving:
            raise
    finally:
        view.close()
    print(
        f"\n{id} is kept: the same command goes on with it.\n"
        "Tasks in flight may finish now; Ctrl-C again ends them.",
        file=sys.stderr,
    )
    return None


async def _done_already(app: Kallista, run: AnySnapshot) -> int:
    tree = await TreeReader(app).read(run.kind, run.id)
    return sum(node.status == "COMPLETED" for node in tree.tasks)


def _tell_finished_before(session: Session, run: AnySnapshot) -> None:
    if session.as_json:
        print_json(run)
        return
    when = "" if run.ended_at is None else f" since {local(run.ended_at)}"
    say(f"{run.kind} {run.id} is {run.word}{when}; nothing was run.")
    if run.ok:
        _tell_results(run)
        say("To run it again, give it another id: --id NEW")
    else:
        _tell_errors(session, run)


def _tell_ended(session: Session, run: AnySnapshot) -> None:
    if session.as_json:
        print_json(run)
        return
    how_long = took(run.started_at, run.ended_at)
    say(f"\n{run.kind} {run.id} is {run.word} after {how_long}")
    if run.ok:
        _tell_results(run)
    if run.errors or not run.ok:
        _tell_errors(session, run)


def _tell_results(run: AnySnapshot) -> None:
    """What the last steps returned: those that nothing depends on."""
    steps = steps_of(run)
    read = {before for step in steps for before in step.depends_on}
    main = [step for step in steps if step.phase is Phase.MAIN]
    last = [step for step in main if step.id not in read and step.result is not None]
    for step in last[:_RESULTS]:
        say(f"  {step.id}: {short(step.result, 100)}")


def _tell_errors(session: Session, run: AnySnapshot) -> None:
    for error in run.errors:
        say(f"  {error.task_id}: {brief(error)}" if error.task_id else f"  {brief(error)}")
    say("\nAll of it:")
    say_whole("  " + session.command(f"{run.kind} show {run.id}"))
    if run.ok:
        return
    undoing = [step for step in steps_of(run) if step.phase is Phase.UNDO]
    undone = any(step.attempt for step in undoing)
    if undone and all(step.status is TaskStatus.COMPLETED for step in undoing):
        say("What it had done is undone; to try it anew, run it under another id.")
        return
    say(
        "To undo what could not be undone:"
        if undone
        else "To go on from what did not complete, then run the same command again:"
    )
    say_whole("  " + session.command(f"{run.kind} retry {run.id}"))


def _code(run: AnySnapshot | None) -> int:
    if run is None:
        return LEFT
    return OK if run.ok else FAILED


def _inputs(definition: Definition, settings: Sequence[str]) -> dict[str, object]:
    """The inputs that ``key=value`` settings give."""
    return read_settings(settings, {name: spec.schema for name, spec in definition.inputs.items()})


def _generated_id() -> str:
    from kallista.core.ids import uuid7

    return uuid7(time.time_ns() // 1_000, os.urandom(10))
