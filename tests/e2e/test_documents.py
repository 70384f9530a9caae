"""What the documents and the examples show runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- not run:[^>]*-->\s*)?```python\n(.*?)```", re.DOTALL)
LIMIT = 60


def blocks() -> Iterator[object]:
    for page in PAGES:
        for number, (excused, code) in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
            if not excused:
                name = f"{page.relative_to(ROOT).as_posix()}:{number}"
                yield pytest.param(code, id=name)


def run(program: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", list(blocks()))
def test_a_code_block_runs(code: str, tmp_path: Path) -> None:
    """Every Python block of the README and the documents is a program that ends well."""
    program = tmp_path / "block.py"
    program.write_text(code, encoding="utf-8")
    run(program, tmp_path)


def test_the_founding_programs_run_as_they_stand(tmp_path: Path) -> None:
    """The three programs complete; run again they find their work done, nothing runs twice."""
    program = ROOT / "examples" / "founding.py"
    first = run(program, tmp_path)
    assert "waits for process 'setup_environment', which does not exist yet" in first
    assert first.count("COMPLETED") >= 3
    again = run(program, tmp_path)
    assert "'create_wpf_app' is COMPLETED" in again
    assert sorted(file.name for file in (tmp_path / "data" / "workflows").glob("*.db")) == [
        "kallista.db"
    ]


def test_a_short_program_imports_little() -> None:
    """``import kallista`` alone costs nothing, and an app needs neither pydantic nor Jinja."""
    code = """
import sys, kallista
assert not [name for name in sys.modules if name.startswith("kallista.")]
kallista.Kallista
heavy = {"pydantic", "jinja2", "structlog", "rich", "typer", "yaml", "cel", "anyio"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=LIMIT)
