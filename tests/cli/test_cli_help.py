"""The help: every command is there, explains itself and gives an example that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from cli_support import Typist

from kallista.cli.main import app

RUNS = {"list", "show", "cancel", "retry", "history", "delete"}
DRIVEN = {"start", "pause", "resume", "fork"}
COMMANDS = {
    "workflow": RUNS | DRIVEN,
    "process": RUNS | DRIVEN,
    "task": RUNS,
    "store": {"stats", "check", "backup", "purge", "export"},
    "schedule": {"list", "show", "pause", "resume", "delete", "next"},
}
ALONE = {"run", "demo", "explain", "types", "worker", "init", "validate", "doctor", "schema"}
ALONE |= {"approvals", "approve", "reject", "signal"}


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that name it."""
    top: Any = typer.main.get_command(app)
    for name, command in top.commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield (name,), command
        else:
            yield from (((name, verb), found) for verb, found in below.items())


ALL = dict(commands())


def test_every_command_that_is_promised_is_there() -> None:
    """The commands that stand alone, and the verbs of each object."""
    assert {words[0] for words in ALL if len(words) == 1} >= ALONE
    for word, verbs in COMMANDS.items():
        assert {words[1] for words in ALL if words[0] == word and len(words) == 2} >= verbs


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_help_has_an_example_that_can_be_typed(words: tuple[str, ...], typed: Typist) -> None:
    """Each help fits 80 columns, and its example is one of this very command, options and all."""
    shown = typed(*words, "--help")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    example = " ".join(shown.out.split("Example: ")[1].split())
    called = shlex.split(example.partition(" > ")[0])
    assert called[: len(words) + 1] == ["kallista", *words]
    ALL[words].make_context(" ".join(words), called[len(words) + 1 :])


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_can_answer_in_json(words: tuple[str, ...]) -> None:
    """``-o json`` is there for programs, wherever there is an answer."""
    options = {option for parameter in ALL[words].params for option in parameter.opts}
    assert {"-o", "--output"} <= options


@pytest.mark.parametrize("words", [(), ("workflow",), ("schedule",)], ids=" ".join)
def test_a_command_without_words_shows_what_there_is(words: tuple[str, ...], typed: Typist) -> None:
    """Who types too little sees what could come next."""
    shown = typed(*words)
    assert "Commands:" in shown.out + shown.err
    assert "Error" not in shown.out + shown.err


def test_the_version(typed: Typist) -> None:
    """It is the package's."""
    from kallista import __version__

    assert typed("--version").out == f"kallista {__version__}\n"
