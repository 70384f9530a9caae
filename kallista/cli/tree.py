"""A run and the runs it has started as one tree: read from the app, made to fit, drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from math import isfinite
from typing import TYPE_CHECKING, Final

from kallista.cli.output import STYLES, length
from kallista.core.snapshots import (
    AnySnapshot,
    Explanation,
    ProcessSnapshot,
    RunError,
    StepSnapshot,
    TaskSnapshot,
    WorkflowSnapshot,
)
from kallista.core.states import RunKind
from kallista.core.types import RunId
from kallista.logs import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from kallista.app import Kallista

WIDEST: Final = 110
QUIET: Final = frozenset({"COMPLETED", "SCHEDULED", "READY", "SKIPPED", "CANCELLED"})
OVER: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "SKIPPED"})

_BAR: Final = 12
_ALIKE: Final = 3
_GAP: Final = 2
_REMARK: Final = 40


@dataclass(frozen=True)
class Node:
    """A run, or one step of it.

    Args:
        id: The run's id, or the step's.
        name: What people read.
        status: Where it is.
        kind: What it is, or what it starts.
        attempt: The number of its last attempt.
        began: When it started.
        ended: When it finished.
        until: Until when it waits, where that is a moment.
        progress: How far it says it is, from 0 to 1.
        told: What there is to say of it: a message, an error, a reason.
        children: The steps of a run, also of the run that a step has started.
    """

    id: str
    name: str
    status: str
    kind: RunKind = RunKind.TASK
    attempt: int = 0
    began: datetime | None = None
    ended: datetime | None = None
    until: datetime | None = None
    progress: float | None = None
    told: str = ""
    children: tuple[Node, ...] = ()

    def walk(self, *before: str) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Everything below it, each with the ids on the way there."""
        for child in self.children:
            path = (*before, child.id)
            yield path, child
            yield from child.walk(*path)

    @property
    def tasks(self) -> tuple[Node, ...]:
        """The leaves: what a handler executes."""
        return tuple(node for _, node in self.walk() if not node.children)

    @property
    def size(self) -> int:
        """How many lines it takes."""
        return 1 + sum(child.size for child in self.children)


async def get_run(app: Kallista, kind: RunKind, id: str) -> AnySnapshot:
    """The run of an id, whatever its kind."""
    match kind:
        case RunKind.WORKFLOW:
            return await app.workflow_manager.get_workflow(id)
        case RunKind.PROCESS:
            return await app.orchestrator.get_process(id)
        case RunKind.TASK:
            return await app.scheduler.get_task(id)


async def explanations(app: Kallista, id: str) -> list[Explanation]:
    """Why a run is where it is, and if it waits for a run of its own, why that is where it is.

    Raises:
        NotFoundError: No run or schedule has this id.
    """
    told = [await app.orchestrator.explain(id)]
    while told[-1].reason in ("waits_for_child", "waits_for_items") and told[-1].waits_for:
        child = told[-1].waits_for[0]
        if await app.kind_of(child) is None:
            break
        told.append(await app.orchestrator.explain(child))
    return told


class TreeReader:
    """Reads trees again and again; a child run that has finished is read once.

    Args:
        app: Whose runs.
    """

    def __init__(self, app: Kallista) -> None:
        self._app = app
        self._finished: dict[tuple[RunId, int], tuple[Node, ...]] = {}

    async def read(self, kind: RunKind, id: str) -> Node:
        """The tree below a run as it is now.

        Raises:
            NotFoundError: There is no such run.
        """
        run = await get_run(self._app, kind, id)
        return Node(
            run.id, one_line(run.name), run.word, run.kind,
            began=run.started_at, ended=run.ended_at, children=await self._steps(run),
        )  # fmt: skip

    async def _steps(self, run: AnySnapshot) -> tuple[Node, ...]:
        return tuple([node_of(step, await self._child(step)) for step in steps_of(run)])

    async def _child(self, step: StepSnapshot) -> tuple[Node, ...]:
        if step.child_id is None:
            return ()
        key = step.child_id, step.attempt
        if key in self._finished:
            return self._finished[key]
        # The parent says that it starts a child before that is there.
        if await self._app.kind_of(step.child_id) is None:
            return ()
        run = await get_run(self._app, step.kind, step.child_id)
        steps = await self._steps(run)
        if step.status in OVER and run.word in OVER:
            self._finished[key] = steps
        return steps


