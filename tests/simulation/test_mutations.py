"""The simulation finds mistakes that are made on purpose, each within a few stories."""

from __future__ import annotations

import pytest

from .loop import BrokenPromiseError
from .mutations import MUTATIONS
from .story import tell

STORIES = range(200)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_mistake_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that overlooks this mistake would overlook the like of it made by accident."""
    MUTATIONS[name](monkeypatch)
    assert any(breaks_a_promise(seed) for seed in STORIES), f"nobody noticed {name}"


def breaks_a_promise(seed: int) -> bool:
    """Whether a story ends badly."""
    try:
        tell(seed)
    except BrokenPromiseError:
        return True
    return False
