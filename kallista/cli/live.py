"""Shows a run while it goes on: a live tree on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from kallista.cli.output import console, say_whole, took
from kallista.cli.tree import OVER, Node, TreeReader, draw, explanations
from kallista.core.snapshots import AnySnapshot
from kallista.core.states import RunKind

if TYPE_CHECKING:
    from rich.live import Live

    from kallista.app import Kallista

QUICK: Final = 0.1
CALM: Final = 0.5
SHARE: Final = 10
"""Reading the tree may take one part in so many of the time, however large it is."""

_AROUND: Final = 4
_LEFT_BEHIND: Final = 100


class View(Protocol):
    """What shows a run."""

    def show(self, tree: Node, waits: str) -> None:
        """The run is there now; ``waits`` says for what, while nothing of it is executed."""
        ...

    def pause(self) -> None:
        """Leave the terminal to somebody else."""
        ...

    def go_on(self) -> None:
        """Have the terminal again."""
        ...

    def close(self) -> None:
        """Nothing more comes; what was shown last stays."""
        ...


class Quiet:
    """Shows nothing: the answer comes as one document."""

    def show(self, tree: Node, waits: str) -> None:
        """Nothing."""

    def pause(self) -> None:
        """Nothing."""

    def go_on(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A line whenever a step has started or finished, for logs and pipes.

    Args:
        since: What finished before is known already.
    """

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}
        self._waits = ""

    def show(self, tree: Node, waits: str) -> None:
        """Print what is new, in the order in which it happened."""
        news = [(path, node) for path, node in tree.walk() if self._is_news(path, node)]
        for path, node in sorted(news, key=lambda item: _moment(item[1])):
            say_whole(_line(path, node))
        if waits not in ("", self._waits):
            say_whole(waits)
        self._waits = waits or self._waits

    def _is_news(self, path: tuple[str, ...], node: Node) -> bool:
        before, now = self._seen.get(path), (node.status, node.attempt)
        self._seen[path] = now
        if before == now or node.status in ("SCHEDULED", "READY"):
            return False
        return node.ended is None or node.ended >= self._since

    def pause(self) -> None:
        """Lines disturb nobody."""

    def go_on(self) -> None:
        """Lines disturb nobody."""

    def close(self) -> None:
        """Nothing."""


def _moment(node: Node) -> datetime:
    return node.ended or node.began or datetime.now(UTC)


def _line(path: tuple[str, ...], node: Node) -> str:
    attempt = f"attempt {node.attempt}" if node.attempt > 1 and not node.children else ""
    remarks = [word for word in (took(node.began, node.ended), attempt, node.told) if word]
    told = f"  ({', '.join(remarks)})" if remarks else ""
    return f"{_moment(node).astimezone():%H:%M:%S}  {node.status:<9}  {' / '.join(path)}{told}"


class Tree:
    """A tree that is drawn again and again in its place."""

    def __init__(self) -> None:
        self._live: Live | None = self._started()
        self._last: Node | None = None

    def show(self, tree: Node, waits: str) -> None:
        """Draw it, within the height of the terminal."""
        self._last = tree
        if self._live is None:
            return
        from rich.console import Group
        from rich.text import Text

        below = waits or ("" if tree.status in OVER else "Ctrl-C leaves it to go on later")
        lines = draw(tree, console(), max(console().height - _AROUND, 3))
        self._live.update(Group(*lines, Text(below, style="dim italic")), refresh=True)

    def pause(self) -> None:
        """Take the tree away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def go_on(self) -> None:
        """Draw again."""
        if self._live is None:
            self._live = self._started()

    def close(self) -> None:
        """Leave the last tree on the terminal, as much of it as is sensible."""
        self.pause()
        if self._last is not None:
            for line in draw(self._last, console(), _LEFT_BEHIND):
                console().print(line, no_wrap=True, overflow="ellipsis")
            self._last = None

    @staticmethod
    def _started() -> Live:
        from rich.live import Live

        # What handlers print meanwhile, and warnings, come to stand above the tree.
        live = Live(console=console(), auto_refresh=False, transient=True, vertical_overflow="crop")
        live.start()
        return live


def view_for(*, quiet: bool, since: datetime) -> View:
    """What shows a run here.

    Args:
        quiet: Show nothing.
        since: When this program began to look.
    """
    if quiet:
        return Quiet()
    return Tree() if console().is_terminal else Lines(since)


async def follow(app: Kallista, kind: RunKind, id: str, view: View) -> AnySnapshot:
    """Show a run until it has finished.

    Args:
        app: The app that runs it.
        kind: What it is.
        id: Which one.
        view: Shows it.

    Returns:
        The finished run.

    Raises:
        NotFoundError: It was deleted meanwhile.
    """
    waiting = asyncio.ensure_future(wait_run(app, kind, id))
    reader, loop = TreeReader(app), asyncio.get_running_loop()
    before: Node | None = None
    pause = QUICK
    try:
        while not isinstance(view, Quiet):
            began = loop.time()
            tree = await reader.read(kind, id)
            calm = tree == before
            view.show(tree, await _what_for(app, tree) if pause >= CALM else "")
            if waiting.done() and tree.status in OVER:
                break
            cost = loop.time() - began
            pause = max(min(pause * 1.5, CALM) if calm else QUICK, cost * SHARE)
            before = tree
            await asyncio.wait([waiting], timeout=pause)
        return await waiting
    finally:
        waiting.cancel()


async def _what_for(app: Kallista, tree: Node) -> str:
    """What a run waits for of which nothing is executed right now."""
    if tree.status in OVER or any(node.status == "RUNNING" for node in tree.tasks):
        return ""
    *_, last = await explanations(app, tree.id)
    if last.reason == "paused":
        return f"{last} To go on: kallista {tree.kind} resume {tree.id}"
    return "" if last.reason == "finished" else str(last)


async def wait_run(app: Kallista, kind: RunKind, id: str) -> AnySnapshot:
    """The run of an id once it has finished, whatever its kind."""
    match kind:
        case RunKind.WORKFLOW:
            return await app.workflow_manager.wait_workflow(id)
        case RunKind.PROCESS:
            return await app.orchestrator.wait_process(id)
        case RunKind.TASK:
            return await app.scheduler.wait_task(id)
