"""The verbs of the objects: what they show and do, for people and for programs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_support import FRAGILE, HELLO, LONG, Typist, written

from kallista import Kallista
from kallista.cli.files import load_file

SECRETS = """\
kind: workflow
id: secret
name: Secret
inputs:
  api_key: {type: string}
tasks:
  - {id: made, type: python, function: "builtins:dict", kwargs: {password: hunter2, ok: 1}}
  - {id: env, type: shell, command: [echo, done], env: {API_TOKEN: abc123}}
"""
SECRET_WORDS = ("sk-999", "hunter2", "abc123")


@pytest.fixture
def filled(folder: Path, typed: Typist) -> Path:
    """A store with a run of every kind, and a schedule."""
    typed("run", written(folder, HELLO))
    typed("run", written(folder, FRAGILE, "fragile.yaml"))
    typed("run", written(folder, LONG, "long.yaml"), "--detach")

    async def schedule() -> None:
        async with Kallista(worker=False) as app:
            due = datetime.now(UTC) + timedelta(days=1)
            await app.scheduler.schedule_task("later", {"type": "sleep", "seconds": 1}, due)
            nightly = {"type": "sleep", "seconds": 1}
            await app.scheduler.schedule_task("nightly", nightly, cron="0 3 * * *", recurring=True)

    asyncio.run(schedule())
    return folder


LOOKS: Sequence[tuple[str, ...]] = [
    ("workflow", "list"), ("workflow", "show", "hello"), ("workflow", "history", "hello"),
    ("process", "list"), ("process", "show", "fragile"), ("process", "history", "fragile"),
    ("task", "list"), ("task", "show", "later"), ("task", "history", "later"),
    ("schedule", "list"), ("schedule", "show", "nightly"), ("schedule", "next", "nightly"),
    ("explain", "long"), ("explain", "nightly"), ("types",), ("types", "shell"), ("doctor",),
    ("failures",),
]  # fmt: skip


@pytest.mark.usefixtures("filled")
def test_whatever_looks_answers_people_and_programs(typed: Typist) -> None:
    """Text that fits 80 columns; with ``-o json`` one document and nothing beside it."""
    for words in LOOKS:
        shown = typed(*words)
        assert (shown.code, shown.err) == (0, ""), words
        assert max(map(len, shown.out.splitlines())) <= 80, words
        told = typed(*words, "-o", "json")
        assert (told.code, told.err) == (0, ""), words
        assert told.answer, words


@pytest.mark.usefixtures("filled")
def test_a_list_filters_and_pages(typed: Typist) -> None:
    """By status, name and time; the page says where the next one starts."""

    def ids(*words: str) -> list[str]:
        return [
            run["id"] for run in typed("workflow", "list", *words, "-o", "json").answer["items"]
        ]

    assert ids() == ["long", "hello"]
    assert ids("--status", "COMPLETED") == ["hello"]
    assert ids("--name", "Long") == ["long"]
    assert ids("--since", "1h") == ["long", "hello"]
    assert ids("--since", "2999-01-01") == []
    first = typed("workflow", "list", "--limit", "1", "-o", "json").answer
    assert ids("--limit", "1", "--cursor", first["cursor"]) == ["hello"]
    shown = typed("workflow", "list", "--limit", "1").out
    assert first["cursor"] in shown
    assert "no workflows match" in typed("workflow", "list", "--tag", "none").out


@pytest.mark.usefixtures("filled")
def test_a_failed_run_is_retried_with_another_definition(folder: Path, typed: Typist) -> None:
    """From a file, with a preview; what does not fit is refused with the reasons."""
    text = FRAGILE.replace('"pathlib:Path.read_text", args: []', '"builtins:len", args: [[]]')
    retry = ("process", "retry", "fragile", "--definition", written(folder, text, "other.yaml"))
    plan = typed(*retry, "--dry-run").out
    assert plan.startswith("fragile would go on with definition ")
    assert "1 changed" in plan
    assert typed(*retry, "-o", "json").answer["answer"]["id"] == "fragile"
    assert "definition" in typed("process", "history", "fragile").out
    assert "with definition" in typed("explain", "fragile").out
    many = typed("process", "retry", "--tag", "x", "--definition", "current")
    assert "one run at a time" in many.err
    assert "no process is defined" in typed(*retry[:-1], "current").err


@pytest.mark.usefixtures("filled")
def test_a_run_is_forked_from_one_of_its_tasks(typed: Typist) -> None:
    """First what it would do is shown; then it is there, and says where it comes from."""
    fork = ("workflow", "fork", "hello", "--from", "echo", "--set", "echo.args=[LOUD]")
    plan = typed(*fork, "--dry-run").out
    assert plan.startswith("it would keep greeting\n")
    assert "changed" in plan
    assert typed(*fork, "--dry-run", "-o", "json").answer["id"] is None
    told = typed(*fork, "--id", "loud", "--reason", "louder").out
    assert told.startswith("loud is started; it keeps greeting\n")
    assert "no worker is alive" in told
    assert "from hello at echo; louder" in typed("workflow", "history", "loud").out
    assert "forked from  hello at echo" in typed("workflow", "show", "loud").out
    assert typed("workflow", "show", "loud", "-o", "json").answer["forked_from"] == "hello"
    wrong = typed("workflow", "fork", "hello", "--from", "echo", "--set", "args=1")
    assert "--set takes task.key=value, not 'args=1'" in wrong.err


@pytest.mark.usefixtures("filled")
def test_a_run_is_paused_resumed_cancelled_retried_deleted(typed: Typist) -> None:
    """Each verb says what it did; what needs a worker says so when there is none."""
    assert typed("workflow", "pause", "long", "--reason", "lunch").out == "long is paused\n"
    assert "lunch" in typed("workflow", "history", "long").out
    resumed = typed("workflow", "resume", "long").out
    assert resumed.startswith("long goes on\n")
    assert "no worker is alive" in resumed
    typed("workflow", "pause", "long", "--stop-clocks", "--reason", "lunch")
    assert "lunch; its clocks stand still" in typed("workflow", "history", "long").out
    assert "its clocks stand still since" in typed("workflow", "show", "long").out
    assert typed("workflow", "cancel", "long").out == "long is cancelled\n"
    assert typed("workflow", "retry", "long").code == 0
    cancelled = typed("workflow", "cancel", "long", "-o", "json").answer
    assert (cancelled["id"], cancelled["verb"]) == ("long", "cancel")
    assert typed("workflow", "delete", "long").out == "long is deleted\n"
    assert "was deleted" in typed("workflow", "show", "long").err


@pytest.mark.usefixtures("filled")
def test_tasks_and_schedules_have_their_verbs(typed: Typist) -> None:
    """A task is cancelled once; a schedule is paused, resumed, fired by hand and deleted."""
    assert typed("task", "cancel", "later").out == "later is cancelled\n"
    assert typed("task", "show", "later", "-o", "json").answer["status"] == "CANCELLED"
    assert typed("task", "retry", "later").code == 0
    for verb in ("pause", "resume", "trigger"):
        assert typed("schedule", verb, "nightly").code == 0
    fired = typed("schedule", "show", "nightly", "-o", "json").answer
    assert (fired["status"], fired["fired"]) == ("ACTIVE", 1)
    moments = typed("schedule", "next", "nightly", "-n", "3", "-o", "json").answer
    assert len(moments) == 3
    assert typed("schedule", "delete", "nightly").code == 0
    assert typed("schedule", "show", "nightly").code == 2


def test_the_next_firings_show_what_the_clocks_do(folder: Path, typed: Typist) -> None:
    """In words, in the schedule's zone, and which firings a change of its clocks touches."""
    with Kallista.sync(worker=False) as app:
        for name, dst in (("usual", None), ("odd", "skip both")):
            app.scheduler.schedule_task(
                name, {"type": "sleep", "seconds": 1},
                cron="30 2 * 3,10 0L", timezone="Europe/Berlin", dst=dst,
            )  # fmt: skip
    usual = typed("schedule", "next", "usual", "-n", "2").out
    assert usual.startswith("at 02:30 on the last Sunday of the month in March and October, Europe")
    assert "03:00:00+02:00  moved: 02:30 does not exist (+01:00 to +02:00)\n" in usual
    assert "02:30:00+02:00  first of two: 02:30 comes twice (+02:00 to +01:00)\n" in usual
    odd = typed("schedule", "next", "odd", "-n", "3")
    assert "where clocks change, a time that does not exist is left out, one that" in odd.out
    assert "02:30:00+01:00  second of two: 02:30 comes twice (+02:00 to +01:00)\n" in odd.out
    assert ")               left out: 02:30 does not exist (+01:00 to +02:00)\n" in odd.out
    answer = typed("schedule", "next", "odd", "-n", "3", "-o", "json").answer
    lost = [row for row in answer if not row["fires"]]
    assert lost[0]["change_over"]["effect"] == "left out"
    assert lost[0]["change_over"]["offset_after"] == "+02:00"
    assert len(answer) - len(lost) == 3


