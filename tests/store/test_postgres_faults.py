"""PostgreSQL goes away at any moment: what was acknowledged stays, the rest is looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from servers import new_database, server
from wires import Cut, Wire

from kallista import Kallista
from kallista.core.limits import Limit
from kallista.core.plan import WAKE, Entry, Plan, Redefinition, SameKey
from kallista.core.types import JsonText, Micros, RunId
from kallista.errors import (
    KallistaError,
    StoreError,
    StoreUnavailableError,
    StoreUncertainError,
)
from kallista.store.port import RunFilter
from kallista.store.postgres import PostgresStore, link
from kallista.store.postgres.addresses import read_url
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.gates import COUNTING
from kallista.store.postgres.link import Link
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writer import HANDLE
from kallista.testing.postgres import PostgresServer
from kallista.testing.store_contract import (
    BUILD,
    NOW,
    WAKE_UP,
    counted_no_more,
    fence,
    finished,
    found,
    happened,
    limited_task,
    made,
    new_run,
    new_task,
    opened,
    request,
    taken,
)

pytestmark = pytest.mark.anyio

RUN_OF = (
    "SELECT 1 FROM kallista.runs AS r JOIN kallista.requests AS q ON q.run = r.key WHERE q.id ="
)


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def url() -> str:
    """An empty store."""
    return new_database()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire to the server."""
    wire = Wire(server().port)
    yield wire
    wire.close()


def by(wire: Wire, url: str) -> str:
    """The same database, over the wire."""
    return url.replace(f":{server().port}/", f":{wire.port}/")


def session_that_asks(url: str, what: str) -> int:
    """The process on the server that is busy with a statement, as soon as there is one."""
    question = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s"
    )
    with psycopg.connect(url, autocommit=True) as db:
        while (row := db.execute(question, (f"%{what}%",)).fetchone()) is None:
            pass
        return int(row[0])


def until_nothing_is_under_way(url: str) -> None:
    """Wait until every transaction on the server has come to its end."""
    question = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'"
    )
    with psycopg.connect(url, autocommit=True) as db:
        while db.execute(question).fetchone() is not None:
            pass


def until_somebody_waits(url: str, unless: Callable[[], bool] = lambda: False) -> None:
    """Wait until somebody waits for what another one is writing, or nobody will."""
    question = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(url, autocommit=True) as db:
        while db.execute(question).fetchone() is None and not unless():
            pass


def until_nobody_writes(url: str) -> None:
    """Wait until no program has a session for writing."""
    question = (
        "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s"
    )
    with psycopg.connect(url, autocommit=True) as db:
        while db.execute(question, (HANDLE,)).fetchone() is not None:
            pass


