"""What an adapter tells of its system, and how each row is measured by means of one.

This runs as a process of its own in the environment of the system under measurement, so it imports
nothing beyond the standard library, and little of that: the cold start (W4) pays for it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

Figures = dict[str, float]

TASKS = 10
SLOW = 0.02
CALLERS = 50
CHUNK = 5_000
WARM_UP = 2
WINDOW = 10.0

_LATE_AT_MOST = 60.0
_POLL = 0.01


class Case:
    """One measurement: which row, how much of it, and where the system keeps its data.

    Args:
        data: ``row``, ``size``, ``folder`` (an empty one, the working folder), and what the system
            needs, such as ``url``.
    """

    def __init__(self, data: Mapping[str, object]) -> None:
        self.row = str(data["row"])
        self.size = int(str(data.get("size", 1)))
        self.folder = str(data.get("folder", "."))
        self.url = str(data.get("url", ""))
        self.options = data

    def option(self, name: str, default: float) -> float:
        """A number that the harness may give."""
        return float(str(self.options.get(name, default)))

    def path(self, name: str) -> str:
        """Where a file of that name lies."""
        return os.path.join(self.folder, name)

    @property
    def marks(self) -> str:
        """The file in which the bodies of slow tasks leave their marks."""
        return self.path("marks")


class Bodies:
    """What the bodies of tasks report: that they began, and, where it matters, when."""

    def __init__(self) -> None:
        self.begun = 0
        self.first = 0.0
        self.moments: dict[int, float] | None = None
        self.told: Callable[[], object] | None = None

    def record(self) -> dict[int, float]:
        """From now on remember when each began."""
        self.moments = {}
        return self.moments

    def began(self, number: int) -> None:
        """The body of this task begins now."""
        if not self.begun:
            self.first = time.time()
        self.begun += 1
        if self.moments is not None:
            self.moments[number] = time.time()
        if self.told is not None:
            self.told()


BODIES = Bodies()


def mark(path: str, number: int, step: int) -> None:
    """The body of this step begins: a line in a file, which outlives a kill."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(handle, f"{number} {step}\n".encode())
    os.close(handle)


