"""What programs have left behind, and whether it is what is promised."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kallista import Kallista
from kallista.core.ids import idempotency_key
from kallista.core.snapshots import AnySnapshot, HistoryEvent

ENDS_ATTEMPT: Final = (
    "task.completed", "task.failed", "task.retrying", "task.snoozed", "task.interrupted",
    "task.cancelled", "task.waiting",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One line of the file of effects."""

    run: str
    task: str
    attempt: int
    key: str

    @classmethod
    def read(cls, line: str) -> Mark:
        """The mark that a line holds."""
        run, task, attempt, key = line.split()
        return cls(run, task, int(attempt), key)


@dataclass(frozen=True)
class Book:
    """A run and its history."""

    run: AnySnapshot
    history: Sequence[HistoryEvent]

    @property
    def completed(self) -> Counter[str]:
        """How often each task has completed."""
        return Counter(str(event.task_id) for event in self._of("task.completed"))

    @property
    def interrupted(self) -> Sequence[int]:
        """Which attempts were interrupted."""
        return [event.attempt for event in self._of("task.interrupted")]

    @property
    def effects(self) -> Mapping[str, int]:
        """The tasks that have completed with an effect, and in which attempt."""
        return {
            str(event.task_id): event.attempt
            for event in self._of("task.completed")
            if event.data == idempotency_key(self.run.id, str(event.task_id), 0)
        }

    def _of(self, kind: str) -> Sequence[HistoryEvent]:
        return [event for event in self.history if event.kind == kind]

    def check(self) -> None:
        """Whether it is a whole history of a run that has come to a good end."""
        assert self.run.ok, self.run
        self.check_history()

    def check_history(self) -> None:
        """Whether it is a whole history of a run that is over, well or not."""
        assert [event.seq for event in self.history] == list(range(len(self.history)))
        assert self.run.in_flight == 0
        assert set(self.completed.values()) <= {1}, "a completed task never runs again"
        open: dict[str | None, int] = {}
        last = Counter[str | None]()
        for event in self.history:
            if event.kind == "task.started":
                assert event.task_id not in open, "an attempt began before the last one was over"
                assert event.attempt > last[event.task_id], "each attempt has a higher number"
                open[event.task_id] = last[event.task_id] = event.attempt
            elif event.kind in ENDS_ATTEMPT and open.pop(event.task_id, None) is not None:
                assert event.attempt == last[event.task_id]
        assert not open


@dataclass(frozen=True)
class Evidence:
    """All runs with their histories, and all marks in the order in which they were left."""

    books: Mapping[str, Book]
    marks: Sequence[Mark]

    @property
    def effects(self) -> int:
        """How many tasks have completed with an effect."""
        return sum(len(book.effects) for book in self.books.values())

    @property
    def repeats(self) -> int:
        """How many marks are of attempts that were interrupted."""
        return len(self.marks) - self.effects

    def check_effects(self, *, late: bool = False) -> None:
        """Whether every completed task has had its effect, and none after its completion.

        A task may have left a mark in each of its attempts, in their order and under one key; the
        last mark is of the attempt that completed.

        Args:
            late: Whether the mark of an earlier attempt may come later.
        """
        left: dict[tuple[str, str], list[Mark]] = defaultdict(list)
        for mark in self.marks:
            left[mark.run, mark.task].append(mark)
        for id, book in self.books.items():
            for task, completed_in in book.effects.items():
                marks = left.pop((id, task), [])
                if late:
                    marks.sort(key=lambda mark: mark.attempt)
                attempts = [mark.attempt for mark in marks]
                story = f"{id}/{task} completed in attempt {completed_in}, marks of {attempts}"
                assert attempts, f"{story}: the effect is missing"
                assert attempts == sorted(set(attempts)), f"{story}: an attempt had it twice"
                assert attempts[-1] == completed_in, f"{story}: it ran after its completion"
                assert {mark.key for mark in marks} == {idempotency_key(id, task, 0)}, story
        assert not left, f"effects of tasks that have not completed: {dict(left)}"

    def check_seen(self, seen: Sequence[Mapping[str, object]]) -> None:
        """Whether all that somebody saw happen is still what has happened.

        Args:
            seen: ``happened`` lines of programs.
        """
        for line in seen:
            event = self.books[str(line["run"])].history[int(str(line["seq"]))]
            now = (event.kind, event.task_id, event.attempt)
            then = (line["kind"], line["task"], line["attempt"])
            assert now == then, f"{line['run']}: {then} was seen, and now it is {now}"


async def books(app: Kallista) -> dict[str, Book]:
    """All runs with their histories, by id."""
    found: dict[str, Book] = {}
    workflows = await app.workflow_manager.list_workflows(limit=1000)
    processes = await app.orchestrator.list_processes(limit=1000)
    tasks = await app.scheduler.list_tasks(limit=1000)
    assert [workflows.cursor, processes.cursor, tasks.cursor] == [None] * 3, "there are more"
    items = [
        item
        for run in workflows.items
        for item in (await app.scheduler.list_tasks(part_of=run.id, limit=1000)).items
    ]
    for item in workflows.items:
        history = await app.workflow_manager.get_history(item.id)
        found[item.id] = Book(await app.workflow_manager.get_workflow(item.id), history)
    for item in processes.items:
        history = await app.orchestrator.get_history(item.id)
        found[item.id] = Book(await app.orchestrator.get_process(item.id), history)
    for item in [*tasks.items, *items]:
        history = await app.scheduler.get_history(item.id)
        found[item.id] = Book(await app.scheduler.get_task(item.id), history)
    return found
