"""A backup is whole, sound and durable, and is made while others go on writing."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from servers import empty_database, new_database

from kallista.errors import StoreError, UsageError
from kallista.store.memory import MemoryStore
from kallista.store.port import RunFilter
from kallista.store.postgres import PostgresStore
from kallista.store.sqlite import SqliteStore, care
from kallista.testing.postgres import find_programs
from kallista.testing.store_contract import NOW, finished, made, new_run, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store lies."""
    return tmp_path / "kallista.db"


async def ids(path: Path) -> list[str]:
    """All runs that a file holds."""
    async with opened(lambda: SqliteStore(path)) as store:
        return [run.id for run in await store.list_runs(RunFilter(now=NOW, limit=10_000))]


async def test_a_backup_is_a_store(path: Path, tmp_path: Path) -> None:
    """It can be opened, and holds all that was acknowledged before; the original goes on."""
    target = tmp_path / "backups" / "monday.db"
    async with opened(lambda: SqliteStore(path)) as store:
        worker = await store.register_worker("w", {}, NOW)
        await made(store, new_run("driven", owner=worker))
        done = await made(store, new_run("done", tags=("t",)))
        await store.commit(finished(done))
        await store.back_up(target)
        await made(store, new_run("later"))
    assert [file.name for file in target.parent.iterdir()] == ["monday.db"]
    assert await ids(target) == ["done", "driven"]
    assert await ids(path) == ["later", "done", "driven"]
    async with opened(lambda: SqliteStore(target)) as restored:
        (dead,) = await restored.workers()
        assert not dead.alive, "its workers are not those of the original"
        assert await restored.release_dead(NOW) == 1


async def test_workers_write_meanwhile(path: Path, tmp_path: Path) -> None:
    """A backup of a store that is written to is one moment of it: a beginning, without gaps."""
    target = tmp_path / "copy.db"
    async with opened(lambda: SqliteStore(path)) as store:
        for start in range(0, 6_000, 1_000):
            await store.create_all([new_run(f"{start + n:05}") for n in range(1_000)])
        copying = asyncio.ensure_future(store.back_up(target))
        written = 6_000
        while not copying.done():
            await store.create(new_run(f"{written:05}"))
            written += 1
        await copying
    assert written > 6_001, "writers were held up"
    copied = sorted(await ids(target))
    assert copied == [f"{number:05}" for number in range(len(copied))]
    assert 6_000 <= len(copied) <= written


async def test_nothing_is_replaced(path: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is, be it the store itself."""
    target = tmp_path / "there.db"
    target.write_bytes(b"precious")
    async with opened(lambda: SqliteStore(path)) as store:
        for file in (target, path):
            with pytest.raises(UsageError, match="replaces nothing"):
                await store.back_up(file)
    assert target.read_bytes() == b"precious"


async def test_what_a_broken_backup_has_left_is_no_hindrance(path: Path, tmp_path: Path) -> None:
    """A program that was killed halfway has left a part; the next backup begins anew."""
    target = tmp_path / "copy.db"
    (tmp_path / "copy.db.part").write_bytes(b"half a")
    async with opened(lambda: SqliteStore(path)) as store:
        await made(store, new_run())
        await store.back_up(target)
    assert await ids(target) == ["run"]
    assert not (tmp_path / "copy.db.part").exists()


async def test_an_unsound_copy_gets_no_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not read as it should is thrown away, and said."""
    monkeypatch.setattr(care, "unsound", lambda db, quick=False: ["page 7 is lost"])
    async with opened(lambda: SqliteStore(path)) as store:
        with pytest.raises(StoreError, match=r"not sound \(page 7 is lost\)"):
            await store.back_up(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy.db*"))


async def test_who_is_cancelled_leaves_nothing(path: Path, tmp_path: Path) -> None:
    """Ctrl-C ends a backup, and the store goes on."""
    async with opened(lambda: SqliteStore(path)) as store:
        await store.create_all([new_run(f"{number:05}") for number in range(5_000)])
        copying = asyncio.ensure_future(store.back_up(tmp_path / "copy.db"))
        await asyncio.sleep(0)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        await made(store, new_run("later"))
    assert not list(tmp_path.glob("copy.db*"))


async def test_where_nothing_can_be_written(path: Path, tmp_path: Path) -> None:
    """The message names the place and says what to do."""
    (tmp_path / "file").write_bytes(b"no folder")
    async with opened(lambda: SqliteStore(path)) as store:
        with pytest.raises(StoreError, match=r"copy\.db: .*; choose another place"):
            await store.back_up(tmp_path / "file" / "copy.db")


async def test_memory_has_no_backup(tmp_path: Path) -> None:
    """It says so."""
    async with opened(MemoryStore) as store:
        with pytest.raises(StoreError, match="in memory has no backup"):
            await store.back_up(tmp_path / "copy.db")


async def test_a_database_is_dumped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``pg_dump``, while workers write; ``pg_restore`` makes a store of it again."""
    monkeypatch.setenv("PATH", f"{find_programs().folder}{os.pathsep}{os.environ['PATH']}")
    target = tmp_path / "monday.dump"
    async with opened(lambda: PostgresStore(new_database())) as store:
        await made(store, new_run("done"))
        await store.back_up(target)
    assert [file.name for file in tmp_path.iterdir()] == ["monday.dump"]
    url = empty_database()
    restore = find_programs()["pg_restore"]
    await asyncio.to_thread(
        subprocess.run, [restore, f"--dbname={url}", str(target)], check=True, capture_output=True
    )
    async with opened(lambda: PostgresStore(url)) as restored:
        runs = await restored.list_runs(RunFilter(now=NOW))
        assert [run.id for run in runs] == ["done"]
        assert (await made(restored, new_run("later"))).key > runs[0].key


async def test_without_pg_dump_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it elsewhere can copy the command, which shows no password."""
    monkeypatch.setenv("PATH", str(tmp_path))
    async with opened(lambda: PostgresStore(new_database())) as store:
        with pytest.raises(StoreError, match="pg_dump --format=custom --schema=kallista"):
            await store.back_up(tmp_path / "copy.dump")
    assert list(tmp_path.iterdir()) == []


async def test_a_dump_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what pg_dump says; nothing is left of it."""
    monkeypatch.setenv("PATH", f"{find_programs().folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(
        "kallista.store.postgres.care._OPTIONS", ("--format=custom", "--schema=nobody")
    )
    async with opened(lambda: PostgresStore(new_database())) as store:
        with pytest.raises(StoreError, match="pg_dump failed, so there is no backup"):
            await store.back_up(tmp_path / "copy.dump")
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_has_no_free_pages(path: Path, tmp_path: Path) -> None:
    """What was deleted takes no room in a backup."""
    target = tmp_path / "copy.db"
    async with opened(lambda: SqliteStore(path)) as store:
        created = await store.create_all([new_run(f"{number}") for number in range(2_000)])
        records = await asyncio.gather(*[store.load(one.key) for one in created])
        await asyncio.gather(*[store.commit(finished(run)) for run in records if run is not None])
        await asyncio.gather(*[store.delete_run(one.key, 2, NOW) for one in created])
        await store.back_up(target)
        free = (await store.figures()).free_bytes
    assert free is not None
    assert free > 100_000
    with closing(apsw.Connection(str(target))) as db:
        assert db.pragma("freelist_count") == 0