def test_a_backfill_is_shown_begun_and_left_out(folder: Path, typed: Typist) -> None:
    """A preview starts nothing; what is begun twice or left out twice says so."""
    with Kallista.sync(worker=False) as app:
        nap = {"type": "sleep", "seconds": 1}
        app.scheduler.schedule_task("nightly", nap, cron="0 3 * * *", timezone="UTC")
    past = ("nightly", "--start", "2026-01-01T00:00Z", "--until", "2026-01-05T00:00Z")
    shown = typed("schedule", "backfill", *past, "--preview").out
    assert shown.count("would start") == 4
    assert "nightly@2026-01-04T03:00:00Z" in shown
    assert "more than 2" in typed("schedule", "backfill", *past, "--preview", "-n", "2").out
    moments = typed("schedule", "backfill", *past, "--preview", "-o", "json").answer
    assert moments[0] == {
        "moment": "2026-01-01T03:00:00+00:00",
        "run_id": "nightly@2026-01-01T03:00:00Z",
        "status": None,
    }
    begun = typed("schedule", "backfill", *past, "--priority", "-3").out
    assert begun.startswith("nightly fires for 2026-01-01T00:00Z to 2026-01-05T00:00Z\n")
    assert "no worker is alive" in begun
    again = typed("schedule", "backfill", *past, "--priority", "-3").out
    assert again == "nightly: nothing to backfill, that is under way already\n"
    words = " ".join(typed("schedule", "show", "nightly").out.split())
    assert "next: 2026-01-01 03:00:00" in words
    assert typed("schedule", "cancel-backfill", "nightly").out == "nightly backfills no more\n"
    assert "nothing to" in typed("schedule", "cancel-backfill", "nightly").out
    assert typed("schedule", "backfill", *past[:-1], "2999-01-01").code == 2


