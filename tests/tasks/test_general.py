from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from tasks_support import answered, run

from kallista.core.handlers import Handler
from kallista.core.outcomes import Asleep
from kallista.errors import UsageError
from kallista.tasks import general_handlers
from kallista.tasks.shell import KEPT_BYTES, CommandError

PYTHON, SHELL, SLEEP, APPROVAL, SIGNAL = general_handlers()

posix = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


def add(a: int, b: int = 0) -> int:
    """A function for the task type python."""
    return a + b


async def add_later(a: int, b: int = 0) -> int:
    """The same, on the loop that is running."""
    await asyncio.sleep(0)
    return a + b


def problems(handler: Handler, unresolved: Collection[str] = (), /, **config: Any) -> list[str]:
    """What a handler says about a config."""
    return list(handler.problems(config, unresolved))


def python(program: str, **config: Any) -> Any:
    """What the task type shell answers when it runs a Python program."""
    return run(SHELL, {"command": [sys.executable, "-c", program], **config})


class TestSleep:
    @pytest.mark.parametrize("length", [90, 90.0, "1m30s", "PT1M30S", "90"])
    def test_lengths(self, length: Any) -> None:
        """A pause is given like any length, and holds no worker: the engine gets a value."""
        assert run(SLEEP, {"seconds": length}) == Asleep(90_000_000)

    def test_problems(self) -> None:
        """A length that cannot be read is a problem at creation; a reference is none."""
        assert "is no length of time" in problems(SLEEP, seconds="soon")[0]
        assert problems(SLEEP, ("seconds",), seconds="${inputs.s}") == []
        assert problems(SLEEP, second=1) != []


class TestPython:
    @pytest.mark.parametrize("name", ["add", "add_later"])
    def test_calls(self, name: str) -> None:
        """Plain and async functions are called with args and kwargs."""
        config: Any = {"function": f"{__name__}:{name}", "args": [2], "kwargs": {"b": 3}}
        assert run(PYTHON, config) == 5

    def test_off_the_loop(self) -> None:
        """A plain function runs on a thread; so its handler is a blocking one."""
        assert PYTHON.blocking

    @pytest.mark.parametrize("path", ["x", "a b:c", "", "a.b:", ":f"])
    def test_problems(self, path: str) -> None:
        """What is no dotted path is a problem at creation; nothing is imported to find out."""
        assert "must be like 'package.module:function'" in problems(PYTHON, function=path)[0]
        assert problems(PYTHON, function="kallista_not_there.module:f") == []


