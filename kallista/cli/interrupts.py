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
        view: Shows what there is to leave; it makes room for the question.
        question: What is asked; None: nobody is there to answer.
    """

    def __init__(self, view: View, question: str | None = None) -> None:
        self.is_leaving = False
        self._view = view
        self._question = question
        self._asking = False
        self._leave: Callable[[], object] | None = None

    def by(self, leave: Callable[[], object]) -> None:
        """From now on there is something to leave; ``leave`` does so in good order."""
        self._leave = leave

    def signalled(self, number: int) -> None:
        """A signal has come."""
        self._view.pause()
        if self._asking:
            sys.stderr.write("\n")
        if self.is_leaving or self._leave is None:
            end_at_once()
        elif self._question is not None and not self._asking and number == signal.SIGINT:
            self._ask(self._question)
        else:
            self._go()

    def _ask(self, question: str) -> None:
        self._asking = True
        sys.stderr.write(f"\n{question} [Y/n] ")
        sys.stderr.flush()
        loop = asyncio.get_running_loop()

        def answer() -> None:
            # Not sys.stdin: a program cannot end while a thread holds its buffer.
            text = os.read(0, 1024).decode(errors="replace").strip().lower()
            loop.call_soon_threadsafe(self._answered, not text.startswith("n"))

        threading.Thread(target=answer, name="answer", daemon=True).start()

    def _answered(self, leave: bool) -> None:
        self._asking = False
        if self.is_leaving:
            return
        if leave:
            self._go()
        else:
            self._view.go_on()

    def _go(self) -> None:
        self.is_leaving = True
        if self._leave is not None:
            self._leave()
