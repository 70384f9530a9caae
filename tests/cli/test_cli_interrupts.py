"""Ctrl-C asks once, the second one leaves, the third ends; a polite kill leaves without asking."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from kallista.cli import interrupts
from kallista.cli.interrupts import Leaving, signals_call

pytestmark = pytest.mark.anyio


class Ended(Exception):
    """Stands for the end of the program."""


class Seen:
    """A view that notes whether it has the terminal."""

    def __init__(self) -> None:
        self.shown = True
        self.back = asyncio.Event()

    def show(self, tree: object, waits: str) -> None:
        """Nothing to see."""

    def pause(self) -> None:
        """The terminal belongs to somebody else."""
        self.shown = False

    def go_on(self) -> None:
        """The terminal is back."""
        self.shown = True
        self.back.set()

    def close(self) -> None:
        """Nothing more comes."""


class Situation:
    """A run that is watched, and somebody who presses keys.

    Args:
        question: What is asked, if anything.
    """

    def __init__(self, question: str | None) -> None:
        self.view = Seen()
        self.left = 0
        self.gone = asyncio.Event()
        self.leaving = Leaving(self.view, question)

    def watch(self) -> None:
        """There is something to leave."""

        def leave() -> None:
            self.left += 1
            self.gone.set()

        self.leaving.by(leave)

    def press(self, number: int = signal.SIGINT) -> None:
        """A signal comes."""
        self.leaving.signalled(number)


@pytest.fixture(autouse=True)
def _the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise Ended

    monkeypatch.setattr(interrupts, "end_at_once", end)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What is written here is read as if it were typed."""
    reads, writes = os.pipe()
    real = os.read
    monkeypatch.setattr(interrupts.os, "read", lambda number, size: real(reads, size))
    yield writes
    os.close(writes)
    os.close(reads)


async def test_before_there_is_anything_to_leave_it_ends() -> None:
    """While the store is being opened nothing has started that could be left in good order."""
    with pytest.raises(Ended):
        Situation("Leave?").press()


async def test_without_somebody_to_ask_it_leaves() -> None:
    """In a pipe the first Ctrl-C leaves, and the second does not wait for what is in flight."""
    situation = Situation(None)
    situation.watch()
    situation.press()
    assert situation.left == 1
    assert situation.leaving.is_leaving
    with pytest.raises(Ended):
        situation.press()


async def test_a_polite_kill_is_no_question() -> None:
    """SIGTERM comes from a program, which would not answer."""
    situation = Situation("Leave?")
    situation.watch()
    situation.press(signal.SIGTERM)
    assert situation.left == 1


@pytest.mark.parametrize("answer", [b"\n", b"y\n", b"Yes\n"])
async def test_yes_leaves(answer: bytes, keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Enter means yes: who presses Ctrl-C wants to leave."""
    situation = Situation("Leave?")
    situation.watch()
    situation.press()
    assert "Leave? [Y/n]" in capsys.readouterr().err
    assert not situation.view.shown
    os.write(keyboard, answer)
    await situation.gone.wait()
    assert situation.left == 1
    assert situation.leaving.is_leaving


async def test_no_goes_on_and_the_next_time_it_is_asked_again(keyboard: int) -> None:
    """The tree comes back, the run was never disturbed."""
    situation = Situation("Leave?")
    situation.watch()
    for _ in range(2):
        situation.press()
        os.write(keyboard, b"no\n")
        await situation.view.back.wait()
        situation.view.back.clear()
    assert situation.left == 0


async def test_ctrl_c_instead_of_an_answer_leaves(keyboard: int) -> None:
    """An answer that comes too late changes nothing any more."""
    situation = Situation("Leave?")
    situation.watch()
    situation.press()
    situation.press()
    assert situation.left == 1
    threads = [thread for thread in threading.enumerate() if thread.name == "answer"]
    assert threads
    os.write(keyboard, b"n\n")
    for thread in threads:
        thread.join()
    await asyncio.sleep(0)
    assert not situation.view.shown


async def test_signals_call_back_on_the_loop_and_are_given_back() -> None:
    """The handler runs on the loop, and afterwards Ctrl-C is what it was before."""
    came = asyncio.Event()
    numbers: list[int] = []

    def called(number: int) -> None:
        numbers.append(number)
        came.set()

    before = signal.getsignal(signal.SIGTERM)
    with signals_call(called):
        signal.raise_signal(signal.SIGTERM)
        await came.wait()
    assert numbers == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before
