"""What is shown while a run goes on: lines in a pipe, a tree on a terminal."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from kallista.cli import live
from kallista.cli.live import Lines, Tree, follow
from kallista.cli.tree import Node
from kallista.core.states import RunKind
from kallista.testing import memory_app

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment after the program began."""
    return START + timedelta(seconds=seconds)


def run(*steps: Node) -> Node:
    """A run of these steps."""
    return Node("p", "Demo", "RUNNING", RunKind.PROCESS, began=at(0), children=steps)


class TestLines:
    """Plain lines."""

    def test_what_is_new_comes_in_the_order_it_happened(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each change is one line, however often the run is looked at."""
        done = Node("b", "b", "COMPLETED", attempt=1, began=at(0), ended=at(1))
        late = Node("a", "a", "COMPLETED", attempt=2, began=at(0), ended=at(2))
        view = Lines(START)
        for _ in range(2):
            view.show(run(late, done, Node("c", "c", "SCHEDULED")), "")
        lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
        assert lines == ["COMPLETED  b  (1.0 s)", "COMPLETED  a  (2.0 s, attempt 2)"]

    def test_what_was_done_before_is_no_news(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A run that goes on after a crash does not tell its first half again."""
        old = Node("a", "a", "COMPLETED", began=at(-9), ended=at(-8))
        Lines(START).show(run(old), "")
        assert capsys.readouterr().out == ""

    def test_steps_of_child_runs_have_their_whole_path(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two steps of one name in different runs can be told apart."""
        inner = Node("models", "models", "RUNNING", began=at(1))
        Lines(START).show(run(Node("domain", "Domain", "WAITING", children=(inner,))), "")
        assert "  RUNNING    domain / models\n" in capsys.readouterr().out

    def test_what_it_waits_for_is_told_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A log should say why nothing happens, but not twice a second."""
        view = Lines(START)
        for waits in ("", "It waits for x.", "It waits for x.", "", "It waits for x."):
            view.show(run(), waits)
        assert capsys.readouterr().out == "It waits for x.\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 60 columns and 12 lines."""
    written = io.StringIO()
    shown = Console(
        file=written, force_terminal=True, width=60, height=12, color_system=None,
        legacy_windows=False,
    )  # fmt: skip
    monkeypatch.setattr(live, "console", lambda: shown)
    return written


def test_the_tree_gives_way_and_comes_back(terminal: io.StringIO) -> None:
    """While a question is on the terminal nothing draws over it; at the end the tree stays."""
    view = Tree()
    view.show(run(Node("a", "a", "RUNNING")), "")
    assert "Ctrl-C leaves it to go on later" in terminal.getvalue()
    view.pause()
    length = len(terminal.getvalue())
    view.show(run(Node("a", "a", "RUNNING")), "")
    assert len(terminal.getvalue()) == length
    view.go_on()
    view.show(run(Node("a", "a", "COMPLETED")), "")
    view.close()
    view.close()
    ending = terminal.getvalue().rstrip().splitlines()[-1]
    assert ending.endswith("a")
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


def test_a_tree_is_never_higher_than_the_terminal(terminal: io.StringIO) -> None:
    """Lines that have scrolled away could not be drawn over."""
    view = Tree()
    view.show(run(*[Node(f"s{n}", f"s{n}", "RUNNING") for n in range(50)]), "")
    assert len(terminal.getvalue().splitlines()) <= 12
    view.close()


class Recorded:
    """A view that keeps what it was given."""

    def __init__(self) -> None:
        self.trees: list[Node] = []
        self.waits: list[str] = []
        self._news = asyncio.Event()

    def show(self, tree: Node, waits: str) -> None:
        """Keep it."""
        self.trees.append(tree)
        self.waits.append(waits)
        self._news.set()

    async def told(self, text: str) -> None:
        """Until it has been said for what the run waits."""
        while not any(text in told for told in self.waits):
            await self._news.wait()
            self._news.clear()

    def pause(self) -> None:
        """Nothing."""

    def go_on(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


PROCESS = {
    "id": "p",
    "steps": [
        {
            "id": "child",
            "type": "workflow",
            "tasks": [
                {"id": "inner", "type": "python", "function": "builtins:len", "args": ["abc"]}
            ],
        },
        {"id": "last", "type": "python", "function": "builtins:len", "args": ["a"]},
    ],
}


@pytest.mark.anyio
async def test_following_ends_with_the_whole_tree() -> None:
    """What is shown last is the finished run, with the steps of the runs it has started."""
    view = Recorded()
    async with memory_app() as app:
        id = await app.orchestrator.create_process(PROCESS)
        await app.orchestrator.start_process(id)
        ended = await follow(app, RunKind.PROCESS, id, view)
    assert ended.ok
    shown = {path: node.status for path, node in view.trees[-1].walk()}
    assert shown == {
        ("child",): "COMPLETED",
        ("child", "inner"): "COMPLETED",
        ("last",): "COMPLETED",
    }


@pytest.mark.anyio
async def test_a_run_that_waits_says_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """For another process, or for somebody who lets it go on; then how is said too."""
    monkeypatch.setattr(live, "QUICK", 0.0)
    monkeypatch.setattr(live, "CALM", 0.0)
    view = Recorded()
    async with memory_app() as app:
        process = {"id": "p", "steps": PROCESS["steps"], "dependencies": ["other"]}
        id = await app.orchestrator.create_process(process)
        await app.orchestrator.start_process(id)
        following = asyncio.ensure_future(follow(app, RunKind.PROCESS, id, view))
        await view.told("'other', which does not exist yet")
        await app.orchestrator.pause_process(id)
        await view.told("To go on: kallista process resume p")
        await app.orchestrator.cancel_process(id)
        assert (await following).word == "CANCELLED"
    assert view.waits[-1] == ""
