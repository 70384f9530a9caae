"""Runs handlers and definitions in a test: in memory, without files and without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

from kallista.app import Kallista
from kallista.core.snapshots import AnySnapshot
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.errors import UsageError
from kallista.store.memory import MemoryStore
from kallista.testing.clock import FakeClock, settle

ResultT = TypeVar("ResultT")

NEVER = Micros(10**17)


class InlineThreads:
    """Calls blocking handlers at once, so that a test needs no thread and no waiting."""

    def submit(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Make the call now."""
        future: Future[ResultT] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def memory_app(
    tasks: Sequence[Callable[..., object]] = (),
    *,
    clock: FakeClock | None = None,
    worker: bool = True,
    max_concurrency: int = 100,
) -> AsyncIterator[Kallista]:
    """An app that keeps everything in memory, on a clock that stands still.

    When it closes, attempts in flight are told to stop at once: no time passes by itself.

    Args:
        tasks: Handlers, as for ``Kallista``.
        clock: The clock; ``clock.advance(...)`` lets time pass. A new one by default.
        worker: Whether it executes anything.
        max_concurrency: How many attempts at once.
    """
    app = Kallista.assembled(
        MemoryStore(),
        clock or FakeClock(),
        tasks=tasks,
        threads=InlineThreads(),
        options=Options(
            worker=worker,
            max_concurrency=max_concurrency,
            grace=Micros(0),
            look_every=NEVER,
            take_over_every=NEVER,
        ),
    )
    async with app:
        yield app


def run(
    what: Callable[..., object] | Mapping[str, object] | Sequence[Mapping[str, object]],
    *,
    config: Mapping[str, object] | None = None,
    inputs: Mapping[str, object] | None = None,
    tasks: Sequence[Callable[..., object]] = (),
) -> AnySnapshot:
    """Run a handler or a definition to its end, as fast as its work allows.

    Retries, sleeps and time limits take no time: when nothing else is left to do, the clock jumps
    to the next moment something waits for.

    Args:
        what: A handler (a function with or without ``@task``), a list of tasks (a workflow), or a
            process as for ``create_process``.
        config: The handler's arguments, or the workflow's config.
        inputs: Values for the inputs that the definition declares.
        tasks: Further handlers that it needs.

    Returns:
        The finished run, also when it FAILED; ``raise_for_status()`` raises then.

    Raises:
        DefinitionError: The description has problems.
        UsageError: It is called on a running event loop (use ``run_async`` there).
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_async(what, config=config, inputs=inputs, tasks=tasks))
    raise UsageError("run() was called on a running event loop; await run_async(...) instead")


async def run_async(
    what: Callable[..., object] | Mapping[str, object] | Sequence[Mapping[str, object]],
    *,
    config: Mapping[str, object] | None = None,
    inputs: Mapping[str, object] | None = None,
    tasks: Sequence[Callable[..., object]] = (),
) -> AnySnapshot:
    """``run`` for tests that have an event loop; the same arguments, result and errors."""
    clock = FakeClock()
    handlers = [*tasks, what] if callable(what) else [*tasks]
    async with memory_app(handlers, clock=clock) as app:
        ending = asyncio.ensure_future(_started(app, what, config, inputs))
        await settle()
        while not ending.done():
            moment = clock.next_timer()
            if moment is None or moment >= NEVER:
                await asyncio.sleep(0)
                await settle()
                continue
            await clock.advance_to(moment)
        return await ending


async def _started(
    app: Kallista,
    what: Callable[..., object] | Mapping[str, object] | Sequence[Mapping[str, object]],
    config: Mapping[str, object] | None,
    inputs: Mapping[str, object] | None,
) -> AnySnapshot:
    if callable(what):
        data = {"type": app.type_of(what), "config": dict(config or {})}
        return await app.scheduler.wait_task(await app.scheduler.schedule_task("tried", data))
    if isinstance(what, Mapping):
        return await app.orchestrator.run_process(what, inputs=inputs)
    return await app.workflow_manager.run_workflow("tried", what, config, inputs=inputs)
