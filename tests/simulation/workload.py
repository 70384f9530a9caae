"""What clients of a simulation ask for: random tasks, workflows, processes and schedules."""

from __future__ import annotations

from random import Random
from typing import cast
from zlib import crc32

from kallista.core.questions import ASKING, WAIT_FOR_SIGNAL

Data = dict[str, object]

COUNTED = ("fails", "kills", "snoozes", "calls_off")
"""What is counted by the idempotency key of a task."""
COINS = "coins"
"""What handlers spend."""
LAST = "last"
"""What the ids of steps begin with that run at the end."""
EARLY = ("always", "one_completed", "one_failed")
"""The rules of steps that need not wait, and so cannot be branches."""
RULES = ("all_done", "one_completed", "one_failed", "none_failed", "all_failed", "always")
FIRST_TYPES = ("work", "work", "work", "work", "narrow", "other", "grind")


NAMES = ("alpha", "beta")
"""What signals are called."""

QUIET = ("sleep", *sorted(ASKING))
"""Task types that no handler of a story executes."""


BESIDE = (
    "id", "when", "trigger_rule", "compensate", "continue_on_error", "priority", "for_each",
    "max_parallel", "collect",
)  # fmt: skip
"""What a task that starts a child run says itself."""


def in_a_child(task: Data) -> Data:
    """The same task, as the only one of a child run; what it reads is handed down to it."""
    own = {key: value for key, value in task.items() if key in BESIDE}
    inner = {key: value for key, value in task.items() if key not in BESIDE}
    if "reads" in inner:
        own["inputs"] = {"reads": inner["reads"]}
        inner["reads"] = "${inputs.reads}"
    inner["id"] = "alone"
    if crc32(repr(task).encode()) % 2:
        return {**own, "type": "process", "name": "inner", "steps": [inner]}
    return {**own, "type": "workflow", "name": "inner", "tasks": [inner]}


def waiting_task(luck: Random) -> Data:
    """A task that waits for a signal or a person."""
    task: Data = {"type": luck.choice(sorted(ASKING))}
    if task["type"] == WAIT_FOR_SIGNAL:
        task["signal"] = luck.choice(NAMES)
        default: object = {"n": -1}
    else:
        task["on_reject"] = luck.choice(("fail", "fail", "complete", "cancel"))
        default = luck.choice(("approved", "rejected"))
    if luck.random() < 0.4:
        task["timeout"] = luck.choice((0.5, 2, 5))
        if luck.random() < 0.5:
            task["default"] = default
        elif luck.random() < 0.5:
            task["retry"] = {"max_attempts": 2, "delay": luck.choice((0, 1))}
    return task


