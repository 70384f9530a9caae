"""Real faults on real programs, round after round, as long as you like.

    python tests/crash/soak.py [--rounds N] [--minutes M] [--jobs J] [--only NAME ...] [--seed S]
        [--keep DIR]

With ``--jobs`` so many scenarios run at a time, what takes longest first: most of a round is
waiting. Prints a line for each scenario when it is over and a table of all figures at the end.
Exits with 1 if a round has failed, with 3 if some were not run: the minutes were over, or a program
was missing. A failed round keeps its folder (store, logs, marks) and prints how to run it once
more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event, Lock
from time import monotonic
from typing import Final

from soaking import clocks, crowds, disks, failovers, freezes, kills, restarts, takeovers
from soaking.figures import Figures, table
from soaking.rounds import Place, Postgres, Round, Sqlite

from kallista.testing.postgres import PostgresServer

SQLITE: Final = ("sqlite",)
POSTGRES: Final = ("postgres",)
SIZE: Final = 10
JITTER: Final = 0.03
PATIENCE: Final = 90.0

_TELLING: Final = Lock()


@dataclass(frozen=True)
class Scenario:
    """A kind of fault.

    Args:
        name: How it is chosen.
        run: One round of it.
        rounds: How many of them, unless asked otherwise.
        seconds: About how long one takes.
        places: On which stores.
        needs: A program without which it cannot be had.
    """

    name: str
    run: Callable[[Round], Figures]
    rounds: int
    seconds: float
    places: Sequence[str] = (*SQLITE, *POSTGRES)
    needs: str | None = None


SCENARIOS: Final = (
    Scenario("kills", kills.run, 200, 4),
    Scenario("take-over", takeovers.run, 30, 6),
    Scenario("freezes", freezes.run, 30, 6),
    Scenario("restarts", restarts.run, 40, 6, POSTGRES),
    Scenario("failover", failovers.run, 10, 6, POSTGRES),
    Scenario("clocks", clocks.run, 30, 2),
    Scenario("crowds", crowds.run, 10, 11),
    Scenario("failing-syncs", disks.failing_syncs, 30, 5, SQLITE),
    Scenario("failing-calls", disks.failing_calls, 20, 8, SQLITE, needs="strace"),
    Scenario("full-disk", disks.full, 20, 3, SQLITE),
)


@dataclass(frozen=True)
class Outcome:
    """What has come of a scenario in a place.

    Args:
        row: Its figures for the table; None: it was not run.
        failures: How many rounds have failed.
        whole: Whether all its rounds were run.
    """

    row: Sequence[str] | None = None
    failures: int = 0
    whole: bool = False


class Soak:
    """Runs scenarios and counts.

    Args:
        keep: Where the folders of failed rounds stay.
        seed: The seed of each scenario's first round.
        rounds: How many rounds each; None: as many as the scenario says.
        minutes: After so many minutes a scenario is over, however many rounds it has had.
    """

    def __init__(self, keep: Path, seed: int, rounds: int | None, minutes: float) -> None:
        self._keep = keep
        self._seed = seed
        self._rounds = rounds
        self._minutes = minutes
        self._broken_off = Event()

    def run_all(self, pairs: Sequence[tuple[Scenario, str]], jobs: int) -> list[Outcome]:
        """Run scenarios in their places, so many at a time; the outcomes are in their order."""
        longest_first = sorted(pairs, key=lambda pair: self._length(pair[0]), reverse=True)
        with ThreadPoolExecutor(jobs) as pool:
            running = {pair: pool.submit(self.run, *pair) for pair in longest_first}
            try:
                for done in as_completed(running.values()):
                    done.result()
            except BaseException:
                # Rounds under way come to their end: they leave no program and no mount behind.
                self._broken_off.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [running[pair].result() for pair in pairs]

    def _length(self, scenario: Scenario) -> float:
        return (self._rounds or scenario.rounds) * scenario.seconds

    def run(self, scenario: Scenario, place: str) -> Outcome:
        """All rounds of a scenario in one place."""
        if scenario.needs is not None and shutil.which(scenario.needs) is None:
            tell(f"{scenario.name} is left out: there is no {scenario.needs}")
            return Outcome()
        with place_named(place) as there:
            return self._run(scenario, there)

    def _run(self, scenario: Scenario, place: Place) -> Outcome:
        figures, failures, began = Figures(), 0, monotonic()
        rounds = self._rounds or scenario.rounds
        for number in range(rounds):
            over = self._why_over(began)
            if over is not None:
                tell(f"{scenario.name}-{place.name} ends after {number} of {rounds} rounds: {over}")
                break
            done = self._round(scenario, place, self._seed + number)
            if done is None:
                failures += 1
            else:
                figures.add(done)
        row = [scenario.name, place.name, *figures.cells]
        tell(f"{' | '.join(row)} | {monotonic() - began:.0f} s")
        return Outcome(row, failures, whole=figures.rounds + failures == rounds)

    def _why_over(self, began: float) -> str | None:
        """Why there are to be no more rounds; None: there may be."""
        if self._broken_off.is_set():
            return "the soak is broken off"
        if monotonic() - began > self._minutes * 60:
            return "the time is over"
        return None

    def _round(self, scenario: Scenario, place: Place, seed: int) -> Figures | None:
        folder = self._keep / f"{scenario.name}-{place.name}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            figures = scenario.run(Round(place, folder, Random(seed), SIZE, JITTER, PATIENCE))
        except Exception:
            story = traceback.format_exc()
            place.keep(folder)
            again = f"--only {scenario.name}-{place.name} --seed {seed} --rounds 1"
            once_more = f"once more: python {sys.argv[0]} {again}"
            tell(f"{story}\nFAILED: {folder} is kept; {once_more}")
            return None
        shutil.rmtree(folder)
        return figures


@contextmanager
def place_named(name: str) -> Iterator[Place]:
    """A kind of store; a PostgreSQL server is of one scenario's own, which may stop it."""
    if name == Sqlite.name:
        yield Sqlite()
    else:
        with PostgresServer() as server:
            yield Postgres(server)


