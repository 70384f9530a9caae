"""``kallista run`` and ``demo``: what they execute, what they say, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import FRAGILE, HELLO, LONG, Typist, written


def test_a_workflow_completes(folder: Path, typed: Typist) -> None:
    """Exit code 0, a line for each task, and what the last one returned."""
    ran = typed("run", written(folder, HELLO))
    assert ran.code == 0
    assert "workflow hello starts" in ran.out
    assert "COMPLETED  echo" in ran.out
    assert "workflow hello is COMPLETED after" in ran.out
    assert '  echo: "world"' in ran.out
    assert not ran.err


def test_inputs_are_set(folder: Path, typed: Typist) -> None:
    """``--set`` gives inputs; one that is a text is taken as it is, not read as YAML."""
    file = written(folder, HELLO)
    run = typed("run", file, "--set", "name=true", "--id", "mine", "-o", "json").answer
    assert (run["id"], run["inputs"]) == ("mine", {"name": "true"})


def test_wrong_settings_are_told_all_at_once(folder: Path, typed: Typist) -> None:
    """Nothing is created, and the exit code is that of a wrong call."""
    file = written(folder, HELLO)
    wrong = typed("run", file, "--set", "name", "--set", "name=a", "--set", "name=b")
    assert wrong.code == 2
    assert "--set takes key=value, not 'name'" in wrong.err
    assert "--set name is given twice" in wrong.err
    unknown = typed("run", file, "--set", "nam=a")
    assert (unknown.code, "did you mean 'name'?" in unknown.err) == (2, True)
    assert typed("workflow", "list", "-o", "json").answer["items"] == []


def test_a_finished_run_is_shown_and_not_run_again(folder: Path, typed: Typist) -> None:
    """The second call says so, shows the result, and says how to have another one."""
    file = written(folder, HELLO)
    typed("run", file)
    again = typed("run", file)
    assert again.code == 0
    assert "hello is COMPLETED since" in again.out
    assert "nothing was run" in again.out
    assert '  echo: "world"' in again.out
    assert "--id NEW" in again.out
    history = typed("workflow", "history", "hello", "-o", "json").answer
    assert [event["kind"] for event in history].count("run.completed") == 1


def test_another_definition_under_the_same_id_is_a_conflict(folder: Path, typed: Typist) -> None:
    """It is never taken for the first one, never replaces it, and lets nothing of it run."""
    typed("run", written(folder, HELLO), "--detach")
    other = typed("run", written(folder, HELLO.replace("str.lower", "str.title")))
    assert other.code == 2
    assert "hello" in other.err
    history = typed("workflow", "history", "hello", "-o", "json").answer
    assert "task.started" not in [event["kind"] for event in history]


def test_a_failed_process_tells_how_to_go_on(folder: Path, typed: Typist) -> None:
    """Exit code 1, the error, and the two commands that go on from it."""
    ran = typed("run", written(folder, FRAGILE))
    assert ran.code == 1
    assert "process fragile is FAILED after" in ran.out
    assert "reads: TypeError: " in ran.out
    assert "kallista process retry fragile" in ran.out
    assert "run the same command again" in ran.out
    again = typed("run", "hello.yaml")
    assert again.code == 1
    assert "nothing was run" in again.out
    assert "kallista process retry fragile" in again.out


def test_after_a_retry_the_same_command_goes_on(folder: Path, typed: Typist) -> None:
    """What completed is kept; only what did not runs again, here to the same failure."""
    file = written(folder, FRAGILE)
    typed("run", file)
    retried = typed("process", "retry", "fragile")
    assert retried.code == 0
    assert "no worker is alive" in retried.out
    again = typed("run", file)
    assert again.code == 1
    assert "goes on: 1 task was done before" in again.out
    history = typed("process", "history", "fragile", "-o", "json").answer
    completed = [event["task_id"] for event in history if event["kind"] == "task.completed"]
    failed = [event["attempt"] for event in history if event["kind"] == "task.failed"]
    assert (completed, failed) == (["first"], [1, 2])


TRIP = """
id: trip
on_failure: rollback
tasks:
  - {id: car, type: sleep, seconds: 0, compensate: {type: sleep, seconds: 0}}
  - {id: room, type: python, function: "json:loads", args: ["no json"]}