def end_all_sessions(url: str) -> None:
    """Cut everybody off."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_sessions_that_end_are_replaced(url: str) -> None:
    """An administrator ends all sessions: writes and reads go on, and nothing is written twice."""
    async with opened(lambda: PostgresStore(url)) as store:
        record = await made(store, new_run())
        for version in range(1, 6):
            end_all_sessions(url)
            head = replace(record.head, seq=version + 1)
            plan = Plan(record.key, fence(record), head, events=(happened(version),))
            assert (await store.commit(plan)).version == version + 1
            end_all_sessions(url)
            record = await found(store, "run")
        assert len(await store.history(record.key)) == 6


async def test_a_session_that_was_lost_holds_nothing_open(url: str) -> None:
    """What waited for its answers is closed at once, not when the collector comes by."""
    link = Link(read_url(url), patience=5)
    lost = link.connection()
    end_all_sessions(url)
    with pytest.raises(psycopg.OperationalError):
        lost.say(b"SELECT 1")
    link.connection()
    link.drop()
    assert lost._exchange._selector.get_map() is None


async def test_a_session_that_ends_in_the_middle_writes_all_or_nothing(url: str) -> None:
    """The session dies while a group is half written: all of it is written anew, once."""
    async with opened(lambda: PostgresStore(url)) as store:
        records = [await made(store, new_run(f"run-{number}")) for number in range(5)]
        with psycopg.connect(url) as other:
            other.execute(f"{RUN_OF} 'run-3' FOR UPDATE OF r")
            plans = [
                Plan(
                    record.key,
                    fence(record),
                    replace(record.head, seq=2),
                    events=(happened(1),),
                    enqueue=(Entry(BUILD, 0, NOW, 0),),
                    create=(new_run(f"{record.id}-child", parent=(record.key, 0)),),
                )
                for record in records
            ]
            answers = asyncio.gather(*(store.commit(plan) for plan in plans))
            waiting = await asyncio.to_thread(session_that_asks, url, "UPDATE runs")
            with psycopg.connect(url, autocommit=True) as db:
                db.execute("SELECT pg_terminate_backend(%s, 5000)", (waiting,))
                assert db.execute("SELECT count(*) FROM kallista.events").fetchone() == (5,)
        assert [answer.version for answer in await answers] == [2] * 5
        for record in records:
            assert len(await store.history(record.key)) == 2
        assert len(await store.list_runs(RunFilter(NOW))) == 10
        worker = await store.register_worker("w", {}, NOW)
        assert len(await taken(store, worker)) == 5


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_commit_whose_answer_is_lost_is_looked_up(url: str, wire: Wire, cut: Cut) -> None:
    """The wire is cut at COMMIT: done or not, the group is written exactly once."""
    async with opened(lambda: PostgresStore(by(wire, url))) as store:
        connections = wire.connections
        wire.cuts.append((b"COMMIT", cut))
        answers = await asyncio.gather(*(store.create(new_run(f"run-{n}")) for n in range(3)))
        assert not wire.cuts
        assert wire.connections == connections + 1
        assert all(answer.new for answer in answers)
        assert len(await store.list_runs(RunFilter(NOW))) == 3
        assert [len(await store.history(answer.key)) for answer in answers] == [1, 1, 1]


@pytest.mark.parametrize(("cut", "there"), [(Cut.BEFORE, False), (Cut.AFTER, True)])
async def test_a_commit_that_cannot_be_looked_up_is_uncertain(
    url: str, wire: Wire, cut: Cut, there: bool
) -> None:
    """Cut at COMMIT, and nobody can be reached: neither a yes nor a no would be true."""
    async with opened(lambda: PostgresStore(by(wire, url), patience=0.1)) as store:
        wire.cuts.append((b"COMMIT", cut))
        answer = store.create(new_run())
        wire.down()
        with pytest.raises(StoreUncertainError, match="could not be learned"):
            await answer
        await asyncio.to_thread(until_nothing_is_under_way, url)
        wire.up()
        assert (await store.load(RunId("run")) is not None) == there
        assert (await store.create(new_run())).new != there


async def test_what_was_uncertain_does_not_vouch_for_the_next_group(url: str, wire: Wire) -> None:
    """A group that took effect unseen has a number; the next one in doubt is not taken for it."""
    async with opened(lambda: PostgresStore(by(wire, url), patience=0.1)) as store:
        wire.cuts.append((b"COMMIT", Cut.AFTER))
        uncertain = store.create(new_run("uncertain"))
        wire.down()
        with pytest.raises(StoreUncertainError):
            await uncertain
        await asyncio.to_thread(until_nothing_is_under_way, url)
        wire.up()
        wire.cuts.append((b"COMMIT", Cut.BEFORE))
        assert (await store.create(new_run("next"))).new
        assert not wire.cuts
        assert await store.load(RunId("next")) is not None


async def test_who_is_cut_off_is_not_forgotten_before_it_asks(url: str, wire: Wire) -> None:
    """Others remove what the dead left, but not what shows whether a commit in doubt was made."""
    async with opened(lambda: PostgresStore(by(wire, url))) as store:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("UPDATE kallista.handles SET written_at = now() - interval '1 year'")
        wire.cuts.append((b"COMMIT", Cut.AFTER))
        answer = store.create(new_run())
        wire.down()
        await asyncio.to_thread(until_nobody_writes, url)
        async with opened(lambda: PostgresStore(url)):
            wire.up()
            assert (await answer).new


async def test_what_the_dead_left_is_removed(url: str) -> None:
    """A program that was killed long ago is forgotten when another one opens the store."""
    async with opened(lambda: PostgresStore(url)):
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(
                "INSERT INTO kallista.handles (commits, written_at) VALUES (5, 'yesterday'),"
                " (7, now() - interval '8 days')"
            )
            db.execute("UPDATE kallista.handles SET written_at = 'epoch' WHERE commits = 0")
            async with opened(lambda: PostgresStore(url)):
                kept = db.execute("SELECT commits FROM kallista.handles ORDER BY 1").fetchall()
            assert kept == [(0,), (0,), (5,)]


async def test_a_server_that_is_down_is_waited_for(url: str) -> None:
    """Writes and reads while the server is down are done once it is back."""
    async with opened(lambda: PostgresStore(url)) as store:
        await store.create(new_run("before"))
        server().stop("immediate")
        writing = [store.create(new_run(f"run-{number}")) for number in range(3)]
        reading = asyncio.ensure_future(store.load(RunId("before")))
        await asyncio.sleep(0)
        server().start()
        assert all(answer.new for answer in await asyncio.gather(*writing))
        assert await reading is not None


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.AdminShutdown,
        psycopg.errors.CrashShutdown,
        psycopg.errors.CannotConnectNow,
        psycopg.errors.TooManyConnections,
    ],
)
async def test_a_server_that_goes_while_it_greets_is_waited_for(
    url: str, error: type[psycopg.Error], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shut down just when a session began, or is full at that moment: the next one will do."""
    greeted, errors = Link._greeted, [error("not now")]

    def or_not(link: Link) -> Connection:
        if errors:
            raise errors.pop()
        return greeted(link)

    monkeypatch.setattr(Link, "_greeted", or_not)
    async with opened(lambda: PostgresStore(url)) as store:
        assert (await store.create(new_run())).new
    assert not errors


