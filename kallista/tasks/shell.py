"""The task type ``shell``: runs a program, keeps a bounded part of what it prints, and ends it."""

from __future__ import annotations

import asyncio
import locale
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

from kallista.core.types import Json
from kallista.errors import KallistaError, UsageError

KEPT_BYTES: Final = 64 * 1024
"""How much of each stream a result keeps: half from its start and half from its end."""

_TOLD: Final = 2_000
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
    running = await _started(name, command, cwd, env, input)
    try:
        exit_code = await running.finished()
    except BaseException:
        await _end(running)
        raise
    finally:
        running.close()
    if check and exit_code != 0:
        raise CommandError(_failure(name, exit_code, str(running.stderr)))
    return {
        "exit_code": exit_code,
        "stdout": str(running.stdout),
        "stderr": str(running.stderr),
    }


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


class _Running(asyncio.SubprocessProtocol):
    """A program that runs, and what it has printed so far.

    asyncio's own ``Process.wait`` waits until all streams are closed, which a program left running
    in the background may put off for ever; so exit and streams are waited for apart.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.stdout = _Excerpt()
        self.stderr = _Excerpt()
        self._transport: asyncio.SubprocessTransport | None = None
        self._open = {1: self.stdout, 2: self.stderr}
        self._closed = loop.create_future()
        self._exited: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has started."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It has printed something."""
        if fd in self._open:
            self._open[fd].add(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """A stream has ended."""
        self._open.pop(fd, None)
        if not self._open and not self._closed.done():
            self._closed.set_result(None)

    def process_exited(self) -> None:
        """It has ended; something it has started may go on."""
        if not self._exited.done():
            self._exited.set_result(None)

    @property
    def transport(self) -> asyncio.SubprocessTransport:
        """The way to it."""
        assert self._transport is not None, "it has started"
        return self._transport

    def feed(self, text: str) -> None:
        """Hand it all of its standard input."""
        stdin = cast(asyncio.WriteTransport, self.transport.get_pipe_transport(0))
        stdin.write(text.encode())
        stdin.close()

    async def finished(self) -> int:
        """Its exit code, once it has ended and its streams have, or soon after."""
        await self.exited()
        await asyncio.wait([self._closed], timeout=_PATIENCE)
        exit_code = self.transport.get_returncode()
        assert exit_code is not None, "it has ended"
        return exit_code

    async def exited(self, timeout: float | None = None) -> None:
        """Wait for its end, for so many seconds at most."""
        await asyncio.wait([self._exited], timeout=timeout)

    def close(self) -> None:
        """Let go of its streams."""
        self.transport.close()


async def _started(
    name: str,
    command: Sequence[str] | str,
    cwd: str | None,
    env: Mapping[str, str | None] | None,
    input: str | None,
) -> _Running:
    options: dict[str, Any] = {
        "cwd": cwd,
        "env": _environment(env),
        "stdin": subprocess.DEVNULL if input is None else subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **_own_group(),
    }
    loop = asyncio.get_running_loop()
    try:
        if isinstance(command, str):
            _, running = await loop.subprocess_shell(_Running, command, **options)
        else:
            _, running = await loop.subprocess_exec(_Running, *command, **options)
    except FileNotFoundError as error:
        missing = f"no folder {cwd!r} (cwd)" if error.filename == cwd else f"no program {name!r}"
        raise CommandError(f"{name!r} cannot be started: there is {missing}") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{name!r} cannot be started: {error}") from error
    if input is not None:
        running.feed(input)
    return running


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str] | None:
    if not changes:
        return None
    merged = {**os.environ, **changes}
    return {key: value for key, value in merged.items() if value is not None}


if sys.platform == "win32":

    def _own_group() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    async def _end(running: _Running) -> None:
        """End the program and everything it has started."""
        killer = await asyncio.create_subprocess_exec(
            "taskkill", "/PID", str(running.transport.get_pid()), "/T", "/F",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await killer.wait()
        await running.exited(_PATIENCE)

else:

    def _own_group() -> dict[str, Any]:
        return {"start_new_session": True}

    async def _end(running: _Running) -> None:
        """End the program and everything it has started: asked first, and made to soon after."""
        group = running.transport.get_pid()
        if _signal_group(group, signal.SIGTERM):
            await running.exited(_PATIENCE)
            _signal_group(group, signal.SIGKILL)
        await running.exited(_PATIENCE)

    def _signal_group(group: int, number: signal.Signals) -> bool:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # nobody of the group is left
            return False
        return True


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
