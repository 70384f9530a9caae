"""Opening a database: what is missing is made, what is old migrated, what is not ours refused."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest
from servers import empty_database, new_database, server

from kallista.core.plan import Failing
from kallista.core.schedules import USUAL_RULES
from kallista.core.types import Micros, RunKey
from kallista.errors import StoreError, StoreUnavailableError
from kallista.store.port import RunFilter
from kallista.store.postgres import PostgresStore
from kallista.store.postgres.addresses import Address, read_url
from kallista.store.postgres.connection import Connection, may_come_up, store_error
from kallista.store.postgres.opening import KNOWN, prepare
from kallista.store.postgres.statements import migrations, statement
from kallista.testing.store_contract import found, made, new_run, opened

pytestmark = pytest.mark.anyio

FILES_OF_SELECT = 1_024


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


def ready(address: Address, *more: str) -> None:
    """Make the database a store, as a program does that knows further migrations."""
    with closing(Connection(address)) as db:
        prepare(db, address, [*migrations(), *more])


def said(url: str, sql: str) -> object:
    """What a statement answers first."""
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(sql.encode())
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


async def test_programs_open_one_new_database_together() -> None:
    """Sixteen programs that open an empty database at once all get the same store."""
    url = empty_database()
    stores = [PostgresStore(url) for _ in range(16)]
    await asyncio.gather(*(store.open() for store in stores))
    answers = await asyncio.gather(*(store.create(new_run()) for store in stores))
    assert sum(answer.new for answer in answers) == 1
    assert len({answer.key for answer in answers}) == 1
    await asyncio.gather(*(store.close() for store in stores))
    assert said(url, "SELECT count(*) FROM kallista.handles") == 0


async def test_an_older_store_is_migrated() -> None:
    """A newer program brings the store to its version, each step whole; what is there stays."""
    url = new_database()
    async with opened(lambda: PostgresStore(url)) as store:
        record = await made(store, new_run())
        ready(read_url(url), "CREATE TABLE newer (x bigint)", "ALTER TABLE newer ADD y bigint")
        assert said(url, "SELECT version FROM kallista.store") == KNOWN + 2
        assert await found(store, "run") == record, "an older program that is running goes on"
    async with opened(lambda: PostgresStore(url)) as store:
        assert await found(store, "run") == record, "an older program that may, opens it"


async def test_schedules_of_version_1_are_due_afterwards() -> None:
    """Who waited for a moment is looked at then, and treats it as it always did."""
    url = empty_database()
    with closing(Connection(read_url(url))) as db:
        prepare(db, read_url(url), migrations()[:1])
    said(url, "INSERT INTO kallista.definitions (hash, content) VALUES ('d', '{}')")
    said(
        url,
        "INSERT INTO kallista.schedules SELECT 's', 'ACTIVE', '{}', key, 'c', 0, '[]', NULL, NULL,"
        " 4, 0, 70, 60, 's@60', 5, 4 FROM kallista.definitions",
    )
    async with opened(lambda: PostgresStore(url)) as store:
        assert await store.next_schedule_at(Micros(0)) == 70
        [(schedule, _)] = await store.due_schedules(Micros(70), 9)
        assert (schedule.look_at, schedule.rules) == (70, USUAL_RULES)
        assert (schedule.note, schedule.since) == (None, 5)


async def test_failures_of_version_6_are_found_afterwards() -> None:
    """What had failed before lists of failures were kept is in them, steps and whole runs alike."""
    url = empty_database()
    with closing(Connection(read_url(url))) as db:
        prepare(db, read_url(url), migrations()[:6])
    for what in (
        """INSERT INTO kallista.definitions (hash, content) VALUES
        ('w', '{"steps":[{"type":"build"},{"child":{"kind":"workflow"}}]}')""",
        (
            "INSERT INTO kallista.runs (key, state, seq, in_flight, driven, held, version, epoch,"
            " status, kind, outcome)"
            " VALUES (1, 'FAILED', 9, 0, 1, false, 4, 1, 'FAILED', 'process', 8)"
        ),
        (
            "INSERT INTO kallista.requests (run, definition, priority, created_at, step_count, id,"
            " name, content, tags, inputs)"
            " SELECT 1, key, 0, 1, 2, 'p', 'n', 'c', '[]', '{}' FROM kallista.definitions"
        ),
        (
            "INSERT INTO kallista.steps (run, step, status, attempt, failures, crashes, outcome,"
            " passed)"
            " VALUES (1, 0, 'FAILED', 1, 1, 0, 5, false), (1, 1, 'FAILED', 1, 1, 0, 6, false)"
        ),
        """INSERT INTO kallista.events (run, seq, at, kind, step, attempt, data) VALUES
        (1, 5, 50, 'task.failed', 0, 1, '{"type":"a.b.Slow","message":"m"}'),
        (1, 6, 60, 'task.failed', 1, 1, '{"type":"ChildFailed","message":"m"}'),
        (1, 8, 80, 'run.failed', NULL, 0, '{"type":"DeadlineExceeded","message":"m"}')""",
    ):
        said(url, what)
    async with opened(lambda: PostgresStore(url)) as store:
        assert await store.failures(RunKey(1)) == {
            -1: Failing("DeadlineExceeded", "process", 8, Micros(80)),
            0: Failing("a.b.Slow", "build", 5, Micros(50)),
            1: Failing("ChildFailed", "workflow", 6, Micros(60)),
        }
        [found] = await store.list_runs(RunFilter(Micros(0), error="Slow"))
        assert found.id == "p"


async def test_a_migration_that_fails_changes_nothing() -> None:
    """A script is written whole or not at all, and may be tried again."""
    address = read_url(new_database())
    with pytest.raises(psycopg.Error):
        ready(address, "CREATE TABLE newer (x bigint); SELECT 1 / 0")
    ready(address, "CREATE TABLE newer (x bigint)")


async def test_a_store_of_a_newer_program_is_refused() -> None:
    """A program older than ``compatible_from`` says so and touches nothing."""
    url = new_database()
    ready(read_url(url), f"UPDATE store SET compatible_from = {KNOWN + 1}")
    with pytest.raises(StoreError, match="written by a newer Kallista"):
        await PostgresStore(url).open()


async def test_who_becomes_too_old_while_it_runs_is_told() -> None:
    """Once a newer program has left it behind, an older one writes nothing more and says so."""
    url = new_database()
    async with opened(lambda: PostgresStore(url)) as store:
        record = await made(store, new_run())
        ready(read_url(url), f"UPDATE store SET compatible_from = {KNOWN + 1}")
        for _ in range(2):
            with pytest.raises(StoreError, match="written by a newer Kallista"):
                await store.create(new_run("later"))
        assert await found(store, "run") == record
        assert said(url, "SELECT count(*) FROM kallista.runs") == 1


@pytest.mark.parametrize("theirs", ["theirs", "store"])
async def test_a_schema_of_somebody_else_is_refused(theirs: str) -> None:
    """A schema of our name with other tables in it is left alone."""
    url = empty_database()
    said(url, f"CREATE SCHEMA kallista CREATE TABLE {theirs} (x bigint)")
    with pytest.raises(StoreError, match="belongs to another program"):
        await PostgresStore(url).open()
    assert said(url, f"SELECT count(*) FROM kallista.{theirs}") == 0


async def test_an_empty_schema_is_enough() -> None:
    """A user who may not create schemas works in one that somebody has made."""
    url = empty_database()
    said(url, "DROP ROLE IF EXISTS lowly")
    said(url, "CREATE ROLE lowly LOGIN")
    lowly = url.replace("kallista@", "lowly@")
    with pytest.raises(StoreError, match="needs CREATE on the database"):
        await PostgresStore(lowly).open()
    said(url, "CREATE SCHEMA kallista AUTHORIZATION lowly")
    async with opened(lambda: PostgresStore(lowly)) as store:
        assert (await store.create(new_run())).new


async def test_a_database_that_is_not_there_is_named() -> None:
    """The error says what to do."""
    with pytest.raises(StoreError, match='"nowhere" does not exist; create it'):
        await PostgresStore(server().url("nowhere")).open()


async def test_a_server_that_is_not_there_is_named() -> None:
    """Nobody listens: the address is in the error, the password is not."""
    store = PostgresStore("postgresql://me:secret@127.0.0.1:1/db", patience=0)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/db has not answered") as caught:
        await store.open()
    assert "secret" not in str(caught.value)
    await store.close()


async def test_an_encoding_that_cannot_hold_everything_is_refused() -> None:
    """Payloads are Unicode."""
    url = empty_database()
    said(url, "DROP DATABASE IF EXISTS latin")
    said(url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="the encoding LATIN1"):
        await PostgresStore(server().url("latin")).open()


async def test_several_hosts_lead_to_the_one_that_can_be_written_to() -> None:
    """Hosts that don't answer are passed over."""
    url = new_database()
    port = server().port
    several = url.replace(f"@127.0.0.1:{port}/", f"@127.0.0.1:1,127.0.0.1:{port}/")
    async with opened(lambda: PostgresStore(several)) as store:
        known = await store.describe()
    assert known["kind"] == "postgresql"
    assert known["database"].startswith(f"127.0.0.1:1,127.0.0.1:{port}/")
    assert known["schema_version"] == str(KNOWN)
    assert int(known["size_bytes"]) > 0
    assert known["server_version"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://h/db", "h:5432/db"),
        ("postgresql+psycopg://me:p%40ss@h:5433/db", "h:5433/db"),
        ("postgres://a:1,b:2/db?sslmode=require", "a:1,b:2/db"),
        ("postgresql://me@/db?host=a:1&host=b:2", "a:1,b:2/db"),
        ("postgresql://me@/db?host=/run/postgresql&port=5433", "/run/postgresql:5433/db"),
        ("postgresql:///db", "localhost:5432/db"),
    ],
)
def test_urls(url: str, place: str) -> None:
    """URLs are read as SQLAlchemy and libpq write them, and named without their password."""
    address = read_url(url)
    assert address.place == place
    assert "target_session_attrs=read-write" in address.conninfo


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/db",
        "postgresql:db",
        "postgresql://me:sec/ret@h/db",
        "postgresql://me:sec ret@[h/db",
        "postgresql://h/d?x=1",
    ],
)
def test_other_urls(url: str) -> None:
    """What cannot be read is refused without being quoted."""
    with pytest.raises(StoreError, match="write postgresql://") as caught:
        read_url(url)
    assert "sec" not in str(caught.value)


