"""The soak itself: several scenarios at a time, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from soak import Scenario, Soak, summed_up
from soaking.figures import Figures
from soaking.rounds import Round

PATIENCE = 30
MANY = 1_000_000


def scenario(name: str, run: Callable[[Round], object], seconds: float = 1) -> Scenario:
    """A scenario without any program, of one round."""

    def ran(round: Round) -> Figures:
        run(round)
        return Figures(rounds=1)

    return Scenario(name, ran, rounds=1, seconds=seconds, places=("sqlite",))


def failing(round: Round) -> None:
    """A round in which a promise is broken."""
    raise AssertionError(f"seed {round.chance.random()}")


def test_scenarios_run_side_by_side_and_are_told_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two that wait for each other both end, one that fails stops no other and is counted."""
    met = Barrier(2, timeout=PATIENCE)
    pairs = [
        (scenario("short", lambda _: met.wait(), seconds=1), "sqlite"),
        (scenario("broken", failing, seconds=0), "sqlite"),
        (scenario("long", lambda _: met.wait(), seconds=2), "sqlite"),
    ]
    outcomes = Soak(tmp_path, seed=5, rounds=None, minutes=1).run_all(pairs, jobs=2)
    assert summed_up(outcomes, tmp_path) == 1
    told = capsys.readouterr().out
    rows = [line.split(" | ")[0] for line in told.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["| short", "| broken", "| long"]
    assert "--only broken-sqlite --seed 5 --rounds 1" in told
    assert [folder.name for folder in tmp_path.iterdir()] == ["broken-sqlite-5"]


def test_one_at_a_time_unless_asked_otherwise(tmp_path: Path) -> None:
    """With one job the longest one runs first, and the others after it."""
    order: list[str] = []
    pairs = [
        (scenario("short", lambda _: order.append("short"), seconds=1), "sqlite"),
        (scenario("long", lambda _: order.append("long"), seconds=2), "sqlite"),
    ]
    outcomes = Soak(tmp_path / "keep", seed=1, rounds=None, minutes=1).run_all(pairs, jobs=1)
    assert order == ["long", "short"]
    assert summed_up(outcomes, tmp_path / "keep") == 0


def test_a_soak_that_is_broken_off_ends_after_the_rounds_under_way(tmp_path: Path) -> None:
    """Nobody waits for hundreds of rounds after Ctrl-C, or to learn that there is no server."""

    def interrupted(_: Round) -> None:
        raise KeyboardInterrupt

    rounds: list[Round] = []
    pairs = [
        (scenario("interrupted", interrupted), "sqlite"),
        (replace(scenario("endless", rounds.append), rounds=MANY), "sqlite"),
    ]
    with pytest.raises(KeyboardInterrupt):
        Soak(tmp_path, seed=1, rounds=None, minutes=1).run_all(pairs, jobs=2)
    assert len(rounds) < MANY
