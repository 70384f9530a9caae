"""Opening a store: what is missing is made, what is old migrated, what is not ours refused."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from programs import content, ended, heard, start

from kallista.core.events import StepState
from kallista.core.plan import WAKE, Entry, Failing, Grant, Plan
from kallista.core.schedules import USUAL_RULES
from kallista.core.states import TaskStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, WorkerKey
from kallista.errors import StoreError, StoreUnavailableError
from kallista.store.port import RunFilter
from kallista.store.sqlite import SqliteStore
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.store.sqlite.filesystems import mounted_network_type
from kallista.store.sqlite.liveness import Liveness
from kallista.store.sqlite.opening import APPLICATION_ID, prepare
from kallista.store.sqlite.statements import migrations
from kallista.testing.store_contract import (
    BUILD,
    NOW,
    WAKE_UP,
    fence,
    found,
    new_run,
    opened,
    request,
    taken,
)

pytestmark = pytest.mark.anyio

KNOWN = len(migrations())
MARK_NEWER = "CREATE TABLE newer (x); UPDATE store SET compatible_from = {};"


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies; its folder is not there yet."""
    return tmp_path / "data" / "workflows" / "kallista.db"


def ready(path: Path, scripts: Sequence[str] | None = None) -> None:
    """Make the file a store, and wait for nobody."""
    prepare(path, "a test", 0, scripts=scripts)


def version(path: Path) -> tuple[object, object]:
    """Whose file it is, and in which version."""
    with closing(apsw.Connection(str(path))) as db:
        return db.pragma("application_id"), db.pragma("user_version")


def empty_file(path: Path) -> None:
    """A file that somebody has only touched."""
    path.write_bytes(b"")


def half_made(path: Path) -> None:
    """A program died after it had set the log mode and before it had made a table."""
    with closing(apsw.Connection(str(path))) as db:
        db.pragma("journal_mode", "wal")


@pytest.mark.parametrize("leave", [empty_file, half_made])
async def test_what_is_empty_or_half_made_becomes_a_store(
    path: Path, leave: Callable[[Path], None]
) -> None:
    """A crash while opening, or an empty file, is no reason to refuse."""
    path.parent.mkdir(parents=True)
    leave(path)
    async with opened(lambda: SqliteStore(path)) as store:
        assert (await store.create(new_run())).new
    assert version(path) == (APPLICATION_ID, len(migrations()))


async def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its working folder keeps its store."""
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(Path("data/kallista.db"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with opened(lambda: store):
        pass
    assert (tmp_path / "data" / "kallista.db").exists()


def text_file(path: Path) -> None:
    """Something that is no database."""
    path.write_text("dear diary\n" * 500)


def other_database(path: Path) -> None:
    """A database of another program."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute("CREATE TABLE songs (title); INSERT INTO songs VALUES ('Kallisti')")


def marked_database(path: Path) -> None:
    """A database that bears another program's mark and has no table yet."""
    with closing(apsw.Connection(str(path))) as db:
        db.pragma("application_id", 4711)


def damaged(path: Path) -> None:
    """A store whose first page has been overwritten in part."""
    ready(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)


def newer(path: Path) -> None:
    """A store of a program that has moved on too far."""
    ready(path, [*migrations(), MARK_NEWER.format(KNOWN + 1)])


def a_folder(path: Path) -> None:
    """A folder under the store's name."""
    path.mkdir()


@pytest.mark.parametrize(
    ("leave", "message"),
    [
        (text_file, "is not a Kallista store but some other file; choose another path"),
        (other_database, "database of another program; choose another path"),
        (marked_database, "database of another program; choose another path"),
        (damaged, "is damaged .* restore it from a backup"),
        (newer, rf"newer Kallista \(store version {KNOWN + 1}, .* up to {KNOWN}\); upgrade"),
        (a_folder, "cannot be opened"),
    ],
)
async def test_what_is_not_ours_is_refused_and_left_as_it_is(
    path: Path, leave: Callable[[Path], None], message: str
) -> None:
    """The error says what the file is and what to do, and not a byte of it changes."""
    path.parent.mkdir(parents=True)
    leave(path)
    before, beside = content(path), sorted(path.parent.iterdir())
    with pytest.raises(StoreError, match=message):
        await SqliteStore(path).open()
    assert content(path) == before
    assert sorted(path.parent.iterdir()) == beside, "nothing of ours lies beside it"