def test_a_misspelt_option() -> None:
    """The nearest one there is is named."""
    with pytest.raises(StoreError, match="did you mean 'sslmode'?"):
        read_url("postgresql://h/d?sslmod=require")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url.replace("127.0.0.1", "no.such.host"), "check the host in the URL"),
        (lambda url: url.replace("127.0.0.1:", "127.0.0.1:1"), "invalid port .* mend the URL"),
        (lambda url: f"{url}?sslmode=require", "SSL .* mend the URL"),
        (lambda _: "postgresql://me@127.0.0.1:1/db", "check that the server is running there"),
    ],
    ids=["host", "port", "ssl", "nobody"],
)
async def test_what_keeps_from_connecting_is_told(change: Callable[[str], str], told: str) -> None:
    """With what to do about it."""
    with pytest.raises(StoreError, match=told):
        await PostgresStore(change(new_database()), patience=0).open()


@pytest.mark.parametrize(
    ("prepared", "told"),
    [
        ((), "does not exist; name another user in the URL"),
        (("CREATE ROLE {0} NOLOGIN",), "not permitted to log in; name another user in the URL"),
        (
            ("CREATE ROLE {0} LOGIN", "GRANT USAGE ON SCHEMA kallista TO {0}"),
            "permission denied .* others need USAGE on that schema and ALL on its tables",
        ),
        (
            ("CREATE ROLE {0} LOGIN", "REVOKE CONNECT ON DATABASE {1} FROM PUBLIC"),
            "permission denied .* and CONNECT",
        ),
    ],
    ids=["missing", "no login", "no tables", "no database"],
)
async def test_who_may_not_is_told_what_to_have(prepared: Sequence[str], told: str) -> None:
    """At once, for waiting does not help, and not that the server does not answer."""
    url, role = new_database(), "stranger"
    database = url.rpartition("/")[2]
    for sql in prepared:
        said(url, sql.format(role, database))
    try:
        with pytest.raises(StoreError, match=told) as caught:
            await PostgresStore(url.replace("kallista@", f"{role}@")).open()
        assert not isinstance(caught.value, StoreUnavailableError)
    finally:
        server().drop_database(database)
        said(server().url("postgres"), f"DROP ROLE IF EXISTS {role}")


