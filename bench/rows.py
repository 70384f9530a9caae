"""The rows of the table: what each kind of work is, how much of it, and which figure counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One kind of work.

    Args:
        name: ``W1`` and so on.
        title: What is done.
        unit: What its figure is in.
        figure: The name of the figure that counts, as adapters print it.
        second: A figure shown behind it; None: it has one only.
        more_is_better: Whether a larger figure is the better one.
        sizes: How much work, three times where cost should grow linearly; of each the middle
            figure counts at ``main``.
        main: The size whose figure is shown.
        cost: The figure that should grow linearly with the size; None: nothing should.
        limit: For how many seconds one measurement may go on.
        once: Measured in the first round only.
    """

    name: str
    title: str
    unit: str
    figure: str
    second: str | None = None
    more_is_better: bool = False
    sizes: tuple[int, ...] = (1,)
    main: int = 1
    cost: str | None = None
    limit: float = 180
    once: bool = False


FSYNC = Row(
    "fsync",
    "one fsync of a 4 KiB append, p50 / p99",
    "ms",
    "p50_ms",
    "p99_ms",
    sizes=(500,),
    main=500,
)

ROWS = (
    FSYNC,
    Row(
        "W1",
        "200 workflows of 10 tasks, 50 at a time",
        "steps/s",
        "steps_s",
        more_is_better=True,
        sizes=(200, 400, 800),
        main=200,
        cost="wall",
    ),
    Row(
        "W1 one",
        "20 workflows of 10 tasks, one at a time",
        "ms a step",
        "ms_step",
        sizes=(20, 40, 80),
        main=20,
        cost="wall",
    ),
    Row(
        "W2",
        "5,000 independent tasks submitted one by one, to the last result",
        "tasks/s",
        "tasks_s",
        more_is_better=True,
        sizes=(5_000, 10_000, 20_000),
        main=5_000,
        cost="wall",
    ),
    Row(
        "W2 bulk",
        "5,000 independent tasks submitted in bulk, to the last result",
        "tasks/s",
        "tasks_s",
        more_is_better=True,
        sizes=(5_000, 10_000, 20_000),
        main=5_000,
        cost="wall",
    ),
    Row(
        "W3",
        "idle, from submission to the start of the body, p50 / p99",
        "ms",
        "p50_ms",
        "p99_ms",
        sizes=(100,),
        main=100,
    ),
    Row(
        "W4",
        "cold start: import, one workflow of one task, exit; wall / peak memory",
        "s / MiB",
        "wall",
        "peak_mib",
    ),
    Row(
        "W5",
        "disk for a finished workflow of 10 tasks, history included",
        "bytes",
        "bytes_each",
        cost="bytes",
    ),
    Row(
        "W6",
        "SIGKILL amid 200 workflows of 10 tasks of 20 ms; restart to all completed"
        " / bodies run twice",
        "s / bodies",
        "recovered_s",
        "twice",
        sizes=(200,),
        main=200,
        limit=240,
    ),
    Row(
        "W7",
        "10,000 timers due within 10 s, lateness p50 / p99",
        "ms",
        "p50_ms",
        "p99_ms",
        sizes=(10_000,),
        main=10_000,
    ),
    Row(
        "W8",
        "waiting tasks, then run: rate from first submission to last result / peak memory",
        "tasks/s / MiB",
        "tasks_s",
        "peak_mib",
        more_is_better=True,
        sizes=(50_000,),
        main=50_000,
        cost="wall",
        limit=900,
        once=True,
    ),
    Row(
        "W9",
        "a process of 10,000 steps in layers, 30,000 dependencies",
        "steps/s",
        "steps_s",
        more_is_better=True,
        sizes=(100, 1_000, 10_000),
        main=10_000,
        cost="wall",
    ),
    Row(
        "W10",
        "an idle program with 1,000 schedules",
        "% of a core",
        "core_percent",
        sizes=(1_000,),
        main=1_000,
    ),
)

BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