async def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be made gives an error of ours, with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"kallista\.db"):
        await SqliteStore(tmp_path / "file" / "kallista.db").open()


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    """Forgetting to open is a mistake with a plain message."""
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="open the store first"):
        store.create(new_run())
    with pytest.raises(StoreError, match="open the store first"):
        await store.load(RunId("run"))
    assert store.changed() is False
    await store.close()


def test_migrations_lead_forward_one_by_one(path: Path) -> None:
    """An old store gets what is missing and keeps what it has; opening again does nothing."""
    scripts = [*migrations(), "CREATE TABLE second (x)", "CREATE TABLE third (x)"]
    ready(path, scripts[:1])
    with closing(apsw.Connection(str(path))) as db:
        db.execute("INSERT INTO tombstones VALUES ('kept', 'task', 'FAILED', 1)")
    ready(path, scripts)
    ready(path, scripts)
    assert version(path) == (APPLICATION_ID, KNOWN + 2)
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("SELECT id FROM tombstones").get == "kept"
        assert db.table_exists(None, "second")
        assert db.table_exists(None, "third")


async def test_tasks_of_version_2_are_the_same_afterwards(path: Path) -> None:
    """What had happened to single tasks is kept where they are read from now on."""
    ready(path, migrations()[:2])
    with closing(apsw.Connection(str(path))) as db:
        db.execute(
            "INSERT INTO definitions VALUES (1, 'd', '{}');"
            "INSERT INTO requests VALUES (1, 1, 'c', '[]', '{}'), (2, 1, 'c', '[]', '{}');"
            "INSERT INTO runs (key, state, seq, in_flight, driven, held, version, epoch, status,"
            " id, kind, name, priority, created_at, step_count) VALUES"
            " (1, 'COMPLETED', 9, 0, 1, 0, 4, 1, 'COMPLETED', 'over', 'task', 'n', 0, 1, 1),"
            " (2, 'PENDING', 0, 0, 1, 0, 1, 0, 'SCHEDULED', 'new', 'task', 'n', 0, 1, 1);"
            "INSERT INTO steps VALUES (1, 0, 'COMPLETED', 3, 1, 2, 10, 20, 30, 40, 5, 8, 1);"
            """INSERT INTO events VALUES (1, 8, 40, 'task.completed', 0, 3, '{"value": 1}');"""
        )
    async with opened(lambda: SqliteStore(path)) as store:
        over, new = await store.load(RunId("over")), await store.load(RunId("new"))
        assert over is not None
        assert new is not None
        status = TaskStatus.COMPLETED
        assert over.steps == (StepState(status, 3, 1, 2, 10, 20, 30, 40, 5, 8, True),)
        assert new.steps == (StepState(),)
        assert await store.outcomes(over.key) == {0: '{"value": 1}'}


async def test_schedules_of_version_3_are_due_afterwards(path: Path) -> None:
    """Who waited for a moment is looked at then, and treats it as it always did."""
    ready(path, migrations()[:3])
    with closing(apsw.Connection(str(path))) as db:
        db.execute(
            "INSERT INTO definitions VALUES (1, 'd', '{}');"
            "INSERT INTO schedules VALUES"
            " ('s', 'ACTIVE', '{}', 1, 'c', 0, '[]', NULL, NULL, 4, 0, 70, 60, 's@60', 5, 4)"
        )
    async with opened(lambda: SqliteStore(path)) as store:
        assert await store.next_schedule_at(Micros(0)) == 70
        [(schedule, _)] = await store.due_schedules(Micros(70), 9)
        assert (schedule.look_at, schedule.rules) == (70, USUAL_RULES)
        assert (schedule.note, schedule.since) == (None, 5)


