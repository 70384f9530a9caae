"""A disk that is full, fails or goes away: only what is known is acknowledged, nothing is lost."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from faults import FaultyFiles, broken, disk_full

from kallista.core.plan import Plan
from kallista.core.types import RunId
from kallista.errors import LeaseLost, StoreError, StoreUncertainError
from kallista.store.sqlite import SqliteStore
from kallista.store.sqlite.file_locks import FileLock
from kallista.testing.store_contract import fence, found, made, new_run, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def files(request: pytest.FixtureRequest) -> Iterator[FaultyFiles]:
    """A file layer for this test alone, still without a fault."""
    files = FaultyFiles(f"faulty-{request.node.name}")
    yield files
    files.unregister()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "kallista.db"


@pytest.fixture
async def store(path: Path, files: FaultyFiles) -> AsyncIterator[SqliteStore]:
    """A store on the file layer that may fail."""
    store = SqliteStore(path, vfs=files.name)
    await store.open()
    yield store
    await store.close()


async def test_a_full_disk_is_named_and_nothing_is_lost(
    store: SqliteStore, files: FaultyFiles
) -> None:
    """The group fails whole with advice; with space the store goes on as before."""
    record = await made(store, new_run("before"))
    files.on_write = disk_full
    created = store.create(new_run("during"))
    committed = store.commit(Plan(record.key, fence(record), record.head))
    with pytest.raises(StoreError, match="disk is full; free space"):
        await created
    with pytest.raises(StoreError, match="disk is full; free space"):
        await committed
    assert await found(store, "before") == record
    files.on_write = None
    assert await store.load(RunId("during")) is None
    assert (await store.create(new_run("during"))).new
    assert (await store.commit(Plan(record.key, fence(record), record.head))).version == 2


async def test_a_commit_that_failed_never_comes_back(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """A sync fails, the group is refused, and not even a crash right after brings it back."""
    await made(store, new_run("before"))
    files.on_sync = broken
    refused = store.create(new_run("ghost"))
    files.on_open = lambda: setattr(files, "on_sync", None)
    with pytest.raises(StoreError, match="nothing acknowledged is lost") as caught:
        await refused
    assert not isinstance(caught.value, StoreUncertainError)
    async with opened(lambda: SqliteStore(after_a_crash(path))) as revived:
        assert await revived.load(RunId("ghost")) is None
        assert await revived.load(RunId("before")) is not None
    assert (await store.create(new_run("ghost"))).new


async def test_a_commit_in_doubt_is_not_taken_for_another_programs(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """What others have written in between doesn't make a group look written that is not."""
    await made(store, new_run("before"))
    async with opened(lambda: SqliteStore(path)) as other:
        for number in range(3):
            await other.create(new_run(f"other-{number}"))
        files.on_sync = broken
        files.on_open = lambda: setattr(files, "on_sync", None)
        with pytest.raises(StoreError, match="nothing acknowledged is lost"):
            await store.create(new_run("ghost"))
        assert await other.load(RunId("ghost")) is None
        assert (await store.create(new_run("ghost"))).new


