"""What Ctrl-C and a polite kill do: ask once, then leave in good order, then end at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kallista.cli.session import LEFT

if TYPE_CHECKING:
    from kallista.cli.live import View

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGBREAK")


@contextmanager
def signals_call(callback: Callable[[int], None]) -> Iterator[None]:
    """Let the signals that ask a program to end call back on the running loop, on Windows too.

    Args:
        callback: Gets the number of the signal.
    """
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]

    def handler(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(callback, number)

    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def end_at_once() -> None:
    """End the program where it stands; all that was acknowledged is kept, as after a crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LEFT)


class Leaving:
    """Decides, for each signal, whether to ask, to leave, or to end.

    Args:
        ask: Whether somebody is there to be asked.
        question: What is asked.
        finishing: What is said while tasks in flight may finish.
    """

    def __init__(self, *, ask: bool, question: str, finishing: str) -> None:
        self.is_leaving = False
        self._may_ask = ask
        self._question = question
        self._finishing = finishing
        self._view: View | None = None
        self._leave: Callable[[], object] | None = None

    def watches(self, view: View, leave: Callable[[], object]) -> None:
        """From now on there is something to leave.

        Args:
            view: What shows it; it makes room for the question.
            leave: Leaves it in good order.
        """
        self._view, self._leave = view, leave

    def signalled(self, number: int) -> None:
        """A signal has come."""
        if self.is_leaving or self._leave is None:
            end_at_once()
        elif self._may_ask and number == signal.SIGINT:
            self._may_ask = False
            self._ask()
        else:
            self._go()

    def _ask(self) -> None:
        assert self._view is not None, "it is watched"
        self._view.pause()
        sys.stderr.write(f"\n{self._question} [Y/n] ")
        sys.stderr.flush()
        loop = asyncio.get_running_loop()

        def answer() -> None:
            # Not sys.stdin: a program cannot end while a thread holds its buffer.
            text = os.read(0, 1024).decode(errors="replace").strip().lower()
            loop.call_soon_threadsafe(self._answered, not text.startswith("n"))

        threading.Thread(target=answer, daemon=True).start()

    def _answered(self, leave: bool) -> None:
        if self.is_leaving or self._view is None:
            return
        if leave:
            self._go()
        else:
            self._may_ask = True
            self._view.go_on()

    def _go(self) -> None:
        self.is_leaving = True
        sys.stderr.write(f"\n{self._finishing}\n")
        sys.stderr.flush()
        if self._leave is not None:
            self._leave()