WRONG: Sequence[tuple[tuple[str, ...], str, str]] = [
    (("workflow", "show", "nix"), "NotFoundError", "'nix'"),
    (("process", "show", "hello"), "NotFoundError", "workflow"),
    (("explain", "nix"), "NotFoundError", "'nix'"),
    (("workflow", "pause", "hello"), "StateError", "COMPLETED"),
    (("workflow", "list", "--status", "DONE"), "UsageError", "DONE"),
    (("workflow", "list", "--since", "soon"), "UsageError", "soon"),
    (("workflow", "list", "--cursor", "x"), "UsageError", "cursor"),
    (("types", "shel"), "NotFoundError", "did you mean 'shell'?"),
    (("run", "nix.yaml"), "NotFoundError", "nix.yaml"),
    (("worker", "--tasks", "nix"), "UsageError", "nix"),
    (("worker", "--queue", "gpu,my queue"), "UsageError", "'my queue' is no queue name"),
    (("run",), "UsageError", "FILE"),
    (("workflow", "list", "--limit", "0"), "UsageError", "limit"),
    (("doctor", "--store", "mysql://x"), "UsageError", "mysql://"),
    (("frobnicate",), "UsageError", "frobnicate"),
]


@pytest.mark.usefixtures("filled")
def test_what_is_asked_wrongly_is_told_to_people_and_programs(typed: Typist) -> None:
    """Exit code 2, the message on standard error, with ``-o json`` as one document."""
    for words, error, told in WRONG:
        shown = typed(*words)
        assert (shown.code, shown.out) == (2, ""), words
        assert told in shown.err, words
        assert "Traceback" not in shown.err, words
        told_as_data = typed(*words, "-o", "json")
        assert told_as_data.code == 2, words
        assert told_as_data.error["type"] == error, words
        assert told in told_as_data.error["message"], words


