"""What a step does that has work for each item of a list: it begins them one by one.

An item is a child run. No more than ``max_parallel`` of them are under way at a time: the next one
begins in the decision that learns of the end of another, so that the bound holds whatever dies. One
that fails lets no other begin, unless its failure is let pass; what is under way ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from kallista.core.cel_paths import shown
from kallista.core.commands import ItemSeen, ItemsSeen
from kallista.core.decide.failures import failure_data
from kallista.core.decide.lines import item_of, look_entry_of
from kallista.core.decide.values import evaluated, scope
from kallista.core.definitions import MapSpec
from kallista.core.items import Items, items_data, mark_of
from kallista.core.json_text import from_json, to_json
from kallista.core.outcomes import Failure
from kallista.core.run import Child, Draft
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, EventKind, ProcessStatus, TaskStatus
from kallista.core.types import Json, JsonText, Micros
from kallista.core.wiring import wiring
from kallista.errors import ExpressionError

_TOLD: Final = 500
"""How much of a failure is kept of one item: its own run tells all of it."""


def begin_items(draft: Draft, position: int, mapped: MapSpec, now: Micros) -> None:
    """It is the turn of a step: begin its first items, or those that did not complete before.

    Raises:
        ExpressionError: What it is to go through is no list, or cannot be told.
    """
    values = _list_of(draft, position, mapped)
    attempt = draft.step(position).attempt + 1
    before = draft.items_at(position) or Items(len(values), mark_of(values))
    again = sorted((*before.open, *before.failed))
    items = replace(before, open=(), failed=())
    if again or before.begun < before.count:
        items = replace(items, why="")
    items = _begun(draft, position, mapped, items, attempt, again)
    draft.keep_items(position, items)
    draft.record(EventKind.TASK_WAITING, now, position, attempt, to_json(items_data(items)))
    _end(draft, position, mapped, None if before.completed else {}, now)


def on_items(draft: Draft, seen: ItemsSeen, mapped: MapSpec, now: Micros) -> None:
    """Runs of items have ended: others begin, or the step ends with the last of them."""
    position = seen.step
    step, before = draft.step(position), draft.items_at(position)
    if step.status is not TaskStatus.WAITING or before is None:
        return
    items = before
    results: dict[int, JsonText] = {}
    for item in seen.items:
        if item.index not in items.open or item.state not in FINISHED_RUN:
            continue
        if _runs_again(draft, position, item):
            draft.wake_up(item_of(draft, position, item.index))
            continue
        items = _ended(draft, position, items, item)
        if item.result is not None:
            results[item.index] = item.result
    items = _counted(items, results, seen.most)
    if draft.state in ACTIVE_RUN and not draft.is_over(position):
        items = _begun(draft, position, mapped, items, step.attempt, ())
    if items == before and items.open:
        return
    draft.keep_items(position, items)
    known = None if seen.earlier is None else {**seen.earlier, **results}
    if items != before and (items.open or not items.is_done or known is None):
        fit = results if items.size <= seen.most else {}
        told: dict[str, Json] = {str(index): from_json(text) for index, text in fit.items()}
        data = {**items_data(items), **({"results": told} if told else {})}
        draft.record(EventKind.TASK_ADVANCED, now, position, step.attempt, to_json(data))
    _end(draft, position, mapped, known, now)


def _runs_again(draft: Draft, position: int, item: ItemSeen) -> bool:
    """Whether a run that has failed has not heard yet that it is retried with its parent."""
    is_old = item.attempt < draft.step(position).attempt
    return is_old and item.state is not ProcessStatus.COMPLETED and not draft.is_over(position)


def _ended(draft: Draft, position: int, items: Items, item: ItemSeen) -> Items:
    """The same, with the end of one item."""
    left = replace(items, open=tuple(index for index in items.open if index != item.index))
    if item.state is ProcessStatus.COMPLETED:
        return left
    is_old = item.attempt < draft.step(position).attempt
    if draft.is_over(position) and (is_old or item.state is ProcessStatus.CANCELLED):
        return replace(left, failed=(*left.failed, item.index))
    why = item.message or f"it is {item.state}"
    return _failed(draft, position, left, item.index, why)


def _failed(draft: Draft, position: int, items: Items, index: int, why: str) -> Items:
    if draft.run.definition.steps[position].continue_on_error:
        return replace(items, passed=items.passed + 1)
    told = items.why or f"item {index}: {why[:_TOLD]}"
    return replace(items, failed=(*items.failed, index), why=told)


def _counted(items: Items, results: Mapping[int, JsonText], most: int) -> Items:
    """The same, with the size of what was returned; too much of it cannot be one result."""
    if not results:
        return items
    size = items.size + sum(len(text.encode()) + 1 for text in results.values())
    if size <= most or items.why:
        return replace(items, size=size)
    why = (
        f"the results of {items.completed:,} items have {size:,} bytes together, and a payload may"
        f" have {most:,}; say collect: false, which leaves them with their items, or write them to"
        " files and return the names"
    )
    return replace(items, size=size, why=why)


def _begun(
    draft: Draft,
    position: int,
    mapped: MapSpec,
    items: Items,
    attempt: int,
    again: Sequence[int],
) -> Items:
    """The same, with as many items begun as may be under way; first those that begin again."""
    room = len(items.open) < mapped.max_parallel and items.begun < items.count
    if items.why or not (again or room):
        return items
    try:
        values = _list_of(draft, position, mapped)
        outer = scope(draft, wiring(draft.run.definition).steps[position].values)
    except ExpressionError as error:
        return replace(items, failed=(*items.failed, *again), why=str(error))
    for index in again:
        items = _begin(draft, position, mapped, items, index, values[index], outer, attempt)
        draft.wake_up(item_of(draft, position, index))
    while len(items.open) < mapped.max_parallel and items.begun < items.count and not items.why:
        index = items.begun
        items = replace(items, begun=index + 1)
        items = _begin(draft, position, mapped, items, index, values[index], outer, attempt)
    return items


def _begin(
    draft: Draft,
    position: int,
    mapped: MapSpec,
    items: Items,
    index: int,
    value: Json,
    outer: Mapping[str, Json],
    attempt: int,
) -> Items:
    compiled = wiring(draft.run.definition).steps[position].values
    inputs: Json = dict(mapped.child.inputs)
    if compiled is not None:
        try:
            inputs = compiled.evaluate({**outer, "item": value, "index": index})
        except ExpressionError as error:
            return _failed(draft, position, items, index, str(error))
    assert isinstance(inputs, dict), "a mapping stays one when its references are resolved"
    id = item_of(draft, position, index)
    draft.bear(Child(position, id, mapped.child.definition, inputs, attempt))
    return replace(items, open=(*items.open, index))


def _list_of(draft: Draft, position: int, mapped: MapSpec) -> list[Json]:
    """What a step goes through; found out once, for it may be long.

    Raises:
        ExpressionError: It is no list.
    """
    run = draft.run
    known = run.lists.get(position)
    if known is not None:
        return known
    compiled = wiring(run.definition).steps[position].items
    value = mapped.items if compiled is None else evaluated(draft, compiled)
    if not isinstance(value, list):
        raise ExpressionError(f"for_each goes through a list, and this is {shown(value)}")
    items = draft.items_at(position)
    if items is not None and items.mark != mark_of(value):
        raise ExpressionError(
            f"the list is another one than that of which {items.begun:,} items have begun; what"
            " they have done may not be right for this one, so create another run"
        )
    if run.steps[position].status is TaskStatus.WAITING:  # and so what it reads stays as it is
        run.lists = {**run.lists, position: value}
    return value


def _end(
    draft: Draft,
    position: int,
    mapped: MapSpec,
    results: Mapping[int, JsonText] | None,
    now: Micros,
) -> None:
    """End the step, if no item is under way and none is to begin.

    Args:
        draft: The draft.
        position: The step.
        mapped: What it does.
        results: What the items returned, by index; None: that has to be looked up first.
        now: The moment.
    """
    items, attempt = draft.items_at(position), draft.step(position).attempt
    assert items is not None, "a step that has begun knows how far it is"
    if items.open:
        return
    if items.is_done and results is None and mapped.collect:
        draft.queue(look_entry_of(draft, position))
    elif items.is_done:
        result = _result(mapped, items, results or {})
        draft.keep_output(position, result)
        data = {"result": result, **items_data(items)}
        draft.record(EventKind.TASK_COMPLETED, now, position, attempt, to_json(data))
    elif draft.is_over(position):
        data = items_data(items)
        draft.record(EventKind.TASK_CANCELLED, now, position, attempt, to_json(data))
    elif items.why:
        failure = failure_data(Failure("ItemsFailed", _told(items), None, ()))
        data = {**failure, **items_data(items)}
        draft.record(EventKind.TASK_FAILED, now, position, attempt, to_json(data))


def _told(items: Items) -> str:
    failed = f"{len(items.failed)} of {items.count:,} items did not complete; " * bool(items.failed)
    return f"{failed}{items.why}"


def _result(mapped: MapSpec, items: Items, results: Mapping[int, JsonText]) -> Json:
    """What the items returned, in their order; null stands for one that failed."""
    if not mapped.collect:
        return {"count": items.count, "completed": items.completed, "failed": items.passed}
    return [from_json(results.get(index, JsonText("null"))) for index in range(items.count)]