def test_a_pooler_that_shares_sessions_is_suspected() -> None:
    """It loses what was prepared in a session; the error says to connect directly."""
    with closing(Connection(read_url(new_database()))) as db:
        db.ask(statement("store_tables"))
        db.db.pgconn.exec_(b"DEALLOCATE ALL")
        with pytest.raises(psycopg.Error) as caught:
            db.ask(statement("store_tables"))
    told = str(store_error("h:6432/db", "read", caught.value))
    assert "a pooler" in told
    assert "name the server itself in the URL" in told


@pytest.mark.parametrize(
    "words", ['password authentication failed for user "me"', "fe_sendauth: no password supplied"]
)
def test_a_password_that_is_wrong_or_missing(words: str) -> None:
    """Waiting does not help, and the server is not said to be away."""
    error = psycopg.OperationalError(f"connection failed: {words}")
    assert not may_come_up(error)
    told = store_error("h:5432/db", "reach", error)
    assert not isinstance(told, StoreUnavailableError)
    assert "the user or the password; check the URL" in str(told)


async def test_a_store_that_another_has_made() -> None:
    """The rights that the message names are enough for a worker."""
    url = new_database()
    said(url, "DROP ROLE IF EXISTS guest")
    said(url, "CREATE ROLE guest LOGIN")
    said(url, "GRANT USAGE ON SCHEMA kallista TO guest")
    said(url, "GRANT ALL ON ALL TABLES IN SCHEMA kallista TO guest")
    said(url, "GRANT ALL ON ALL SEQUENCES IN SCHEMA kallista TO guest")
    try:
        async with opened(lambda: PostgresStore(url.replace("kallista@", "guest@"))) as store:
            await store.register_worker("w", {}, Micros(0))
            assert await store.beat()
            assert await store.release_dead(Micros(0)) == 0
            assert [worker.alive for worker in await store.workers()] == [True]
            await made(store, new_run())
    finally:
        said(url, "DROP OWNED BY guest")
        said(url, "DROP ROLE guest")


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_too_few_connections(limit: int) -> None:
    """Who is given fewer than it needs is told at once, and leaves none of them taken."""
    url, role = new_database(), f"limited_{limit}"
    said(url, f"DROP ROLE IF EXISTS {role}")
    said(url, f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT {limit}")
    said(url, f"ALTER ROLE {role} NOSUPERUSER")
    said(url, f"GRANT USAGE ON SCHEMA kallista TO {role}")
    said(url, f"GRANT ALL ON ALL TABLES IN SCHEMA kallista TO {role}")
    said(url, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA kallista TO {role}")
    with pytest.raises(StoreError, match=r"raise CONNECTION LIMIT .*\(a program takes 4\)"):
        await PostgresStore(url.replace("kallista@", f"{role}@"), patience=0.1).open()
    left = [thread for thread in threading.enumerate() if thread.name.startswith("kallista-")]
    for thread in left:
        thread.join(10)
    assert not [thread for thread in left if thread.is_alive()]


async def test_time_outs_that_are_set_for_others_are_not_ours() -> None:
    """A role's time-outs for statements and idle sessions would cut those that wait on purpose."""
    url = new_database()
    name = url.rpartition("/")[2]
    for setting in ("statement_timeout", "idle_session_timeout"):
        said(url, f"ALTER DATABASE {name} SET {setting} = '1h'")
    said(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with closing(Connection(read_url(url))) as db:
        shown = [
            db.db.execute(f"SHOW {setting}".encode(), prepare=False).fetchall()[0][0]
            for setting in (
                "statement_timeout", "idle_session_timeout", "default_transaction_isolation",
            )
        ]  # fmt: skip
    assert shown == ["0", "0", "read committed"]


async def test_a_program_with_many_open_files_hears_of_others() -> None:
    """Files whose numbers are beyond those that ``select`` knows are waited for like any others."""
    url = new_database()
    with many_files(), ExitStack() as files:
        while files.enter_context(socket.socket()).fileno() < FILES_OF_SELECT:
            pass
        async with opened(lambda: PostgresStore(url)) as store:
            rung = asyncio.Event()
            store.listen(rung.set)
            async with opened(lambda: PostgresStore(url)) as other:
                await other.create(new_run())
            await asyncio.wait_for(rung.wait(), 30)


@contextmanager
def many_files() -> Iterator[None]:
    """This program may open more files than many systems let it by default."""
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * FILES_OF_SELECT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
