"""``kallista store``: how much is in it, whether it is sound, and what it knows of one run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from cli_support import HELLO, LONG, Typist, written

STORE = Path("data/workflows/kallista.db")


@pytest.fixture
def filled(folder: Path, typed: Typist) -> Path:
    """A folder with a store in which something has completed and something waits."""
    assert typed("run", written(folder, HELLO)).code == 0
    assert typed("run", written(folder, LONG, "long.yaml"), "--detach").code == 0
    return folder / STORE


@pytest.mark.usefixtures("filled")
def test_stats_are_for_people_and_programs(typed: Typist) -> None:
    """The same numbers, as a table and as data."""
    told = typed("store", "stats", "-o", "json").answer
    assert told["runs"] == {"workflow COMPLETED": 1, "workflow RUNNING": 1}
    assert told["rows"]["runs"] == 2
    assert told["oldest_unfinished"]["id"] == "long"
    shown = typed("store", "stats").out
    assert "workflow long, RUNNING" in shown
    assert f"{told['size_bytes']:,}" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_check_ends_with_what_it_found(filled: Path, typed: Typist) -> None:
    """Exit code 0 when all is well; 1, with all that is wrong, when something is."""
    well = typed("store", "check")
    assert (well.code, well.out) == (0, "all is well; runs looked at: 2\n")
    with closing(apsw.Connection(str(filled))) as db:
        db.execute("UPDATE steps SET attempt = 5 WHERE run = 1 AND step = 0")
    wrong = typed("store", "check")
    assert wrong.code == 1
    assert "! workflow 'hello': its step 'greeting' is COMPLETED at attempt 5" in wrong.out
    told = typed("store", "check", "-o", "json")
    assert told.code == 1
    assert len(told.answer["problems"]) == 1
    assert typed("store", "check", "--quick").code == 0, "it leaves finished runs out"


def test_a_store_that_cannot_be_read_is_wrong_too(filled: Path, typed: Typist) -> None:
    """Exit code 1 as well, with what to do."""
    size = filled.stat().st_size
    filled.write_bytes(b"SQLite format 3\0" + b"\xa5" * (size - 16))
    wrong = typed("store", "check")
    assert wrong.code == 1
    assert wrong.err


@pytest.mark.usefixtures("filled")
def test_an_export_is_one_document(typed: Typist) -> None:
    """All of a run, whatever kind it is, and a clear word when there is none."""
    told = typed("store", "export", "hello").answer
    assert told["format"] == 1
    assert told["run"]["inputs"] == {"name": "world"}
    assert [event["seq"] for event in told["history"]] == list(range(len(told["history"])))
    missing = typed("store", "export", "nobody")
    assert missing.code == 2
    assert "no run has the id" in missing.err


def test_a_backup_is_another_store(folder: Path, filled: Path, typed: Typist) -> None:
    """It says what it wrote, replaces nothing, and can be named as a store."""
    assert typed("store", "backup", "backups/copy.db").out.startswith("wrote backups/copy.db (")
    again = typed("store", "backup", "backups/copy.db", "-o", "json")
    assert again.code == 2
    assert "replaces nothing" in again.error["message"]
    told = typed("store", "backup", "other.db", "-o", "json").answer
    assert told["size_bytes"] == (folder / "other.db").stat().st_size
    url = "sqlite:///backups/copy.db"
    assert typed("workflow", "show", "hello", "--store", url).code == 0
    assert typed("store", "check", "--store", url).code == 0


@pytest.mark.usefixtures("filled")
def test_a_purge_removes_what_is_over(typed: Typist) -> None:
    """It says how many went; what is unfinished stays, and a wrong word is told."""
    assert typed("store", "purge", "--older-than", "1h").out == "runs removed: 0\n"
    would = typed("store", "purge", "--older-than", "0s", "--dry-run", "-o", "json").answer
    told = typed("store", "purge", "--older-than", "0s", "--kind", "task", "-o", "json").answer
    assert (would, told) == ({"would_remove": 1}, {"removed": 0})
    gone = typed("store", "purge", "--older-than", "0s", "--status", "COMPLETED")
    assert gone.out == "runs removed: 1\n"
    assert [run["id"] for run in typed("workflow", "list", "-o", "json").answer["items"]] == [
        "long"
    ]
    assert "was deleted at" in typed("workflow", "show", "hello").err
    for words in (("--kind", "job"), ("--status", "RUNNING"), ("--older-than", "soon")):
        wrong = typed("store", "purge", "--older-than", "1h", *words)
        assert wrong.code == 2
        assert wrong.err
