"""What is said of an id that belongs to nothing."""

from __future__ import annotations

from kallista.core.durations import to_datetime
from kallista.core.ids import may_exist
from kallista.core.types import RunId
from kallista.errors import NotFoundError
from kallista.store.port import Store


async def nothing(store: Store, what: str, id: str) -> NotFoundError:
    """The error for whoever asks for an id that is not there.

    Args:
        store: Where it was looked for.
        what: What was looked for.
        id: Its id; of what was deleted it is said how it had ended.
    """
    tombstone = await store.tombstone(RunId(id)) if may_exist(id) else None
    if tombstone is not None:
        at = to_datetime(tombstone.deleted_at)
        return NotFoundError(
            f"{tombstone.kind} {id!r} was deleted at {at:%Y-%m-%d %H:%M:%S} UTC;"
            f" it was {tombstone.status}"
        )
    return NotFoundError(f"no {what} has the id {id!r}; list shows those that exist")
