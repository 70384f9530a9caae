"""A few rounds of each real fault that ``soak.py`` repeats by the hundred."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from soaking import kills
from soaking.rounds import Place, Round, Sqlite


@pytest.fixture(params=["sqlite"])
def place() -> Place:
    """Each kind of store there is."""
    return Sqlite()


@pytest.mark.parametrize("seed", [3, 6])
def test_workers_killed_while_they_share_the_work(seed: int, place: Place, tmp_path: Path) -> None:
    """Three workers on workflows, processes, tasks and a schedule; some are killed, or all.

    Every acknowledged run completes, each task has its effect once for each attempt and never
    after its completion, what a client saw happen stays, and no program complains.
    """
    assert kills.run(Round(place, tmp_path, Random(seed))).faults > 0
