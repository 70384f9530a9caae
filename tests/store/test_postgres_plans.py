"""What PostgreSQL does with the statements: which indexes it uses, and how much it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from servers import new_database

from kallista.core.types import WorkerKey
from kallista.store.postgres.addresses import read_url
from kallista.store.postgres.claims import claim
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.records import DefinitionCache
from kallista.store.postgres.statements import Statement, Values, all_statements, statement
from kallista.store.postgres.writing import Writing
from kallista.store.sqlite.statements import all_statements as sqlite_statements
from kallista.testing.store_contract import BUILD, NOW, request

WHOLE_TABLE_ON_PURPOSE = {
    "compatible_from": "store",
    "set_version": "store",
    "notify": "handles",
    "drop_dead_handles": "handles",
    "size": "pg_class",
    "held_types": "held_lines",
    "queued_types": "queue",
    "type_schemas": "type_schemas",
}

READ_EVERYTHING = ("broken_links", "failure_groups", "row_counts", "unsound")
"""Whoever looks the whole store, or the server's own books, through."""

ONLY_HERE = {
    "count_alone": "SQLite has one writer, who counts alone anyhow",
    "delete_handle": "programs have sessions instead of files",
    "drop_dead_handles": "programs have sessions instead of files",
    "drop_same": "SQLite has one writer, which replaces what it has just read",
    "end_marked_session": "programs have sessions instead of files",
    "hold_below": "SQLite has one writer, so nobody can come in between",
    "hold_definitions": "SQLite has one writer, so nobody can come in between",
    "hold_doomed": "SQLite has one writer, so nobody can come in between",
    "hold_runs": "SQLite has one writer, so nobody else decides on a run meanwhile",
    "limits": "SQLite asks piece by piece, since that costs no round trips",
    "insert_entry": "children are written before their parents' lines; SQLite needs no order",
    "insert_handle": "programs have sessions instead of files",
    "living": "SQLite has one writer, so nobody can come in between",
    "move_worker": "a worker's session may move to another server",
    "next_run_keys": "keys are drawn from a sequence, SQLite's writer counts",
    "next_worker_key": "keys are drawn from a sequence, SQLite's writer counts",
    "notify": "SQLite's programs ring each other by themselves",
    "server": "only the same server can show that a session is gone",
    "session_mark": "a worker's session stands for SQLite's lock file",
    "session_unmark": "a worker's session stands for SQLite's lock file",
    "set_version": "SQLite's file has a place for it in its header",
    "hold_waits": "SQLite has one writer at a time",
    "keep_waits": "SQLite has one writer at a time",
    "settings": "SQLite's are set by pragmas",
    "size": "SQLite's is the size of the file",
    "store_tables": "SQLite's file has a mark in its header",
    "take_along": "SQLite's writer knows which lines lie where",
    "unsound": "SQLite's file is looked through by a pragma",
    "wake_owner": "SQLite's writer knows the owner already",
    "wake_parent": "SQLite's writer knows the parent already",
}

ONLY_IN_SQLITE = {
    "any_tombstone": "here the question would cost as much as the answer",
    "beats": "here a worker is asked about when it matters",
    "drop_held_line": "part of open_gates, and of follow",
    "drop_laid_line": "part of open_gates",
    "drop_wish": "part of open_gates",
    "head_of_pile": "part of follow",
    "limit_figures": "part of limits",
    "limit_of_held": "part of limits",
    "limit_of_waiting": "part of limits",
    "next_limit": "part of limits",
    "next_pile": "part of follow",
    "due_shared": "part of due_entries: one round trip",
    "last_definition_key": "see next_run_keys",
    "last_run_key": "see next_run_keys",
    "next_rank": "part of due_entries: one round trip",
    "next_shared": "part of next_due: one round trip",
    "next_type": "part of due_entries: one round trip",
    "record_by_id": "records_by_id is as quick for one",
    "resize_run": "part of redefine_request",
    "restate_run": "part of advance_run",
    "restate_task": "part of advance_run",
    "schema_objects": "see store_tables",
    "standings": "the fence is checked by advance_run alone, since others write too",
    "steps_of": "here steps_of_runs is as quick for one",
    "take_entry": "part of due_entries: one round trip",
    "turn_run": "part of advance_run",
    "turn_task": "part of advance_run",
    "worker_names": "part of run_holder",
}


@pytest.fixture
def db() -> Iterator[Connection]:
    """A session with an empty store."""
    with closing(Connection(read_url(new_database()))) as db:
        yield db


def test_both_stores_ask_the_same() -> None:
    """A statement has one name in both stores; what is different has a reason."""
    here, there = set(all_statements()), set(sqlite_statements())
    assert here - there == set(ONLY_HERE)
    assert there - here == set(ONLY_IN_SQLITE)


@pytest.mark.parametrize("name", sorted(all_statements()))
def test_every_statement_seeks(db: Connection, name: str) -> None:
    """No statement reads a whole table unless that is its purpose, and each gives its reason."""
    what = all_statements()[name]
    assert what.reason.startswith("-- ")
    if what.sql.startswith("LOCK") or name in READ_EVERYTHING:
        return
    plan = explained(db, what)
    scanned = set(re.findall(r"Seq Scan on (\w+)", plan))
    assert scanned <= {WHOLE_TABLE_ON_PURPOSE.get(name)}, plan
    assert not re.search("Hash Join|Merge Join", plan), plan