"""


def test_a_run_that_was_rolled_back_says_so(folder: Path, typed: Typist) -> None:
    """What was undone is shown, and nobody is told to go on with it."""
    ran = typed("run", written(folder, TRIP))
    assert ran.code == 1
    assert "COMPLETED  undo:car" in ran.out
    assert "What it had done is undone" in ran.out
    assert "retry" not in ran.out
    refused = typed("workflow", "retry", "trip")
    assert (refused.code, "nothing to go on from" in refused.err) == (2, True)


def test_cancelling_can_undo_what_has_completed(folder: Path, typed: Typist) -> None:
    """The reason and the ending are kept in the history."""
    typed("run", written(folder, TRIP.replace("seconds: 0, c", "seconds: 9, c")), "--detach")
    typed("workflow", "pause", "trip")
    cancelled = typed("workflow", "cancel", "trip", "--rollback", "--reason", "too dear")
    assert "trip is being rolled back" in cancelled.out
    history = typed("workflow", "history", "trip", "-o", "json").answer
    [told] = [event["data"] for event in history if event["kind"] == "run.compensating"]
    assert told == {"ending": "UNDONE_CANCELLED", "reason": "too dear"}


def test_detached_it_is_only_submitted(folder: Path, typed: Typist) -> None:
    """Nothing is executed, and it is told when nobody would."""
    file = written(folder, HELLO)
    submitted = typed("run", file, "--detach")
    assert submitted.code == 0
    assert "workflow hello is submitted" in submitted.out
    assert "no worker is alive; start one with: kallista worker" in submitted.out
    told = typed("run", file, "--detach", "-o", "json").answer
    assert told == {"id": "hello", "kind": "workflow", "status": "RUNNING", "worker_alive": False}
    assert "worker" in typed("explain", "hello").out
    assert typed("run", file).code == 0
    assert "hello is COMPLETED" in typed("run", file, "--detach").out


def test_hints_name_the_store_that_was_used(folder: Path, typed: Typist) -> None:
    """A command to copy finds the same run."""
    store = ("--store", "sqlite:///mine.db")
    told = typed("run", written(folder, FRAGILE), *store)
    assert "kallista process retry fragile --store sqlite:///mine.db" in told.out
    assert (folder / "mine.db").exists()
    assert not (folder / "data").exists()


def test_without_an_id_each_run_is_another(folder: Path, typed: Typist) -> None:
    """A definition without an id gets a generated one each time."""
    file = written(folder, HELLO.replace("id: hello\n", "", 1))
    first, second = (typed("run", file, "-o", "json").answer["id"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "mapping"),
        ("- a\n- b\n", "mapping"),
        ("kind: workflow\n\ttasks: []\n", "hello.yaml:2:1: a tab"),
        ("kind: workflow\nname: A\nname: B\n", "hello.yaml:3:1: the key 'name'"),
        ("kind: job\nname: A\n", "kind"),
    ],
    ids=["empty", "list", "tab", "twice", "kind"],
)
def test_a_wrong_file_is_a_wrong_call(content: str, told: str, folder: Path, typed: Typist) -> None:
    """Exit code 2 and one clear message, without a trace of the program's insides."""
    for words in (("run",), ("validate",)):
        wrong = typed(*words, written(folder, content))
        assert wrong.code == 2
        assert told in wrong.err
        assert "Traceback" not in wrong.err
        assert not wrong.out


def test_validate_lists_every_problem(folder: Path, typed: Typist) -> None:
    """All at once, in words and as data; checking leaves no store behind."""
    file = written(
        folder,
        "kind: workflow\nid: bad id\nname: Bad\ntasks:\n"
        "  - {id: a, type: shel, command: [ls]}\n  - {id: b, type: sleep, second: 1}\n",
    )
    wrong = typed("validate", file)
    assert wrong.code == 2
    for problem in ("'bad id' is no", "did you mean 'shell'?", "second"):
        assert problem in wrong.err
    assert len(typed("validate", file, "-o", "json").error["problems"]) >= 3
    written(folder, HELLO)
    assert "valid" in typed("validate", file).out
    right = typed("validate", file, "-o", "json").answer
    assert right == {"valid": True, "kind": "workflow", "name": "Hello", "steps": 2}
    assert not (folder / "data").exists()


def test_the_demo_generates_an_application_again_and_again(folder: Path, typed: Typist) -> None:
    """It says where it lies and what to look at; the second one is another run, the same bytes."""
    first = typed("demo")
    assert first.code == 0
    place = folder / "output" / "InventoryApp"
    assert str(Path("output/InventoryApp")) in first.out
    assert "What to look at next" in first.out
    bytes_of = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    assert place / "InventoryApp.sln" in bytes_of
    second = typed("demo", "-o", "json").answer
    assert (second["id"], second["status"]) == ("inventory_app-2", "COMPLETED")
    assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == bytes_of
    assert "kallista process show inventory_app" in first.out


def test_the_demo_leaves_changed_files_alone(folder: Path, typed: Typist) -> None:
    """Who edited what was generated does not lose it; the error says what to do."""
    typed("demo")
    edited = folder / "output" / "InventoryApp" / "README.md"
    edited.write_text("mine", encoding="utf-8")
    again = typed("demo")
    assert again.code == 1
    assert "OutputConflictError" in again.out
    assert "kallista demo --set output_dir=" in again.out
    assert edited.read_text(encoding="utf-8") == "mine"
    assert typed("demo", "--set", "output_dir=output/second").code == 0
    assert (folder / "output" / "second" / "InventoryApp.sln").exists()


def test_what_waits_for_long_is_not_lost(folder: Path, typed: Typist) -> None:
    """A run that another call has submitted is one and the same."""
    file = written(folder, LONG)
    typed("run", file, "--detach")
    typed("workflow", "cancel", "long", "--reason", "too long")
    ended = typed("run", file)
    assert ended.code == 1
    assert "workflow long is CANCELLED" in ended.out


def test_the_same_is_submitted_once(folder: Path, typed: Typist) -> None:
    """By a key, for as long as its window; a run that is attended to has its id for that."""
    file = written(folder, HELLO.replace("id: hello\n", ""))
    words = ("run", file, "--detach", "--deduplicate", "today", "-o", "json")
    first = typed(*words).answer["id"]
    assert typed(*words).answer["id"] == first
    assert typed(*words[:4], "tomorrow", "-o", "json").answer["id"] != first
    wrong = typed("run", file, "--deduplicate", "today")
    assert (wrong.code, "add --detach" in wrong.err) == (2, True)