async def test_failures_of_version_8_are_found_afterwards(path: Path) -> None:
    """What had failed before lists of failures were kept is in them, steps and whole runs alike."""
    ready(path, migrations()[:8])
    with closing(apsw.Connection(str(path))) as db:
        db.execute(
            """INSERT INTO definitions VALUES
            (1, 'w', '{"steps":[{"type":"build"},{"child":{"kind":"workflow"}}]}'),
            (2, 't', '{"steps":[{"type":"deploy"}]}');"""
            "INSERT INTO requests VALUES (1, 1, 'c', '[]', '{}'), (2, 2, 'c', '[]', '{}');"
            "INSERT INTO runs (key, state, seq, in_flight, driven, held, version, epoch, status,"
            " id, kind, name, priority, created_at, step_count, outcome, task_outcome) VALUES"
            " (1, 'FAILED', 9, 0, 1, 0, 4, 1, 'FAILED', 'p', 'process', 'n', 0, 1, 2, 8, NULL),"
            " (2, 'FAILED', 9, 0, 1, 0, 4, 1, 'FAILED', 't', 'task', 'n', 0, 1, 1, NULL, 3);"
            "INSERT INTO steps (run, step, status, attempt, failures, crashes, outcome, passed)"
            " VALUES (1, 0, 'FAILED', 1, 1, 0, 5, 0), (1, 1, 'FAILED', 1, 1, 0, 6, 0);"
            """INSERT INTO events VALUES
            (1, 5, 50, 'task.failed', 0, 1, '{"type":"a.b.Slow","message":"m"}'),
            (1, 6, 60, 'task.failed', 1, 1, '{"type":"ChildFailed","message":"m"}'),
            (1, 8, 80, 'run.failed', NULL, 0, '{"type":"DeadlineExceeded","message":"m"}'),
            (2, 3, 30, 'task.failed', 0, 1, '{"type":"ValueError","message":"m"}');"""
        )
    async with opened(lambda: SqliteStore(path)) as store:
        assert await store.failures(RunKey(1)) == {
            -1: Failing("DeadlineExceeded", "process", 8, Micros(80)),
            0: Failing("a.b.Slow", "build", 5, Micros(50)),
            1: Failing("ChildFailed", "workflow", 6, Micros(60)),
        }
        assert await store.failures(RunKey(2)) == {
            0: Failing("ValueError", "deploy", 3, Micros(30))
        }
        [found] = await store.list_runs(RunFilter(Micros(0), error="Slow"))
        assert found.id == "p"


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    """Each step is one transaction: the store stays at the version before."""
    ready(path)
    with pytest.raises(StoreError, match="cannot open"):
        ready(path, [*migrations(), "CREATE TABLE second (x); SELECT nonsense FROM nowhere"])
    assert version(path) == (APPLICATION_ID, KNOWN)
    with closing(apsw.Connection(str(path))) as db:
        assert not db.table_exists(None, "second")
    ready(path)


def test_a_migration_that_is_killed_changes_nothing(path: Path) -> None:
    """A program that dies amid a migration leaves the version before, and the next one goes on."""
    ready(path)
    script = """
import signal
import apsw
from kallista.store.sqlite.opening import prepare
from kallista.store.sqlite.statements import migrations
def die():
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
apsw.connection_hooks.append(lambda db: db.create_scalar_function("die", die))
prepare(Path(sys.argv[1]), "dying", 0, scripts=[*migrations(), "CREATE TABLE second (x);" + DIES])
""".replace("DIES", "'SELECT die()'")
    code, _ = ended(start(script, path))
    assert code != 0
    assert version(path) == (APPLICATION_ID, KNOWN)
    ready(path, [*migrations(), "CREATE TABLE second (x)"])
    assert version(path) == (APPLICATION_ID, KNOWN + 1)