def steps_of(run: AnySnapshot) -> Sequence[StepSnapshot]:
    """The tasks of a workflow, the steps of a process, nothing of a task."""
    match run:
        case WorkflowSnapshot():
            return run.tasks
        case ProcessSnapshot():
            return run.steps
        case TaskSnapshot():
            return ()


def node_of(step: StepSnapshot, children: tuple[Node, ...] = ()) -> Node:
    """A step as a node."""
    told = ""
    if step.error is not None and not any(child.status == "FAILED" for child in children):
        told = brief(step.error)
    elif step.note or step.progress_message:
        told = step.note or step.progress_message or ""
    progress = step.progress
    if step.items is not None:
        told = f"{step.items}; {told}" if told else str(step.items)
        if step.status == "WAITING":
            progress = step.items.completed / step.items.count
    return Node(
        step.id, one_line(step.name), step.status, step.kind, step.attempt,
        step.started_at, step.ended_at, None if step.status in OVER else step.ready_at,
        progress, one_line(told), children,
    )  # fmt: skip


def brief(error: RunError) -> str:
    """The last part of the error's class and the first line of its message."""
    message = error.message.partition("\n")[0].removesuffix(":")
    return f"{error.type.rpartition('.')[2]}: {message}"


def fitted(tree: Node, lines: int) -> Node:
    """A tree of at most so many lines, or nearly, that leaves out what is least telling.

    First go the insides of what has completed, then neighbours that are in the same quiet status
    are counted instead of listed.
    """
    if tree.size <= lines:
        return tree
    folded = _folded(tree)
    return folded if folded.size <= lines else _counted(folded)


def _folded(node: Node) -> Node:
    children = () if node.status == "COMPLETED" else tuple(map(_folded, node.children))
    return replace(node, children=children)


def _counted(node: Node) -> Node:
    children: list[Node] = []
    for status, group in groupby(map(_counted, node.children), key=lambda child: child.status):
        alike = list(group)
        if status in QUIET and len(alike) >= _ALIKE:
            children.append(Node(f"{len(alike):,} steps", f"{len(alike):,} steps", status))
        else:
            children.extend(alike)
    return replace(node, children=tuple(children))


@dataclass(frozen=True)
class Signs:
    """The characters that a tree is drawn with."""

    fork: str
    end: str
    line: str
    full: str
    empty: str
    status: tuple[tuple[str, str], ...]

    def of(self, status: str) -> str:
        """The sign of a status."""
        return dict(self.status).get(status, self.empty)


UNICODE: Final = Signs(
    "├─ ", "└─ ", "│  ", "█", "·",
    (("COMPLETED", "✔"), ("FAILED", "✘"), ("CANCELLED", "✘"), ("SKIPPED", "-"), ("RUNNING", "▶"),
     ("WAITING", "…"), ("PAUSED", "="), ("COMPENSATING", "<")),
)  # fmt: skip
ASCII: Final = Signs(
    "|- ", "`- ", "|  ", "#", ".",
    (("COMPLETED", "+"), ("FAILED", "x"), ("CANCELLED", "x"), ("SKIPPED", "-"), ("RUNNING", ">"),
     ("WAITING", "~"), ("PAUSED", "="), ("COMPENSATING", "<")),
)  # fmt: skip


def signs_for(console: Console) -> Signs:
    """What the terminal can show."""
    return ASCII if console.options.ascii_only or console.legacy_windows else UNICODE


