"""The how-to of the command line: what it shows can be typed, in this order, by a new user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Typist

from kallista.cli.session import FAILED, LEFT, OK, USAGE

PAGE = Path(__file__).parents[2] / "docs/how-to/command-line.md"


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The language and text of each block."""
    return (found.groups() for found in re.finditer(r"```(\w+)\n(.*?)```", text, re.DOTALL))  # type: ignore[misc]


def test_everything_can_be_typed(
    typed: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the page does its work, from an empty folder on."""
    for language, text in blocks(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
                continue
            assert words[0] == "kallista"
            done = typed(*words[1:])
            assert done.code == 0, f"{line}: {done.err}"
            assert done.out, f"{line} says nothing"
            if "json" in words:
                assert done.answer


def test_all_exit_codes_are_told() -> None:
    """The table names those that there are."""
    table = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in table] == [OK, FAILED, USAGE, LEFT]