def test_a_migration_waits_until_older_workers_have_ended(path: Path) -> None:
    """A worker that could not go on is named; once it has ended the store is migrated."""
    ready(path)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("INSERT INTO workers (key, name, types, started_at) VALUES (7, 'old', '{}', 1)")
    scripts = [*migrations(), MARK_NEWER.format(KNOWN + 1)]
    liveness = Liveness(path.with_name("kallista.db.workers"))
    liveness.show(WorkerKey(7))
    with pytest.raises(StoreError, match=r"older Kallista \(worker old\).* end that program"):
        ready(path, scripts)
    assert version(path) == (APPLICATION_ID, KNOWN)
    ready(path, [*migrations(), MARK_NEWER.format(KNOWN)])
    liveness.end()
    ready(path, [*migrations(), MARK_NEWER.format(KNOWN), "UPDATE store SET compatible_from = 99"])


async def test_a_newer_store_that_is_compatible_is_used(path: Path) -> None:
    """A newer program may say that older ones can go on with its store."""
    ready(path, [*migrations(), MARK_NEWER.format(KNOWN)])
    async with opened(lambda: SqliteStore(path)) as store:
        assert (await store.create(new_run())).new
    assert version(path) == (APPLICATION_ID, KNOWN + 1)


@pytest.mark.parametrize("compatible_from", [KNOWN, KNOWN + 1])
async def test_a_store_that_is_migrated_while_it_is_open(path: Path, compatible_from: int) -> None:
    """Who has it open goes on if it may; else it writes nothing any more, and says why."""
    async with opened(lambda: SqliteStore(path)) as store:
        await store.create(new_run("before"))
        scripts = [*migrations(), MARK_NEWER.format(compatible_from)]
        prepare(path, "a test", 30, scripts=scripts)
        late = store.create(new_run("after"))
        if compatible_from == KNOWN:
            assert (await late).new
        else:
            with pytest.raises(StoreError, match=f"knows up to {KNOWN}.*upgrade Kallista"):
                await late
            assert await store.load(RunId("after")) is None


OLD_RUN = (
    "INSERT INTO runs VALUES ({key}, 'RUNNING', 1, 0, 5, NULL, NULL, 1, 0, NULL, 3, {owner}, 2,"
    " '{status}', '{kind}', '{kind}', 'n', NULL, NULL, NULL, NULL, 0, 5, {steps});"
    "INSERT INTO requests VALUES ({key}, 1, 'content', '[]', '{{}}');"
    "INSERT INTO events VALUES ({key}, 0, 5, 'run.started', NULL, 0, NULL);"
)
OLD_LINES = (
    (0, "build", 0, NOW, 1, 0),
    (4, "build", -2, NOW, 2, 1),
    (4, "", 0, NOW + 9, 2, -1),
    (4, "build", 0, NOW, 3, 0),
)


def of_version_1(path: Path) -> None:
    """A store as the first version left it: worker 4 drove a process and a workflow, and died."""
    ready(path, migrations()[:1])
    with closing(apsw.Connection(str(path))) as db:
        db.execute("INSERT INTO definitions VALUES (1, 'hash', '{\"steps\":[]}')")
        db.execute("INSERT INTO workers VALUES (4, 'gone', '{\"build\":\"{}\"}', 5)")
        for key, kind, owner, status, steps in (
            (1, "task", "NULL", "SCHEDULED", 1),
            (2, "process", 4, "RUNNING", 2),
            (3, "workflow", 4, "RUNNING", 1),
        ):
            db.execute(OLD_RUN.format(key=key, kind=kind, owner=owner, status=status, steps=steps))
        db.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?)", OLD_LINES)


async def test_a_store_of_version_1_goes_on(path: Path) -> None:
    """What an older program left is all there, and the tasks of its processes can be borrowed."""
    path.parent.mkdir(parents=True)
    of_version_1(path)
    async with opened(lambda: SqliteStore(path)) as store:
        assert version(path) == (APPLICATION_ID, KNOWN)
        process, workflow = RunKey(2), RunKey(3)
        me = await store.register_worker("me", {BUILD: JsonText("{}")}, NOW)
        claim = await store.claim(request(me))
        assert [(entry.run, entry.borrowed) for entry in claim.entries] == [(2, True), (1, False)]
        assert [loan.worker for loan in await store.loans(process)] == [me]
        assert await store.release_dead(NOW) == 2
        assert await taken(store, me) == [
            (process, WAKE_UP),
            (process, Entry(WAKE, 0, Micros(0), 1)),
            (workflow, WAKE_UP),
            (workflow, Entry(BUILD, 0, NOW, 0)),
        ]
        record = await found(store, "process")
        grant = Grant(1, me, 1)
        await store.commit(Plan(process, fence(record), record.head, lend=(grant,)))
        await store.report(process, 1, me, 1, JsonText('"done"'))
        later = request(me, now=Micros(NOW + 9))
        assert [entry.entry.step for entry in (await store.claim(later)).entries] == [1, -1]
        assert [event.kind for event in await store.history(process)] == ["run.started"]


