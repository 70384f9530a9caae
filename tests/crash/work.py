"""Work for a round: what a client submits, and what must have come of it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

from evidence import Evidence
from puppets import Line, Puppet

MARKS: Final = "marks.txt"
FIRINGS: Final = 4
LEVELS: Final = 3
WIDTH: Final = 3
ITEMS: Final = 5
WAYS: Final = ("left", "right")

Call = tuple[str, dict[str, Any]]


class Work:
    """Workflows, processes, lists, single tasks and a schedule, all of whose tasks leave marks.

    Args:
        chance: What their shapes are drawn from.
        size: How many workflows; the rest goes with it.
        slow: How many seconds a task may take, before its effect and after it.
        prefix: What all its ids begin with.
    """

    def __init__(self, chance: Random, size: int, slow: float = 0.03, prefix: str = "") -> None:
        self._chance = chance
        self._slow = slow
        self._doors: dict[str, str] = {}
        self.effects = 0
        self.errors = Counter[str]()
        self._submits: list[Call] = []
        for number in range(size):
            self._add_workflow(f"{prefix}w{number}")
        for number in range(max(1, size // 4)):
            self._add_process(f"{prefix}p{number}")
        self._lists = max(1, size // 4)
        for number in range(self._lists):
            self._add_list(f"{prefix}l{number}", key=f"{prefix}desk")
        for number in range(size):
            self._add_task(f"{prefix}t{number}")
        self._schedule = f"{prefix}often"
        self._add_schedule(self._schedule)

    # what there is to do

    def _task(self, id: str) -> dict[str, Any]:
        """A task that leaves its mark sooner or later, on a thread or on the loop."""
        self.effects += 1
        return {
            "id": id,
            "type": self._chance.choice(("mark", "etch")),
            "file": MARKS,
            "before": self._chance.choice((0, self._slow)),
            "after": self._chance.choice((0, self._slow)),
            "priority": self._chance.randint(0, 3),
        }

    def _tasks(self, number: int) -> list[dict[str, Any]]:
        return [self._task(f"task{position}") for position in range(number)]

    def _add_workflow(self, id: str) -> None:
        tasks = self._tasks(self._chance.randint(2, 6))
        self._doors[id] = "workflow_manager"
        self._submits += [
            ("workflow_manager.create_workflow", {"name": "w", "tasks": tasks, "workflow_id": id}),
            ("workflow_manager.start_workflow", {"workflow_id": id}),
        ]

    def _add_process(self, id: str) -> None:
        """Layers of tasks, each of which waits for some of the layer before; then a child run."""
        steps: list[dict[str, Any]] = []
        before: list[str] = []
        for level in range(LEVELS):
            layer = [f"step{level}-{place}" for place in range(WIDTH)]
            for step in layer:
                after = self._chance.sample(before, min(2, len(before)))
                steps.append(
                    {"id": step, "type": "task", "task_data": self._task(step), "depends_on": after}
                )
            before = layer
        nap = {"type": "sleep", "seconds": self._slow}
        steps.append({"id": "nap", "type": "task", "task_data": nap, "depends_on": before})
        child = {"id": "child", "type": "workflow", "tasks": self._tasks(2), "depends_on": ["nap"]}
        steps.append(child)
        self._doors[id] = "orchestrator"
        self._submits += [
            ("orchestrator.create_process", {"definition": {"id": id, "steps": steps}}),
            ("orchestrator.start_process", {"process_id": id}),
        ]

    def _add_list(self, id: str, key: str) -> None:
        """A list that waits for a signal, few of whose items may run at once; then one of two ways.

        The signal is sent twice, as by somebody who has not heard that it arrived.
        """
        item = self._task("items") | {"concurrency_key": {"key": key, "limit": 2}}
        route = {"when": "tasks.go.result.way == 'left'", "then": "left"}
        tasks = [
            {"id": "go", "type": "wait_for_signal"},
            {**item, "for_each": list(range(ITEMS)), "max_parallel": 3},
            {"id": "route", "switch": [route], "default": "right"},
            {**self._task("left"), "concurrency_key": key},
            {**self._task("right"), "concurrency_key": key},
        ]
        self.effects += ITEMS - 2  # one task is all items, and of the two ways only one is gone
        signal = {"run_id": id, "name": "go", "payload": {"way": self._chance.choice(WAYS)}}
        send: Call = ("workflow_manager.send_signal", {**signal, "signal_id": "once"})
        self._doors[id] = "workflow_manager"
        self._submits += [
            ("workflow_manager.create_workflow", {"name": "l", "tasks": tasks, "workflow_id": id}),
            send,
            ("workflow_manager.start_workflow", {"workflow_id": id}),
            send,
        ]

    def _add_task(self, id: str) -> None:
        task = self._task(id)
        del task["id"]
        self._doors[id] = "scheduler"
        self._submits.append(("scheduler.schedule_task", {"task_id": id, "task_data": task}))

    def _add_schedule(self, id: str) -> None:
        task = {"type": "etch", "file": MARKS}
        self.effects += FIRINGS
        arguments = {"task_id": id, "task_data": task, "interval": 0.2, "max_runs": FIRINGS}
        self._submits.insert(0, ("scheduler.schedule_task", arguments))

    # doing it

    def submit(self, client: Puppet) -> None:
        """Let a client submit everything, and follow it; its answers come later."""
        follow = [("follow", {"run": id, "door": door}) for id, door in self._doors.items()]
        client.tell("each", calls=[*self._submits, *follow])

    def finish(self, client: Puppet) -> None:
        """Let the client wait for the end of everything, and hear it out.

        Raises:
            AssertionError: Something has not ended well; the message says where it is.
        """
        timeout = 0.8 * client.stage.patience
        waits = [(f"{door}.wait_{kind(door)}", {f"{kind(door)}_id": id, "timeout": timeout})
                 for id, door in self._doors.items()]  # fmt: skip
        waits.append(("finish_schedule", {"schedule": self._schedule}))
        client.tell("each", calls=waits, name=self._schedule)
        line = client.hear()
        while (line["told"], line.get("asked")) != ("done", self._schedule):
            if line["told"] in ("refused", "lost sight"):
                self._note(client, line)
            assert line["told"] != "end", "the client has ended"
            line = client.hear()

    def _note(self, client: Puppet, line: Line) -> None:
        """The client asks a failing store again; no other error is to reach it."""
        assert line["type"] in STORE_ERRORS, self._story(client, line)
        self.errors[line["type"]] += 1

    def _story(self, client: Puppet, line: Line) -> str:
        """What was refused, and where the runs are that have not ended."""
        stories = [f"{line.get('asked')} was refused: {line['type']}: {line['message']}"]
        looker = client.stage.looker()
        for id, door in self._doors.items():
            looker.tell(f"{door}.explain", id=id)
            said = looker.until("answer", "refused")
            if said["told"] == "refused" or said["value"]["status"] != "COMPLETED":
                stories.append(str(said.get("value", said)))
        return "\n".join(stories)

    # what has come of it

    def check(self, evidence: Evidence, seen: list[Line], *, late: bool = False) -> None:
        """Whether each run has completed, each task has had its effect, and no more than that.

        Args:
            evidence: What was left by this work, and by no other.
            seen: What the client saw happen.
            late: Whether handlers may have gone on after others took their tasks over.
        """
        check_all([self], evidence, seen, late=late)

    @property
    def runs(self) -> int:
        """How many runs it is, children, items and firings included."""
        children = Counter(self._doors.values())["orchestrator"] + self._lists * ITEMS
        return len(self._doors) + FIRINGS + children

    @property
    def ids(self) -> set[str]:
        """The runs that the client has created."""
        return set(self._doors)


def check_all(
    works: list[Work], evidence: Evidence, seen: list[Line], *, late: bool = False
) -> None:
    """The same for several works in one place."""
    for book in evidence.books.values():
        book.check()
    evidence.check_effects(late=late)
    evidence.check_seen(seen)
    ids = set[str]().union(*(work.ids for work in works))
    lost = ids - evidence.books.keys()
    assert not lost, f"acknowledged, and lost: {lost}"
    unseen = ids - {str(line["run"]) for line in seen}
    assert not unseen, f"nobody saw {unseen} happen"
    assert evidence.effects == sum(work.effects for work in works)
    assert len(evidence.books) == sum(work.runs for work in works)


STORE_ERRORS: Final = ("StoreError", "StoreUnavailableError", "StoreUncertainError")


def kind(door: str) -> str:
    """What a door's runs are called in its methods."""
    return {"workflow_manager": "workflow", "orchestrator": "process", "scheduler": "task"}[door]
