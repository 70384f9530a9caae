"""A SQLite file is looked through for damage and for what points to nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from kallista.store.sqlite import SqliteStore
from kallista.testing.store_contract import new_run, new_task, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


BROKEN = [
    ("DELETE FROM requests", ("request", "run")),
    ("DELETE FROM definitions", ("request", "run")),
    ("UPDATE runs SET owner = 77 WHERE id = 'run'", ("owner", "run")),
    ("INSERT INTO steps SELECT 99, 0, 'RUNNING', 1, 0, 0, 1, 1, 1, 1, 1, 1, 0", ("step", None)),
    ("INSERT INTO steps SELECT 1, 2, 'RUNNING', 1, 0, 0, 1, 1, 1, 1, 1, 1, 0", ("step", None)),
    ("INSERT INTO events SELECT 99, 0, 1, 'run.started', NULL, 0, NULL", ("event", None)),
    ("INSERT INTO queue VALUES (0, 'build', 0, 1, 99, 0)", ("line", "build")),
    ("INSERT INTO queue VALUES (0, 'build', 0, 1, 1, 7)", ("line", "build")),
    ("INSERT INTO loans VALUES (99, 0, 1, 1, 0, 0, NULL, 'build', 0, 1)", ("loan", "build")),
    ("INSERT INTO waits VALUES ('x', 99)", ("wait", "x")),
    ("INSERT INTO run_tags VALUES ('t', 99)", ("tag", "t")),
    ("INSERT INTO definition_names VALUES ('task', 'n', 99, 1)", ("name", "n")),
]


@pytest.mark.parametrize(("harm", "told"), BROKEN, ids=[harm for harm, _ in BROKEN])
async def test_each_broken_link_is_found(
    tmp_path: Path, harm: str, told: tuple[str, str | None]
) -> None:
    """Whatever somebody has changed by hand: what it is, and whom it concerns."""
    path = tmp_path / "kallista.db"
    async with opened(lambda: SqliteStore(path)) as store:
        await store.create(new_run())
        await store.create(new_task("task"))
    with closing(apsw.Connection(str(path))) as db:
        db.execute(harm)
    async with opened(lambda: SqliteStore(path)) as store:
        found = await store.broken_links(10)
        assert (found[0].what, found[0].about) == told
        assert len(await store.broken_links(1)) == 1


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """Bytes that the disk has lost are found, and said to be damage."""
    path = tmp_path / "kallista.db"
    async with opened(lambda: SqliteStore(path)) as store:
        await store.create_all([new_run(f"run-{number}") for number in range(2_000)])
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_name'").get
        size = db.pragma("page_size")
    assert isinstance(root, int)
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 12)
        file.write(b"\xa5" * 200)
    async with opened(lambda: SqliteStore(path)) as store:
        assert await store.damage(quick=False) != []
