"""The executable model of limits: what lines have to pass, and who comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kallista.core.limits import Gate, Limit
from kallista.core.types import Micros, RunKey, TaskType, WorkerKey
from kallista.store.admission import Passing, Refused
from kallista.store.port import GateState, LimitFigures

Place = tuple[RunKey, int]
"""A run and a step of it."""


@dataclass(slots=True)
class _Gate:
    """What a step has to pass, and who executes its attempt, or is about to."""

    ready_at: Micros
    limits: tuple[Limit, ...]
    worker: WorkerKey | None = None


class HeldLine(NamedTuple):
    """A line that found no room, in the order in which those of a pile follow."""

    name: str
    type: TaskType
    pile: str
    turn: int
    rank: int
    ready_at: Micros
    run: RunKey
    step: int

    @property
    def place(self) -> Place:
        """The run and the step."""
        return self.run, self.step


@dataclass(slots=True)
class Gates:
    """All that is counted, and all that waits for it."""

    of: dict[Place, _Gate] = field(default_factory=dict)
    held_lines: set[HeldLine] = field(default_factory=set)
    rates: dict[str, Micros] = field(default_factory=dict)

    @property
    def held(self) -> Counter[str]:
        """How many attempts are counted under each name."""
        counted = (gate for gate in self.of.values() if gate.worker is not None)
        return Counter(limit.name for gate in counted for limit in gate.limits)

    def passing(self, place: Place) -> Passing:
        """What a line has to pass."""
        gate = self.of[place]
        return Passing(gate.ready_at, gate.limits)

    def close(self, run: RunKey, gates: Iterable[Gate]) -> None:
        """Write what new lines have to pass."""
        self.of.update({(run, gate.step): _Gate(gate.ready_at, gate.limits) for gate in gates})

    def open(self, run: RunKey, steps: Iterable[int]) -> Counter[str]:
        """Count steps no more; returns under which names others come next, and how many."""
        names: Counter[str] = Counter()
        for step in steps:
            lines = {line for line in self.held_lines if line.place == (run, step)}
            self.held_lines -= lines
            gate = self.of.pop((run, step), None)
            if gate is not None and not lines:
                names.update(it.name for it in gate.limits if not it.spacing or gate.worker is None)
        return names

    def hold_back(self, refused: Refused) -> None:
        """Keep a line out of the way until there is room."""
        line, limit = refused.line, refused.limit
        first = self.of[line.place].ready_at
        self.held_lines.add(
            HeldLine(limit.name, line.type, limit.pile, line.turn, line.rank, first, *line.place)
        )

    def let_go(self, worker: WorkerKey) -> Counter[str]:
        """Count nothing for a worker any more; returns under which names others come next."""
        names: Counter[str] = Counter()
        for gate in self.of.values():
            if gate.worker == worker:
                gate.worker = None
                names.update(limit.name for limit in gate.limits if not limit.spacing)
        return names

    def next_of(self, name: str, count: int) -> Iterator[tuple[HeldLine, Micros]]:
        """Take out the first of each pile that waits under a name, with when they may be due."""
        lines = sorted(line for line in self.held_lines if line.name == name)
        for pile in {(line.type, line.pile) for line in lines}:
            for head in [line for line in lines if (line.type, line.pile) == pile][:count]:
                yield self._taken_out(head)

    def of_runs(self, runs: Collection[RunKey]) -> Iterator[tuple[HeldLine, Micros]]:
        """Take out what is held back of some runs and there is room for; of a rate the next one."""
        piles: dict[tuple[str, TaskType, str], list[HeldLine]] = {}
        for line in sorted(line for line in self.held_lines if line.run in runs):
            piles.setdefault((line.name, line.type, line.pile), []).append(line)
        for lines in piles.values():
            for line in lines[: self._room(lines[0])]:
                yield self._taken_out(line)

    def _room(self, line: HeldLine) -> int:
        (limit,) = (it for it in self.of[line.place].limits if it.name == line.name)
        return 1 if limit.spacing else max(0, limit.number - self.held[limit.name])

    def _taken_out(self, line: HeldLine) -> tuple[HeldLine, Micros]:
        self.held_lines.remove(line)
        return line, max(line.ready_at, self.rates.get(line.name, Micros(0)))

    def states(self, run: RunKey) -> Sequence[GateState]:
        """The limits that steps of a run are subject to."""
        back = {(line.place, line.name) for line in self.held_lines}
        return [
            GateState(place[1], it, gate.ready_at, gate.worker, (place, it.name) in back)
            for place, gate in sorted(self.of.items(), key=lambda item: item[0])
            if place[0] == run
            for it in sorted(gate.limits, key=lambda limit: limit.name)
        ]

    def figures(self) -> Sequence[LimitFigures]:
        """How full each limit is, in the order of their names."""
        waiting = Counter(line.name for line in self.held_lines)
        held = self.held
        of: dict[str, Limit] = {}
        for gate in self.of.values():
            for limit in gate.limits:
                before = of.get(limit.name, limit)
                of[limit.name] = max(before, limit, key=lambda it: (it.number, it.spacing))
        return [
            LimitFigures(of[name], held[name], waiting[name])
            for name in sorted(held.keys() | waiting.keys())
        ]