def test_what_a_task_has_said_reaches_no_terminal_as_it_is(folder: Path, typed: Typist) -> None:
    """Its message may hold anything: one line of it is told, and nothing that moves a cursor."""
    raising = r"raise ValueError('no\x1b[2J\n\x07end')"
    rude = {"type": "python", "function": "builtins:exec", "args": [raising]}
    text = json.dumps({"kind": "workflow", "id": "rude", "tasks": [rude]})
    assert typed("run", written(folder, text)).code == 1
    for words in (("explain", "rude"), ("workflow", "show", "rude"), ("failures",)):
        assert all(char.isprintable() or char == "\n" for char in typed(*words).out), words
    assert len(typed("explain", "rude").out.splitlines()) == 1


def test_without_a_store_nothing_is_made(folder: Path, typed: Typist) -> None:
    """Looking for a run where there is no store says so, and leaves the folder as it is."""
    for words in (("workflow", "list"), ("doctor",), ("explain", "x"), ("task", "cancel", "x")):
        wrong = typed(*words)
        assert wrong.code == 2
        assert "there is no store" in wrong.err
    assert list(folder.iterdir()) == []


def test_a_store_that_is_none_is_told_in_one_message(folder: Path, typed: Typist) -> None:
    """Exit code 1, the name of the file, and it is left as it was."""
    file = folder / "notes.db"
    file.write_text("these are notes, and no database", encoding="utf-8")
    before = file.read_bytes()
    for words in (("workflow", "list"), ("run", written(folder, HELLO)), ("doctor",)):
        wrong = typed(*words, "--store", "sqlite:///notes.db")
        assert wrong.code == 1
        assert "notes.db" in wrong.err
        assert "Traceback" not in wrong.err
        assert typed(*words, "--store", "sqlite:///notes.db", "-o", "json").error
    assert file.read_bytes() == before


def test_secrets_are_never_shown(folder: Path, typed: Typist) -> None:
    """Not while it runs, not in what is shown afterwards, in text or as data, nor in the logs."""
    file = written(folder, SECRETS)
    shown = [typed("run", file, "--set", "api_key=sk-999")]
    for words in (("show", "secret"), ("history", "secret"), ("list",)):
        shown += [typed("workflow", *words), typed("workflow", *words, "-o", "json")]
    shown += [
        typed("run", file, "--set", "api_key=sk-999", "-o", "json"),
        typed("explain", "secret"),
    ]
    texts = [one.out + one.err for one in shown]
    texts += [log.read_text(encoding="utf-8") for log in (folder / "logs").glob("*.log")]
    assert all(one.code == 0 for one in shown)
    assert not [word for word in SECRET_WORDS for text in texts if word in text]
    assert "***" in texts[1]


def test_what_a_type_takes_is_shown_whole(typed: Typist) -> None:
    """No name of a parameter is cut at 80 columns; one line says what the type does."""
    shown = typed("types", "code_generation").out
    names = typed("types", "code_generation", "-o", "json").answer[0]["schema"]["properties"]
    assert all(f"  {name} " in shown for name in names)
    assert "…" not in shown


def test_doctor_says_what_waits_in_vain(folder: Path, typed: Typist) -> None:
    """Work that no worker alive can do, and how to have one."""
    typed("run", written(folder, HELLO), "--detach")
    found: Any = typed("doctor", "-o", "json").answer
    assert found["missing_types"] == ["python"]
    (problem,) = found["problems"]
    assert "kallista worker" in problem
    assert "kallista worker" in typed("doctor").out


