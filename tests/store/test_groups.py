"""What one program asks for at a time is written in few statements, and answered in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kallista.core.events import RunHead
from kallista.core.plan import Fence, Plan
from kallista.core.types import RunKey
from kallista.store.births import Creation
from kallista.store.groups import ending_with_creations, write_group
from kallista.testing.store_contract import new_run


@dataclass(frozen=True)
class Request:
    """A request that nobody waits for."""

    what: object


class Written:
    """Notes what is written in one go, and answers with what was asked."""

    def __init__(self) -> None:
        self.goes: list[list[object]] = []

    def __call__(self, group: Sequence[object]) -> list[object]:
        return write_group(
            [Request(what) for what in group],
            self.many,
            self.many,
            lambda request: self.many([request.what])[0],
        )

    def many(self, what: Sequence[object]) -> list[object]:
        self.goes.append(list(what))
        return list(what)


def plan(run: int, version: int = 1) -> Plan:
    return Plan(RunKey(run), Fence(version, None), RunHead())


def creation(id: str) -> Creation:
    return Creation([new_run(id)])


def test_what_alternates_is_written_in_two_goes() -> None:
    """A plan, a creation, a plan …: all plans at once, then all creations, answered in order."""
    group = [what for n in range(50) for what in (plan(n), creation(f"run-{n}"))]
    write = Written()
    assert write(group) == group
    assert write.goes == [group[::2], group[1::2]]


def test_the_second_plan_of_a_run_comes_after_the_first() -> None:
    """It may rest on what the first one wrote; so does all that was asked after it."""
    group = [plan(1), creation("a"), plan(2), plan(1, 2), creation("b"), plan(3)]
    write = Written()
    assert write(group) == group
    assert write.goes == [[group[0], group[2]], [group[1]], [group[3], group[5]], [group[4]]]


def test_anything_else_keeps_its_place() -> None:
    """A claim sees what was asked before it, and nothing of what was asked after it."""
    group = [plan(1), "claim", creation("a"), plan(2), "claim again"]
    write = Written()
    assert write(group) == group
    assert write.goes == [[group[0]], ["claim"], [group[3]], [group[2]], ["claim again"]]


def test_an_empty_group_writes_nothing() -> None:
    """Nobody is answered, and nothing is written."""
    write = Written()
    assert write([]) == []
    assert write.goes == []


def test_a_part_ends_with_what_is_created() -> None:
    """Whoever waits for another program, to count say, has created nothing meanwhile."""
    group = [
        plan(1), creation("a"), plan(2),
        "beat", plan(3), plan(3, 2), creation("b"),
        plan(3, 3), "claim",
    ]  # fmt: skip
    parts = [[asked.what for asked in part] for part in ending_with_creations(map(Request, group))]
    assert parts == [group[:3], group[3:7], group[7:]]
    assert list(ending_with_creations([])) == []
