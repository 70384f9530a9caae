"""Orders what is written in one transaction, so that as much as may be goes into one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    stretch: list[Plan | Creation] = []
    runs: set[RunKey] = set()
    for request in group:
        what = request.what
        if isinstance(what, Plan):
            if what.run in runs:
                answers += _write_stretch(stretch, create, write)
                stretch, runs = [], set()
            runs.add(what.run)
            stretch.append(what)
        elif isinstance(what, Creation):
            stretch.append(what)
        else:
            answers += _write_stretch(stretch, create, write)
            stretch, runs = [], set()
            answers.append(do(request))
    answers += _write_stretch(stretch, create, write)
    return answers


def _write_stretch(
    stretch: Sequence[Plan | Creation],
    create: Callable[[Sequence[Creation]], Iterable[Answer]],
    write: Callable[[Sequence[Plan]], Iterable[Answer]],
) -> Iterable[Answer]:
    plans = [what for what in stretch if isinstance(what, Plan)]
    # Plans may count, and whoever counts does so alone until the commit: who waits for that is not
    # to hold the ids, keys and definitions that those want who count.
    committed = write(plans) if plans else ()
    if len(plans) == len(stretch):
        return committed
    written = iter(committed)
    created = iter(create([what for what in stretch if isinstance(what, Creation)]))
    return [next(created if isinstance(what, Creation) else written) for what in stretch]
