"""Backs the schema up by PostgreSQL's own program, which knows best how that is done."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kallista.errors import StoreError
from kallista.store.backups import keep, new_backup
from kallista.store.postgres.addresses import Address

_OPTIONS: Final = ("--format=custom", "--schema=kallista")
_TOLD: Final = 1_000


async def back_up(address: Address, target: Path) -> None:
    """Write the schema, as it is at this moment, to a file that ``pg_restore`` reads.

    Args:
        address: Where the database is.
        target: The new file.

    Raises:
        UsageError: The file is there already.
        StoreError: ``pg_dump`` is not there, or failed.
    """
    with new_backup(target) as part:
        dump = _program("pg_dump", address, target)
        connection, secrets = _connection(address)
        await _run([dump, *_OPTIONS, f"--file={part}", f"--dbname={connection}"], secrets)
        restore = shutil.which("pg_restore", path=str(Path(dump).parent))
        if restore is not None:
            listed = await _run([restore, "--list", str(part)], {})
            if " kallista runs " not in listed:
                raise StoreError("the backup holds no runs, so it was thrown away; try again")
        await asyncio.to_thread(keep, part, target)


def _program(name: str, address: Address, target: Path) -> str:
    found = shutil.which(name)
    if found is None:
        raise StoreError(
            f"a database is backed up by {name}, which is not installed here; install PostgreSQL's"
            " client programs, of the server's version or a newer one, or run where they are:"
            f" {name} {' '.join(_OPTIONS)} --file={target.name} postgresql://{address.place}"
        )
    return found


def _connection(address: Address) -> tuple[str, Mapping[str, str]]:
    """How the program connects; passwords go by the environment, where other users don't see."""
    settings = {name: str(value) for name, value in conninfo_to_dict(address.conninfo).items()}
    password = settings.pop("password", None)
    if settings.pop("sslpassword", None) is not None:
        raise StoreError(
            "pg_dump takes no sslpassword without showing it to other users of this machine; run"
            " it by hand, with a key that needs none"
        )
    return make_conninfo(**settings), {} if password is None else {"PGPASSWORD": password}


async def _run(command: Sequence[str], secrets: Mapping[str, str]) -> str:
    """What a program prints.

    Raises:
        StoreError: It failed; with what it says.
    """
    running = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **secrets},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, told = await running.communicate()
    except asyncio.CancelledError:
        running.kill()
        await running.wait()
        raise
    if running.returncode != 0:
        message = told.decode(errors="replace").strip()[-_TOLD:]
        raise StoreError(f"{Path(command[0]).name} failed, so there is no backup: {message}")
    return out.decode(errors="replace")