def explained(db: Connection, what: Statement) -> str:
    """How PostgreSQL goes about a statement, whatever its values are."""
    values = ", ".join(["NULL"] * len(what.names))
    db.db.execute(b"PREPARE it AS " + what.query, prepare=False)
    execute = f"EXPLAIN EXECUTE it ({values})" if values else "EXPLAIN EXECUTE it"
    rows = db.db.execute(execute.encode(), prepare=False).fetchall()
    return "\n".join(str(line) for (line,) in rows)


def test_a_claim_reads_the_queue_in_its_own_order(db: Connection) -> None:
    """Due entries come straight from the index, each pile from its head."""
    plan = explained(db, statement("due_entries"))
    assert re.search(
        r"Limit .*\n"
        r" *->  Nested Loop .*\n"
        r" *Filter: .*\n"
        r" *->  Index (Only )?Scan using queue_by_service on queue .*\n"
        r" *Index Cond: \(\(holder = .*\) AND \(type = .*\) AND \(rank = .*\) AND \(ready_at <= ",
        plan,
    ), plan


def test_a_claim_costs_the_same_however_much_lies_ahead() -> None:
    """Entries of other types, owners and moments are never read, be there 100,000 of them."""
    pages = []
    for ahead in (10, 100_000):
        with closing(Connection(read_url(new_database()))) as db:
            fill(db, ahead)
            pages.append(pages_of_a_claim(db, slots=100, taken=1))
            got = claim(Writing(db, DefinitionCache()), request(WorkerKey(1)), None)
            assert [entry.run for entry in got.entries] == [7]
            assert got.next_due == NOW + 1
    # A deeper index costs a page more for each seek, not for each entry.
    assert pages[1] < pages[0] * 4


def test_a_claim_costs_the_same_however_much_waits() -> None:
    """Nor are the runs read whose tasks have to wait, be there 30,000 of them."""
    pages = []
    for waiting in (100, 30_000):
        with closing(Connection(read_url(new_database()))) as db:
            wait(db, waiting)
            pages.append(pages_of_a_claim(db, slots=20, taken=20))
    assert pages[1] < pages[0] * 4


RUN = (
    "INSERT INTO runs (key, version, epoch, owner, seq, in_flight, driven, held, kind, state,"
    " status) SELECT i, 1, 0, {owner}, 1, 0, 1, false, '{kind}', 'RUNNING', 'RUNNING'"
    " FROM generate_series({first}, {last}) AS i"
)
REQUEST = (
    "INSERT INTO requests (run, definition, priority, created_at, step_count, id, name, content,"
    " tags, inputs) SELECT 7, key, 0, 1, 1, 'run-7', 'n', 'c', '[]', '{}' FROM definitions"
)


def wait(db: Connection, waiting: int) -> None:
    """Tasks that are due, each of a run of its own."""
    for sql in (
        "INSERT INTO workers VALUES (1, 'me', '{}', 1, 0, 'here')",
        RUN.format(first=1, last=waiting, owner="NULL", kind="task"),
        (
            f"INSERT INTO queue SELECT 0, 'build', 0, {NOW}, i, 0"
            f" FROM generate_series(1, {waiting}) AS i"
        ),
        "VACUUM ANALYZE",
    ):
        db.say(sql.encode())


def fill(db: Connection, ahead: int) -> None:
    """Entries ahead in every way an entry can be, and a free one behind them all."""
    for sql in (
        "INSERT INTO workers VALUES (1, 'me', '{}', 1, 0, 'here')",
        "INSERT INTO definitions (hash, content) VALUES ('d', '{}')",
        RUN.format(first=7, last=7, owner="NULL", kind="workflow"),
        RUN.format(first=8, last=8, owner="2", kind="process"),
        REQUEST,
        f"INSERT INTO queue VALUES (0, 'build', 0, {NOW}, 7, 0)",
    ):
        db.say(sql.encode())
    for holder, type, rank, ready_at in (
        (0, "another type", -9, 0),
        (0, "build", -9, NOW + 1),
        (0, "build", 0, NOW + 1),
        (2, "build", -9, 0),
        (2, "", -9, 0),
        (-1, "another type", -9, 0),
        (-1, "build", 0, NOW + 1),
    ):
        db.say(
            f"INSERT INTO queue SELECT {holder}, '{type}', {rank}, {ready_at}, 8, i"
            f" FROM generate_series(1, {ahead}) AS i".encode()
        )
    db.say(b"VACUUM ANALYZE")


def pages_of_a_claim(db: Connection, *, slots: int, taken: int) -> int:
    """How many pages PostgreSQL looks at to take what is due."""
    values: Values = {
        "holders": (-1, 0, 1),
        "types": (BUILD,),
        "rooms": (slots,),
        "worker": 1,
        "now": NOW,
        "until": NOW,
        "punctual": ("",),
        "ageing": None,
        "within": None,
        "slots": slots,
    }
    what = statement("due_entries")
    db.db.execute(b"PREPARE it AS " + what.query, prepare=False)
    texts = ", ".join("NULL" if text is None else f"'{text}'" for text in what.texts(values))
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE it ({texts})"
    with suppress(RollBack), db.db.transaction():
        ((plan,),) = db.db.execute(explain.encode(), prepare=False).fetchall()
        raise RollBack
    top = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
    assert top["Actual Rows"] == taken
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])


class RollBack(Exception):
    """Nothing of it stays."""
