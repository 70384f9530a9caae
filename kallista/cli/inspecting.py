"""What can be learned without running anything: task types, whether a file is right, the schema."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from kallista.cli.files import load_file
from kallista.errors import NotFoundError

if TYPE_CHECKING:
    from kallista.app import TypeInfo
    from kallista.cli.session import Session
    from kallista.core.parsing import Document


def task_types(session: Session, names: Sequence[str]) -> list[TypeInfo]:
    """The task types that this program has.

    Args:
        session: The options.
        names: Only these; all when there are none.

    Raises:
        NotFoundError: There is no such type.
    """
    found = {info.type: info for info in session.app().task_types()}
    missing = [name for name in names if name not in found]
    if missing:
        near = get_close_matches(missing[0], found, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(found)}"
        raise NotFoundError(f"there is no task type {missing[0]!r}; {hint}")
    return [info for name, info in found.items() if not names or name in names]


async def checked(session: Session, file: str) -> Document:
    """What a definition file holds, checked.

    Args:
        session: The options.
        file: The file.

    Raises:
        UsageError: It has problems; all of them are listed.
    """
    data = load_file(file, session.settings.max_definition_bytes)
    if session.has_store:
        async with session.app() as app:
            return await app.check(data)
    # Checking makes no store: one beside it holds the names that ship, and is gone afterwards.
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{(Path(folder) / 'empty.db').as_posix()}"
        async with session.app(url=url) as app:
            return await app.check(data)


def schema_text() -> str:
    """The JSON Schema of definition files."""
    from kallista.core.schema import definition_schema

    return json.dumps(definition_schema(), indent=2) + "\n"
