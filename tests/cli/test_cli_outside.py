"""Signals and answers by the command line: for people, for programs, and when they are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli_support import Typist

from kallista import Kallista
from kallista.core.snapshots import HistoryEvent

FORM = {"properties": {"code": {"type": "string"}, "copies": {"type": "integer"}},
        "required": ["code"]}  # fmt: skip
CHILD = {"id": "sub", "type": "workflow", "tasks": [
    {"id": "review", "type": "approval", "prompt": "Print it?", "form": FORM},
    {"id": "paid", "type": "wait_for_signal"},
]}  # fmt: skip


async def until_waiting(events: AsyncIterator[HistoryEvent]) -> None:
    """Follow a run until a step of it waits."""
    async for event in events:
        if event.kind == "task.waiting":
            return


@pytest.fixture
def asking(folder: Path) -> Path:
    """A store with a process whose child asks."""

    async def ask() -> None:
        async with Kallista() as app:
            data = {"id": "p", "steps": [CHILD]}
            await app.orchestrator.create_process(data)
            await app.orchestrator.start_process("p")
            await until_waiting(app.orchestrator.watch("p"))
            await until_waiting(app.workflow_manager.watch("p/sub"))

    asyncio.run(ask())
    return folder


@pytest.mark.usefixtures("asking")
def test_an_approval_is_found_and_answered(typed: Typist) -> None:
    """By the id of the run at the top, and only once."""
    shown = typed("approvals")
    assert "p/sub" in shown.out
    assert "Print it?" in shown.out
    assert "kallista approve p/sub review" in " ".join(typed("explain", "p").out.split())
    [asked] = typed("approvals", "p", "-o", "json").answer["items"]
    assert asked["form"]["required"] == ["code"]
    wrong = typed("approve", "p", "--set", "copies=2", "-o", "json")
    assert wrong.code == 2
    assert wrong.error["problems"] == ["form.code is missing"]
    words = ("approve", "p", "--by", "ann", "--set", "code=A7", "--set", "copies=2")
    done = typed(*words)
    assert (done.code, done.out.splitlines()[0]) == (0, "review of p/sub is approved")
    assert typed("approvals").out == "nothing waits for an answer\n"
    again = typed("approve", "p/sub", "review", *words[2:], "-o", "json")
    assert again.answer == {
        "run_id": "p/sub", "task_id": "review", "approved": True, "changed": False,
    }  # fmt: skip
    other = typed("reject", "p/sub", "review", "--by", "bob")
    assert other.code == 2
    assert "answered already" in other.err
    history: list[dict[str, Any]] = typed("workflow", "history", "p/sub", "-o", "json").answer
    [answered] = [event for event in history if event["kind"] == "task.answered"]
    assert answered["data"]["answer"]["form"] == {"code": "A7", "copies": 2}
    assert "approved by ann" in typed("workflow", "history", "p/sub").out


@pytest.mark.usefixtures("asking")
def test_a_signal_is_sent(typed: Typist) -> None:
    """Its payload is YAML; a repeat is harmless, and a wrong name is told with the right ones."""
    sent = typed("signal", "p/sub", "paid", "{amount: 5}", "--id", "bank-1", "-o", "json")
    assert sent.answer == {"run_id": "p/sub", "name": "paid", "signal_id": "bank-1"}
    assert typed("signal", "p/sub", "paid", "{amount: 5}", "--id", "bank-1").code == 0
    wrong = typed("signal", "p", "paid")
    assert wrong.code == 2
    assert "its child 'p/sub' does" in wrong.err
    assert 'paid: {"amount": 5}' in typed("workflow", "history", "p/sub").out


@pytest.mark.usefixtures("asking")
def test_what_is_no_text_is_told_so(typed: Typist) -> None:
    """A shell that speaks another encoding hands on bytes that are no characters."""
    wrong = typed("signal", "p/sub", "paid", "ab\udcff", "-o", "json")
    assert wrong.code == 2
    assert "the payload:1:3: half a character is not allowed here" in str(wrong.error)
