"""Virtual environments of the peers: made once from pinned requirements, kept for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"
NEWEST = 14


class LeftOut(Exception):
    """A system cannot be measured here; the message says why."""


class Environment:
    """A virtual environment of a peer.

    Args:
        name: Its requirements are ``NAME.txt``.
        folder: The folder of all environments.
        python: The oldest Python it runs on.
    """

    def __init__(self, name: str, folder: Path, python: tuple[int, int] = (3, 11)) -> None:
        self.name = name
        self.folder = folder.absolute() / name
        self._requirements = REQUIREMENTS / f"{name}.txt"
        self._python = python

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.binary("python")

    def binary(self, name: str) -> Path:
        """A program in it."""
        windows = os.name == "nt"
        return (
            self.folder / ("Scripts" if windows else "bin") / (f"{name}.exe" if windows else name)
        )

    def make(self) -> None:
        """Make it, unless it is there as its requirements say.

        Raises:
            LeftOut: A package, or a fitting Python, is not to be had.
        """
        stamp = self.folder / ".made-of"
        content = hashlib.sha256(self._requirements.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == content:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        python = find_python(self._python)
        print(f"making the environment of {self.name}", flush=True)
        self._run([python, "-m", "venv", str(self.folder)])
        pip = [str(self.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        self._run([*pip, "-r", str(self._requirements)])
        stamp.write_text(content)

    def versions(self, packages: Sequence[str]) -> str:
        """The pinned versions of some packages, in words."""
        pins = dict(_pins(self._requirements))
        return ", ".join(f"{package} {pins[package]}" for package in packages)

    def _run(self, command: Sequence[str]) -> None:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
        if done.returncode:
            print((done.stderr or done.stdout).strip(), flush=True)
            raise LeftOut("its packages cannot be installed here")


def find_python(oldest: tuple[int, int]) -> str:
    """An interpreter of at least this version: this one, or one that PATH, uv or pyenv knows.

    Raises:
        LeftOut: There is none.
    """
    if sys.version_info[:2] >= oldest:
        return sys.executable
    for candidate in _candidates(oldest):
        if _works(candidate):
            return candidate
    raise LeftOut(f"it needs Python {oldest[0]}.{oldest[1]} or newer, and none is here")


def _candidates(oldest: tuple[int, int]) -> Iterator[str]:
    for minor in range(oldest[1], NEWEST + 1):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    yield from _told(["uv", "python", "find", f">={oldest[0]}.{oldest[1]}"])
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(oldest[1], NEWEST + 1):
        yield from (str(path) for path in sorted(versions.glob(f"3.{minor}*/bin/python")))


def _told(command: Sequence[str]) -> Iterator[str]:
    if shutil.which(command[0]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield from done.stdout.split("\n")[:1] if done.returncode == 0 else ()


def _works(python: str) -> bool:
    """Whether it runs and can make environments; the shims of version managers often cannot."""
    try:
        done = subprocess.run([python, "-c", "import venv, ssl"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _pins(requirements: Path) -> Iterator[tuple[str, str]]:
    for line in requirements.read_text(encoding="utf-8").splitlines():
        name, equals, version = line.split(";")[0].strip().partition("==")
        if equals:
            yield name.split("[")[0], version.strip()
