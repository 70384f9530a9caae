"""What only a file can show: its indexes, its size, other programs that hang or die."""

import asyncio
import json
import os
import re
import socket
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from programs import heard, killed, size, start

from kallista.core.events import Event, RunHead, StepState
from kallista.core.plan import Fence, Plan
from kallista.core.states import EventKind, ProcessStatus, TaskStatus
from kallista.core.types import JsonText, RunId, RunKey, WorkerKey
from kallista.errors import LeaseLost, StoreUnavailableError
from kallista.store.port import NEW_EPOCH, NEW_VERSION, Store
from kallista.store.sqlite import SqliteStore
from kallista.store.sqlite.bells import HOST, Bell
from kallista.store.sqlite.claims import claim
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.store.sqlite.opening import prepare
from kallista.store.sqlite.records import DefinitionCache
from kallista.store.sqlite.statements import Insertion, all_statements, statement
from kallista.store.sqlite.writing import Writing
from kallista.testing.store_contract import (
    NOW,
    fence,
    finished,
    found,
    made,
    new_run,
    new_task,
    opened,
    request,
)

pytestmark = pytest.mark.anyio

WHOLE_TABLE_ON_PURPOSE = {
    "count_runs": "runs",
    "definition_names": "definition_names",
    "queued_types": "queue",
    "schema_objects": "sqlite_master",
    "last_commit": "store",
    "next_commit": "store",
    "compatible_from": "store",
    "type_schemas": "type_schemas",
    "any_tombstone": "tombstones",
    "beats": "workers",
    "held_types": "held_lines",
    "held_of_tree": "held_lines",
    "last_run_key": "sqlite_sequence",
    "worker_names": "workers",
    "workers": "workers",
}

READ_EVERYTHING = ("broken_links", "failure_groups", "row_counts")
"""Whoever looks the whole store through."""


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store lies."""
    path = tmp_path / "kallista.db"
    prepare(path, "a test", 0)
    return path


@pytest.mark.parametrize("name", sorted(all_statements()))
def test_every_statement_seeks(path: Path, name: str) -> None:
    """No statement reads a whole table unless that is its purpose, and each gives its reason."""
    assert all_statements()[name].reason.startswith("-- ")
    if name in READ_EVERYTHING:
        return
    plan = query_plan(path, name)
    allowed = {"json_each", "found", "doomed", "d", "t", "x", "above", "below", "CONSTANT"}
    allowed.add(WHOLE_TABLE_ON_PURPOSE.get(name, ""))
    scanned = {match[1] for step in plan if (match := re.match(r"SCAN (\w+)", step))}
    assert scanned <= allowed, plan
    assert not any("AUTOMATIC" in step for step in plan), plan


def test_the_claim_query_reads_the_queue_in_its_own_order(path: Path) -> None:
    """Due entries come straight from the primary key, without sorting."""
    plan = query_plan(path, "due_entries")
    assert plan[0] == (
        "SEARCH queue USING PRIMARY KEY (holder=? AND type=? AND rank=? AND ready_at<?)"
    )
    assert not any("TEMP B-TREE" in step for step in plan)


def test_a_page_of_approvals_costs_the_same_however_many_wait(path: Path) -> None:
    """They are read in the order of their index, so nothing has to be sorted."""
    prepare(path, "a test", 0)
    plan = query_plan(path, "open_approvals")
    assert "USING INDEX approvals_by_age" in plan[0]
    assert not any("TEMP B-TREE" in line for line in plan)


def query_plan(path: Path, name: str) -> list[str]:
    """How SQLite goes about a statement."""
    before = apsw.allow_missing_dict_bindings(True)
    try:
        with closing(apsw.Connection(str(path))) as db:
            rows = db.execute(f"EXPLAIN QUERY PLAN {statement(name)}", {})
            return [str(row[3]) for row in rows]
    finally:
        apsw.allow_missing_dict_bindings(before)


def test_a_claim_costs_the_same_however_much_lies_ahead(path: Path) -> None:
    """Entries of other types, owners and moments are never read, be there 100,000 of them."""
    work = []
    for number, ahead in enumerate((10, 100_000)):
        place = path.with_name(f"{number}.db")
        prepare(place, "a test", 0)
        with closing(apsw.Connection(str(place))) as db:
            fill(db, ahead)
            work.append(work_of_a_claim(db))
    assert work[1] < work[0] * 1.5


def fill(db: apsw.Connection, ahead: int) -> None:
    """Entries ahead in every way an entry can be, and a free one behind them all."""
    db.execute("BEGIN")
    db.execute(
        "INSERT INTO workers VALUES (1, 'me', '{}', 1, 0);"
        "INSERT INTO definitions VALUES (1, 'd', '{}');"
        "INSERT INTO runs (key, state, seq, in_flight, driven, held, version, owner, epoch, status,"
        " id, kind, name, priority, created_at, step_count) VALUES"
        " (7, 'RUNNING', 1, 0, 1, 0, 1, NULL, 0, 'RUNNING', 'free', 'workflow', 'n', 0, 1, 1),"
        " (8, 'RUNNING', 1, 0, 1, 0, 1, 2, 1, 'RUNNING', 'driven', 'process', 'n', 0, 1, 1);"
        "INSERT INTO requests VALUES (7, 1, 'c', '[]', '{}', NULL)"
    )
    for holder, type, rank, ready_at in (
        (0, "another type", -9, 0),
        (0, "build", -9, NOW + 1),
        (0, "build", 0, NOW + 1),
        (2, "build", -9, 0),
        (2, "", -9, 0),
        (-1, "another type", -9, 0),
        (-1, "build", 0, NOW + 1),
    ):
        db.execute(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO queue SELECT ?, ?, ?, ?, 8, i FROM n",
            (ahead, holder, type, rank, ready_at),
        )
    db.execute("INSERT INTO queue VALUES (0, 'build', 0, ?, 7, 0)", (NOW,))
    db.execute("COMMIT")


def work_of_a_claim(db: apsw.Connection) -> int:
    """How many steps SQLite's machine takes for one claim."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    db.set_progress_handler(count, 1)
    got = claim(Writing(db, DefinitionCache(db)), request(WorkerKey(1)), None)
    db.set_progress_handler(None)
    assert [entry.run for entry in got.entries] == [7]
    assert got.next_due == NOW + 1
    return steps


