"""What comes from outside in a story: signals and answers, early, late and repeated, and the laws.

Each signal says something that no other says, so that it can be told which step has got which.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from itertools import zip_longest
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from kallista.core.definitions import Definition, TaskSpec
from kallista.core.questions import ASKING, WAIT_FOR_SIGNAL
from kallista.core.states import FINISHED_RUN, EventKind, TaskStatus
from kallista.core.types import RunId
from kallista.errors import ConflictError, KallistaError, NotFoundError, StateError, UsageError
from kallista.store.port import RunRecord

from .ledger import Ledger
from .loop import SECOND, Machine
from .workload import NAMES

if TYPE_CHECKING:
    from .program import Program


class Asking(Protocol):
    """A story, as far as it is needed to ask programs for something."""

    machine: Machine
    ledger: Ledger
    peace: bool

    def somebody(self) -> Program | None:
        """A program that can be asked."""
        ...

    def client(self, program: Program, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Let a client of a program go about something."""
        ...

    async def insist(self, program: Program, what: Callable[[], Awaitable[object]]) -> bool:
        """Ask again as long as the store fails."""
        ...


class Outside:
    """People and other systems, who send signals and answer.

    Args:
        story: Whom they ask.
        luck: What decides; not the story's own, so that what else happens stays the same.
        busy: How often in a second somebody does something.
    """

    def __init__(self, story: Asking, luck: Random, busy: float) -> None:
        self._story = story
        self._luck = luck
        self._busy = busy
        self._sent: list[tuple[RunId, str, int]] = []

    def begin(self) -> None:
        """From now on until there is peace."""
        length = int(self._luck.expovariate(self._busy) * SECOND)
        self._story.machine.after(length, self._now)

    def _now(self) -> None:
        if self._story.peace:
            return
        program = self._story.somebody()
        records = list(self._story.ledger.state.runs.values())
        if program is not None and records:
            self._do_something(program, self._luck.choice(records))
        self.begin()

    def _do_something(self, program: Program, record: RunRecord) -> None:
        what = self._luck.random()
        if self._sent and what < 0.15:
            id, name, number = self._luck.choice(self._sent)
            self._client(program, self._send(program, id, name, number))
            return
        open = [run for run in self._records() if self._asked(run)]
        if open and what < 0.8:
            self.answer(program, self._luck.choice(open))
        else:
            name = self._luck.choice(NAMES)
            self._client(program, self._send(program, record.id, name, self._next(record.id, name)))

    def _records(self) -> list[RunRecord]:
        return list(self._story.ledger.state.runs.values())

    def _asked(self, record: RunRecord) -> list[int]:
        inbox = self._story.ledger.state.inboxes.get(record.key)
        return [] if inbox is None else sorted(inbox.asked)

    def asking(self) -> list[RunRecord]:
        """The runs that wait for what comes from outside, and for nothing else to happen first."""
        return [record for record in self._records() if self._asked(record)]

    def _next(self, id: RunId, name: str) -> int:
        number = len(self._sent)
        self._sent.append((id, name, number))
        return number

    def answer(self, program: Program, record: RunRecord, *, kindly: bool = False) -> None:
        """Give a run one of the things that it waits for.

        Args:
            program: Which program is asked.
            record: Which run.
            kindly: Approve it.
        """
        inbox = self._story.ledger.state.inboxes[record.key]
        step = self._luck.choice(self._asked(record))
        question = inbox.asked[step].question
        if question.signal is not None:
            number = self._next(record.id, question.signal)
            self._client(program, self._send(program, record.id, question.signal, number))
        else:
            approved = kindly or self._luck.random() < 0.7
            number = self._next(record.id, NAMES[0])
            self._client(
                program, self._decide(program, record.id, question.step, number, approved=approved)
            )

    def _client(self, program: Program, work: Coroutine[Any, Any, None]) -> None:
        self._story.client(program, "answers", work)

    async def _send(self, program: Program, id: RunId, name: str, number: int) -> None:
        """Send a signal, perhaps once more, and see whether what is said of it is true."""
        story, ledger = self._story, self._story.ledger
        since, known = ledger.tick, id in ledger.born and id not in ledger.deleted
        signal = f"s{number}-{name}"
        story.machine.note(program.name, f"is asked to send {signal} to {id}")
        send = program.app.workflow_manager.send_signal
        try:
            if not await story.insist(program, partial(send, id, name, {"n": number}, signal)):
                return
        except NotFoundError as error:
            if known and id not in ledger.deleted:
                story.machine.accuse(f"{id} is said not to exist: {error}")
        except UsageError as error:
            if takes(ledger, id, name):
                story.machine.accuse(f"{signal} was refused by {id}: {error}")
        except StateError as error:
            if not ledger.was_in(id, {state.value for state in FINISHED_RUN}, since):
                story.machine.accuse(f"{signal} was refused without a reason: {error}")
        else:
            if id not in ledger.deleted and received(ledger, id)[signal] != 1:
                story.machine.accuse(f"{program.name} says that {id} has {signal}, and it has not")

    async def _decide(
        self, program: Program, id: RunId, step: str, number: int, *, approved: bool
    ) -> None:
        """Answer an approval, perhaps once more, and see whether what is said of it is true."""
        story, ledger = self._story, self._story.ledger
        does = program.app.workflow_manager.approve
        if not approved:
            does = program.app.workflow_manager.reject
        story.machine.note(program.name, f"is asked to answer {step} of {id} by c{number}")
        try:
            if not await story.insist(program, partial(does, id, step, comment=f"c{number}")):
                return
        except (StateError, NotFoundError, ConflictError):
            return  # somebody was faster, or the time was over, or the run is gone
        except KallistaError as error:
            story.machine.accuse(f"an answer to {step} of {id} was refused: {error}")
        else:
            if id not in ledger.deleted and comments(ledger, id)[f"c{number}"] != 1:
                story.machine.accuse(f"{program.name} says that c{number} counts, and it does not")


