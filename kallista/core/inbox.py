"""What was sent to a run, and what its steps wait for: the inbox that decisions take from.

The inbox follows from history: signals that were received, and questions that were asked, answered
or dropped. What the store keeps besides is which of those events still count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from kallista.core.questions import Asked
from kallista.core.types import JsonText

MOST_KEPT: Final = 1_000
"""How many signals a run keeps that no step has taken."""


class Signal(Struct, frozen=True, gc=False):
    """Something that was sent to a run.

    Args:
        seq: Of the event that tells of it; the lower one came first.
        name: What it is called; empty: it is the answer of a person.
        id: By which a repeat of it is known.
        digest: The hash of its payload, to tell a repeat from something else under the same id.
        step: The step that has got it; None: nobody yet.
        payload: What it says, while nobody has got it.
    """

    seq: int
    name: str
    id: str
    digest: str
    step: int | None
    payload: JsonText | None


def answer_id(step: str, attempt: int) -> str:
    """By which a repeat of a person's answer is known; no signal of a user can have it."""
    return f"{step}#{attempt}"


class Inbox(Struct, frozen=True, gc=False):
    """What was sent to a run, and what its steps wait for.

    Args:
        signals: By seq, in order.
        asked: The open questions, by the position of their step.
    """

    signals: Mapping[int, Signal] = {}
    asked: Mapping[int, Asked] = {}

    @property
    def kept(self) -> list[Signal]:
        """The signals that no step has taken, in order."""
        return [signal for signal in self.signals.values() if signal.step is None]


EMPTY_INBOX: Final = Inbox()


class InboxChanges(Struct, frozen=True, gc=False):
    """What a decision changes of an inbox.

    Args:
        signals: Those that are new or have been taken.
        asked: Questions that are open now, by the position of their step.
        closed: Steps that wait for no answer any more; one that did not wait is no error.
    """

    signals: tuple[Signal, ...] = ()
    asked: tuple[tuple[int, Asked], ...] = ()
    closed: tuple[int, ...] = ()


class InboxDraft:
    """An inbox with the changes of a decision that is not written yet.

    Args:
        inbox: As it is written.
    """

    __slots__ = ("_asked", "_by_id", "_changed", "_closed", "_opened", "_signals")

    def __init__(self, inbox: Inbox) -> None:
        self._signals = dict(inbox.signals)
        self._asked = dict(inbox.asked)
        self._by_id = {signal.id: signal for signal in inbox.signals.values()}
        self._changed: dict[int, None] = {}
        self._opened: dict[int, None] = {}
        self._closed: dict[int, None] = {}

    @property
    def now(self) -> Inbox:
        """The inbox with all changes."""
        return Inbox(self._signals, self._asked)

    @property
    def changes(self) -> InboxChanges | None:
        """What is to be written, if anything is."""
        if not (self._changed or self._opened or self._closed):
            return None
        return InboxChanges(
            tuple(self._signals[seq] for seq in self._changed),
            tuple((step, self._asked[step]) for step in self._opened),
            tuple(self._closed),
        )

    def find(self, id: str) -> Signal | None:
        """The signal of an id, taken or not."""
        return self._by_id.get(id)

    def first(self, name: str) -> Signal | None:
        """The oldest signal of a name that nobody has taken."""
        for signal in self._signals.values():
            if signal.name == name and signal.step is None:
                return signal
        return None

    def question(self, step: int) -> Asked | None:
        """What a step waits for."""
        return self._asked.get(step)

    def waiting_for(self, name: str) -> list[int]:
        """The steps that wait for a signal of this name, those that began first in front."""
        steps = [step for step, asked in self._asked.items() if asked.question.signal == name]
        return sorted(steps, key=lambda step: self._asked[step].seq)

    def receive(self, signal: Signal) -> None:
        """Add a signal, or a new state of one."""
        self._signals[signal.seq] = self._by_id[signal.id] = signal
        self._changed[signal.seq] = None

    def take(self, seq: int, step: int) -> None:
        """Let a step have a signal."""
        had = self._signals[seq]
        self.receive(Signal(had.seq, had.name, had.id, had.digest, step, None))

    def ask(self, step: int, asked: Asked) -> None:
        """Let a step wait."""
        self._asked[step] = asked
        self._opened[step] = None

    def close(self, step: int) -> None:
        """Let a step wait for nothing."""
        if self._asked.pop(step, None) is not None:
            self._opened.pop(step, None)
            self._closed[step] = None
