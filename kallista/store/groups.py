"""Orders what is written in one transaction, so that as much as may be goes into one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from kallista.core.plan import Plan
from kallista.core.types import RunKey
from kallista.store.answers import Answer
from kallista.store.births import Creation


class Asked(Protocol):
    """A request of which only the wish matters here."""

    @property
    def what(self) -> object:
        """A plan, a creation, or anything else to do."""


_AskedT = TypeVar("_AskedT", bound=Asked)


def write_group(
    group: Iterable[_AskedT],
    create: Callable[[Sequence[Creation]], Iterable[Answer]],
    write: Callable[[Sequence[Plan]], Iterable[Answer]],
    do: Callable[[_AskedT], Answer],
) -> list[Answer]:
    """Do what is asked in the order it was asked, but of neighbours all plans before all creations.

    Nobody can have decided anything on a run whose creation is not answered yet. A stretch of such
    neighbours ends before the second plan of some run.

    Args:
        group: What is asked.
        create: Writes creations, and says what became of each.
        write: Writes plans of different runs, and says what became of each.
        do: Does something else.

    Returns:
        The answers, in the order of the group.
    """
    answers: list[Answer] = []
    for stretch in _stretches(group):
        if isinstance(stretch[0].what, Plan | Creation):
            answers += _write_stretch(stretch, create, write)
        else:
            answers += map(do, stretch)
    return answers


def ending_with_creations(group: Iterable[_AskedT]) -> Iterator[list[_AskedT]]:
    """Divide a group so that nothing is done after a creation but other creations.

    Who writes each part by itself never waits for anybody with the ids, keys and definitions of its
    creations in its hands.

    Args:
        group: What is asked.

    Returns:
        The parts, in the order of the group.
    """
    part: list[_AskedT] = []
    for stretch in _stretches(group):
        part += stretch
        if any(isinstance(request.what, Creation) for request in stretch):
            yield part
            part = []
    if part:
        yield part


def _stretches(group: Iterable[_AskedT]) -> Iterator[list[_AskedT]]:
    """Neighbouring plans and creations together, anything else by itself."""
    stretch: list[_AskedT] = []
    runs: set[RunKey] = set()
    for request in group:
        what = request.what
        if isinstance(what, Plan):
            if what.run in runs:
                yield stretch
                stretch, runs = [], set()
            runs.add(what.run)
            stretch.append(request)
        elif isinstance(what, Creation):
            stretch.append(request)
        else:
            if stretch:
                yield stretch
                stretch, runs = [], set()
            yield [request]
    if stretch:
        yield stretch


def _write_stretch(
    stretch: Sequence[_AskedT],
    create: Callable[[Sequence[Creation]], Iterable[Answer]],
    write: Callable[[Sequence[Plan]], Iterable[Answer]],
) -> Iterable[Answer]:
    plans = [request.what for request in stretch if isinstance(request.what, Plan)]
    # Plans may count, and whoever counts does so alone until the commit: who waits for that is not
    # to hold the ids, keys and definitions that those want who count.
    committed = write(plans) if plans else ()
    if len(plans) == len(stretch):
        return committed
    written = iter(committed)
    creations = [request.what for request in stretch if isinstance(request.what, Creation)]
    created = iter(create(creations))
    return [next(created if isinstance(request.what, Creation) else written) for request in stretch]
