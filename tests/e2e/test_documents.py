"""What the documents and the examples show runs as it stands."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kallista import Kallista
from kallista.core.snapshots import HistoryEvent

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
    done, written = finished(tmp_path), files(tmp_path)
    assert set(done) >= {"create_wpf_app", "setup_environment", "generate_view"}
    again = run(program, tmp_path)
    assert "'create_wpf_app' is COMPLETED" in again
    assert finished(tmp_path).items() >= done.items()
    assert files(tmp_path) == written
    assert sorted(file.name for file in (tmp_path / "data" / "workflows").glob("*.db")) == [
        "kallista.db"
    ]


def finished(folder: Path) -> dict[str, Sequence[HistoryEvent]]:
    """The histories of all processes and tasks, which are complete."""

    async def read() -> dict[str, Sequence[HistoryEvent]]:
        url = f"sqlite:///{(folder / 'data/workflows/kallista.db').as_posix()}"
        config = {"logs_dir": str(folder / "logs")}
        async with Kallista(url, config=config, worker=False) as app:
            tasks = await app.scheduler.list_tasks(status="COMPLETED")
            processes = await app.orchestrator.list_processes(status="COMPLETED")
            histories: dict[str, Sequence[HistoryEvent]] = {}
            for task in tasks.items:
                histories[task.id] = await app.scheduler.get_history(task.id)
            for process in processes.items:
                histories[process.id] = await app.orchestrator.get_history(process.id)
            return histories

    return asyncio.run(read())


def files(folder: Path) -> dict[str, bytes]:
    """All that was generated."""
    found = (folder / "output").rglob("*")
    return {str(file.relative_to(folder)): file.read_bytes() for file in found if file.is_file()}


HEAVY = {"pydantic", "jinja2", "structlog", "rich", "typer", "yaml", "cel", "anyio"}

IMPORT = """
import sys, kallista
assert not [name for name in sys.modules if name.startswith("kallista.")]
kallista.Kallista
"""

RUN = """
import asyncio, sys
from kallista import Kallista

async def main():
    async with Kallista() as app:
        tasks = [{"type": "sleep", "seconds": 0}]
        assert (await app.workflow_manager.run_workflow("w", tasks)).ok

asyncio.run(main())
"""


@pytest.mark.parametrize("program", [IMPORT, RUN], ids=["import", "run"])
def test_a_short_program_imports_little(program: str, tmp_path: Path) -> None:
    """``import kallista`` alone costs nothing, and what a program does not use it never loads."""
    file = tmp_path / "short.py"
    file.write_text(f"{program}\nprint({HEAVY} & set(sys.modules))\n", encoding="utf-8")
    assert run(file, tmp_path) == "set()\n"


def test_every_module_imports_without_a_warning(tmp_path: Path) -> None:
    """Nothing here uses what is deprecated, and no module needs another one to be there first."""
    file = tmp_path / "all.py"
    file.write_text(
        """
import importlib, pkgutil, kallista
for module in pkgutil.walk_packages(kallista.__path__, "kallista."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
""",
        encoding="utf-8",
    )
    run(file, tmp_path)
