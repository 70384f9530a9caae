"""The main job, killed at several points of its way and started again by the same command."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

KALLISTA = [sys.executable, "-m", "kallista"]
LIMIT = 60


def run(folder: Path, *arguments: str) -> str:
    """What a finished command printed."""
    done = subprocess.run(
        [*KALLISTA, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_after(folder: Path, lines: int) -> None:
    """Start the demo and kill it once it has printed so many lines."""
    with subprocess.Popen(
        [*KALLISTA, "demo"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        for _ in range(lines):
            program.stdout.readline()
        program.kill()


def generated(folder: Path) -> Mapping[str, str]:
    """Every generated file with the hash of its bytes; the ledger of who wrote it left out."""
    output = folder / "output"
    return {
        file.relative_to(output).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in output.rglob("*")
        if file.is_file() and ".kallista" not in file.relative_to(output).parts
    }


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the demo generates when nobody kills it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, "demo")
    return generated(folder)


@pytest.mark.parametrize("lines", [2, 7])
def test_a_killed_demo_goes_on_where_it_stopped(
    lines: int, tmp_path: Path, undisturbed: Mapping[str, str]
) -> None:
    """After SIGKILL the same command completes the same run: nothing twice, nothing lost."""
    kill_after(tmp_path, lines)
    run(tmp_path, "demo")
    history = json.loads(run(tmp_path, "process", "history", "inventory_app", "-o", "json"))
    completed = Counter(event["task_id"] for event in history if event["kind"] == "task.completed")
    assert set(completed.values()) == {1}, "a completed task never runs again"
    assert len(completed) == 7
    assert history[-1]["kind"] == "run.completed"
    assert [event["seq"] for event in history] == list(range(len(history)))
    assert generated(tmp_path) == undisturbed
