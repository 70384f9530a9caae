"""Measures bare commits: how many plans a second the SQLite store writes, and how long one takes.

Each plan is what one step of a workflow writes: two events, two steps, the head. Run it with
``python bench/store.py``; figures depend on how fast the disk syncs, which is shown first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kallista.core.events import Event, RunHead, StepState
from kallista.core.plan import Fence, NewRun, Plan
from kallista.core.states import EventKind, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, WorkerKey
from kallista.store.port import NEW_EPOCH, NEW_VERSION
from kallista.store.sqlite import SqliteStore

STEPS = 10
WORKER = WorkerKey(1)
RESULT = JsonText('{"files":["Views/MainWindow.xaml"],"bytes":1234}')


def new_run(number: int) -> NewRun:
    """A workflow of ten steps whose first has just started."""
    return NewRun(
        id=RunId(f"0198c0de-0000-7000-8000-{number:012}"),
        kind=RunKind.WORKFLOW,
        name="bench",
        definition="bench",
        definition_content=JsonText('{"steps":[]}'),
        content="bench",
        inputs=JsonText("{}"),
        parent=None,
        schedule=None,
        priority=0,
        tags=(),
        created_at=Micros(1),
        waits_for=(),
        owner=WORKER,
        head=RunHead(ProcessStatus.RUNNING, 2, 1, Micros(1)),
        steps=(running(Micros(1)),) + (StepState(),) * (STEPS - 1),
        events=(
            Event(0, Micros(1), EventKind.RUN_STARTED, None, 0, None),
            Event(1, Micros(1), EventKind.TASK_STARTED, 0, 1, JsonText("1")),
        ),
        enqueue=(),
    )


def running(at: Micros) -> StepState:
    """A step whose first attempt is under way."""
    return StepState(TaskStatus.RUNNING, 1, 0, 0, None, at, at, None, WORKER)


def step_plan(run: RunKey, step: int) -> Plan:
    """One step has completed, and the next one starts or the run is over."""
    at = Micros(1_700_000_000_000_000 + step)
    seq = 2 + step * 2
    last = step == STEPS - 1
    completed = StepState(TaskStatus.COMPLETED, 1, 0, 0, None, at, at, at, None, seq, passed=True)
    steps = ((step, completed), *([] if last else [(step + 1, running(at))]))
    after = (
        Event(seq + 1, at, EventKind.RUN_COMPLETED, None, 0, None)
        if last
        else Event(seq + 1, at, EventKind.TASK_STARTED, step + 1, 1, JsonText("1"))
    )
    state = ProcessStatus.COMPLETED if last else ProcessStatus.RUNNING
    return Plan(
        run=run,
        fence=Fence(NEW_VERSION + step, NEW_EPOCH),
        head=RunHead(state, seq + 2, int(not last), Micros(1), at if last else None),
        events=(Event(seq, at, EventKind.TASK_COMPLETED, step, 1, RESULT), after),
        steps=steps,
    )


async def drive(store: SqliteStore, runs: Sequence[RunKey]) -> None:
    """Take the runs through their steps, one after the other."""
    for run in runs:
        for step in range(STEPS):
            await store.commit(step_plan(run, step))


async def measure(folder: Path, at_once: int, plans: int) -> float:
    """Plans a second with so many runs under way at once."""
    store = SqliteStore(folder / f"{at_once}.db")
    await store.open()
    runs = max(plans // STEPS // at_once, 1) * at_once
    created = await asyncio.gather(*(store.create(new_run(number)) for number in range(runs)))
    keys = [answer.key for answer in created]
    started = time.perf_counter()
    await asyncio.gather(*(drive(store, keys[lane::at_once]) for lane in range(at_once)))
    took = time.perf_counter() - started
    await store.close()
    return runs * STEPS / took


def sync_time(folder: Path, times: int = 200) -> float:
    """Seconds that appending three pages and syncing them takes."""
    with (folder / "sync").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(times):
            file.write(bytes(3 * 4096))
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / times


def main() -> None:
    """Print one line for each number of runs at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=30_000)
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 50, 1000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        print(f"one sync: {sync_time(folder) * 1000:.3f} ms")
        for at_once in arguments.at_once:
            plans = arguments.plans if at_once > 1 else arguments.plans // 15
            rate = asyncio.run(measure(folder, at_once, plans))
            print(f"{at_once:5} runs at once: {rate:8.0f} plans/s, {at_once / rate * 1000:.3f} ms")


if __name__ == "__main__":
    main()