def takes(ledger: Ledger, id: RunId, name: str) -> bool:
    """Whether a run has a step that waits for a signal at some time."""
    key = ledger.state.keys.get(id)
    if key is None:
        return False
    record = ledger.state.runs[key]
    inputs = json.loads(record.inputs)
    return any(
        isinstance(spec.work, TaskSpec)
        and spec.work.type == WAIT_FOR_SIGNAL
        and name == {**spec.work.config, **inputs}.get("signal")
        for spec in ledger.definition(record).steps
    )


def received(ledger: Ledger, id: RunId) -> Counter[str]:
    """How often each signal stands in the history of a run."""
    return Counter(
        json.loads(event.data or "{}")["id"]
        for event in ledger.state.events[ledger.state.keys[id]]
        if event.kind is EventKind.SIGNAL_RECEIVED
    )


def comments(ledger: Ledger, id: RunId) -> Counter[str]:
    """How often each answer of a person stands in the history of a run."""
    told = (
        json.loads(event.data or "{}").get("answer")
        for event in ledger.state.events[ledger.state.keys[id]]
        if event.kind is EventKind.TASK_ANSWERED
    )
    return Counter(answer["comment"] for answer in told if answer is not None)


def judge_outside(machine: Machine, ledger: Ledger) -> None:
    """Each signal was taken by one step at most, in order, and that is the step's result."""
    for record in ledger.state.runs.values():
        definition = ledger.definition(record)
        if not _asks(definition):
            continue
        events = ledger.state.events[record.key]
        twice = [id for id, count in received(ledger, record.id).items() if count > 1]
        twice += [id for id, count in comments(ledger, record.id).items() if count > 1]
        if twice:
            machine.accuse(f"{record.id} has received {twice} more than once")
        taken: dict[str, list[int]] = defaultdict(list)
        for event, after in zip_longest(events, events[1:]):
            if event.kind is not EventKind.TASK_ANSWERED:
                continue
            told = json.loads(event.data or "{}")
            if "signal" not in told:
                continue
            signal = json.loads(events[told["signal"]].data or "{}")
            taken[signal["name"]].append(told["signal"])
            result = None if after is None else json.loads(after.data or "null")
            if after is None or after.kind is not EventKind.TASK_COMPLETED:
                machine.accuse(f"{record.id} has taken {signal['id']}, and nothing completed")
            if result != signal["payload"]:
                machine.accuse(f"{record.id} was told {signal['payload']}, and keeps {result}")
        for name, order in taken.items():
            if order != sorted(set(order)):
                machine.accuse(f"{record.id} has taken {name} out of order or twice: {order}")
        _judge_left(machine, ledger, record, definition)


def _judge_left(
    machine: Machine, ledger: Ledger, record: RunRecord, definition: Definition
) -> None:
    """Nothing waits for a signal that is there, and what waits asks."""
    inbox = ledger.state.inboxes.get(record.key)
    kept = set() if inbox is None else {signal.name for signal in inbox.kept}
    for position, (spec, step) in enumerate(zip(definition.steps, record.steps, strict=True)):
        waits = step.status is TaskStatus.WAITING
        asks = inbox is not None and position in inbox.asked
        if isinstance(spec.work, TaskSpec) and spec.work.type in ASKING and waits != asks:
            machine.accuse(f"step {position} of {record.id} is {step.status}, asking: {asks}")
        if asks and inbox is not None and inbox.asked[position].question.signal in kept:
            machine.accuse(f"step {position} of {record.id} waits for a signal that is there")


def _asks(definition: Definition) -> bool:
    return any(
        isinstance(spec.work, TaskSpec) and spec.work.type in ASKING for spec in definition.steps
    )
