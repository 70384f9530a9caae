"""Locks that the operating system takes back when a program dies, each on a file of its own.

They never lie on the database's own files: SQLite keeps its locks there, and on POSIX those vanish
when any other handle of the same file is closed. ``flock`` belongs to the open file, so two stores
in one program are told apart just as two programs are.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from kallista.errors import StoreUnavailableError

_FIRST_PAUSE = 0.000_05
_LONGEST_PAUSE = 0.000_5
_HOLDER_SIZE = 200

if sys.platform == "win32":
    import msvcrt

    # Windows forbids others to read what is locked, so the locked byte lies beyond the name.
    _LOCKED_BYTE = 1 << 20

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLock:
    """A lock on a file, held by one opener at a time until it lets go or dies.

    Args:
        path: The file; its content is the name of who took it last.
        create: Whether to make the file when there is none.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o666)
        self._closed = False

    def try_acquire(self) -> bool:
        """Take it if nobody has it."""
        return _lock(self._descriptor)

    def acquire(self, holder: bytes, timeout: float, purpose: str) -> None:
        """Take it as soon as it is free, and leave a name for those who wait.

        Asks again and again instead of queueing in the kernel: Windows has no such queue, and a
        wait that cannot be broken off could not tell its user who is in the way.

        Args:
            holder: Who takes it, padded by ``holder_name``.
            timeout: The longest wait in seconds.
            purpose: What it is wanted for, for the message.

        Raises:
            StoreUnavailableError: Somebody else has had it all the time.
        """
        if not _lock(self._descriptor):
            self._wait(timeout, purpose)
        with suppress(OSError):  # for want of a name nobody is to find it held for ever
            if self._name() != holder:
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, holder)

    def _wait(self, timeout: float, purpose: str) -> None:
        ends_at = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            time.sleep(pause)
            if _lock(self._descriptor):
                return
            if time.monotonic() >= ends_at:
                raise StoreUnavailableError(
                    f"could not {purpose} for {timeout:g} s: {self._holder()} holds"
                    f" {self.path.name}; if that program hangs, end it, and try again"
                )
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _holder(self) -> str:
        return self._name().decode("utf-8", "replace").strip() or "another program"

    def _name(self) -> bytes:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, _HOLDER_SIZE)

    def release(self) -> None:
        """Let go."""
        _unlock(self._descriptor)

    def close(self) -> None:
        """Let go and close the file, which stays; once closed, nothing happens."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def remove(self) -> None:
        """Let go, close the file, and delete it."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


def holder_name(name: str) -> bytes:
    """A name at a fixed length, so that a shorter one leaves nothing of a longer one."""
    return name.encode()[:_HOLDER_SIZE].ljust(_HOLDER_SIZE)
