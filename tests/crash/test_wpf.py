"""The main job, killed at chosen moments and started again: as if nothing had happened."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from puppets import Puppet, Stage

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "inventory_app.yaml"


@dataclass(frozen=True)
class Work:
    """What a finished process leaves: each task's result, and each file's hash."""

    results: Mapping[str, object]
    files: Mapping[str, str]


def begin(puppet: Puppet) -> None:
    """Tell a program to do the job, or to go on with it; a dead one may not hear it."""
    puppet.tell("submit", file=str(EXAMPLE))
    puppet.tell("orchestrator.wait_process", process_id="inventory_app")


def finish(stage: Stage) -> Work:
    """Let a program do what is left of the job, and see what came of it."""
    puppet = stage.worker()
    puppet.ask("submit", file=str(EXAMPLE))
    ended = puppet.ask("orchestrator.wait_process", process_id="inventory_app", timeout=30)
    assert ended["status"] == "COMPLETED"
    puppet.end()
    return work_in(stage)


def work_in(stage: Stage) -> Work:
    """What is there; every history is looked at as well."""
    books = stage.books()
    for book in books.values():
        book.check()
    results = {id: getattr(book.run, "results", None) for id, book in books.items()}
    output = stage.folder / "output"
    files = {
        file.relative_to(output).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in output.rglob("*")
        if file.is_file()
    }
    return Work(results, files)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """What comes of the job when nobody kills it."""
    stage = Stage(tmp_path_factory.mktemp("undisturbed"))
    work = finish(stage)
    stage.clear()
    shutil.rmtree(stage.folder)
    assert len(work.files) > 100
    return work


# A program makes about 7 commits until it has opened a new store, some 30 more for the whole job,
# and renames about 130 files. The output is the same whichever moments are chosen here.
MOMENTS = [
    ("before_sync", 2),
    ("before_sync", 9),
    ("after_sync", 13),
    ("rename", 1),
    ("rename", 60),
    ("after_sync", 30),
]


@pytest.mark.parametrize(("moment", "number"), MOMENTS)
def test_a_killed_process_completes_as_if_undisturbed(
    moment: str, number: int, stage: Stage, undisturbed: Work
) -> None:
    """Killed at any moment, the job goes on: same results, same bytes, no task completed twice."""
    puppet = stage.worker(stop=(moment, number))
    begin(puppet)
    puppet.until("stopped")
    puppet.kill()
    assert finish(stage) == undisturbed


def test_a_process_survives_being_killed_again_and_again(stage: Stage, undisturbed: Work) -> None:
    """Each program gets only a few commits further, and dies also while it recovers."""
    for commits in (8, 3, 10, 12):
        puppet = stage.worker(stop=("before_sync", commits))
        begin(puppet)
        puppet.until("stopped")
        puppet.kill()
    assert finish(stage) == undisturbed
