"""Orders steps by what they depend on, finds cycles, and tells what runs before what."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

_CYCLES = 10
_NAMES = 12


def order(depends_on: Sequence[Sequence[int]]) -> list[int]:
    """The positions in an order in which each comes after what it depends on.

    Args:
        depends_on: For each position, those before it.

    Returns:
        All positions; those on or behind a cycle are missing.
    """
    dependents: list[list[int]] = [[] for _ in depends_on]
    missing = [len(before) for before in depends_on]
    for position, before in enumerate(depends_on):
        for other in before:
            dependents[other].append(position)
    ready = deque(position for position, count in enumerate(missing) if count == 0)
    found: list[int] = []
    while ready:
        position = ready.popleft()
        found.append(position)
        for other in dependents[position]:
            missing[other] -= 1
            if missing[other] == 0:
                ready.append(other)
    return found


def cycles(depends_on: Sequence[Sequence[int]], ordered: Collection[int]) -> Iterator[list[int]]:
    """Cycles, each as the positions that depend on the next one; at most ten.

    Args:
        depends_on: For each position, those before it.
        ordered: What ``order`` found.
    """
    stuck = set(range(len(depends_on))) - set(ordered)
    told = 0
    while stuck and told < _CYCLES:
        walk: dict[int, None] = {}
        here: int | None = min(stuck)
        while here is not None and here not in walk:
            walk[here] = None
            here = next((other for other in depends_on[here] if other in stuck), None)
        path = list(walk)
        if here is not None:
            yield path[path.index(here) :]
            told += 1
        stuck.difference_update(path)


def cycle_text(names: Sequence[str]) -> str:
    """A cycle as people read it: ``a -> b -> a``; of a long one the middle is left out."""
    shown = [*names, names[0]]
    if len(shown) > _NAMES:
        half = _NAMES // 2
        shown = [*shown[:half], f"… {len(shown) - 2 * half:,} more …", *shown[-half:]]
    return " -> ".join(shown)


def ancestors(
    depends_on: Sequence[Sequence[int]], ordered: Sequence[int], of_interest: Collection[int]
) -> list[int]:
    """For each position, which positions of interest run before it, as bits.

    Bits in whole numbers keep it near linear where sets would be quadratic.

    Args:
        depends_on: For each position, those before it.
        ordered: What ``order`` found.
        of_interest: Bit n stands for the n-th of these.
    """
    bit = {position: 1 << number for number, position in enumerate(of_interest)}
    before = [0] * len(depends_on)
    for position in ordered:
        seen = 0
        for other in depends_on[position]:
            seen |= before[other] | bit.get(other, 0)
        before[position] = seen
    return before