async def test_who_opens_for_too_long_is_named(path: Path) -> None:
    """A program that hangs while opening is named to those who wait."""
    path.parent.mkdir(parents=True)
    with closing(FileLock(path.with_name("kallista.db.open-lock"))) as lock:
        lock.acquire(holder_name("process 7 on elsewhere"), 0, "open")
        with pytest.raises(StoreUnavailableError, match=r"process 7 on elsewhere .* end it"):
            await SqliteStore(path, busy_timeout=0).open()


def test_sixteen_programs_open_one_new_file(path: Path) -> None:
    """All of them get a working store, at the same moment, and nobody waits for a time-out."""
    script = """
async def main(path, number):
    store = SqliteStore(Path(path))
    await store.open()
    await store.register_worker(f"worker-{number}", {}, 1)
    await store.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""
    others = [start(script, path, number) for number in range(16)]
    assert [heard(other) for other in others] == ["ready"] * 16
    for other in others:
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
    assert [ended(other) for other in others] == [(0, "")] * 16
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("SELECT count(DISTINCT name) FROM workers").get == 16
        assert db.pragma("integrity_check") == "ok"


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no write permission there")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_read_only_is_refused_with_advice(what: str) -> None:
    """Without permission to write the error says so."""
    # An administrator may write anywhere, so the program becomes nobody when it runs as one.
    script = """
if os.geteuid() == 0:
    os.seteuid(65534)
asyncio.run(SqliteStore(Path(sys.argv[1])).open())
"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "kallista.db"
        if what == "file":
            ready(path)
            path.chmod(0o444)
        folder.chmod(0o777 if what == "file" else 0o555)
        code, complaint = ended(start(script, path))
        folder.chmod(0o755)
    assert code == 1
    assert "writing is not permitted; make the file and its folder writable" in complaint


async def test_a_store_forgotten_open_does_not_keep_the_program(path: Path) -> None:
    """A program that never closes its store ends all the same, and nothing written is lost."""
    script = """
from kallista.testing.store_contract import new_run
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    store.listen(lambda: None)
    await store.create(new_run())
    store.create(new_run("late"))
asyncio.run(main())
"""
    assert ended(start(script, path)) == (0, "")
    async with opened(lambda: SqliteStore(path)) as store:
        assert "run" in [run.id for run in await store.list_runs(RunFilter(now=NOW))]


MOUNTS = """\
/dev/vda / ext4 rw 0 0
nas:/home /home nfs4 rw 0 0
/dev/vdb /home/me/local xfs rw 0 0
//nas/share /mnt/our\\040share cifs rw 0 0
host /shared 9p rw 0 0
overlay /var/lib overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/data/kallista.db", None),
        ("/home/me/kallista.db", "nfs4"),
        ("/homely/kallista.db", None),
        ("/home/me/local/kallista.db", None),
        ("/mnt/our share/kallista.db", "cifs"),
        ("/shared/kallista.db", None),
        ("/var/lib/kallista.db", None),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths are written otherwise there")
def test_network_file_systems_are_known_by_the_table_of_mounts(
    place: str, kind: str | None
) -> None:
    """The innermost mount counts; what may be local is let pass."""
    assert mounted_network_type(Path(place), MOUNTS) == kind


async def test_a_network_file_system_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks between machines cannot be trusted, so nothing is made there."""
    monkeypatch.setattr("kallista.store.sqlite.opening.network_type", lambda path: "nfs4")
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).* local disk"):
        await SqliteStore(path).open()
    assert not path.parent.exists()
    assert os.listdir(path.parents[2]) == []
