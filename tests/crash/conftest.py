"""What the tests that kill programs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from puppets import Stage
from soaking.rounds import Place, Postgres, Sqlite

from kallista.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind of store there is."""
    if request.param == "sqlite":
        return Sqlite()
    return Postgres(request.getfixturevalue("server"))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder for programs; in the end they are gone, and none has complained."""
    stage = Stage(tmp_path)
    yield stage
    stage.clear()
