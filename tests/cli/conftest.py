"""What the tests of the command line share: a folder of their own, and a way to type commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Typed, Typist

from kallista.cli.main import app
from kallista.cli.output import console
from kallista.cli.session import DEBUG, guarded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, and a terminal of 80 columns that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv(DEBUG, raising=False)
    console.cache_clear()
    yield tmp_path
    console.cache_clear()


@pytest.fixture
def typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> Typist:
    """Types a command in the folder, in this program, and gives what came of it."""

    def type_it(*words: str) -> Typed:
        capsys.readouterr()
        before = [*sys.path]
        try:
            code = guarded(app, words)
        finally:
            sys.path[:] = before
        out, err = capsys.readouterr()
        return Typed(code, out, err)

    return type_it
