"""What the tests that kill programs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from puppets import Stage
from soaking.rounds import Place, Sqlite


@pytest.fixture(params=["sqlite"])
def place() -> Place:
    """Each kind of store there is."""
    return Sqlite()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder for programs; in the end they are gone, and none has complained."""
    stage = Stage(tmp_path)
    yield stage
    stage.clear()
