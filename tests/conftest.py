"""What the tests of several packages share: the event loop they live on, and worlds to work in."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from servers import new_database
from world import MemoryWorld, PostgresWorld, SqliteWorld, World

from kallista.tasks import program_registry

pytest.register_assert_rewrite("kallista.testing.store_contract")

# How long something takes is the machine's affair: no property test may fail of it.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture
def anyio_backend() -> str:
    """Everything here lives on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def handlers_of_the_program() -> Iterator[None]:
    """The task types of the whole program are as they were after each test."""
    before = dict(program_registry._handlers)
    yield
    program_registry._handlers.clear()
    program_registry._handlers.update(before)


class Mistakes(logging.Handler):
    """What the engine calls mistakes of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it shows where the mistake is."""
        if record.exc_info:
            self.seen.append(record)


@pytest.fixture(autouse=True)
def mistakes() -> Iterator[list[logging.LogRecord]]:
    """No service of an engine fails over a mistake, unless the test takes it from this list."""
    handler = Mistakes()
    logging.getLogger("kallista.engine").addHandler(handler)
    yield handler.seen
    logging.getLogger("kallista.engine").removeHandler(handler)
    assert not [logging.Formatter().format(record) for record in handler.seen]


@pytest.fixture(autouse=True)
def threads_of_stores() -> Iterator[None]:
    """Whoever opens a store closes it."""
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("kallista-")]
    for thread in left:
        thread.join(10)
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world in memory; when it ends it is checked that nothing was lost, leaked or broken."""
    async with MemoryWorld() as world:
        yield world


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A world in memory, one on a file, one in a database: the same must happen in all."""
    async with _world(request.param, tmp_path) as world:
        yield world


def _world(kind: str, folder: Path) -> World:
    match kind:
        case "sqlite":
            return SqliteWorld(folder / "kallista.db")
        case "postgres":
            return PostgresWorld(new_database())
        case _:
            return MemoryWorld()
