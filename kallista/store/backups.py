"""Files that hold a backup: each is whole and durable under its name, or is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kallista.errors import StoreError, UsageError


@contextmanager
def new_backup(target: Path) -> Iterator[Path]:
    """A file to write beside the final place of a backup; in the end it is gone.

    Args:
        target: The file that is to hold the backup; its folder is made if need be.

    Yields:
        The file to write, which does not exist. Once it is whole, hand it to ``keep``.

    Raises:
        UsageError: The target is there already.
        StoreError: It cannot be written.
    """
    if target.exists():
        raise UsageError(f"{target} is there already, and a backup replaces nothing; name another")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"a backup cannot be written to {target}: {error.strerror or error}; choose another"
            " place, or free space there"
        ) from error


def keep(part: Path, target: Path) -> None:
    """Give a backup its name, once it is on the disk; that may take a while.

    Args:
        part: The whole backup, from ``new_backup``.
        target: Its final place.
    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    if os.name == "posix":  # Windows makes new names durable by itself, and opens no folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
