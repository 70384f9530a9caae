"""What is of use only until a moment: nothing of it begins any more once that has come."""

from __future__ import annotations

from collections.abc import Mapping

from kallista.core.durations import to_datetime
from kallista.core.plan import WAKE, Entry
from kallista.core.run import Draft
from kallista.core.states import FINISHED_RUN
from kallista.core.types import Json, Micros


def expires_at(draft: Draft) -> Micros | None:
    """When the run expires; None: never, or it has begun or come to its end."""
    at = draft.run.expires_at
    if at is None or draft.ending is not None or draft.state in FINISHED_RUN:
        return None
    return None if has_begun(draft) else at


def has_begun(draft: Draft) -> bool:
    """Whether anything of the run has ever begun."""
    return any(draft.step(position).attempt for position in range(len(draft.run.steps)))


def is_expired(draft: Draft, now: Micros) -> bool:
    """Whether the run's moment has come before anything of it has begun."""
    if draft.run.expires_at is None:
        return False
    at = expires_at(draft)
    return at is not None and at <= now


def had_expired(draft: Draft, now: Micros) -> bool:
    """Whether that is so of a run that has come to its end: then nobody can let it go on."""
    at = draft.run.expires_at
    return at is not None and at <= now and not has_begun(draft)


def why_expired(draft: Draft) -> Mapping[str, Json]:
    """The reason, as it stands in history."""
    at = to_datetime(draft.run.expires_at or 0)
    told = f"expired: nothing of it had begun by {at:%Y-%m-%d %H:%M:%S} UTC"
    return {"reason": told}


def queue_expiry(draft: Draft) -> None:
    """Let whoever is there look at the run when it expires."""
    at = None if draft.run.expires_at is None else expires_at(draft)
    if at is not None:
        draft.queue(Entry(WAKE, draft.run.priority, at))
