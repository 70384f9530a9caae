"""Decides which lines of a claim find room under their limits; the same for every store.

A line that finds none is held back: it lies under the limit that was full, where no claim meets
it, until an attempt of that limit ends. Of those that wait for a rate one stays in the queue, due
when the next may begin, so that nobody has to look for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from kallista.core.limits import Limit
from kallista.core.types import Micros, RunKey
from kallista.store.lines import Line


class Passing(NamedTuple):
    """What a line has to pass.

    Args:
        ready_at: When it was due first; it may have been held back since.
        limits: What it needs room under.
    """

    ready_at: Micros
    limits: tuple[Limit, ...]


class Refused(NamedTuple):
    """A line that found no room.

    Args:
        line: The line.
        limit: The first limit that was full.
        again_at: When it is due again in the queue; None: it is held back.
    """

    line: Line
    limit: Limit
    again_at: Micros | None


class Admission(Struct):
    """What comes of the lines of a claim.

    Args:
        admitted: Those that found room, as they were due first.
        refused: Those that did not.
        rates: When the next attempt of a rate may begin, where that has changed.
        followed: Under which limits others come next, and how many, for lines have left the queue.
    """

    admitted: list[Line] = []
    refused: list[Refused] = []
    rates: dict[str, Micros] = {}
    followed: Counter[str] = field(default_factory=Counter)


def admit(
    lines: Sequence[Line],
    passings: Mapping[tuple[RunKey, int], Passing],
    held: Mapping[str, int],
    rates: Mapping[str, Micros],
    now: Micros,
) -> Admission:
    """Go through lines in the order of service, and let each take what it needs, or nothing.

    Args:
        lines: The lines.
        passings: What those have to pass that are gated.
        held: How many attempts are counted under each name now; a name without any may be missing.
        rates: When the next attempt of a rate may begin; one without attempts may be missing.
        now: The moment of the claim.
    """
    admission = Admission()
    taken = dict(held)
    laid: set[tuple[str, str, str]] = set()
    for line in lines:
        if not line.gated:
            admission.admitted.append(line)
            continue
        passing = passings[line.place]
        at = max(now, line.ready_at)
        full = _full(passing, taken, rates, admission.rates, at)
        if full is None:
            _take(passing, taken, admission, at)
            admission.admitted.append(replace(line, ready_at=passing.ready_at))
            continue
        again_at: Micros | None = None
        pile = (full.name, line.type, full.pile)
        if full.spacing and pile not in laid:
            laid.add(pile)
            again_at = admission.rates.get(full.name, rates.get(full.name))
        admission.refused.append(Refused(line, full, again_at))
        admission.followed.update(it.name for it in passing.limits if it.name != full.name)
    return admission


def _full(
    passing: Passing,
    taken: Mapping[str, int],
    rates: Mapping[str, Micros],
    changed: dict[str, Micros],
    at: Micros,
) -> Limit | None:
    """The first limit without room."""
    for limit in passing.limits:
        if not limit.spacing:
            if taken.get(limit.name, 0) >= limit.number:
                return limit
            continue
        next_at = changed.get(limit.name, rates.get(limit.name, at))
        if next_at > at + limit.spacing:
            # The clock was set back, and nobody knows how long ago the last one has begun.
            changed[limit.name] = next_at = Micros(at + limit.spacing)
        if next_at > at:
            return limit
    return None


def _take(passing: Passing, taken: dict[str, int], admission: Admission, at: Micros) -> None:
    for limit in passing.limits:
        if limit.spacing:
            admission.rates[limit.name] = Micros(at + limit.spacing)
            admission.followed[limit.name] += 1
        else:
            taken[limit.name] = taken.get(limit.name, 0) + 1
