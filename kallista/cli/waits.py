"""Shows what a process waits for, and what that waits for in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kallista.core.dependencies import DependencyPolicy
from kallista.core.snapshots import DependencySnapshot, Explanation

_INDENT = "  "


def wait_lines(told: Explanation) -> Iterator[str]:
    """A line for each process that one waits for, and one for those that wait for it."""
    yield from _tree(told.dependencies)
    if told.awaited_by:
        yield f"awaited by {', '.join(told.awaited_by)}"


def _tree(dependencies: Sequence[DependencySnapshot]) -> Iterator[str]:
    labels = [f"{_INDENT * item.depth}{item.id}" for item in dependencies]
    width = max(map(len, labels), default=0)
    for label, item in zip(labels, dependencies, strict=True):
        waits = item.on_failure is DependencyPolicy.WAIT
        policy = "" if waits else f", {item.on_failure} if it fails"
        yield f"{label:{width}}  {item.status or 'does not exist yet'}{policy}"