def tell(text: str) -> None:
    """Lines for whoever watches, whole, whoever else tells some."""
    with _TELLING:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def chosen(names: Sequence[str]) -> list[tuple[Scenario, str]]:
    """The scenarios in their places, of which ``names`` are the names or their beginnings."""
    every = [(scenario, place) for scenario in SCENARIOS for place in scenario.places]
    if not names:
        return every
    return [
        (scenario, place)
        for scenario, place in every
        if any(name in (scenario.name, f"{scenario.name}-{place}", place) for name in names)
    ]


def main() -> int:
    """Run what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, help="rounds of each scenario")
    parser.add_argument("--minutes", type=float, default=30, help="for each scenario at most")
    parser.add_argument("--jobs", type=int, default=1, help="how many scenarios at a time")
    parser.add_argument("--only", action="append", default=[], help="kills, kills-sqlite, sqlite …")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--keep", type=Path, help="where failed rounds stay")
    asked = parser.parse_args()
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="kallista-soak-"))
    soak = Soak(keep, asked.seed, asked.rounds, asked.minutes)
    outcomes = soak.run_all(chosen(asked.only), asked.jobs)
    return summed_up(outcomes, keep)


def summed_up(outcomes: Sequence[Outcome], keep: Path) -> int:
    """Tell all figures, clear up if nothing has failed; returns the exit code."""
    failures = sum(outcome.failures for outcome in outcomes)
    left_out = sum(not outcome.whole for outcome in outcomes)
    tell(f"\n{table(outcome.row for outcome in outcomes if outcome.row is not None)}")
    if failures:
        tell(f"\n{failures} rounds failed")
    else:
        shutil.rmtree(keep, ignore_errors=True)
    if left_out:
        tell(f"\n{left_out} scenarios were not run, or not to their end")
    return 1 if failures else 3 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