def draw(tree: Node, console: Console, lines: int, now: datetime | None = None) -> list[Text]:
    """The lines of a tree.

    Args:
        tree: What to draw.
        console: Where; its width and characters count.
        lines: How many there may be.
        now: What time it is.
    """
    from rich.text import Text

    signs, moment = signs_for(console), now or datetime.now(UTC)
    rows = list(_rows(fitted(tree, lines), signs, moment))
    left_out = len(rows) - lines
    if left_out > 0:
        rows = rows[: max(lines - 1, 1)]
    width = min(console.width, WIDEST)
    times = max(len(time) for _, _, time in rows)
    most = max(min(width * 3 // 5, width - times - _GAP), width - _REMARK)
    labels = min(max(label.cell_len for label, _, _ in rows), most)
    drawn = []
    for label, told, time in rows:
        label.truncate(labels, overflow="ellipsis", pad=True)
        line = Text.assemble(label, "  ", (f"{time:>{times}}", "dim"))
        room = width - line.cell_len - _GAP
        if room > 0:
            told.truncate(room, overflow="ellipsis")
            line = Text.assemble(line, "  ", told)
        line.rstrip()
        drawn.append(line)
    if left_out > 0 and lines > 1:
        drawn.append(Text(f"{left_out + 1:,} more lines", style="dim"))
    return drawn


def _rows(tree: Node, signs: Signs, now: datetime) -> Iterator[tuple[Text, Text, str]]:
    from rich.text import Text

    head = Text.assemble(_sign(tree, signs), (tree.name, "bold"))
    if tree.name != tree.id:
        head.append(f"  {tree.id}", style="dim")
    status = Text(tree.status, style=STYLES.get(tree.status, ""))
    yield head, status, _time(tree, now)
    yield from _below(tree, "", signs, now)


def _below(
    node: Node, guides: str, signs: Signs, now: datetime
) -> Iterator[tuple[Text, Text, str]]:
    from rich.text import Text

    for child in node.children:
        last = child is node.children[-1]
        label = Text.assemble((guides + (signs.end if last else signs.fork), "dim"))
        label.append_text(_sign(child, signs))
        label.append(child.id)
        yield label, _told(child, signs, now), _time(child, now)
        yield from _below(child, guides + ("   " if last else signs.line), signs, now)


def _sign(node: Node, signs: Signs) -> Text:
    from rich.text import Text

    return Text(f"{signs.of(node.status)} ", style=STYLES.get(node.status, "dim"))


def _told(node: Node, signs: Signs, now: datetime) -> Text:
    from rich.text import Text

    told = Text()
    if node.progress is not None:
        share = min(max(node.progress, 0.0), 1.0) if isfinite(node.progress) else 0.0
        full = round(share * _BAR)
        told.append(signs.full * full, style="cyan").append(signs.empty * (_BAR - full), "dim")
        told.append(f" {share:.0%} ")
    told.append(", ".join(_remarks(node, now)), style="red" if node.status == "FAILED" else "dim")
    return told


def _remarks(node: Node, now: datetime) -> Iterator[str]:
    """What is to be said of a node beside its sign and its time."""
    if node.name != node.id:
        yield node.name
    if node.status in ("SKIPPED", "CANCELLED", "PAUSED"):
        yield node.status.lower()
    wait = (
        None
        if node.until is None or node.until <= now
        else length((node.until - now).total_seconds())
    )
    if node.status == "SCHEDULED" and wait is not None:
        again = f"attempt {node.attempt + 1} " if node.attempt else ""
        yield f"{again}in {wait}"
    elif node.attempt > 1 and not node.children:
        yield f"attempt {node.attempt}"
    if node.status == "WAITING" and wait is not None:
        yield f"sleeps for another {wait}"
    if node.told:
        yield node.told


def _time(node: Node, now: datetime) -> str:
    if node.began is None or node.status in ("SCHEDULED", "READY", "SKIPPED"):
        return ""
    return length(((node.ended or now) - node.began).total_seconds())
