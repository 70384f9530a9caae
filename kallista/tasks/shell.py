"""The task type ``shell``: runs a program, keeps a bounded part of what it prints, and ends it."""

from __future__ import annotations

import asyncio
import locale
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kallista.core.types import Json
from kallista.errors import KallistaError, UsageError

KEPT_BYTES: Final = 64 * 1024
"""How much of each stream a result keeps: half from its start and half from its end."""

_TOLD: Final = 2_000
_CHUNK: Final = 64 * 1024
_PATIENCE: Final = 2.0


class CommandError(KallistaError):
    """A command could not be started, or ended with another exit code than 0."""


async def shell(
    command: list[str] | str,
    shell: bool = False,
    cwd: str | None = None,
    env: dict[str, str | None] | None = None,
    input: str | None = None,
    check: bool = True,
) -> dict[str, object]:
    """Run a command; when the task is cancelled or out of time, all it has started is ended.

    Args:
        command: The program and its arguments; one text only together with ``shell: true``.
        shell: Let the system's shell read the command.
        cwd: The folder it works in; the program's own when not said.
        env: Environment variables beside the program's own; null removes one.
        input: What it reads from its standard input.
        check: Fail the task when the exit code is not 0.

    Returns:
        ``exit_code``, ``stdout`` and ``stderr``; of a long stream the middle is cut out.

    Raises:
        CommandError: It cannot be started, or its exit code is not 0.
        UsageError: The command does not fit ``shell``.
    """
    for problem in _command_problems(command, shell):
        raise UsageError(problem)
    name = command.split()[0] if isinstance(command, str) else command[0]
    process = await _started(name, command, cwd, env, input is not None)
    try:
        stdout, stderr = await _communicated(process, input)
    except BaseException:
        await _end(process)
        raise
    exit_code = process.returncode
    assert exit_code is not None, "it was waited for"
    if check and exit_code != 0:
        raise CommandError(_failure(name, exit_code, str(stderr)))
    return {"exit_code": exit_code, "stdout": str(stdout), "stderr": str(stderr)}


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """Whether the command fits ``shell``."""
    if "command" in unresolved or "shell" in unresolved:
        return ()
    return _command_problems(config["command"], config.get("shell", False))


def _command_problems(command: object, shell: object) -> Sequence[str]:
    if not command or (isinstance(command, str) and not command.strip()):
        return ["command is empty; give a program and its arguments, like [git, status]"]
    if isinstance(command, str) and not shell:
        return ["command is one text; give a list like [git, status], or add shell: true"]
    if not isinstance(command, str) and shell:
        return ["command is a list; with shell: true give one text, or leave shell out"]
    return ()


class _Excerpt:
    """The start and the end of a stream, within bounds however long it is."""

    def __init__(self) -> None:
        self._start = bytearray()
        self._end = bytearray()
        self._length = 0

    def add(self, data: bytes) -> None:
        """Take in what was read."""
        self._length += len(data)
        room = KEPT_BYTES // 2 - len(self._start)
        self._start += data[:room]
        self._end += data[room:] if room > 0 else data
        if len(self._end) > KEPT_BYTES:
            del self._end[: -KEPT_BYTES // 2]

    def __str__(self) -> str:
        end = bytes(self._end[-KEPT_BYTES // 2 :])
        cut = self._length - len(self._start) - len(end)
        if cut == 0:
            return _text(bytes(self._start) + end)
        return f"{_text(bytes(self._start))}\n… {cut:,} bytes cut out …\n{_text(end)}"


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(locale.getpreferredencoding(False), "replace")


async def _started(
    name: str,
    command: Sequence[str] | str,
    cwd: str | None,
    env: Mapping[str, str | None] | None,
    has_input: bool,
) -> asyncio.subprocess.Process:
    options: dict[str, Any] = {
        "cwd": cwd,
        "env": _environment(env),
        "stdin": subprocess.PIPE if has_input else subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **_own_group(),
    }
    try:
        if isinstance(command, str):
            return await asyncio.create_subprocess_shell(command, **options)
        return await asyncio.create_subprocess_exec(*command, **options)
    except FileNotFoundError as error:
        missing = f"no folder {cwd!r} (cwd)" if error.filename == cwd else f"no program {name!r}"
        raise CommandError(f"{name!r} cannot be started: there is {missing}") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{name!r} cannot be started: {error}") from error


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str] | None:
    if not changes:
        return None
    merged = {**os.environ, **changes}
    return {key: value for key, value in merged.items() if value is not None}


if sys.platform == "win32":

    def _own_group() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    async def _end(process: asyncio.subprocess.Process) -> None:
        """End the process and everything it has started."""
        if process.returncode is not None:
            return
        killer = await asyncio.create_subprocess_exec(
            "taskkill", "/PID", str(process.pid), "/T", "/F",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await killer.wait()
        await process.wait()

else:

    def _own_group() -> dict[str, Any]:
        return {"start_new_session": True}

    async def _end(process: asyncio.subprocess.Process) -> None:
        """End the process and everything it has started: asked first, and made to soon after."""
        if _signal_group(process, signal.SIGTERM) and process.returncode is None:
            waiting = asyncio.ensure_future(process.wait())
            await asyncio.wait([waiting], timeout=_PATIENCE)
            waiting.cancel()
        _signal_group(process, signal.SIGKILL)
        await process.wait()

    def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> bool:
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):  # nobody of the group is left
            return False
        return True


async def _communicated(
    process: asyncio.subprocess.Process, input: str | None
) -> tuple[_Excerpt, _Excerpt]:
    stdout, stderr = _Excerpt(), _Excerpt()
    streams = [
        asyncio.ensure_future(_read(process.stdout, stdout)),
        asyncio.ensure_future(_read(process.stderr, stderr)),
        asyncio.ensure_future(_write(process, input)),
    ]
    try:
        await process.wait()
        # What it left running in the background may hold its streams open for ever.
        done, _ = await asyncio.wait(streams, timeout=_PATIENCE)
        for stream in done:
            stream.result()
    finally:
        for stream in streams:
            stream.cancel()
    return stdout, stderr


async def _read(stream: asyncio.StreamReader | None, into: _Excerpt) -> None:
    assert stream is not None, "both streams are pipes"
    while data := await stream.read(_CHUNK):
        into.add(data)


async def _write(process: asyncio.subprocess.Process, input: str | None) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write((input or "").encode())
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        return  # it did not want to read all of it


def _failure(name: str, exit_code: int, stderr: str) -> str:
    how = f"exited with {exit_code}"
    if exit_code < 0:
        how = f"was ended by {_signal_name(-exit_code)}"
    told = stderr.strip()
    if not told:
        return f"{name!r} {how}"
    if len(told) > _TOLD:
        told = f"…{told[-_TOLD:]}"
    return f"{name!r} {how}: {told}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
