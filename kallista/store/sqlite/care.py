"""What is done to the file as a whole: looked through for damage, beside all other work."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from kallista.store.sqlite.connection import connect, translated

_TOLD_AT_MOST: Final = 100


def damage(path: Path, busy_timeout: float, vfs: str | None, quick: bool) -> Sequence[str]:
    """What SQLite finds wrong with a file; it reads all of it, on a connection of its own.

    Args:
        path: The database file, which exists.
        busy_timeout: Seconds to wait while another program recovers the file after a crash.
        vfs: The SQLite file layer; None: the operating system's.
        quick: Leave out whether indexes and tables agree.

    Returns:
        A sentence each; empty when all is well.

    Raises:
        StoreError: It cannot even be read.
    """
    with translated(path, "check"), closing(connect(path, busy_timeout, vfs)) as db:
        return unsound(db, quick)


def unsound(db: apsw.Connection, quick: bool = False) -> Sequence[str]:
    """What SQLite finds wrong, a sentence each.

    Args:
        db: A connection to the file.
        quick: Leave out whether indexes and tables agree.
    """
    check = "quick_check" if quick else "integrity_check"
    try:
        found = [str(told) for (told,) in db.execute(f"PRAGMA {check}({_TOLD_AT_MOST})")]
    except apsw.CorruptError as error:
        return [f"the file is damaged: {error}"]
    return [] if found == ["ok"] else [line for told in found for line in told.splitlines()]
