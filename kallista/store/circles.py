"""Finds processes that would wait for each other in a circle, the same for every store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from kallista.core.parsing.graph import cycle_text
from kallista.core.plan import NewRun
from kallista.core.types import RunId
from kallista.errors import DefinitionError


class Waits:
    """Who waits for whom, as far as it concerns runs that are being created.

    Args:
        waiting: Pairs of who is awaited and who waits, among those that are there.
    """

    def __init__(self, waiting: Iterable[tuple[RunId, RunId]]) -> None:
        self._waiting: dict[RunId, dict[RunId, None]] = {}
        for awaited, run in waiting:
            self._waiting.setdefault(awaited, {})[run] = None

    def add(self, runs: Sequence[NewRun]) -> None:
        """Take on new runs; they close no circle, or none of them is taken on.

        Raises:
            DefinitionError: One of them would wait for itself.
        """
        edges = {
            (awaited, run.id): None
            for run in runs
            for awaited in run.waits_for
            if run.id not in self._waiting.get(awaited, ())
        }
        if not edges:
            return
        for awaited, id in edges:
            self._waiting.setdefault(awaited, {})[id] = None
        circle = find_circle([run.id for run in runs], self._waiting)
        if circle:
            for awaited, id in edges:
                del self._waiting[awaited][id]
            raise DefinitionError(circle_text(circle))


def find_circle(
    starts: Iterable[RunId], waiting: Mapping[RunId, Collection[RunId]]
) -> Sequence[RunId]:
    """A circle that can be reached from some runs, if there is one.

    Args:
        starts: Where to begin.
        waiting: For each run, who waits for it.

    Returns:
        Each waits for the next one, and the last for the first; empty: there is none.
    """
    done: set[RunId] = set()
    for start in starts:
        path: dict[RunId, Iterator[RunId]] = {}
        here: RunId | None = start
        while here is not None:
            if here in path:
                ids = list(path)
                first, *others = ids[ids.index(here) :]
                return first, *reversed(others)
            if here not in done:
                path[here] = iter(waiting.get(here, ()))
            here = _next(path, done)
    return ()


def _next(path: dict[RunId, Iterator[RunId]], done: set[RunId]) -> RunId | None:
    """Where to go on: who waits for the last on the path, or for one before it; None: nowhere."""
    while path:
        last = next(reversed(path))
        following = next(path[last], None)
        if following is not None:
            return following
        done.add(last)
        del path[last]
    return None


def circle_text(circle: Sequence[RunId]) -> str:
    """What is wrong, and what can be done.

    Args:
        circle: What ``find_circle`` has found.
    """
    return (
        f"processes wait for each other in a circle: {cycle_text(circle)}; none of them would ever"
        " start: take one out of the dependencies of another"
    )
