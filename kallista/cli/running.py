"""``kallista run`` and ``kallista demo``: execute what a definition file holds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kallista.cli.files import load_file, load_yaml
from kallista.cli.session import FAILED, LEFT, OK, Session
from kallista.core.definitions import Definition
from kallista.core.states import RunKind
from kallista.errors import UsageError

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.parsing import Document
    from kallista.core.snapshots import ProcessSnapshot, RunSnapshot

DEMO: Final = "inventory_app.yaml"
_FINISHED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


def run_file(
    session: Session, path: str, settings: list[str], id: str | None, *, detach: bool
) -> int:
    """Run a definition file; the same call again goes on with a run of the same id.

    Args:
        session: The options.
        path: The file.
        settings: Inputs as ``key=value``.
        id: The run's id; None: the file's own.
        detach: Only submit it, for a worker to execute.

    Returns:
        The exit code.
    """
    data = load_file(path)
    own = data.get("id") if isinstance(data, Mapping) else None
    chosen = id or (own if isinstance(own, str) else None) or _generated(path)
    if detach:
        return session.run(_submit(session, data, settings, chosen))
    return session.run(_run(session, data, settings, chosen))


async def _submit(session: Session, data: object, settings: list[str], id: str) -> int:
    async with session.app() as app:
        document = await app.check(data)
        await app.submit(document, id=id, inputs=_inputs(document.definition, settings))
        alive = any(worker.alive for worker in await app.workers())
    if session.as_json:
        from kallista.cli.output import print_json

        print_json({"id": id, "worker_alive": alive})
        return OK
    print(f"{id} is submitted")
    if not alive:
        print("no worker is alive; start one with: kallista worker")
    return OK


async def _run(session: Session, data: object, settings: list[str], id: str) -> int:
    async with session.app(worker=True, within=id) as app:
        document = await app.check(data)
        inputs = _inputs(document.definition, settings)
        return await _execute(session, app, document, id, inputs)


async def _execute(
    session: Session, app: Kallista, document: Document, id: str, inputs: Mapping[str, object]
) -> int:
    kind = document.definition.kind
    if await app.kind_of(id) is not None and not session.as_json:
        print(f"{id} exists already; going on with it")
    await app.submit(document, id=id, inputs=inputs)
    run = await _attended(session, app, kind, id)
    if run is None:
        return LEFT
    from kallista.cli.output import print_json, print_run

    if session.as_json:
        print_json(run)
    elif run.ok:
        print(f"{id} is COMPLETED")
    else:
        print_run(run)
        print(f"to go on from what failed: kallista {kind} retry {id}, then run this again")
    return OK if run.ok else FAILED


async def _attended(session: Session, app: Kallista, kind: RunKind, id: str) -> RunSnapshot | None:
    """Follow the run; None when the user has chosen to leave it to go on later."""
    from kallista.cli.live import follow

    following = asyncio.ensure_future(follow(app, kind, id, quiet=session.as_json))
    loop = asyncio.get_running_loop()
    questions: list[asyncio.Task[None]] = []

    def interrupted() -> None:
        if questions or not sys.stdin.isatty():
            following.cancel()
        else:
            questions.append(loop.create_task(_leave_or_stay(following)))

    restore = _on_interrupt(loop, interrupted)
    try:
        return await following
    except asyncio.CancelledError:
        print(f"\n{id} is kept; run the same command again and it goes on", file=sys.stderr)
        return None
    finally:
        restore()


async def _leave_or_stay(following: asyncio.Future[RunSnapshot]) -> None:
    print("\nLeave it, to go on later? [y/N] ", end="", flush=True, file=sys.stderr)
    answer = await asyncio.to_thread(sys.stdin.readline)
    if answer.strip().lower() in ("y", "yes"):
        following.cancel()


def _on_interrupt(
    loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
) -> Callable[[], object]:
    """Let Ctrl-C call back on the loop; returns what restores it. Works on Windows too."""
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: object) -> None:
        loop.call_soon_threadsafe(callback)

    signal.signal(signal.SIGINT, handler)
    return lambda: signal.signal(signal.SIGINT, before)


def _inputs(definition: Definition, settings: list[str]) -> dict[str, object]:
    """``key=value`` settings; a value is read as YAML unless the input is a text."""
    values: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes key=value, not {setting!r}")
        spec = definition.inputs.get(key)
        is_text = spec is not None and spec.schema.get("type") == "string"
        values[key] = text if is_text else load_yaml(text)
    return values


def _generated(path: str) -> str:
    """An id for a file without one: its name and some luck."""
    stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in Path(path).stem).strip("-")
    return f"{stem or 'run'}-{os.urandom(4).hex()}"


def run_demo(session: Session) -> int:
    """The main job: design and generate a WPF application, and say where it lies."""
    return session.run(_demo(session))


async def _demo(session: Session) -> int:
    data = load_yaml(_demo_text())
    assert isinstance(data, dict), "the demo is a process"
    id = await _demo_id(session, str(data["id"]))
    async with session.app(worker=True, within=id) as app:
        document = await app.check({**data, "id": id})
        code = await _execute(session, app, document, id, {})
        if code == OK and not session.as_json:
            _tell_where(await app.orchestrator.get_process(id))
    return code


async def _demo_id(session: Session, first: str) -> str:
    """The demo that is still unfinished, or the next one."""
    async with session.app() as app:
        number, id = 1, first
        while await app.kind_of(id) is not None:
            if (await app.orchestrator.get_process_status(id)) not in _FINISHED:
                return id
            number += 1
            id = f"{first}-{number}"
        return id


def _tell_where(run: ProcessSnapshot) -> None:
    folder = Path(str(run.inputs["output_dir"]))
    count = sum(1 for file in folder.rglob("*") if file.is_file())
    print(
        f"""
A complete C#/WPF application lies in {folder} ({count} files).

What to look at next:
  {folder / "docs"}  its design, for people and as JSON
  {folder}  open the solution in Visual Studio, or run: dotnet test
  kallista process show {run.id}
  kallista process history {run.id}"""
    )


def _demo_text() -> str:
    packaged = files("kallista") / "examples" / DEMO
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    checkout = Path(__file__).parent.parent.parent / "examples" / DEMO
    return checkout.read_text(encoding="utf-8")