async def test_nobody_is_kept_from_leaving(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves while the server is down waits for it shortly only, and is told."""
    monkeypatch.setattr(link, "OPENING_PATIENCE", 0.1)
    app = Kallista(url, config={"logs_dir": str(tmp_path)})
    await app.__aenter__()
    server().stop()
    try:
        with pytest.raises(StoreUnavailableError, match="has not answered for"):
            await asyncio.wait_for(app.__aexit__(None, None, None), 30)
    finally:
        server().start()


async def test_who_waits_too_long_is_told(url: str) -> None:
    """A server that stays away: the error names it, says since when, and shows no password."""
    secret = url.replace("kallista@", "kallista:secret@")
    async with opened(lambda: PostgresStore(secret, patience=0.1)) as store:
        server().stop()
        try:
            for asked in (store.create(new_run()), store.load(RunId("run"))):
                with pytest.raises(StoreUnavailableError, match="has not answered for") as caught:
                    await asked
                assert f"127.0.0.1:{server().port}/" in str(caught.value)
                assert "secret" not in str(caught.value)
        finally:
            server().start()
        assert (await store.create(new_run())).new


async def test_a_restart_makes_nobody_dead(url: str) -> None:
    """Sessions vanish with the server: who lives shows itself anew, of others leases decide."""
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        dying = PostgresStore(url, patience=0)
        await dying.open()
        gone = await dying.register_worker("gone", {}, NOW)
        record = await made(store, new_run(owner=gone))
        server().stop("immediate")
        await dying.close()
        rung = asyncio.Event()
        store.listen(rung.set)
        server().start()
        await asyncio.wait_for(rung.wait(), 30)
        async with opened(lambda: PostgresStore(url)) as other:
            alive = {worker.key: worker.alive for worker in await other.workers()}
            assert alive == {me: True, gone: True}, "nobody can tell about the one that is gone"
            assert await other.release_dead(NOW) == 0
            assert await other.release_dead(NOW, [(gone, 0)]) == 1
        assert (await found(store, "run")).owner is None
        assert (await found(store, "run")).epoch == record.epoch + 1
        async with opened(lambda: PostgresStore(url)) as other:
            assert [worker.key for worker in await other.workers()] == [me]
            await store.close()
            assert [worker.alive for worker in await other.workers()] == [False]


async def test_work_goes_on_over_restarts(url: str) -> None:
    """The server crashes again and again under load: every answer is true, and nothing is twice."""
    async with opened(lambda: PostgresStore(url)) as store:

        async def advance(number: int) -> None:
            record = await made(store, new_run(f"run-{number}"))
            for version in range(1, 8):
                head = replace(record.head, seq=version + 1)
                plan = Plan(record.key, fence(record), head, events=(happened(version),))
                assert (await store.commit(plan)).version == version + 1
                record = await found(store, record.id)
            assert len(await store.history(record.key)) == 8

        async def crash() -> None:
            for mode in ("immediate", "fast"):
                await asyncio.to_thread(server().restart, mode)

        await asyncio.gather(crash(), *(advance(number) for number in range(20)))


async def test_a_standby_takes_over_with_all_that_was_acknowledged() -> None:
    """The primary dies under load, its synchronous standby is promoted: the clients go on there."""
    with PostgresServer() as primary:
        url = primary.create_database("store")
        standby = primary.standby()
        try:
            several = url.replace(f":{primary.port}/", f":{primary.port},127.0.0.1:{standby.port}/")
            async with opened(lambda: PostgresStore(several)) as store:
                me = await store.register_worker("me", {}, NOW)
                acknowledged: list[RunId] = []
                begun = asyncio.Event()

                async def work(number: int) -> None:
                    for part in range(5):
                        run = new_run(f"run-{number}-{part}", owner=me)
                        assert (await store.create(run)).new
                        acknowledged.append(run.id)
                        begun.set()

                working = asyncio.gather(*(work(number) for number in range(10)))
                await begun.wait()
                await asyncio.to_thread(primary.kill)
                await asyncio.to_thread(standby.promote)
                await working
                assert len(await store.heads(acknowledged)) == len(acknowledged) == 50
                assert [worker.alive for worker in await store.workers()] == [True]
        finally:
            standby.close()


async def test_two_workers_that_write_in_circles_both_go_on(url: str) -> None:
    """Groups that wait for each other's rows in a circle: one is broken off, and written anew."""
    async with (
        opened(lambda: PostgresStore(url)) as store,
        opened(lambda: PostgresStore(url)) as other,
    ):
        first, second = await made(store, new_run("a")), await made(store, new_run("b"))
        waits = new_run("waiting", waits_for=["a", "b"])
        await store.create(waits)
        answers = await asyncio.gather(
            *(
                handle.commit(plan)
                for handle, records in ((store, (first, second)), (other, (second, first)))
                for record in records
                for plan in [Plan(record.key, fence(record), finished(record).head, announce=True)]
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, KallistaError) for answer in answers) == 2
        for id in "ab":
            assert (await found(store, id)).version == 2


async def test_what_cannot_be_stored_fails_alone(url: str) -> None:
    """A text or a number that PostgreSQL cannot hold fails its own request only."""
    async with opened(lambda: PostgresStore(url)) as store:
        answers = await asyncio.gather(
            store.create(new_run("good-1")),
            store.create(new_run("nul", name="a\0b")),
            store.create(new_run("half", name="\ud800")),
            store.create(new_run("large", priority=2**63)),
            store.create(new_run("good-2")),
            return_exceptions=True,
        )
        assert [isinstance(answer, StoreError) for answer in answers] == [
            False, True, True, True, False,
        ]  # fmt: skip
        there = {run.id for run in await store.list_runs(RunFilter(NOW))}
        assert there == {"good-1", "good-2"}


async def test_a_line_in_the_wrong_pile_finds_its_worker(url: str) -> None:
    """Who asks for a look may not see that the owner is changing: the line is laid right later."""
    async with (
        opened(lambda: PostgresStore(url)) as store,
        opened(lambda: PostgresStore(url)) as other,
    ):
        me = await store.register_worker("me", {}, NOW)
        you = await other.register_worker("you", {}, NOW)
        mine = await made(store, new_run("mine", owner=me))
        free = await made(store, new_run("free"))
        with psycopg.connect(url, autocommit=True) as db:
            for holder, run in ((0, mine.key), (you, mine.key), (you, free.key)):
                db.execute(
                    "INSERT INTO kallista.queue VALUES (%s, '', 0, 0, %s, -1)", (holder, run)
                )
        claim = await other.claim(request(you))
        assert [entry.run for entry in claim.entries] == [free.key]
        assert claim.next_due is not None
        assert claim.next_due > NOW, "what was laid back may be this worker's after all"
        assert await taken(store, me) == [(mine.key, WAKE_UP)]
        assert await taken(store, me) == await taken(other, you) == []


async def test_lines_of_a_worker_that_is_gone_are_found(url: str) -> None:
    """A look that was asked of a worker while it was being removed is everybody's."""
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        free = await made(store, new_run("free"))
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("INSERT INTO kallista.queue VALUES (4711, '', 0, 0, %s, -1)", (free.key,))
        assert await taken(store, me) == []
        await store.release_dead(NOW)
        assert await taken(store, me) == [(free.key, Entry(WAKE, 0, Micros(0)))]


async def test_a_child_that_is_retried_amid_a_deletion_stays(url: str) -> None:
    """Its retry was acknowledged: it must not go with the parent because it was over before."""
    async with opened(lambda: PostgresStore(url)) as store:
        top = await made(store, new_run("top"))
        for name in ("over", "retried"):
            child = await made(store, new_run(name, parent=(top.key, 0)))
            await store.commit(finished(child))
        await store.commit(finished(top))
        with psycopg.connect(url) as other:
            other.execute(
                "UPDATE kallista.runs SET ended_at = NULL, version = version + 1"
                " WHERE key = (SELECT run FROM kallista.requests WHERE id = 'retried')"
            )
            deletion = store.delete_run(top.key, 2, NOW)
            await asyncio.to_thread(until_somebody_waits, url)
        await deletion
        assert (await found(store, "retried")).version == 3
        assert await store.load(RunId("over")) is None
        assert await store.load(RunId("top")) is None


@pytest.mark.parametrize(
    "wake",
    ["wake_by_id", "wake_owner", "wake_parent", "wake_run", "wake_waiting"],
)
async def test_a_look_that_is_asked_for_again_comes_after_what_it_is_for(
    url: str, wake: str
) -> None:
    """A line that is there already is not taken while somebody writes what it stands for.

    Its worker would look before there is anything to see, and nobody would look again.
    """
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        mine = await made(store, new_run("mine", owner=me, waits_for=["first", "second"]))
        children = [await made(store, new_run(f"c{n}", parent=(mine.key, 0))) for n in range(2)]
        awaited = [await made(store, new_run(id)) for id in ("first", "second")]
        values: tuple[object, ...] = {
            "wake_by_id": ([["mine"]]),
            "wake_owner": ([[mine.key]]),
            "wake_parent": ([[child.key for child in children]]),
            "wake_run": ([[0, 0], [mine.key, mine.key]]),
            "wake_waiting": ([[run.key for run in awaited]]),
        }[wake]
        with closing(Connection(read_url(url))) as db:
            db.tell(statement(wake), values)
            with db.pipeline():
                db.say(b"BEGIN")
                db.tell(statement(wake), values)
            claim = await store.claim(request(me))
            assert claim.entries == []
            assert claim.next_due is not None
            assert NOW < claim.next_due < NOW + 100_000
            db.say(b"COMMIT")
        assert [run for run, _ in await taken(store, me)] == [mine.key]
        assert await taken(store, me) == []


async def test_who_begins_to_wait_amid_an_end_is_told_of_it(url: str) -> None:
    """A process that is being created sees that another one has ended, or is seen by it."""
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        waits = await made(store, new_run("waits", owner=me))
        ends = await made(store, new_run("ends"))
        with closing(Connection(read_url(url))) as db:
            with db.pipeline():
                db.say(b"BEGIN")
                db.tell(statement("hold_waits"))
                db.tell(statement("insert_wait"), (["ends"], [waits.key]))
            plan = Plan(ends.key, fence(ends), finished(ends).head, announce=True)
            committed = asyncio.ensure_future(store.commit(plan))
            await asyncio.to_thread(until_somebody_waits, url, unless=committed.done)
            assert not committed.done()
            db.say(b"COMMIT")
        await committed
        assert [run for run, _ in await taken(store, me)] == [waits.key]


async def test_programs_that_end_and_begin_to_wait_hold_each_other_up_in_no_circle(
    url: str,
) -> None:
    """Each ends a run and creates one that waits, in one transaction: no deadlock is broken."""
    async with (
        opened(lambda: PostgresStore(url)) as store,
        opened(lambda: PostgresStore(url)) as other,
    ):
        for turn in range(20):
            records = [await made(store, new_run(f"{turn}-{n}")) for n in range(2)]
            await asyncio.gather(
                *(
                    request
                    for handle, record in zip((store, other), records, strict=True)
                    for head in [finished(record).head]
                    for request in (
                        handle.commit(Plan(record.key, fence(record), head, announce=True)),
                        handle.create(new_run(f"after-{record.id}", waits_for=[record.id])),
                    )
                )
            )
    with psycopg.connect(url) as db:
        row = db.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        assert row == (0,)


@pytest.mark.parametrize("is_asked_first", [True, False], ids=["plan first", "creation first"])
@pytest.mark.parametrize("alone", ["count_alone", "hold_waits"])
async def test_who_waits_to_end_a_run_holds_nothing_that_others_need(
    url: str, alone: str, is_asked_first: bool
) -> None:
    """No circle: whoever counts, or begins to wait, may then count and create the same."""
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        same = SameKey("task etch", "key", Micros(NOW + 10**9))
        await store.create(replace(new_run("first"), same=same))
        await store.create(limited_task("ends", Limit("concurrency key:one", 1)))
        await taken(store, me)
        ends = await found(store, "ends")
        with closing(Connection(read_url(url))) as db:
            db.say(b"BEGIN")
            db.tell(statement(alone), (COUNTING,) if alone == "count_alone" else ())
            plan = replace(counted_no_more(ends), announce=True)
            new = [new_run("new", definition="new"), replace(new_run("again"), same=same)]
            group = [store.commit(plan), *map(store.create, new)]
            asked = asyncio.gather(*(group if is_asked_first else reversed(group)))
            await asyncio.to_thread(until_somebody_waits, url, unless=asked.done)
            assert not asked.done()
            db.say(b"SET LOCAL lock_timeout = '100ms'")
            db.tell(statement("count_alone"), (COUNTING,))
            db.tell(statement("insert_definition"), (["new"], ["{}"]))
            assert len(db.ask(statement("first_of_keys"), ([same.scope], [same.key]))) == 1
            db.say(b"ROLLBACK")
        await asked


async def test_children_come_after_what_a_plan_waits_for(url: str) -> None:
    """No circle: who waits to wake a parent holds no definition that others create by then."""
    async with opened(lambda: PostgresStore(url)) as store:
        parent, *_ = await store.create(new_run("parent"))
        await store.create(new_run("first", parent=(parent, 1)))
        first = await found(store, "first")
        child = new_run("child", parent=(first.key, 0), definition="new")
        plan = Plan(first.key, fence(first), first.head, create=(child,), wake_parent=True)
        with closing(Connection(read_url(url))) as db:
            db.say(b"BEGIN")
            db.tell(statement("wake_parent"), ([first.key],))
            asked = asyncio.ensure_future(store.commit(plan))
            await asyncio.to_thread(until_somebody_waits, url, unless=asked.done)
            assert not asked.done()
            db.say(b"SET LOCAL lock_timeout = '100ms'")
            db.tell(statement("insert_definition"), (["new"], ["{}"]))
            db.say(b"ROLLBACK")
        await asked
        assert await found(store, "child")


async def test_who_waits_to_drop_a_definition_keeps_none(url: str) -> None:
    """No circle: two programs that create children and give runs other definitions."""
    async with opened(lambda: PostgresStore(url)) as store:
        await store.create_all([new_run("parent"), new_run("changes", definition="old")])
        parent, changes = await found(store, "parent"), await found(store, "changes")
        with closing(Connection(read_url(url))) as db:
            db.say(b"BEGIN")
            db.tell(statement("insert_definition"), (["old"], ["{}"]))
            child = new_run("child", parent=(parent.key, 0))
            other = Redefinition("new", JsonText("{}"), 2)
            asked = asyncio.gather(
                store.commit(Plan(parent.key, fence(parent), parent.head, create=(child,))),
                store.commit(Plan(changes.key, fence(changes), changes.head, redefine=other)),
            )
            await asyncio.to_thread(until_somebody_waits, url, unless=asked.done)
            assert not asked.done()
            db.say(b"SET LOCAL lock_timeout = '100ms'")
            db.tell(statement("hold_definitions"))
            db.say(b"ROLLBACK")
        await asked


async def test_a_claim_waits_for_nobody(url: str) -> None:
    """What others are writing at this moment is passed over, and asked for again at once."""
    async with opened(lambda: PostgresStore(url)) as store:
        me = await store.register_worker("me", {}, NOW)
        await store.create(new_task("locked-line"))
        await store.create(new_task("locked-run"))
        await store.create(new_task("open"))
        with psycopg.connect(url) as db:
            db.execute(
                "SELECT 1 FROM kallista.queue WHERE run ="
                " (SELECT run FROM kallista.requests WHERE id = 'locked-line') FOR UPDATE"
            )
            db.execute(f"{RUN_OF} 'locked-run' FOR UPDATE OF r")
            claim = await store.claim(request(me))
            assert [entry.record and entry.record.id for entry in claim.entries] == ["open"]
            assert claim.next_due is not None
            assert NOW < claim.next_due < NOW + 100_000
        assert len(await taken(store, me)) == 2


async def test_who_freezes_in_a_transaction_holds_nobody_up_for_long(url: str) -> None:
    """The server ends a session that falls silent in the middle of a transaction."""
    async with opened(lambda: PostgresStore(url)) as store:
        await store.create(new_run())
        with psycopg.connect(url, autocommit=True) as db:
            row = db.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'kallista'"
            ).fetchone()
            assert row is not None
            assert row[0] >= 2
        session = store._writer._link.connection()  # type: ignore[attr-defined]
        timeout = session.db.execute(b"SHOW idle_in_transaction_session_timeout").fetchone()
        assert timeout == ("10s",)
