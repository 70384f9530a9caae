"""The disk fails at syncs, or is full for a while."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evidence import Evidence
from puppets import PROGRAM, Puppet, Stage
from work import Work

from soaking.figures import Figures
from soaking.rounds import Round

WORKERS = 3
SHARE = 0.05
DISK_SIZE = "24m"
BLOCK = 4096
EVERY = 5
EXTRA = "extra"
TASKS = [{"type": "sleep", "seconds": 0}]


def failing_syncs(round: Round) -> Figures:
    """In every program some syncs of commits fail, before they are done or after.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    with round.stage() as stage:
        workers, client = stage.workers(WORKERS), stage.looker()
        puppets = [*workers, client]
        for puppet in puppets:
            puppet.ask("fail", seed=round.chance.getrandbits(32), share=SHARE)
        work.submit(client)
        work.finish(client)
        for puppet in puppets:
            puppet.ask("fail", seed=0, share=0)
            puppet.end()
    failed = sum(len(puppet.told("failed")) for puppet in puppets)
    return _checked(work, stage, client, failed)


def failing_calls(round: Round) -> Figures:
    """The system itself refuses syncs of the log to the only worker, where strace may do that.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    with round.stage() as stage:
        client = stage.looker()
        traced = stage.program(command=_traced(stage, round.chance.randint(8, 12))).opened()
        work.submit(client)
        work.finish(client)
        for puppet in [traced, client]:
            puppet.end()
        calls = (stage.folder / "calls.txt").read_text("utf-8")
        return _checked(work, stage, client, calls.count("(INJECTED)"))


def _traced(stage: Stage, first: int) -> list[str]:
    """A worker some of whose syncs of the log end with EIO."""
    log = f"{stage.url.removeprefix('sqlite:///')}-wal"
    inject = f"inject=fdatasync:error=EIO:when={first}+{EVERY}"
    trace = ["strace", "-f", "-o", "calls.txt", "-P", log, "-e", "trace=fdatasync", "-e", inject]
    return [*trace, sys.executable, "-W", "error", str(PROGRAM)]


def full(round: Round) -> Figures:
    """The disk is full amid some work, until somebody frees space.

    It is a small file system of its own where the machine allows to mount one; else programs
    pretend that nothing can be written.

    Raises:
        AssertionError: A promise was broken.
    """
    work = Work(round.chance, round.size)
    disk = round.folder / "disk"
    url = f"sqlite:///{(disk / 'kallista.db').as_posix()}"
    with small_disk(disk) as mounted, Stage(round.folder, url, {}, round.patience) as stage:
        workers, client, other = stage.workers(WORKERS), stage.looker(), stage.looker()
        work.submit(client)
        stage.hear_marks(round.chance.randint(1, work.effects // 2))
        fill = _filled(disk) if mounted else _pretended([*workers, other])
        with fill:
            refused = _ask_until_refused(other)
        work.finish(client)
        for puppet in [*workers, client, other]:
            puppet.end()
        work.errors[refused] += 1
        return _checked(work, stage, client, faults=1)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder that is a file system of a few MB; yields whether it could be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    except BaseException:
        shutil.copytree(folder, folder.with_name("disk-as-it-was"))
        raise
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """For a while something else takes all the space there is."""
    ballast = disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(BLOCK))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)
    yield
    ballast.unlink()


@contextmanager
def _pretended(puppets: list[Puppet]) -> Iterator[None]:
    """For a while programs find no space."""
    for puppet in puppets:
        puppet.ask("fill", full=True)
    yield
    for puppet in puppets:
        puppet.ask("fill", full=False)


def _ask_until_refused(client: Puppet) -> str:
    """Create runs until there is no space for one; returns the type of the error."""
    number = 0
    while True:
        id = f"{EXTRA}{number}"
        client.tell("workflow_manager.create_workflow", name="w", tasks=TASKS, workflow_id=id)
        line = client.until("answer", "refused")
        if line["told"] == "refused":
            assert "disk is full; free space" in line["message"], line
            return str(line["type"])
        number += 1


def _checked(work: Work, stage: Stage, client: Puppet, faults: int) -> Figures:
    found = stage.evidence()
    books = {id: book for id, book in found.books.items() if not id.startswith(EXTRA)}
    evidence = Evidence(books, found.marks)
    work.check(evidence, client.told("happened"))
    return Figures(
        rounds=1,
        faults=faults,
        runs=len(evidence.books),
        tasks=evidence.effects,
        repeats=evidence.repeats,
        errors=work.errors,
    )