def test_init_writes_a_project_that_runs(folder: Path, typed: Typist) -> None:
    """What it says to try works, its schema is the published one, and nothing is overwritten."""
    made = typed("init", "mine", "-o", "json").answer["written"]
    assert {Path(path).name for path in made} >= {"hello.yaml", "tasks.py", "README.md"}
    schema = json.loads((folder / "mine" / "kallista.schema.json").read_text(encoding="utf-8"))
    assert schema == typed("schema", "-o", "json").answer
    before = (folder / "mine" / "hello.yaml").read_bytes()
    again = typed("init", "mine")
    assert again.code == 2
    assert "hello.yaml" in again.err
    assert (folder / "mine" / "hello.yaml").read_bytes() == before


def test_many_are_commanded_at_once(folder: Path, typed: Typist) -> None:
    """After a look at how many there are; without a terminal only by ``--yes``."""
    for id in ("one", "two"):
        typed("run", written(folder, HELLO), "--detach", "--id", id)
    nothing = typed("workflow", "cancel")
    assert (nothing.code, "--tag, --name" in nothing.err) == (2, True)
    of_one = typed("workflow", "cancel", "one", "--dry-run")
    assert (of_one.code, "an ID says that already" in of_one.err) == (2, True)
    preview = typed("workflow", "cancel", "--name", "Hello", "--dry-run")
    assert preview.out.splitlines() == ["2 workflows match", "  two", "  one"]
    careful = typed("workflow", "cancel", "--name", "Hello")
    assert (careful.code, "add --yes" in careful.err) == (2, True)
    done = typed("workflow", "cancel", "--name", "Hello", "--reason", "enough", "--yes")
    assert done.out == "2 workflows match; 2: is cancelled\n"
    assert typed("workflow", "cancel", "--name", "Hello", "-y", "-o", "json").answer["matched"] == 0


def test_what_failed_is_told_and_retried_by_its_error(folder: Path, typed: Typist) -> None:
    """For people in groups with the newest of each, for programs with all that is known of them."""
    typed("run", written(folder, FRAGILE))
    shown = typed("failures", "--since", "1h")
    lines = shown.out.splitlines()
    assert lines[1].split() == ["TypeError", "python", "1"]
    assert lines[3] == "TypeError in python"
    assert lines[4].split()[:2] == ["fragile", "reads"]
    [group] = typed("failures", "--error", "TypeError", "-o", "json").answer
    assert (group["count"], group["examples"][0]["root_kind"]) == (1, "process")
    assert typed("failures", "--type", "shell").out == "nothing has failed\n"
    assert "fragile" in typed("process", "list", "--error", "TypeError").out
    again = typed("process", "retry", "--error", "TypeError", "--yes")
    assert again.out == "1 process matches; 1: goes on\n"


COSTLY = """\
kind: workflow
id: costly
name: Costly
tags: [night]
budget: {usd: 1}
tasks:
  - {id: first, type: ask_cli}
  - {id: second, type: ask_cli}
"""


def test_what_was_spent_is_shown_and_a_budget_raised(folder: Path, typed: Typist) -> None:
    """The run is PAUSED and says why; a higher budget lets it go on."""
    (folder / "paid.py").write_text(
        "from kallista import TaskContext, task\n\n\n"
        "@task('ask_cli')\n"
        "async def ask(ctx: TaskContext) -> None:\n"
        "    await ctx.spend('1.5', 'usd')\n",
        encoding="utf-8",
    )

    async def run_it() -> None:
        from kallista.tasks import load_module

        load_module("paid.py")
        async with Kallista() as app:
            data = load_file(written(folder, COSTLY, "costly.yaml"), 10_000)
            await app.submit(await app.check(data))
            async for event in app.workflow_manager.watch("costly"):
                if event.kind == "run.paused":
                    return

    asyncio.run(run_it())
    assert "its budget is used up, 1.5 usd spent of 1" in typed("explain", "costly").out
    assert "1.5 usd" in typed("workflow", "show", "costly").out
    assert typed("workflow", "show", "costly", "-o", "json").answer["spent"] == {"usd": "1.5"}
    assert typed("spending", "--by", "tag").out.splitlines()[1].split() == ["night", "1.5", "usd"]
    [told] = typed("spending", "-o", "json").answer
    assert told == {"of": "costly", "unit": "usd", "amount": "1.5"}
    refused = typed("workflow", "resume", "costly")
    assert (refused.code, "--budget usd=" in refused.err) == (2, True)
    assert typed("workflow", "resume", "costly", "--budget", "usd").code == 2
    assert typed("workflow", "resume", "costly", "--budget", "usd=9").code == 0
    many = typed("workflow", "resume", "--tag", "night", "--budget", "usd=9")
    assert (many.code, "give an ID" in many.err) == (2, True)


