"""Other programs for tests to run beside themselves, and what lies on the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_IMPORTS = """\
import asyncio, os, sys
from pathlib import Path
from kallista.store.sqlite import SqliteStore
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python program that can be spoken to."""
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", _IMPORTS + script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def heard(program: subprocess.Popen[str]) -> str:
    """The next line a program says."""
    assert program.stdout is not None
    return program.stdout.readline().strip()


def ended(program: subprocess.Popen[str], told: str = "") -> tuple[int, str]:
    """How a program ends and what it complains of, once it has been told its last word."""
    _, complaint = program.communicate(told, timeout=60)
    return program.returncode, complaint


def killed(program: subprocess.Popen[str]) -> None:
    """End a program without a chance to clean up."""
    program.kill()
    program.communicate()


def size(path: Path) -> int:
    """How much room a file takes."""
    return path.stat().st_size


def content(path: Path) -> bytes | None:
    """What a file holds; of a folder nothing."""
    return path.read_bytes() if path.is_file() else None
