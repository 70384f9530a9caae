"""How far a step is that does the same with each item of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from kallista.core.ids import content_hash
from kallista.core.json_text import from_json, to_json
from kallista.core.types import Json, JsonText


class Items(Struct, frozen=True, gc=False):
    """The items of one step: what has begun, and what has become of it.

    It takes no more room for a long list than for a short one: of the items that have completed
    only their number is known here, for their runs tell the rest.

    Args:
        count: How many items there are.
        mark: By which it is known whether the list is still the same.
        begun: How many have begun; the next one is at this place in the list.
        open: Those whose runs are under way, ascending.
        failed: Those that have begun and did not complete, and run again when the run is retried.
        passed: How many have failed where that is let pass.
        size: How many bytes the results have together, as far as they are collected.
        why: Why the step will fail, once nothing is under way any more; empty: it need not.
    """

    count: int
    mark: str
    begun: int = 0
    open: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    passed: int = 0
    size: int = 0
    why: str = ""

    @property
    def completed(self) -> int:
        """How many have completed."""
        return self.begun - len(self.open) - len(self.failed) - self.passed

    @property
    def is_done(self) -> bool:
        """Whether all items have completed, but for those whose failure is let pass."""
        is_left = self.open or self.failed or self.why
        return not is_left and self.begun == self.count


def mark_of(values: list[Json]) -> str:
    """What tells one list from another."""
    return content_hash(values)[:16]


def items_data(items: Items) -> dict[str, Json]:
    """How far a step is, as it stands in the events of the step."""
    data: dict[str, Json] = {
        "count": items.count, "mark": items.mark, "begun": items.begun, "open": list(items.open),
    }  # fmt: skip
    if items.failed:
        data["failed"] = list(items.failed)
    if items.passed:
        data["passed"] = items.passed
    if items.size:
        data["size"] = items.size
    if items.why:
        data["why"] = items.why
    return {"items": data}


def items_in(data: JsonText | None) -> Items | None:
    """How far a step was when an event happened to it; None: the event does not say."""
    told = None if data is None else from_json(data)
    if not isinstance(told, dict) or "items" not in told:
        return None
    known = cast("Mapping[str, Any]", told["items"])
    return Items(
        count=known["count"],
        mark=known["mark"],
        begun=known["begun"],
        open=tuple(known["open"]),
        failed=tuple(known.get("failed", ())),
        passed=known.get("passed", 0),
        size=known.get("size", 0),
        why=known.get("why", ""),
    )


def with_items(data: JsonText | None, items: Items) -> JsonText:
    """What an event says of a step, and how far the step is."""
    told = None if data is None else from_json(data)
    said: dict[str, Json] = told if isinstance(told, dict) else {}
    if isinstance(told, str):
        said = {"reason": told}
    return to_json({**said, **items_data(items)})
