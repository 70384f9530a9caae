"""What the store writes of a decision."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from kallista.core.birth import newborn_child
from kallista.core.decide.limiting import with_gates
from kallista.core.decide.lines import priority_of
from kallista.core.definitions import Definition
from kallista.core.encoding import definition_hash, definition_text
from kallista.core.plan import Fence, NewRun, Ownership, Plan, Redefinition
from kallista.core.run import Draft
from kallista.core.states import HEARD, RunKind
from kallista.core.types import RunKey

# A member of an enumeration costs more to look up on its class than a constant.
_PROCESS: Final = RunKind.PROCESS


def plan_of(
    draft: Draft,
    key: RunKey,
    fence: Fence,
    ownership: Ownership | None,
    heard: Collection[int] = (),
) -> Plan:
    """The plan of a draft.

    Args:
        draft: What was decided.
        key: The run's key.
        fence: What the store checks first.
        ownership: Who drives the run afterwards; None leaves that as it is.
        heard: The steps that may have heartbeats in the store.
    """
    is_from_outside = fence.epoch is None and ownership is None
    definition = draft.run.definition
    is_process = definition.kind is _PROCESS
    recall = tuple(draft.stopped) if is_process else ()
    plan = Plan(  # by position: 18 names cost 1 µs
        key,
        fence,
        draft.head,
        ownership,
        tuple(draft.events),
        tuple(draft.changed.items()),
        tuple(draft.enqueue),
        tuple(draft.dequeue),
        _children(draft, key) if draft.children else (),
        tuple(draft.wake),
        draft.wake_parent,
        draft.announce,
        is_from_outside,
        tuple(draft.lend),
        recall,
        tuple(draft.settle),
        () if draft.failures is None else tuple(draft.failures.items()),
        draft.budget,
        tuple([at for at in heard if draft.step(at).status not in HEARD]) if heard else (),
        None if draft.own_inbox is None else draft.own_inbox.changes,
    )
    return with_gates(plan, draft) if definition.limited else plan


def redefining(plan: Plan, definition: Definition) -> Plan:
    """The same plan of a run that runs another definition from now on."""
    hash, text = definition_hash(definition), definition_text(definition)
    return replace(plan, redefine=Redefinition(hash, text, len(definition.steps)))


def _children(draft: Draft, key: RunKey) -> tuple[NewRun, ...]:
    now = draft.events[-1].at
    return tuple(
        [newborn_child(child, key, priority_of(draft, child.step), now) for child in draft.children]
    )
