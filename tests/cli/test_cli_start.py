"""A command starts fast, since it loads only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import HELLO, written

LOADED = """\
import json, sys
from kallista.cli.main import app
from kallista.cli.session import guarded
code = guarded(app, sys.argv[1:])
json.dump([code, sorted(sys.modules)], sys.stderr)
"""


def loaded(folder: Path, *words: str) -> set[str]:
    """The modules that are there after a command, in a program of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, modules = json.loads(done.stderr)
    assert code == 0
    return set(modules)


def test_help_loads_next_to_nothing(tmp_path: Path) -> None:
    """No store, no engine, no terminal art."""
    modules = loaded(tmp_path, "--help")
    for heavy in ("apsw", "pydantic", "rich", "yaml", "jinja2", "structlog", "msgspec"):
        assert heavy not in modules
    assert not [name for name in modules if name.startswith(("kallista.app", "kallista.engine"))]


@pytest.mark.parametrize(
    ("words", "useless"),
    [
        (
            ("run", "hello.yaml", "-o", "json"),
            {"rich", "kallista.core.schema", "kallista.cli.demo"},
        ),
        (("run", "hello.yaml", "--detach"), {"rich"}),
    ],
    ids=["run", "detach"],
)
def test_a_run_loads_what_it_needs(
    words: tuple[str, ...], useless: set[str], tmp_path: Path
) -> None:
    """No generator of applications, no cron, no synchronous door, no JSON Schemas."""
    written(tmp_path, HELLO)
    modules = loaded(tmp_path, *words)
    useless |= {
        "jinja2", "cronsim", "anyio", "structlog", "sqlite3",
        "kallista.wpf.generation", "kallista.wpf.design", "kallista.workflows.sync",
        "kallista.testing",
    }  # fmt: skip
    assert not useless & modules