class Workload:
    """Makes random descriptions.

    Args:
        luck: What decides.
        poison: Which part of the tasks kills its program, at first.
        outside: What decides on tasks that wait for what comes from outside.
    """

    def __init__(self, luck: Random, poison: float, outside: Random) -> None:
        self._luck = luck
        self._poison = poison
        self._outside = outside

    def task(self) -> Data:
        """A task of any type."""
        task = self.working_task()
        return waiting_task(self._outside) if self._outside.random() < 0.06 else task

    def working_task(self) -> Data:
        """A task that waits for nobody."""
        luck = self._luck
        if luck.random() < 0.1:
            return {"type": "sleep", "seconds": luck.choice((0, 0.5, 2, 5))}
        type = luck.choice(FIRST_TYPES)
        task: Data = {"type": type}
        if luck.random() < 0.6:
            task["length"] = luck.choice((1, 20, 200, 1_000, 3_000))
        if luck.random() < 0.3:
            task["fails"] = luck.randint(1, 3)
        if type != "grind" and luck.random() < self._poison:
            task["kills"] = luck.choice((1, 2, 9))
        if type != "grind" and luck.random() < 0.1:
            task["stubborn"] = True
        if type != "grind" and luck.random() < 0.1:
            task["snoozes"] = luck.randint(1, 2)
        if type != "grind" and luck.random() < 0.05:
            task["calls_off"] = 1
        if luck.random() < 0.15:
            task["spends"] = luck.randint(1, 3)
        if luck.random() < 0.15:
            task["beats"] = luck.randint(1, 4)
        if luck.random() < 0.1:
            task["heartbeat_timeout"] = luck.choice((0.5, 1, 2.5))
        if luck.random() < 0.15:
            task["queue"] = "side"
        if luck.random() < 0.5:
            delay = luck.choice((0, 0.1, 1, 4))
            task["retry"] = {"max_attempts": luck.randint(2, 4), "delay": delay, "jitter": 0.5}
        if luck.random() < 0.15:
            task["timeout"] = luck.choice((0.1, 1, 2))
        if task.get("heartbeat_timeout", 0) >= task.get("timeout", 9):
            del task["heartbeat_timeout"]
        if luck.random() < 0.05:
            task["deadline"] = luck.choice((1, 5, 10))
        self._limit(task)
        return task

    def single(self, wait: float) -> Data:
        """A task by itself, which is due after a wait, or else may be of use only for a while.

        Both would be a contradiction once clocks are set back.
        """
        task = self.task()
        if self._luck.random() < 0.15 and not wait:
            task["expires_at"] = self._luck.choice((0.5, 3, 15))
        return task

    def _limit(self, task: Data) -> None:
        """Perhaps a task is counted over all workers; those of one key may say other numbers."""
        luck = self._luck
        if luck.random() < 0.15:
            key = luck.choice(("one", "few", "few", "length-${config.length}"))
            if key == "few":
                task["concurrency_key"] = {"key": key, "limit": luck.randint(1, 3)}
            elif key == "one" or "length" in task:
                task["concurrency_key"] = key
        if luck.random() < 0.05:
            task["rate_limit"] = luck.choice(("2/s", {"limit": "5/s", "key": "shared"}))

    def step_task(self) -> Data:
        """A task that stands among others."""
        task = self.task()
        if self._luck.random() < 0.15:
            task["continue_on_error"] = True
        if self._luck.random() < 0.1:
            task["priority"] = self._luck.randint(0, 5)
        return task

    def _last(self) -> Data:
        """A task that runs at the end; its key, by which failures are counted, is new each time."""
        task = self.task()
        return {key: value for key, value in task.items() if key not in COUNTED}

    def _undo(self, step: Data) -> bool:
        """Perhaps a step says what undoes it; tells whether it does."""
        if self._luck.random() >= 0.12:
            return False
        step["compensate"] = self.task()
        return True

    def tasks(self) -> list[Data]:
        """The tasks of a workflow."""
        tasks = [self.step_task() for _ in range(self._luck.choice((1, 2, 3, 3, 5)))]
        for number, task in enumerate(tasks):
            task["id"] = f"t{number}"
            if number:
                self._rule(task)
            if number and self._luck.random() < 0.2:
                earlier = self._luck.randrange(number)
                task["when"] = f'tasks.t{earlier}.status == "COMPLETED"'
            self._undo(task)
            if self._luck.random() < 0.12:
                self._goes_through(task, [f"tasks.t{earlier}" for earlier in range(number)])
            elif number and task["type"] not in QUIET:
                self._reads(task, f"tasks.t{self._luck.randrange(number)}")
        tasks = [task if crc32(repr(task).encode()) % 9 else in_a_child(task) for task in tasks]
        if self._luck.random() < 0.15:
            behind = self._luck.randrange(len(tasks))
            before = [f"tasks.{task['id']}" for task in tasks[:behind]]
            tasks.insert(behind, self._switch(before, tasks[behind:]))
        return tasks

    def _switch(self, before: list[str], later: list[Data]) -> Data:
        """A choice between some of the steps behind it, by how one before it has ended."""
        luck = self._luck
        ids = [step["id"] for step in later if step.get("trigger_rule") not in EARLY]
        branches = [[id for id in ids if luck.random() < 0.4] for _ in range(3)]
        whens = [
            f'{luck.choice(before)}.status == "COMPLETED"' if before else luck.random() < 0.5
            for _ in range(2)
        ]
        cases = [{"when": when, "then": then} for when, then in zip(whens, branches, strict=False)]
        return {"id": "choice", "switch": cases, "default": branches[-1]}

    def _goes_through(self, step: Data, before: list[str]) -> None:
        """Let a step go through a list, which may depend on how another has ended."""
        luck = self._luck
        items = list(range(luck.choice((0, 1, 2, 3, 6))))
        if before and luck.random() < 0.5 and step.get("trigger_rule") not in EARLY:
            ended = f'{luck.choice(before)}.status == "COMPLETED"'
            step["for_each"] = f"${{{ended} ? {items} : [7, 8]}}"
        else:
            step["for_each"] = items
        step["max_parallel"] = luck.choice((1, 2, 3))
        if luck.random() < 0.2:
            step["collect"] = False
        if "type" in step and step["type"] not in (*QUIET, "workflow", "process"):
            step["reads"] = "${index}"

    def _rule(self, step: Data) -> None:
        """Perhaps a step asks something else of those before it than that all have completed."""
        if self._luck.random() < 0.15:
            step["trigger_rule"] = self._luck.choice(RULES)

    def _reads(self, task: Data, earlier: str) -> None:
        """Perhaps a task is given what an earlier one has returned."""
        if self._luck.random() < 0.2:
            task["reads"] = f"${{{earlier}.result}}"

    def config(self, steps: list[Data]) -> Data | None:
        """What a workflow or process of such steps says of itself."""
        config: Data = {}
        if any("compensate" in step for step in steps) and self._luck.random() < 0.7:
            config["on_failure"] = "rollback"
        if self._luck.random() < 0.1:
            count = self._luck.choice((1, 2))
            config["finally"] = [{**self._last(), "id": f"{LAST}{n}"} for n in range(count)]
        if self._luck.random() < 0.15:
            config["continue_on_error"] = True
        if self._luck.random() < 0.08:
            config["deadline"] = self._luck.choice((2, 8, 20))
        if self._luck.random() < 0.1:
            config["budget"] = {COINS: self._luck.choice((1, 3, 6))}
        if self._luck.random() < 0.06:
            config["expires_at"] = self._luck.choice((0.5, 3, 15))
        return config or None

    def _fork(self, steps: list[Data]) -> None:
        """Put a choice among the steps of a process; its branches wait for it."""
        behind = self._luck.randrange(len(steps))
        before = [str(step["id"]) for step in steps[:behind] if self._luck.random() < 0.4]
        later = steps[behind:]
        choice = self._switch([f"steps.{id}" for id in before], later)
        branches = {id for branch in _branches(choice) for id in branch}
        steps.insert(behind, {**choice, "depends_on": before})
        for step in later:
            if step["id"] in branches:
                step["depends_on"] = [*cast("list[str]", step["depends_on"]), "choice"]

    def process(self, depth: int = 2) -> Data:
        """A graph of steps."""
        luck = self._luck
        steps: list[Data] = []
        for number in range(luck.choice((1, 2, 3, 4, 6))):
            shape = luck.random()
            task = self.task()
            step: Data
            if shape < 0.2:
                step = {"type": "workflow", "name": "inner", "tasks": self.tasks()}
            elif shape < 0.3 and depth:
                step = {"type": "process", **self.process(depth - 1)}
            else:
                step = {"type": "task", "task_data": task}
            if luck.random() < 0.15:
                step["continue_on_error"] = True
            before = [f"s{earlier}" for earlier in range(number) if luck.random() < 0.4]
            self._undo(step)
            if before:
                self._rule(step)
            if luck.random() < 0.12:
                self._goes_through(step, [f"steps.{id}" for id in before])
                if step["type"] == "task":
                    del step["reads"]
                    if task["type"] not in QUIET:
                        task["reads"] = "${index}"
            elif before and step["type"] == "task" and task["type"] not in QUIET:
                self._reads(task, f"steps.{luck.choice(before)}")
            if before and luck.random() < 0.2:
                step["when"] = f'steps.{luck.choice(before)}.status == "COMPLETED"'
            steps.append({**step, "id": f"s{number}", "depends_on": before})
        if luck.random() < 0.15:
            self._fork(steps)
        data: Data = {"name": "graph", "steps": steps}
        config = self.config(steps) if luck.random() < 0.4 else None
        return {**data, "config": config} if config else data


def _branches(choice: Data) -> list[list[str]]:
    cases = cast("list[dict[str, list[str]]]", choice["switch"])
    return [cast("list[str]", choice["default"]), *(case["then"] for case in cases)]
