"""A few rounds of each real fault that ``soak.py`` repeats by the hundred."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
from soaking import clocks, disks, freezes, kills, restarts
from soaking.rounds import Place, Postgres, Round, Sqlite

from kallista.testing.postgres import PostgresServer


def test_workers_killed_while_they_share_the_work(place: Place, tmp_path: Path) -> None:
    """Three workers on workflows, processes, tasks and a schedule; some are killed, or all.

    Every acknowledged run completes, each task has its effect once for each attempt and never
    after its completion, what a client saw happen stays, and no program complains.
    """
    assert kills.run(Round(place, tmp_path, Random(3))).faults > 0


@pytest.mark.skipif(sys.platform == "win32", reason="no program can be frozen there")
def test_workers_frozen_while_others_go_on(place: Place, tmp_path: Path) -> None:
    """What they held is done by others; when they wake up they change nothing."""
    assert freezes.run(Round(place, tmp_path, Random(1))).faults > 0


def test_the_wall_clock_is_set_back_and_forth(place: Place, tmp_path: Path) -> None:
    """Work goes on and is done once, whatever programs take for the time."""
    assert clocks.run(Round(place, tmp_path, Random(1))).repeats == 0


def test_syncs_that_fail_lose_nothing(tmp_path: Path) -> None:
    """A failed commit is unknown, never a no: programs look, and everything is done once."""
    figures = disks.failing_syncs(Round(Sqlite(), tmp_path, Random(1)))
    assert figures.faults > 0
    assert figures.repeats == 0


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """A user is told that the disk is full; once there is space, everything goes on."""
    figures = disks.full(Round(Sqlite(), tmp_path, Random(1)))
    assert figures.errors["StoreError"] > 0
    assert figures.repeats == 0


def test_postgresql_stops_and_comes_back_under_load(server: PostgresServer, tmp_path: Path) -> None:
    """Stopped fast, stopped at once and killed: programs wait for it, and nothing runs twice."""
    figures = restarts.run(Round(Postgres(server), tmp_path, Random(1)))
    assert figures.faults == 3
    assert figures.repeats == 0
