"""The how-to of the command line: what it shows can be typed, in this order, by a new user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Typist

from kallista.cli.session import FAILED, LEFT, OK, USAGE

_FLEETING = re.compile(r"0 +(RUNNING|WAITING) |Workflow '.*' waits until ")
"""Lines of what is under way: whether a short one is seen depends on the machine."""

PAGE = Path(__file__).parents[2] / "docs/how-to/command-line.md"


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The language and text of each block."""
    return (found.groups() for found in re.finditer(r"```(\w+)\n(.*?)```", text, re.DOTALL))  # type: ignore[misc]


def test_everything_can_be_typed(
    typed: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the page does its work, from an empty folder on, and says what is shown."""
    for language, text in blocks(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
        for line, answer in commands(language, text):
            words = shlex.split(line)
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
                continue
            assert words[0] == "kallista"
            done = typed(*words[1:])
            assert done.code == 0, f"{line}: {done.err}"
            assert done.out, f"{line} says nothing"
            if language == "console" and words[1] != "doctor":  # it tells of the machine
                assert alike(done.out) == alike(answer), line
            if "json" in words:
                assert done.answer


def commands(language: str, text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with the answer that is shown below it."""
    if language == "sh":
        yield from ((line, "") for line in text.splitlines())
    elif language == "console":
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, answer = part.partition("\n")
            yield line, answer


def alike(answer: str) -> list[str]:
    """An answer without what differs from one day, and from one machine, to the next.

    Lines of steps that run at the same time come in any order.
    """
    lines = (re.sub(r"[0-9.:/-]*[0-9]", "0", line) for line in answer.splitlines())
    kept = (" ".join(line.split()) for line in lines if not _FLEETING.match(line))
    return sorted(line for line in kept if line)


def test_all_exit_codes_are_told() -> None:
    """The table names those that there are."""
    table = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in table] == [OK, FAILED, USAGE, LEFT]
