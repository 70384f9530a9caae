"""Lets programs on one machine tell each other at once that something was written.

Each program that listens hangs up a bell: a port on the loopback interface, and a file named after
it beside the store, locked as long as the program lives. Who has written rings all bells but its
own. A ring is only a hint to look: one may get lost, and a bell that cannot be hung up is no harm.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from kallista.store.sqlite.file_locks import FileLock

HOST: Final = "127.0.0.1"

PAUSE: Final = 0.02
"""How many seconds lie between two rings at least: a busy program must not make others busy."""

SETTLED: Final = 100_000_000
"""After how many nanoseconds a folder's time of change tells the next change apart from it."""

STALE: Final = 60.0
"""After how many seconds a bell's file that nobody has locked is taken for a dead program's."""


class Bell:
    """One program's bell; it is heard on the event loop.

    Args:
        folder: Where the files of all bells lie.
        ring: What is to be called.

    Raises:
        OSError: It cannot be hung up here.
    """

    def __init__(self, folder: Path, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._pause: asyncio.TimerHandle | None = None
        self._missed = False
        folder.mkdir(exist_ok=True)
        _take_down_the_dead(folder)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((HOST, 0))
            self._socket.setblocking(False)
            self.port: int = self._socket.getsockname()[1]
            self._file = _hang_up(folder, self.port)
        except BaseException:
            self._socket.close()
            raise
        self._hearing = self._loop.create_task(self._hear())

    async def _hear(self) -> None:
        """Listen until cancelled; an event loop that cannot is no harm."""
        with suppress(OSError, NotImplementedError):
            transport, _ = await self._loop.create_datagram_endpoint(
                lambda: _Ear(self.heard), sock=self._socket
            )
            try:
                await self._loop.create_future()
            finally:
                transport.close()

    def heard(self) -> None:
        """Somebody rang: ring now, or once the pause after the ring before is over."""
        if self._pause is None:
            self._pause = self._loop.call_later(PAUSE, self._after_pause)
            self._ring()
        else:
            self._missed = True

    def _after_pause(self) -> None:
        self._pause = None
        if self._missed:
            self._missed = False
            self.heard()

    async def take_down(self) -> None:
        """Hear nothing any more."""
        self._file.remove()
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        if self._pause is not None:
            self._pause.cancel()
        self._socket.close()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._heard()


class Ringer:
    """Rings the bells of other programs; used by one thread.

    Args:
        folder: Where the files of all bells lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = str(folder)
        self._changed_at = 0
        self._ports: list[int] = []
        self._socket: socket.socket | None = None

    def ring(self, own: int | None) -> None:
        """Ring all bells but one's own; who cannot be reached will look by itself."""
        with suppress(OSError):
            self._look_who_listens()
            for port in self._ports:
                if port != own:
                    self._send(port)

    def _look_who_listens(self) -> None:
        changed_at = os.stat(self._name).st_mtime_ns
        if changed_at != self._changed_at:
            self._ports = [int(file.name) for file in self._folder.iterdir() if _is_bell(file)]
            if time.time_ns() - changed_at > SETTLED:
                self._changed_at = changed_at

    def _send(self, port: int) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        with suppress(OSError):
            self._socket.sendto(b"!", (HOST, port))

    def close(self) -> None:
        """Ring no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _hang_up(folder: Path, port: int) -> FileLock:
    """Make the file of a bell, which others find dead unless it is locked."""
    file = FileLock(folder / str(port))
    if not file.try_acquire():
        file.close()
        raise OSError(f"{file.path} is held by another program")
    return file


def _is_bell(file: Path) -> bool:
    return file.name.isdecimal()


def _take_down_the_dead(folder: Path) -> None:
    """Remove bells of programs that are gone; those that are just being hung up are left alone."""
    for path in filter(_is_bell, folder.iterdir()):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE:
                file = FileLock(path, create=False)
                if file.try_acquire():
                    file.remove()
                else:
                    file.close()
