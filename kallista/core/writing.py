"""What the store writes of a decision."""

from __future__ import annotations

from kallista.core.birth import newborn_child
from kallista.core.plan import Fence, NewRun, Ownership, Plan
from kallista.core.run import Draft
from kallista.core.states import RunKind
from kallista.core.types import RunKey


def plan_of(draft: Draft, key: RunKey, fence: Fence, ownership: Ownership | None) -> Plan:
    """The plan of a draft.

    Args:
        draft: What was decided.
        key: The run's key.
        fence: What the store checks first.
        ownership: Who drives the run afterwards; None leaves that as it is.
    """
    return Plan(  # by position, which is faster: each plan that is written is made here
        key,
        fence,
        draft.head,
        ownership,
        tuple(draft.events),
        tuple(draft.changed.items()),
        enqueue=tuple(draft.enqueue),
        dequeue=tuple(draft.dequeue),
        create=_children(draft, key) if draft.children else (),
        wake=tuple(draft.wake),
        wake_parent=draft.wake_parent,
        announce=draft.announce,
        tell_owner=fence.epoch is None and ownership is None,
        lend=tuple(draft.lend),
        recall=tuple(draft.stopped) if draft.run.kind is RunKind.PROCESS else (),
        settle=tuple(draft.settle),
    )


def _children(draft: Draft, key: RunKey) -> tuple[NewRun, ...]:
    now, priority = draft.events[-1].at, draft.run.priority
    return tuple([newborn_child(child, key, priority, now) for child in draft.children])