class TestShell:
    def test_output(self) -> None:
        """Exit code and both streams are the result."""
        answer = python("import sys; print('out'); print('err', file=sys.stderr)")
        assert answer["exit_code"] == 0
        assert (answer["stdout"].split(), answer["stderr"].split()) == (["out"], ["err"])

    def test_failure(self) -> None:
        """Another exit code than 0 fails the task with the end of what it complained about."""
        with pytest.raises(CommandError, match=r"exited with 3: it broke"):
            python("import sys; print('it broke', file=sys.stderr); sys.exit(3)")

    def test_failure_that_is_expected(self) -> None:
        """With check: false any exit code is a result."""
        assert python("raise SystemExit(3)", check=False)["exit_code"] == 3

    def test_surroundings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Folder, environment and input are as given; null removes a variable."""
        monkeypatch.setenv("KALLISTA_TRIED_KEPT", "kept")
        monkeypatch.setenv("KALLISTA_TRIED_GONE", "gone")
        answer = python(
            "import os, sys; print(os.path.basename(os.getcwd()), sys.stdin.read(),"
            " *(os.environ.get('KALLISTA_TRIED_' + name) for name in ('KEPT', 'GONE', 'NEW')))",
            cwd=str(tmp_path),
            env={"KALLISTA_TRIED_GONE": None, "KALLISTA_TRIED_NEW": "new"},
            input="given",
        )
        assert answer["stdout"].split() == [tmp_path.name, "given", "kept", "None", "new"]

    def test_no_input(self) -> None:
        """Without input there is none: a program that asks does not hang."""
        assert python("import sys; print(repr(sys.stdin.read()))")["stdout"].strip() == "''"

    def test_input_that_nobody_reads(self) -> None:
        """A program that ends without reading a large input is no failure."""
        assert python("pass", input="x" * 1_000_000)["exit_code"] == 0

    def test_long_output(self) -> None:
        """Of a long stream start and end are kept, and it says how much is missing."""
        answer = python("print('a' * 100_000 + 'b' * 100_000, end='')")
        text = answer["stdout"]
        half = KEPT_BYTES // 2
        assert text.startswith("a" * half)
        assert text.endswith("b" * half)
        assert f"… {200_000 - KEPT_BYTES:,} bytes cut out …" in text

    def test_output_at_the_limit(self) -> None:
        """Nothing is cut from what just fits."""
        assert python(f"print('a' * {KEPT_BYTES}, end='')")["stdout"] == "a" * KEPT_BYTES

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"command": ["kallista-no-such-program"]}, "there is no program 'kallista-no-such"),
            ({"command": [sys.executable], "cwd": "no/such/folder"}, r"there is no folder '.*cwd"),
        ],
    )
    def test_what_cannot_be_started(self, config: Any, message: str) -> None:
        """A missing program or folder is told as such."""
        with pytest.raises(CommandError, match=message):
            run(SHELL, config)

    @posix
    def test_text_for_the_shell(self) -> None:
        """A text is run by the shell, when that was asked for."""
        config: Any = {"command": "echo $((1 + 2)) | cat", "shell": True}
        assert run(SHELL, config)["stdout"] == "3\n"

    def test_problems(self) -> None:
        """A text without shell, a list with it and an empty command are problems at creation."""
        assert "add shell: true" in problems(SHELL, command="ls -l")[0]
        assert "leave shell out" in problems(SHELL, command=["ls"], shell=True)[0]
        assert "is empty" in problems(SHELL, command=[])[0]
        assert problems(SHELL, ("command",), command="${inputs.c}") == []
        with pytest.raises(UsageError, match="add shell: true"):
            run(SHELL, {"command": "ls -l"})

    @posix
    @pytest.mark.parametrize("reaction", ["signal.SIG_DFL", "signal.SIG_IGN"])
    def test_cancelled_with_all_it_started(
        self, reaction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancelled task ends its program and what that has started, even if they refuse."""
        monkeypatch.setattr("kallista.tasks.shell._PATIENCE", 0.01)
        fifo = tmp_path / "alive"
        os.mkfifo(fifo)
        inner = f"""
import signal
signal.signal(signal.SIGTERM, {reaction})
f = open({str(fifo)!r}, "w")
f.write("x")
f.flush()
while True:
    signal.pause()
"""
        outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"

        async def scene() -> None:
            config: Any = {"command": [sys.executable, "-c", outer]}
            task = asyncio.ensure_future(answered(SHELL, config))
            loop = asyncio.get_running_loop()
            reader = await loop.run_in_executor(None, open, fifo)
            assert await loop.run_in_executor(None, reader.read, 1) == "x"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Whoever held the other end is gone: what is left to read is the end of the file.
            assert await loop.run_in_executor(None, reader.read) == ""
            reader.close()

        asyncio.run(asyncio.wait_for(scene(), 30))

    @posix
    def test_left_in_the_background(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A program that leaves another one running does not keep the task from ending."""
        monkeypatch.setattr("kallista.tasks.shell._PATIENCE", 0.01)
        fifo = tmp_path / "held"
        os.mkfifo(fifo)
        answer = run(SHELL, {"command": f"echo first; cat {fifo} & echo last", "shell": True})
        fifo.open("w").close()
        assert answer["stdout"].split() == ["first", "last"]