async def test_a_commit_that_failed_but_took_effect_is_acknowledged(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """A sync fails, yet the rows are there after reopening: that is looked up, and made durable."""
    await store.create(new_run("first"))
    files.on_sync = broken
    files.on_open = lambda: setattr(files, "on_sync", None)
    created = await store.create(new_run("second"))
    assert created.new
    assert (await found(store, "second")).key == created.key
    async with opened(lambda: SqliteStore(after_a_crash(path))) as revived:
        assert await revived.load(RunId("second")) is not None


async def test_a_doubtful_commit_that_is_acknowledged_survives_a_power_cut(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """A failed sync may have dropped it from the log for ever, and all that follows it there."""
    await store.create(new_run("first"))
    files.on_sync = broken
    files.on_open = lambda: setattr(files, "on_sync", None)
    assert (await store.create(new_run("second"))).new
    async with opened(lambda: SqliteStore(after_a_power_cut(files, path))) as revived:
        assert len(await revived.heads([RunId("first"), RunId("second")])) == 2
    assert (await store.create(new_run("third"))).new
    async with opened(lambda: SqliteStore(after_a_power_cut(files, path))) as revived:
        assert len(await revived.heads([RunId("second"), RunId("third")])) == 2


async def test_a_power_cut_does_not_bring_back_what_was_refused(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """Nor does it take what was acknowledged after it."""
    await made(store, new_run("before"))
    files.on_sync = broken
    files.on_open = lambda: setattr(files, "on_sync", None)
    with pytest.raises(StoreError):
        await store.create(new_run("ghost"))
    assert (await store.create(new_run("after"))).new
    async with opened(lambda: SqliteStore(after_a_power_cut(files, path))) as revived:
        there = await revived.heads([RunId(id) for id in ("before", "ghost", "after")])
        assert sorted(there) == ["after", "before"]


async def test_what_is_acknowledged_survives_a_power_cut(
    store: SqliteStore, files: FaultyFiles, path: Path
) -> None:
    """Only what was synced counts, and that holds all that was acknowledged."""
    for number in range(5):
        await store.create(new_run(f"run-{number}"))
        copy = after_a_power_cut(files, path)
        async with opened(lambda copy=copy: SqliteStore(copy)) as revived:  # type: ignore[misc]
            assert await revived.load(RunId(f"run-{number}")) is not None


async def test_what_cannot_be_known_is_said_to_be_unknown(
    store: SqliteStore, files: FaultyFiles
) -> None:
    """The disk has gone altogether: uncertain; when it is back, so is the store."""
    record = await made(store, new_run("before"))
    files.on_sync = files.on_open = broken
    with pytest.raises(StoreUncertainError, match="look before you try again"):
        await store.create(new_run("during"))
    with pytest.raises(StoreError, match="cannot write"):
        await store.create(new_run("later"))
    files.on_sync = files.on_open = None
    assert (await store.create(new_run("after"))).new
    assert await found(store, "before") == record
    assert await store.load(RunId("later")) is None


async def test_what_cannot_be_written_fails_alone(store: SqliteStore) -> None:
    """One request of a group holds what no file can: its neighbours are written all the same."""
    record = await made(store, new_run("run"))
    plan = Plan(record.key, fence(record), record.head)
    answers = await asyncio.gather(
        store.create(new_run("a")),
        store.commit(plan),
        store.create(new_run("odd", inputs="\ud800")),
        store.create(new_run("huge", priority=1 << 70)),
        store.commit(plan),
        store.create(new_run("b")),
        return_exceptions=True,
    )
    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Created", "Committed", "StoreError", "StoreError", "LeaseLost", "Created"]
    assert isinstance(answers[4], LeaseLost)
    assert (await found(store, "run")).version == 2
    assert await store.load(RunId("odd")) is None


async def test_a_checkpoint_that_fails_harms_nobody(
    path: Path, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log cannot be written back for a while: writes go on, and it is tried again later."""
    monkeypatch.setattr("kallista.store.sqlite.writer.CHECKPOINT_PAGES", 1)
    async with opened(lambda: SqliteStore(path, vfs=files.name)) as store:
        await store.create(new_run("a"))
        files.on_main_write = broken
        await store.create(new_run("b"))
        await store.create(new_run("c"))
        files.on_main_write = None
        await store.create(new_run("d"))
        assert len(await store.heads([RunId(id) for id in "abcd"])) == 4


def after_a_crash(path: Path) -> Path:
    """The files as they lie on the disk, without what only the program knows.

    Another program copies them: opening them here would break SQLite's own locks.
    """
    copy = path.parent / "crashed" / path.name
    script = (
        "import shutil, sys; from pathlib import Path\n"
        "path, copy = map(Path, sys.argv[1:]); copy.parent.mkdir()\n"
        "for end in ('', '-wal'): shutil.copy(f'{path}{end}', f'{copy}{end}')"
    )
    subprocess.run([sys.executable, "-c", script, str(path), str(copy)], check=True)
    return copy


def after_a_power_cut(files: FaultyFiles, path: Path) -> Path:
    """The files as only the disk remembers them."""
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    (folder / path.name).write_bytes(files.main.content)
    (folder / f"{path.name}-wal").write_bytes(files.log.content)
    return folder / path.name


async def test_closing_that_fails_does_not_hang(
    path: Path, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes is told what failed; what was written is there, and the next one opens."""
    store = SqliteStore(path, vfs=files.name)
    await store.open()
    await made(store, new_run("run"))
    close = FileLock.close

    def close_and_fail(self: FileLock) -> None:
        close(self)
        raise OSError("the disk has gone")

    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "close", close_and_fail)
        with pytest.raises(StoreError, match="the disk has gone"):
            await store.close()
    async with opened(lambda: SqliteStore(path, vfs=files.name)) as next:
        assert (await found(next, "run")).id == "run"
