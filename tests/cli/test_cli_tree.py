"""The tree of a run: every line tells what matters, and however large it is, it fits."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kallista.cli.tree import Node, brief, draw, fitted, node_of
from kallista.core.snapshots import RunError, StepSnapshot
from kallista.core.states import RunKind, TaskStatus
from kallista.core.types import StepId

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def before(seconds: float) -> datetime:
    """A moment that long ago."""
    return NOW - timedelta(seconds=seconds)


def step(id: str, status: str, **more: object) -> Node:
    """A step named like its id."""
    return Node(id, id, status, **more)  # type: ignore[arg-type]


def run(*children: Node, status: str = "RUNNING") -> Node:
    """A process of these steps that began ten seconds ago."""
    return Node("p", "Demo", status, RunKind.PROCESS, began=before(10), children=children)


def drawn(tree: Node, *, lines: int = 50, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of a tree on a terminal like this."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, legacy_windows=False)
    return [line.plain for line in draw(tree, console, lines, NOW)]


def test_a_tree_shows_signs_times_and_remarks() -> None:
    """Done, under way, and still to come, with the runs that steps have started inside theirs."""
    child = step("models", "COMPLETED", began=before(4), ended=before(3.5))
    tree = run(
        step("design", "COMPLETED", began=before(10), ended=before(5)),
        step("domain", "WAITING", began=before(5), children=(child,)),
        step("tests", "RUNNING", began=before(2), progress=0.5, told="at 7"),
        step("last", "SCHEDULED"),
    )
    assert drawn(tree) == [
        "▶ Demo  p       10.0 s  RUNNING",
        "├─ ✔ design      5.0 s",
        "├─ … domain      5.0 s",
        "│  └─ ✔ models  0.50 s",
        "├─ ▶ tests       2.0 s  ██████······ 50% at 7",
        "└─ · last",
    ]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """No character that it cannot show, and the same facts."""
    tree = run(step("a", "COMPLETED"), step("b", "RUNNING", progress=1.0), step("c", "FAILED"))
    for line in drawn(tree, encoding="cp1252"):
        line.encode("ascii")


@pytest.mark.parametrize(
    ("node", "remark"),
    [
        (step("a", "SCHEDULED", attempt=1, until=before(-3)), "attempt 2 in 3.0 s"),
        (step("a", "SCHEDULED", until=before(-3)), "in 3.0 s"),
        (step("a", "SCHEDULED", until=before(3)), ""),
        (step("a", "WAITING", attempt=1, until=before(-65)), "sleeps for another 1:05 min"),
        (step("a", "RUNNING", attempt=3), "attempt 3"),
        (step("a", "FAILED", told="ValueError: no"), "ValueError: no"),
        (step("a", "SKIPPED", told="'b' did not complete"), "skipped, 'b' did not complete"),
        (step("a", "CANCELLED"), "cancelled"),
        (Node("a", "Models and data", "RUNNING"), "Models and data"),
    ],
)
def test_a_remark_says_why(node: Node, remark: str) -> None:
    """What it waits for, how often it was tried, why it failed or never ran."""
    _, line = drawn(run(node))
    assert line[len("└─ · a") :].strip().removesuffix("0.00 s").strip() == remark


def test_a_narrow_terminal_cuts_lines_and_wraps_none() -> None:
    """A wrapped line would tear the tree apart."""
    tree = run(step("x" * 90, "FAILED", told="y" * 90, began=before(1)))
    assert all(len(line) <= 40 for line in drawn(tree, width=40))


def test_the_error_of_a_child_is_told_once() -> None:
    """The first line of the message, and the class without its module."""
    error = RunError(StepId("a"), "my.module.BadError", "first\nsecond", None, 1, None)
    assert brief(error) == "BadError: first"


def test_what_completed_is_folded_first() -> None:
    """When there is too little room, the insides of what is done go, what goes on stays."""
    inner = tuple(step(f"done-{n}", "COMPLETED") for n in range(10))
    going = step("going", "WAITING", children=(step("inside", "RUNNING"),))
    tree = run(step("done", "COMPLETED", children=inner), going)
    assert [node.id for _, node in fitted(tree, 6).walk()] == ["done", "going", "inside"]


def test_many_alike_are_counted() -> None:
    """A thousand steps that wait are one line, the failed one among them stays to be seen."""
    steps = [step(f"s{n}", "SCHEDULED") for n in range(1000)]
    steps[500] = step("bad", "FAILED")
    shown = [node.id for _, node in fitted(run(*steps), 20).walk()]
    assert shown == ["500 steps", "bad", "499 steps"]


_WORDS = st.text(st.characters(exclude_categories=["C", "Z", "M"]), min_size=1, max_size=30)
_STATUSES = st.sampled_from(["COMPLETED", "RUNNING", "FAILED", "SCHEDULED", "WAITING", "SKIPPED"])
_NODES = st.recursive(
    st.builds(step, _WORDS, _STATUSES, told=_WORDS, progress=st.none() | st.floats()),
    lambda inner: st.builds(
        lambda id, status, children: step(id, status, children=tuple(children)),
        _WORDS,
        _STATUSES,
        st.lists(inner, max_size=6),
    ),
    max_leaves=60,
)


@given(_NODES, st.integers(1, 30), st.integers(20, 120))
def test_however_large_it_fits(node: Node, lines: int, width: int) -> None:
    """No tree takes more lines or columns than there are."""
    shown = drawn(run(node), lines=lines, width=width)
    assert 1 <= len(shown) <= lines
    assert all(cell_len(line) <= width for line in shown)


def test_what_a_handler_says_cannot_move_the_cursor() -> None:
    """Escape sequences and line breaks in names and messages are blanks on the terminal."""
    spoken = node_of(
        StepSnapshot(
            id=StepId("a"), name="b\nc", kind=RunKind.TASK, type=None, status=TaskStatus.RUNNING,
            attempt=1, depends_on=(), result=None, error=None, note=None, child_id=None,
            ready_at=None, started_at=None, ended_at=None, progress=None,
            progress_message="\x1b[2Jgone",
        )
    )  # fmt: skip
    assert (spoken.name, spoken.told) == ("b c", " [2Jgone")