class System:
    """How a system does each kind of work; an adapter overrides what its system can do.

    Args:
        case: The measurement.
    """

    worker_first = True
    in_process = True

    def __init__(self, case: Case) -> None:
        self.case = case

    async def open(self, *, worker: bool) -> None:
        """Connect; with ``worker`` also begin to execute tasks."""

    async def close(self) -> None:
        """Stop executing, and disconnect."""

    async def chain(self, number: int) -> None:
        """Run a workflow of ten tasks to its end."""
        raise NotImplementedError

    async def chains(self, count: int, at_once: int) -> None:
        """Run so many of them, so many at a time."""
        await spread(range(count), at_once, self.chain)

    async def slow_chains(self, count: int) -> None:
        """Begin so many workflows of ten tasks of 20 ms, and wait for their end."""
        raise NotImplementedError

    async def slow_chains_left(self, count: int) -> None:
        """After a restart: wait until all of them are completed."""
        raise NotImplementedError

    async def one(self) -> None:
        """Run the smallest workflow there is, of one task, to its end.

        ``size`` says how many there will then have been in this store.
        """
        await self.submit(0)
        await self.finish(self.case.size)

    async def submit(self, number: int) -> None:
        """Hand in one task, durable when this returns as far as the system makes it so."""
        raise NotImplementedError

    async def submit_many(self, numbers: range) -> None:
        """Hand in many tasks by the system's call for many."""
        raise NotImplementedError

    async def submit_at(self, number: int, moment: float) -> None:
        """Hand in a task that is due at a moment, in seconds since the epoch."""
        raise NotImplementedError

    async def submit_all_at(self, due: Sequence[float]) -> None:
        """Hand in a task for each moment."""
        await spread(range(len(due)), CALLERS, lambda number: self.submit_at(number, due[number]))

    async def finished(self) -> int:
        """How many tasks are completed and so recorded."""
        raise NotImplementedError

    async def finish(self, count: int) -> None:
        """Wait until so many tasks are completed."""

        async def begun() -> bool:
            return not self.in_process or BODIES.begun >= count or self.case.row == "W4"

        async def finished() -> bool:
            return await self.finished() >= count

        await until(begun, _POLL / 2)
        await until(finished, _POLL)

    async def began(self, number: int, moments: Mapping[int, float]) -> float:
        """Wait until the body of a task has begun; the moment."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        BODIES.told = lambda: loop.call_soon_threadsafe(event.set)
        while number not in moments:
            await event.wait()
            event.clear()
        BODIES.told = None
        return moments[number]

    async def all_began(
        self, count: int, moments: Mapping[int, float], end: float
    ) -> Mapping[int, float]:
        """Wait until the bodies of so many tasks have begun, or the time is up; their moments."""

        async def begun() -> bool:
            return len(moments) >= count or time.time() > end

        await until(begun, 0.05)
        return moments

    async def graph(self, steps: int) -> None:
        """Run a process of so many steps in layers, each step depending on three of the layer."""
        raise NotImplementedError

    async def schedules(self, count: int) -> None:
        """Set up so many schedules, none due during the measurement."""
        raise NotImplementedError

    def start_workers(self, count: int) -> None:
        """Start so many processes that ``work``, and wait until they are ready.

        The harness ends them with this one.
        """
        import subprocess

        module = sys.modules["__main__"].__spec__
        case = json.dumps({**self.case.options, "row": "worker", "watched": False})
        command = [sys.executable, "-m", str(module and module.name), case]
        self._workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]

    async def work(self) -> None:
        """Say that it is ``ready``, and execute tasks for ever, in a process of its own."""
        raise NotImplementedError

    def ready(self) -> None:
        """Tell the one that has started this worker."""
        print("ready", flush=True)

    async def stored_bytes(self) -> int:
        """How much the closed system keeps on disk."""
        raise NotImplementedError


async def until(true: Callable[[], Awaitable[bool]], poll: float) -> None:
    """Look every so many seconds whether something is true; no system tells of it by itself."""
    while not await true():  # noqa: ASYNC110 - there is nothing to be woken by
        await asyncio.sleep(poll)


async def spread(
    numbers: Iterable[int], callers: int, do: Callable[[int], Awaitable[object]]
) -> None:
    """So many callers at once take numbers until none is left."""
    left = iter(numbers)

    async def caller() -> None:
        for number in left:
            await do(number)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def in_chunks(count: int) -> AsyncIterator[range]:
    """The numbers below ``count`` in chunks of one call for many."""
    for begin in range(0, count, CHUNK):
        yield range(begin, min(begin + CHUNK, count))


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that so many percent are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _noise(seed: int) -> Random:
    from random import Random

    return Random(seed)


async def _chains_at_once(system: System) -> Figures:
    """W1 and W5: many workflows, 50 at a time, and what they leave on disk."""
    count = system.case.size
    await system.open(worker=True)
    await system.chains(WARM_UP, WARM_UP)
    began = time.perf_counter()
    await system.chains(count, CALLERS)
    wall = time.perf_counter() - began
    await system.close()
    return {
        "wall": wall,
        "steps_s": count * TASKS / wall,
        "bytes": float(await system.stored_bytes()),
    }


async def _chains_one_by_one(system: System) -> Figures:
    """W1 with one workflow at a time."""
    count = system.case.size
    await system.open(worker=True)
    await system.chains(WARM_UP, 1)
    began = time.perf_counter()
    await system.chains(count, 1)
    wall = time.perf_counter() - began
    await system.close()
    return {"wall": wall, "ms_step": wall / count / TASKS * 1000}


async def _tasks(system: System, in_bulk: bool) -> Figures:
    """W2: independent tasks, from the first submission to the last result."""
    count = system.case.size
    await system.open(worker=system.worker_first)
    warm_up = WARM_UP if system.worker_first else 0
    await spread(range(-warm_up, 0), warm_up, system.submit)
    await system.finish(warm_up)
    began = time.perf_counter()
    if in_bulk:
        async for chunk in in_chunks(count):
            await system.submit_many(chunk)
    else:
        await spread(range(count), CALLERS, system.submit)
    submitted = time.perf_counter() - began
    if not system.worker_first:
        await system.open(worker=True)
    await system.finish(count + warm_up)
    wall = time.perf_counter() - began
    await system.close()
    return {"wall": wall, "tasks_s": count / wall, "submitted_s": count / submitted}


async def _one_by_one(system: System) -> Figures:
    return await _tasks(system, in_bulk=False)


async def _in_bulk(system: System) -> Figures:
    return await _tasks(system, in_bulk=True)


async def _latency(system: System) -> Figures:
    """W3: an idle system gets a task; when does its body begin?"""
    noise = _noise(3)
    await system.open(worker=True)
    await system.submit(-1)
    moments = BODIES.record()
    await asyncio.sleep(system.case.option("settle", 1))
    late = []
    for number in range(system.case.size):
        submitted = time.time()
        await system.submit(number)
        late.append((await system.began(number, moments) - submitted) * 1000)
        await asyncio.sleep(noise.random() * 0.05)
    await system.close()
    return {"p50_ms": percentile(late, 50), "p99_ms": percentile(late, 99)}


async def _cold(system: System) -> Figures:
    """W4: what is measured is the whole process, from outside."""
    await system.open(worker=True)
    await system.one()
    await system.close()
    return {}


async def _until_killed(system: System) -> Figures:
    """W6, first half: the harness kills this process midway."""
    await system.open(worker=True)
    await system.slow_chains(system.case.size)
    return {}


async def _after_the_kill(system: System) -> Figures:
    """W6, second half: the same store, a new process."""
    await system.open(worker=True)
    await system.slow_chains_left(system.case.size)
    done = time.time()
    await system.close()
    return {"completed_at": done}


async def _timers(system: System) -> Figures:
    """W7: tasks that are due at random moments within ten seconds; how late do bodies begin?"""
    noise = _noise(7)
    await system.open(worker=system.worker_first)
    moments = BODIES.record()
    base = time.time() + system.case.option("lead", 10)
    window = system.case.option("window", WINDOW)
    due = [base + noise.random() * window for _ in range(system.case.size)]
    began = time.time()
    await system.submit_all_at(due)
    ended = time.time()
    if not system.worker_first:
        await system.open(worker=True)
    found = await system.all_began(len(due), moments, base + window + _LATE_AT_MOST)
    late = [(found[number] - due[number]) * 1000 for number in found if number >= 0]
    await system.close()
    return {
        "p50_ms": percentile(late, 50),
        "p99_ms": percentile(late, 99),
        "begun": float(len(late)),
        "submitted_s": len(due) / (ended - began),
        "overran": max(0.0, ended - base),
    }


async def _fill(system: System) -> Figures:
    """W8, first half: tasks wait, and no worker is there."""
    count = system.case.size
    await system.open(worker=False)
    began = time.perf_counter()
    try:
        async for chunk in in_chunks(count):
            await system.submit_many(chunk)
    except NotImplementedError:
        await spread(range(count), CALLERS, system.submit)
    wall = time.perf_counter() - began
    await system.close()
    return {"fill_wall": wall}


async def _drain(system: System) -> Figures:
    """W8, second half: a worker starts and runs them all."""
    began = time.perf_counter()
    started = system.case.option("spawned", 0)
    await system.open(worker=True)
    await system.finish(system.case.size)
    wall = time.perf_counter() - began
    first = BODIES.first - started if BODIES.first else math.nan
    await system.close()
    return {"drain_wall": wall, "first_s": first}


async def _worker(system: System) -> Figures:
    """A process that only executes."""
    await system.work()
    return {}


async def _graph(system: System) -> Figures:
    """W9: one large process."""
    await system.open(worker=True)
    await system.graph(10)
    began = time.perf_counter()
    await system.graph(system.case.size)
    wall = time.perf_counter() - began
    await system.close()
    return {"wall": wall, "steps_s": system.case.size / wall}


async def _idle(system: System) -> Figures:
    """W10: schedules of which none is due; how much of a core does the program take?"""
    await system.open(worker=True)
    await system.schedules(system.case.size)
    await asyncio.sleep(system.case.option("settle", 2))
    window = system.case.option("window", 20)
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(window)
    used = time.process_time() - used
    share = used / (time.perf_counter() - began) * 100
    await system.close()
    return {"core_percent": share}


_MEASURES: dict[str, Callable[[System], Coroutine[None, None, Figures]]] = {
    "W1": _chains_at_once,
    "W1 one": _chains_one_by_one,
    "W2": _one_by_one,
    "W2 bulk": _in_bulk,
    "W3": _latency,
    "W4": _cold,
    "W6": _until_killed,
    "W6 again": _after_the_kill,
    "W7": _timers,
    "W8": _fill,
    "W8 drain": _drain,
    "worker": _worker,
    "W9": _graph,
    "W10": _idle,
}


def peak_mib() -> float:
    """The most memory that this process has held at once, in MiB."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def answer(figures: Figures) -> None:
    """One line for the harness; processor time says more than any other where others work too."""
    shared = {"peak_mib": peak_mib(), "cpu_s": time.process_time()}
    print(json.dumps({**figures, **shared}), flush=True)


def case_of_arguments() -> Case:
    """The measurement that the harness asks for on the command line."""
    return Case(json.loads(sys.argv[1]))


def end_with_harness() -> None:
    """Let this process and those that it has started end when the harness ends, however it does.

    The harness holds the other end of the standard input, which closes with it.
    """
    import signal
    import threading

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def serve(system: Callable[[Case], System]) -> None:
    """Measure what the command line asks for, and print it.

    The process then ends at once, so that no peer's threads or exit handlers hold it up; in W4 it
    ends as a program does, since that is measured.
    """
    case = case_of_arguments()
    if case.options.get("watched"):
        end_with_harness()
    try:
        answer(asyncio.run(_MEASURES[case.row](system(case))))
    except Exception:
        import traceback

        traceback.print_exc()
        os._exit(1)
    if case.row != "W4":
        os._exit(0)