async def test_a_writer_that_hangs_is_named(path: Path) -> None:
    """Nobody sees "database is locked": the error names who holds the store, and writes go on."""
    async with opened(lambda: SqliteStore(path, busy_timeout=0)) as store:
        with closing(FileLock(path.with_name("kallista.db.write-lock"))) as lock:
            lock.acquire(holder_name("process 7 on elsewhere"), 0, "write")
            with pytest.raises(StoreUnavailableError, match=r"process 7 on elsewhere .* end it"):
                await store.create(new_run())
            assert await store.load(RunId("run")) is None
        assert (await store.create(new_run())).new


def test_a_lock_names_whoever_took_it_last(tmp_path: Path) -> None:
    """The name is written only by another holder than the last one, and never left out of date."""
    file = tmp_path / "lock"
    with closing(FileLock(file)) as one, closing(FileLock(file)) as two:
        for lock, name in ((one, "one"), (one, "one"), (two, "two"), (one, "one")):
            lock.acquire(holder_name(name), 0, "write")
            assert file.read_text().strip() == name
            lock.release()


def test_a_lock_that_cannot_be_named_is_held_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that takes no name the lock is had, and let go of, as on any other."""

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError("no space left")

    file = path.with_name("kallista.db.write-lock")
    with closing(FileLock(file)) as one, closing(FileLock(file)) as two:
        monkeypatch.setattr(os, "write", fail)
        one.acquire(holder_name("one"), 0, "write")
        assert not two.try_acquire()
        one.release()
        assert two.try_acquire()


async def test_a_foreign_program_that_keeps_the_file_is_reported(path: Path) -> None:
    """A program that knows nothing of our locks and holds a transaction gives a clear error."""
    async with opened(lambda: SqliteStore(path, busy_timeout=0)) as store:
        with closing(apsw.Connection(str(path))) as browser:
            browser.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match=r"not Kallista .* close it"):
                await store.create(new_run())
            assert await store.load(RunId("run")) is None
        assert (await store.create(new_run())).new


async def test_a_killed_program_is_seen_dead_at_once(path: Path) -> None:
    """The operating system takes its lock back, so its runs are free without any time-out."""
    script = """
