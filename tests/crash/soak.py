"""Real faults on real programs, round after round, as long as you like.

    python tests/crash/soak.py [--rounds N] [--minutes M] [--only NAME ...] [--seed S] [--keep DIR]

Prints a line for each scenario and a table of all figures at the end. Exits with 1 if a round has
failed, with 3 if some were not run: the minutes were over, or a program was missing. A failed round
keeps its folder (store, logs, marks) and prints how to run it once more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
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


@dataclass(frozen=True)
class Scenario:
    """A kind of fault.

    Args:
        name: How it is chosen.
        run: One round of it.
        rounds: How many of them, unless asked otherwise.
        places: On which stores.
        needs: A program without which it cannot be had.
    """

    name: str
    run: Callable[[Round], Figures]
    rounds: int
    places: Sequence[str] = (*SQLITE, *POSTGRES)
    needs: str | None = None


SCENARIOS: Final = (
    Scenario("kills", kills.run, 200),
    Scenario("take-over", takeovers.run, 30),
    Scenario("freezes", freezes.run, 30),
    Scenario("restarts", restarts.run, 40, POSTGRES),
    Scenario("failover", failovers.run, 10, POSTGRES),
    Scenario("clocks", clocks.run, 30),
    Scenario("crowds", crowds.run, 10),
    Scenario("failing-syncs", disks.failing_syncs, 30, SQLITE),
    Scenario("failing-calls", disks.failing_calls, 20, SQLITE, needs="strace"),
    Scenario("full-disk", disks.full, 20, SQLITE),
)


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
        self.rows: list[Sequence[str]] = []
        self.failures = 0
        self.left_out = 0

    def run(self, scenario: Scenario, place: Place) -> None:
        """All rounds of a scenario in one place."""
        if scenario.needs is not None and shutil.which(scenario.needs) is None:
            tell(f"{scenario.name} is left out: there is no {scenario.needs}")
            self.left_out += 1
            return
        figures, began = Figures(), monotonic()
        rounds = self._rounds or scenario.rounds
        for number in range(rounds):
            if monotonic() - began > self._minutes * 60:
                tell(f"{scenario.name} ends after {number} of {rounds} rounds: the time is over")
                self.left_out += 1
                break
            done = self._round(scenario, place, self._seed + number)
            if done is not None:
                figures.add(done)
        row = [scenario.name, place.name, *figures.cells]
        self.rows.append(row)
        tell(f"{' | '.join(row)} | {monotonic() - began:.0f} s")

    def _round(self, scenario: Scenario, place: Place, seed: int) -> Figures | None:
        folder = self._keep / f"{scenario.name}-{place.name}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            figures = scenario.run(Round(place, folder, Random(seed), SIZE, JITTER, PATIENCE))
        except Exception:
            tell(traceback.format_exc())
            self.failures += 1
            place.keep(folder)
            again = f"--only {scenario.name}-{place.name} --seed {seed} --rounds 1"
            tell(f"FAILED: {folder} is kept; once more: python {sys.argv[0]} {again}")
            return None
        shutil.rmtree(folder)
        return figures


class Places(dict[str, Place]):
    """The kinds of stores, made when they are first asked for.

    Args:
        stack: What ends them.
    """

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(sqlite=Sqlite())
        self._stack = stack

    def __missing__(self, name: str) -> Place:
        """A PostgreSQL server of this program's own."""
        self[name] = Postgres(self._stack.enter_context(PostgresServer()))
        return self[name]


def tell(text: str) -> None:
    """A line for whoever watches."""
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
    parser.add_argument("--only", action="append", default=[], help="kills, kills-sqlite, sqlite …")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--keep", type=Path, help="where failed rounds stay")
    asked = parser.parse_args()
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="kallista-soak-"))
    soak = Soak(keep, asked.seed, asked.rounds, asked.minutes)
    with ExitStack() as stack:
        places = Places(stack)
        for scenario, place in chosen(asked.only):
            soak.run(scenario, places[place])
    tell(f"\n{table(soak.rows)}")
    if soak.failures:
        tell(f"\n{soak.failures} rounds failed")
    else:
        shutil.rmtree(keep, ignore_errors=True)
    if soak.left_out:
        tell(f"\n{soak.left_out} scenarios were not run, or not to their end")
    return 1 if soak.failures else 3 if soak.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
