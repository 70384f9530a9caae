"""Three hundred stories keep every promise, and each is the same whenever it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .story import tell

STORIES = 300
AT_ONCE = 10
SAME = 4


@pytest.mark.parametrize("first", range(0, STORIES, AT_ONCE))
def test_whatever_happens_all_promises_are_kept(first: int) -> None:
    """Crashes, failing, doubtful and slow commits, frozen and cut off programs, clocks that jump.

    A seed that fails prints the command that tells its story with all that happened.
    """
    for seed in range(first, first + AT_ONCE):
        tell(seed)


def test_a_seed_is_one_story() -> None:
    """The same seed gives the same events at the same moments, also in other processes.

    Else nobody could repeat what was found. The order of sets of texts, which differs from process
    to process, must not matter.
    """
    here = [tell(seed).machine.digest() for seed in range(SAME)]
    assert here == [tell(seed).machine.digest() for seed in range(SAME)]
    assert here == digests_elsewhere("1") == digests_elsewhere("2")
    assert len(set(here)) == SAME


def digests_elsewhere(hash_seed: str) -> list[str]:
    """The same stories, told by another process."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(SAME), "--digests"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return told.stdout.split()