from kallista.testing.store_contract import NOW, new_task, taken
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    worker = await store.register_worker("doomed", {}, NOW)
    await store.create(new_task("task"))
    await taken(store, worker)
    print("driving", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    async with opened(lambda: SqliteStore(path)) as store:
        program = start(script, path)
        assert heard(program) == "driving"
        assert store.changed()
        assert [worker.alive for worker in await store.workers()] == [True]
        assert await store.release_dead(NOW) == 0
        killed(program)
        assert [worker.alive for worker in await store.workers()] == [False]
        assert await store.release_dead(NOW) == 1
        assert (await found(store, "task")).owner is None
        assert list(path.with_name("kallista.db.workers").iterdir()) == []


async def test_others_are_rung_only_when_it_concerns_them(path: Path) -> None:
    """A program that goes on with its own run wakes nobody; work for all, or an end, does."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as bell:
        bell.bind((HOST, 0))
        bell.settimeout(30)
        bells = path.with_name("kallista.db.bells")
        bells.mkdir()
        (bells / str(bell.getsockname()[1])).touch()
        async with opened(lambda: SqliteStore(path)) as store:
            me = await store.register_worker("me", {}, NOW)
            record = await made(store, new_run("mine", owner=me))
            await store.commit(Plan(record.key, fence(record), record.head))
            assert await store.beat()
            await store.claim(request(me))
            await store.create(new_task("for anybody"))
            bell.recv(1)
            await store.create(new_task("for anybody"))
            await store.claim(request(me))
            await store.commit(finished(await found(store, "mine")))
            bell.recv(1)
        bell.setblocking(False)
        with pytest.raises(BlockingIOError):
            bell.recv(1)


async def test_what_changes_nothing_is_not_committed(path: Path) -> None:
    """Two idle workers that look for work don't wake each other by looking."""
    async with opened(lambda: SqliteStore(path)) as store, opened(lambda: SqliteStore(path)) as it:
        me = await it.register_worker("me", {}, NOW)
        await it.create(new_run("there"))
        assert store.changed()
        await it.claim(request(me))
        await it.create(new_run("there"))
        await it.release_dead(NOW)
        with pytest.raises(LeaseLost):
            await it.report(RunKey(1), 0, me, 1, JsonText("1"))
        assert not store.changed()


async def test_rings_that_come_too_fast_are_one(tmp_path: Path) -> None:
    """However busy others are, a program is called at intervals, and the last ring is not lost."""
    rung: asyncio.Queue[None] = asyncio.Queue()
    bell = Bell(tmp_path / "bells", lambda: rung.put_nowait(None))
    for _ in range(5):
        bell.heard()
    assert rung.qsize() == 1
    await rung.get()
    await asyncio.wait_for(rung.get(), 30)
    assert rung.empty()
    await bell.take_down()
    assert list((tmp_path / "bells").iterdir()) == []


async def test_bells_of_the_dead_are_taken_down(path: Path) -> None:
    """What a killed program left disturbs nobody, and goes when the next one listens."""
    bells = path.with_name("kallista.db.bells")
    bells.mkdir()
    dead = bells / "9"
    dead.touch()
    async with opened(lambda: SqliteStore(path)) as store:
        store.listen(lambda: None)
        await store.create(new_task("a"))
        assert dead.exists(), "it may just be being hung up"
    os.utime(dead, (0, 0))
    async with opened(lambda: SqliteStore(path)) as store:
        store.listen(lambda: None)
        assert not dead.exists()
        assert len(list(bells.iterdir())) == 1
    assert list(bells.iterdir()) == []


async def test_where_no_bell_can_be_hung_up_nothing_is_missed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a loopback interface listening does nothing, and changes are seen all the same."""

    def refuse(*_: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("kallista.store.sqlite.bells.socket.socket", refuse)
    async with opened(lambda: SqliteStore(path)) as store, opened(lambda: SqliteStore(path)) as it:
        store.listen(lambda: None)
        await it.create(new_task("a"))
        assert store.changed()


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_rows_are_inserted_in_order_however_many_there_are(path: Path, count: int) -> None:
    """They go by dozens into one call; none is left out, and the last word on a row counts."""
    with closing(apsw.Connection(str(path))) as db:
        rows = [(number, f"tag-{number}") for number in range(count)]
        Insertion("insert_tag").write(db, [value for run, tag in rows for value in (tag, run)])
        assert db.execute("SELECT run, tag FROM run_tags ORDER BY run").fetchall() == rows
        schemas = [value for number in range(count) for value in ("type", f"{number}")]
        Insertion("put_type_schema").write(db, schemas)
        assert db.execute("SELECT schema FROM type_schemas").get == (
            str(count - 1) if count else None
        )


async def test_steps_nothing_happened_to_take_no_room(path: Path) -> None:
    """Creating a process of 10,000 steps writes a handful of rows, and it loads whole."""
    async with opened(lambda: SqliteStore(path)) as store:
        record = await made(store, new_run(steps=[*new_run().steps] * 5_000))
        assert len(record.steps) == 10_000
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("SELECT count(*) FROM steps").get == 0
        assert size(path) < 240_000


async def test_a_definition_is_stored_once_and_goes_with_its_last_user(path: Path) -> None:
    """Many runs share one text; nothing is left of it when nobody uses it any more."""
    async with opened(lambda: SqliteStore(path)) as store:
        records = [await made(store, new_run(f"run-{number}")) for number in range(3)]
        with closing(apsw.Connection(str(path))) as db:
            for left, record in zip((1, 1, 0), records, strict=True):
                assert db.execute("SELECT count(*) FROM definitions").get == 1
                head = replace(record.head, ended_at=NOW)
                await store.commit(Plan(record.key, fence(record), head))
                await store.delete_run(record.key, 2, NOW)
                assert db.execute("SELECT count(*) FROM definitions").get == left
            for table in ("runs", "requests", "events", "steps", "queue", "waits", "run_tags"):
                assert db.execute(f"SELECT count(*) FROM {table}").get == 0


@pytest.fixture
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the log back after some hundred kilobytes instead of megabytes."""
    monkeypatch.setattr("kallista.store.sqlite.writer.CHECKPOINT_PAGES", 20)
    monkeypatch.setattr("kallista.store.sqlite.writer.TRUNCATE_PAGES", 100)
    monkeypatch.setattr("kallista.store.sqlite.writer.TRUNCATE_PATIENCE", 0)


async def write_a_megabyte(store: Store, name: str) -> None:
    """Write more than the log may hold."""
    payload = json.dumps("x" * 40_000)
    for number in range(25):
        await store.create(new_run(f"{name}-{number}", inputs=payload))


@pytest.mark.usefixtures("eager_checkpoints")
async def test_the_log_is_written_back_and_stays_small(path: Path) -> None:
    """However much is written, the write-ahead log does not grow for ever."""
    async with opened(lambda: SqliteStore(path)) as store:
        await write_a_megabyte(store, "a")
        assert size(path.with_name("kallista.db-wal")) < 500_000
        assert size(path) > 1_000_000


@pytest.mark.usefixtures("eager_checkpoints")
async def test_the_log_shrinks_again_after_a_long_reader(path: Path) -> None:
    """Somebody who reads for long makes the log grow; when he is done it gets small again."""
    log = path.with_name("kallista.db-wal")
    async with opened(lambda: SqliteStore(path)) as store:
        with closing(apsw.Connection(str(path))) as reader:
            await store.create(new_run())
            reader.execute("BEGIN; SELECT * FROM runs").fetchall()
            await write_a_megabyte(store, "a")
            assert size(log) > 1_000_000
        await write_a_megabyte(store, "b")
        assert size(log) < 500_000


async def test_a_run_of_ten_tasks_is_small(path: Path) -> None:
    """A workflow of ten tasks takes less than 2,500 bytes, history and results included."""
    many = 300
    empty = size(path)
    async with opened(lambda: SqliteStore(path)) as store:
        worker = await store.register_worker("me", {}, NOW)
        await asyncio.gather(*(ten_tasks(store, worker, number) for number in range(many)))
    assert (size(path) - empty) / many < 2_500


async def ten_tasks(store: Store, worker: WorkerKey, number: int) -> None:
    """Take a workflow through ten tasks."""
    id = f"0198c0de-0000-7000-8000-{number:012}"
    key, *_ = await store.create(new_run(id, owner=worker, steps=[StepState()] * 10))
    for step in range(10):
        seq = 1 + 2 * step
        started = Event(seq, NOW, EventKind.TASK_STARTED, step, 1, JsonText("1"))
        result = JsonText('{"path":"Views/MainWindow.xaml","size":1234}')
        ended = Event(seq + 1, NOW, EventKind.TASK_COMPLETED, step, 1, result)
        done = StepState(
            TaskStatus.COMPLETED, 1, 0, 0, None, NOW, NOW, NOW, None, seq + 1, passed=True
        )
        head = RunHead(ProcessStatus.RUNNING, seq + 2, 0, NOW)
        proof = Fence(NEW_VERSION + step, NEW_EPOCH)
        await store.commit(Plan(key, proof, head, events=(started, ended), steps=((step, done),)))
