"""Commands and what comes of them, for the tests of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

HELLO = """\
kind: workflow
id: hello
name: Hello
inputs:
  name: {type: string, default: world}
tasks:
  - {id: greeting, type: python, function: "builtins:str.upper", args: ["${inputs.name}"]}
  - {id: echo, type: python, function: "builtins:str.lower", args: ["${tasks.greeting.result}"]}
"""

FRAGILE = """\
kind: process
id: fragile
name: Fragile
steps:
  - {id: first, type: python, function: "builtins:len", args: [[1, 2, 3]]}
  - {id: reads, type: python, function: "pathlib:Path.read_text", args: []}
  - {id: last, type: python, function: "builtins:len", args: [[1]]}
"""
"""Its second step calls a method without an object, so it fails each time."""

LONG = """\
kind: workflow
id: long
name: Long
tasks:
  - {id: rest, type: sleep, seconds: 3600}
"""


@dataclass(frozen=True)
class Typed:
    """What came of a command.

    Args:
        code: The exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Standard error as one JSON document that tells an error; nothing stands beside it."""
        assert not self.out
        told = json.loads(self.err)
        assert set(told) == {"error"}
        assert set(told["error"]) == {"type", "message", "problems"}
        return told["error"]


Typist: TypeAlias = Callable[..., Typed]


def written(folder: Path, text: str, name: str = "hello.yaml") -> str:
    """Write a definition file; returns its name."""
    (folder / name).write_text(text, encoding="utf-8")
    return name


def program(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Type a command in a program of its own, with pipes instead of a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "kallista", *words],
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def read_until(running: subprocess.Popen[str], word: str) -> list[str]:
    """The lines that a program prints up to the one with a word."""
    assert running.stdout is not None
    lines: list[str] = []
    for line in running.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word!r} was never printed; but {lines} {running.communicate()}")
