"""What the tests of several packages share: the event loop they live on, and worlds to work in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from world import MemoryWorld, SqliteWorld, World


@pytest.fixture
def anyio_backend() -> str:
    """Everything here lives on asyncio."""
    return "asyncio"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world in memory; when it ends it is checked that nothing was lost, leaked or broken."""
    async with MemoryWorld() as world:
        yield world


@pytest.fixture(params=["memory", "sqlite"])
async def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A world in memory, then one on a file: the same must happen in both."""
    if request.param == "memory":
        async with MemoryWorld() as world:
            yield world
    else:
        async with SqliteWorld(tmp_path / "kallista.db") as world:
            yield world