def test_limits_say_who_fills_them(folder: Path, typed: Typist) -> None:
    """While a program is at work: what runs and what waits; else that there is nothing."""
    told: list[Any] = []

    async def print_it(page: str) -> None:
        told.append(await asyncio.to_thread(typed, "limits", "list"))
        told.append(await asyncio.to_thread(typed, "limits", "list", "-o", "json"))

    async def work() -> None:
        async with Kallista(tasks=[print_it]) as app:
            task = {"type": "print_it", "page": "first", "concurrency_key": "printer"}
            await app.scheduler.schedule_task("first", task)
            assert (await app.scheduler.wait_task("first", timeout=30)).error is None

    asyncio.run(work())
    shown, as_json = told
    assert "concurrency key" in shown.out
    assert "1 of 1" in shown.out
    (limit,) = as_json.answer
    assert (limit["key"], limit["number"], limit["held"], limit["waiting"]) == ("printer", 1, 1, 0)
    assert limit["held_by"][0].startswith("'first' since ")
    assert typed("limits", "list").out == "nothing runs or waits under a limit\n"


def test_what_a_process_waits_for_is_shown(folder: Path, typed: Typist) -> None:
    """The tree of what it waits for with the policies, who waits for it, and what it has read."""

    async def make() -> None:
        async with Kallista() as app:
            nap = {"type": "sleep", "seconds": 0}
            after = ["base", {"process": "extra", "on_failure": "skip"}]
            base = {"id": "base", "steps": [{"id": "s", **nap}], "dependencies": ["lost"]}
            await app.orchestrator.create_process(base)
            top = {"id": "top", "steps": [nap], "dependencies": after}
            await app.orchestrator.start_process(await app.orchestrator.create_process(top))
            zero = {"id": "s", "type": "python", "function": "builtins:int"}
            await app.orchestrator.run_process({"id": "done", "steps": [zero]})
            reads = {"type": "sleep", "seconds": "${processes.done.results.s}"}
            reader = {"id": "reader", "steps": [reads], "dependencies": ["done"]}
            await app.orchestrator.run_process(reader)

    asyncio.run(make())
    tree = [
        "  base    PENDING",
        "    lost  does not exist yet",
        "  extra   does not exist yet, skip if it fails",
    ]
    for words in (("explain", "top"), ("process", "show", "top")):
        lines = [line.rstrip() for line in typed(*words).out.splitlines()]
        assert [line for line in lines if line in tree] == tree, lines
    assert "awaited by top" in typed("process", "show", "base").out
    told = json.loads(typed("explain", "top", "-o", "json").out)
    assert [line["id"] for line in told["dependencies"]] == ["base", "lost", "extra"]
    shown = json.loads(typed("process", "show", "top", "-o", "json").out)
    assert shown["dependency_policies"] == {"base": "wait", "extra": "skip"}
    history = json.loads(typed("process", "history", "reader", "-o", "json").out)
    read = {"done": {"status": "COMPLETED", "results": {"s": 0}}}
    assert {"processes": read} in [event["data"] for event in history]
    words = typed("process", "history", "reader").out.split()
    assert 'run.started with {"done":' in " ".join(words)
