from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parsing_support import LIMITS, accept, documents, nothing

from kallista.core.definitions import ChildSpec, Definition, TaskSpec
from kallista.core.encoding import (
    definition_from_data,
    definition_hash,
    definition_text,
    definition_to_data,
)
from kallista.core.inputs import check_inputs
from kallista.core.parsing import (
    Limits,
    named_definitions,
    parse_document,
    parse_process,
    parse_task,
    parse_workflow,
)
from kallista.core.states import RunKind
from kallista.core.types import Json, TaskType
from kallista.errors import DefinitionError, UsageError


def workflow(tasks: object, config: object = None, limits: Limits = LIMITS) -> Definition:
    """A workflow that is read without a hitch."""
    return parse_workflow("w", tasks, config, accept, limits)


def process(
    data: Mapping[str, object], limits: Limits = LIMITS, lookup: Any = nothing
) -> Definition:
    """A process that is."""
    return parse_process(data, lookup, accept, limits)


def steps(*items: Mapping[str, object], **more: object) -> Definition:
    """A process of these steps."""
    return process({"steps": [*items], **more})


def problems_of(read: Any, *arguments: Any, **named: Any) -> tuple[str, ...]:
    """What a reader complains about."""
    with pytest.raises(DefinitionError) as caught:
        read(*arguments, **named)
    return caught.value.problems


def told(read: Any, *arguments: Any, **named: Any) -> str:
    """Its only complaint."""
    (problem,) = problems_of(read, *arguments, **named)
    return problem


def work(definition: Definition, position: int = 0) -> TaskSpec:
    """The task at a position."""
    found = definition.steps[position].work
    assert isinstance(found, TaskSpec)
    return found


def child(definition: Definition, position: int = 0) -> ChildSpec:
    """The child run at a position."""
    found = definition.steps[position].work
    assert isinstance(found, ChildSpec)
    return found


class TestFoundingPrograms:
    def test_workflow(self) -> None:
        """The founding workflow reads as two tasks, one after the other, named by their types."""
        definition = parse_workflow(
            "Gerar Sistema WPF",
            [
                {"type": "system_design", "config": {"pattern": "MVVM"}},
                {"type": "code_generation", "config": {"template": "wpf_main"}},
            ],
            {"continue_on_error": False},
            accept,
            LIMITS,
        )
        assert definition.kind is RunKind.WORKFLOW
        assert [step.id for step in definition.steps] == ["system_design", "code_generation"]
        assert [step.depends_on for step in definition.steps] == [(), (0,)]
        assert work(definition).config == {"pattern": "MVVM"}

    def test_task(self) -> None:
        """Keys of a task that are not its own go to the handler, as if they stood in config."""
        beside = {"type": "generate", "template": "wpf_view", "params": {"name": "Main"}}
        within = {
            "type": "generate",
            "config": {"template": "wpf_view", "params": {"name": "Main"}},
        }
        one = parse_task("t", beside, accept, LIMITS)
        other = parse_task("t", within, accept, LIMITS)
        assert definition_hash(one) == definition_hash(other)
        assert one.kind is RunKind.TASK
        assert (one.name, one.steps[0].id) == ("", ""), "equal tasks share one definition"

    def test_process(self) -> None:
        """The founding process runs a defined workflow, then a task, after another process."""
        design = workflow([{"type": "x"}])
        definition = process(
            {
                "id": "create_wpf_app",
                "steps": [
                    {"id": "design", "type": "workflow", "name": "System Design"},
                    {"id": "generate", "type": "task", "task_data": {"type": "code_generation"}},
                ],
                "dependencies": ["setup_environment"],
            },
            lookup=lambda kind, name: (
                design if (kind, name) == ("workflow", "System Design") else None
            ),
        )
        assert definition.name == "create_wpf_app"
        assert definition.dependencies == ("setup_environment",)
        assert child(definition).definition is design
        assert definition.steps[1].depends_on == (0,)


class TestTasks:
    def test_ids(self) -> None:
        """A task without an id is named after its type; ids that are taken are passed over."""
        definition = workflow(
            [{"type": "a"}, {"type": "a"}, {"id": "a-3", "type": "b"}, {"type": "a"}]
        )
        assert [step.id for step in definition.steps] == ["a", "a-2", "a-3", "a-4"]

    def test_id_given_later_wins(self) -> None:
        """A given id is never taken by a task listed before that has none."""
        definition = workflow([{"type": "a"}, {"id": "a", "type": "b"}])
        assert [step.id for step in definition.steps] == ["a-2", "a"]

    def test_duplicate_ids(self) -> None:
        """Two tasks with one id are a problem."""
        assert told(workflow, [{"id": "a", "type": "x"}] * 2) == (
            "two tasks have the id 'a'; give each its own"
        )

    def test_key_twice(self) -> None:
        """A handler's key in config and beside it is a problem, even when both agree."""
        assert "'x' is given twice" in told(workflow, [{"type": "a", "x": 1, "config": {"x": 1}}])

    def test_own_keys(self) -> None:
        """Retry, limits, condition, name and priority of a task are read in all their forms."""
        definition = workflow(
            [
                {
                    "type": "a",
                    "name": "A task",
                    "retry": {"max_attempts": 3, "delay": "1m"},
                    "timeout": timedelta(seconds=5),
                    "deadline": "PT1H",
                    "when": "inputs.x > 1",
                    "priority": -2,
                    "continue_on_error": True,
                }
            ],
            {"inputs": {"x": {"type": "integer"}}},
        )
        (step,) = definition.steps
        assert (step.name, step.when, step.priority, step.continue_on_error) == (
            "A task", "inputs.x > 1", -2, True,
        )  # fmt: skip
        assert work(definition).retry.delay == 60_000_000
        assert (work(definition).timeout, work(definition).deadline) == (5_000_000, 3_600_000_000)

    def test_how_often_a_worker_may_die(self) -> None:
        """Five times unless the task says otherwise; it must be a whole number from 1 on."""
        tasks = [{"type": "a"}, {"type": "a", "max_crashes": 2}, {"type": "a", "max_crashes": None}]
        definition = workflow(tasks)
        assert [work(definition, position).max_crashes for position in range(3)] == [5, 2, 5]
        for wrong in (0, True, 1.5, "2", 10**9):
            with pytest.raises(DefinitionError, match="max_crashes must be a whole number from 1"):
                workflow([{"type": "a", "max_crashes": wrong}])

    def test_defaults_of_config(self) -> None:
        """What config says holds for tasks that don't say otherwise; null is otherwise too."""
        definition = workflow(
            [{"type": "a"}, {"type": "b", "retry": None, "timeout": None}],
            {"retry": 3, "timeout": 10, "continue_on_error": True},
        )
        assert (work(definition, 0).retry.max_attempts, work(definition, 0).timeout) == (
            3,
            10_000_000,
        )
        assert (work(definition, 1).retry.max_attempts, work(definition, 1).timeout) == (1, None)
        assert all(step.continue_on_error for step in definition.steps)

    def test_values_become_plain(self) -> None:
        """Moments, bytes and sets in a config become what JSON can hold."""
        moment = datetime(2030, 1, 2, tzinfo=UTC)
        definition = workflow([{"type": "a", "at": moment, "raw": b"\xff", "tags_": {"b", "a"}}])
        assert work(definition).config == {
            "at": "2030-01-02T00:00:00Z", "raw": "/w==", "tags_": ["a", "b"],
        }  # fmt: skip

    def test_not_plain(self) -> None:
        """What JSON cannot hold is named with its place."""
        found = problems_of(workflow, [{"type": "a", "x": {"y": [float("nan")]}, "z": object()}])
        assert found == (
            "task 'a': config.x.y[0] is nan, which JSON cannot express",
            "task 'a': config.z is of type object, which is no plain data",
        )

    def test_a_single_task_has_no_neighbours(self) -> None:
        """A single task can't depend on or refer to anything."""
        found = problems_of(
            parse_task,
            "t",
            {"type": "a", "x": "${tasks.b.result}", "depends_on": []},
            accept,
            LIMITS,
        )
        assert len(found) == 2

    def test_an_id_that_equals_nothing_is_no_id(self) -> None:
        """Not even itself: it is told like any other wrong id."""
        with pytest.raises(DefinitionError, match="nan is no task id"):
            parse_task(float("nan"), {"type": "a"}, accept, LIMITS)

    def test_tags_and_priority_of_a_single_task(self) -> None:
        """Of a single task, tags and priority are those of its run."""
        definition = parse_task("t", {"type": "a", "tags": ["x"], "priority": 3}, accept, LIMITS)
        assert (definition.tags, definition.priority) == (("x",), 3)
        assert definition.steps[0].priority is None


class TestAllAtOnce:
    def test_every_problem_is_told(self) -> None:
        """One reading finds all problems, each with its place."""
        found = problems_of(
            process,
            {
                "id": "no id!",
                "step": [],
                "steps": [
                    {"id": "a", "type": "task", "task_data": {"type": "wrong", "timeout": -1}},
                    {
                        "id": "b",
                        "type": "workflow",
                        "tasks": [{"type": "x", "retry": {"delai": 1}}],
                    },
                    {"id": "c", "type": "workflow", "name": "Unknown"},
                    {"id": "d", "type": "x", "depends_on": ["e"], "priority": "high"},
                    5,
                ],
                "config": {"continue_on_eror": True, "deadline": "soon"},
                "tags": "x",
            },
        )
        text = "\n".join(found)
        for part in (
            "'no id!' is no process id",
            "there is no key 'step'; did you mean 'steps'",
            "step 'a': there is no task type 'wrong'",
            "step 'a': timeout: a length of time cannot be negative",
            "step 'b': task 'x': retry.delai: there is no such key; did you mean 'delay'",
            "step 'c': no workflow is defined under the name 'Unknown'",
            "step 'd': depends_on names no step: 'e'",
            "step 'd': priority must be a whole number",
            "steps[4] must be a mapping, not 5 (int)",
            "config: there is no key 'continue_on_eror'; did you mean 'continue_on_error'",
            "deadline: 'soon' is no length of time",
            "tags must be a list",
        ):
            assert part in text

    def test_the_error_lists_them(self) -> None:
        """The error's own text shows every problem, of very many the first hundred."""
        with pytest.raises(DefinitionError, match="has 300 problems") as caught:
            workflow([{"type": "wrong"}] * 300)
        assert len(caught.value.problems) == 101
        assert caught.value.problems[-1] == "… and 200 more"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "type", "steps", "tasks", "config", "depends_on", "task_data", "retry",
                     "inputs", "when", "timeout", "default", "items", "name", "dependencies"]
                ),
                inner | st.sampled_from(["a", "workflow", "process", "task", "${inputs.a}"]),
                max_size=5,
            ),
            max_leaves=30,
        )
    )  # fmt: skip
    @example({"id": [], "steps": None, "dependencies": []})
    def test_nothing_else_is_raised(self, data: Any) -> None:
        """Whatever is handed in, the answer is a definition or a DefinitionError."""
        for read in (
            lambda: parse_document(data, nothing, accept, LIMITS),
            lambda: parse_process({"steps": data}, nothing, accept, LIMITS),
            lambda: parse_workflow("w", data, data, accept, LIMITS),
            lambda: parse_task(data, data, accept, LIMITS),
        ):
            with suppress(DefinitionError):
                read()
        named_definitions(data)


class TestGraph:
    def test_default_is_the_step_before(self) -> None:
        """Without depends_on a step follows the one listed before it; [] starts at once."""
        definition = steps(
            {"id": "a", "type": "x"},
            {"id": "b", "type": "x", "depends_on": []},
            {"id": "c", "type": "x"},
            {"id": "d", "type": "x", "depends_on": ["c", "a", "c"]},
            {"id": "e", "type": "x", "depends_on": "a"},
        )
        assert [step.depends_on for step in definition.steps] == [(), (), (1,), (0, 2), (0,)]

    def test_a_step_may_depend_on_a_later_one(self) -> None:
        """The order of the list does not matter where depends_on says another one."""
        definition = steps(
            {"id": "a", "type": "x", "depends_on": ["b"]},
            {"id": "b", "type": "x", "depends_on": []},
        )
        assert [step.depends_on for step in definition.steps] == [(1,), ()]

    def test_cycles_are_shown(self) -> None:
        """A cycle is shown in the order in which its steps would run; two cycles are both shown."""
        found = problems_of(
            steps,
            {"id": "a", "type": "x", "depends_on": ["c"]},
            {"id": "b", "type": "x", "depends_on": ["a"]},
            {"id": "c", "type": "x", "depends_on": ["b"]},
            {"id": "s", "type": "x", "depends_on": ["s"]},
            {"id": "behind", "type": "x", "depends_on": ["a"]},
        )
        assert found == (
            "steps wait for each other in a circle: b -> c -> a -> b",
            "steps wait for each other in a circle: s -> s",
        )

    def test_near_names(self) -> None:
        """A depends_on that names no step comes with the nearest ids."""
        problem = told(
            steps, {"id": "design", "type": "x"}, {"id": "b", "type": "x", "depends_on": ["desing"]}
        )
        assert problem == ("step 'b': depends_on names no step: 'desing'; did you mean 'design'?")

    def test_a_process_does_not_wait_for_itself(self) -> None:
        """A process among its own dependencies would never start."""
        problem = told(process, {"id": "p", "steps": [{"type": "x"}], "dependencies": ["p"]})
        assert "would wait for itself" in problem

    @given(st.data())
    def test_random_graphs(self, data: st.DataObject) -> None:
        """A random graph is accepted exactly when it has no cycle, and a shown cycle is real."""
        count = data.draw(st.integers(1, 8))
        edges = data.draw(
            st.lists(
                st.lists(st.integers(0, count - 1), max_size=3), min_size=count, max_size=count
            )
        )
        items = [
            {"id": f"s{n}", "type": "x", "depends_on": [f"s{other}" for other in before]}
            for n, before in enumerate(edges)
        ]
        reachable = {n: set(before) for n, before in enumerate(edges)}
        for _ in range(count):
            for n in range(count):
                for other in list(reachable[n]):
                    reachable[n] |= reachable[other]
        cyclic = any(n in reachable[n] for n in range(count))
        if not cyclic:
            assert [set(step.depends_on) for step in steps(*items).steps] == [set(e) for e in edges]
            return
        for problem in problems_of(steps, *items):
            names = problem.removeprefix("steps wait for each other in a circle: ").split(" -> ")
            assert names[0] == names[-1]
            for earlier, later in pairwise(names):
                assert int(earlier[1:]) in edges[int(later[1:])]

    def test_large_graphs_are_read_fast_enough_to_be_read_at_all(self) -> None:
        """A chain of 10,000 steps in which each refers to one far before is no recursion."""
        items = [{"id": "s0", "type": "x"}]
        items += [
            {"id": f"s{n}", "type": "x", "v": f"${{steps.s{n // 2}.result}}"}
            for n in range(1, 10_000)
        ]
        assert len(steps(*items).steps) == 10_000


class TestReferences:
    def test_earlier_tasks(self) -> None:
        """A task of a workflow reads every earlier one, and no later one."""
        workflow([{"type": "a"}, {"type": "b"}, {"type": "c", "x": "${tasks.a.result.y}"}])
        problem = told(workflow, [{"type": "a", "x": "${tasks.b.result}"}, {"type": "b"}])
        assert problem == "task 'a': tasks.b does not run before this task"

    def test_transitive_dependencies(self) -> None:
        """A step reads what runs before it, also indirectly, and nothing that may run beside it."""
        a: dict[str, object] = {"id": "a", "type": "x"}
        b: dict[str, object] = {"id": "b", "type": "x"}
        steps(a, b, {"id": "c", "type": "x", "v": "${steps.a.result}"})
        problem = told(
            steps, a, b, {"id": "c", "type": "x", "v": "${steps.b.result}", "depends_on": ["a"]}
        )
        assert "steps.b does not run before this step; add it to depends_on" in problem

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("${steps.a.result}", "in a workflow write tasks.a"),
            ("${tasks.aa.result}", "did you mean 'a'?"),
            ("${tasks.b.result}", "is the task itself"),
            ("${inputs.siez}", "did you mean 'size'?"),
            ("${processes.p}", "means nothing here"),
            ("${tasks.a.", "task 'b': x"),
        ],
    )
    def test_what_cannot_be_read(self, text: str, part: str) -> None:
        """References to what is not there are problems, with a hint."""
        tasks = [{"type": "a"}, {"type": "b", "x": text}]
        assert part in told(workflow, tasks, {"inputs": {"size": {}}})

    def test_conditions(self) -> None:
        """Conditions are checked like configs; true and false stand for themselves."""
        assert "tasks.b is the task itself" in told(
            workflow, [{"type": "a"}, {"type": "b", "when": "tasks.b.result.ok"}]
        )
        assert "when" in told(workflow, [{"type": "a", "when": "1 +"}])
        assert workflow([{"type": "a", "when": False}]).steps[0].when == "false"

    def test_inputs_of_a_child(self) -> None:
        """What a step hands to its child run may refer to what runs before the step."""
        inner = {"id": "c", "type": "workflow", "tasks": [{"type": "x", "v": "${inputs.d}"}]}
        definition = steps(
            {"id": "a", "type": "x"}, {**inner, "inputs": {"d": "${steps.a.result}"}}
        )
        assert child(definition, 1).inputs == {"d": "${steps.a.result}"}
        assert "steps.z" in told(steps, {**inner, "inputs": {"d": "${steps.z.result}"}})

    def test_unresolved_keys_are_not_checked(self) -> None:
        """The check of a task learns which keys hold references."""
        seen: list[Collection[str]] = []

        def check(
            type: TaskType, config: Mapping[str, Json], unresolved: Collection[str]
        ) -> Sequence[str]:
            seen.append(set(unresolved))
            return ()

        parse_workflow(
            "w",
            [{"type": "a"}, {"type": "b", "x": {"y": ["${tasks.a.result}"]}, "z": "plain"}],
            None,
            check,
            LIMITS,
        )
        assert seen == [set(), {"x"}]


class TestSteps:
    def test_three_ways_to_write_a_task(self) -> None:
        """A task in task_data, one with a config and one inline mean the same."""
        hashes = {
            definition_hash(steps({"id": "a", **item}))
            for item in (
                {"type": "task", "task_data": {"type": "x", "v": 1, "retry": 2}},
                {"type": "task", "task_data": {"type": "x", "config": {"v": 1}}, "retry": 2},
                {"type": "x", "config": {"v": 1}, "retry": 2},
                {"type": "x", "v": 1, "retry": 2},
            )
        }
        assert len(hashes) == 1

    def test_not_both(self) -> None:
        """A key in task_data and beside it has to agree."""
        item = {"id": "a", "type": "task", "task_data": {"type": "x", "timeout": 1}, "timeout": 2}
        assert "'timeout' is given twice" in told(steps, item)

    @pytest.mark.parametrize(
        ("item", "part"),
        [
            ({"type": "task"}, "needs task_data"),
            ({"type": "x", "task_data": {}}, "is of type task"),
            ({"type": "workflow"}, "needs tasks, or the name of a defined workflow"),
            ({"type": "process", "steps": []}, "steps is empty"),
            ({"type": "workflow", "tasks": [{"type": "x"}], "retry": 3}, "no key 'retry'"),
            ({"type": "workflow", "tasks": [{"type": "workflow"}]}, "workflow needs tasks, or"),
            ({"type": "workflow", "tasks": [{"type": "task"}]}, "is no task type"),
            ({"type": "task", "task_data": {"type": "workflow"}}, "is no task type"),
            ({"type": 5}, "type must be the name of a task type"),
            ({}, "the type is missing"),
            ({"type": "x", "tags": ["a"]}, "tags belong to a whole run"),
        ],
    )
    def test_wrong_steps(self, item: Mapping[str, object], part: str) -> None:
        """A step that is neither of its kinds is told what it lacks."""
        assert part in told(steps, {"id": "a", **item})

    def test_processes_in_processes(self) -> None:
        """A process can be a step of a process, with steps, config and dependencies of its own."""
        definition = steps(
            {
                "id": "outer",
                "type": "process",
                "dependencies": ["before"],
                "config": {"retry": 2, "priority": 4},
                "steps": [{"id": "inner", "type": "x"}],
            }
        )
        inner = child(definition).definition
        assert (inner.kind, inner.name, inner.priority) == (RunKind.PROCESS, "outer", 4)
        assert inner.dependencies == ("before",)
        assert work(inner).retry.max_attempts == 2

    def test_nesting_has_an_end(self) -> None:
        """Definitions nested without end are refused, not followed until Python gives up."""
        item: dict[str, object] = {"type": "x"}
        for _ in range(500):
            item = {"type": "process", "steps": [item]}
        assert "lie in each other more than 16 deep" in told(process, {"steps": [item]})
        item = {"type": "x"}
        for _ in range(500):
            item = {"type": "workflow", "tasks": [item]}
        assert "lie in each other more than 16 deep" in told(workflow, [item])

    def test_endless_data(self) -> None:
        """Data that contains itself is refused."""
        loop: list[object] = []
        loop.append({"type": "process", "steps": loop})
        named_definitions({"steps": loop})
        assert "lie in each other" in told(process, {"steps": loop})
        endless: dict[str, object] = {"type": "x"}
        endless["config"] = {"self": endless}
        assert "is nested deeper than" in told(workflow, [endless])
        doubling: list[object] = [1]
        for _ in range(60):
            doubling = [doubling, doubling]
        assert "more than 1,000,000 values" in told(workflow, [{"type": "x", "v": doubling}])


class TestInputs:
    DECLARED: Mapping[str, object] = {
        "name": {"type": "string", "minLength": 2, "maxLength": 5},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "kind": {"enum": ["a", 1, None], "default": None},
        "items": {"type": ["array", "null"], "items": {"type": "number"}, "required": False},
        "any": None,
    }

    def definition(self) -> Definition:
        return workflow([{"type": "x"}], {"inputs": self.DECLARED})

    def test_defaults_are_filled_in(self) -> None:
        """What is not given has its default, or null when it is optional."""
        assert check_inputs(self.definition(), {"name": "abc", "any": {"x": 1}}) == {
            "name": "abc", "count": 3, "kind": None, "items": None, "any": {"x": 1},
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("values", "part"),
        [
            ({"name": "a"}, "input 'name' must be at least 2 characters long, not 1"),
            ({"name": 5}, "input 'name' must be string, not 5"),
            ({"name": "abcdef"}, "at most 5 characters"),
            ({"count": 0}, "input 'count' must be at least 1, not 0"),
            ({"count": True}, "input 'count' must be integer, not True"),
            ({"count": 1.5}, "must be integer"),
            ({"kind": True}, "input 'kind' must be one of 'a', 1, None, not True"),
            ({"items": [1, "x"]}, "input 'items'[1] must be number, not 'x'"),
            ({"nam": 1}, "there is no input 'nam'; did you mean 'name'?"),
            ({"any": float("inf")}, "inputs.any is inf"),
        ],
    )
    def test_unfit_values(self, values: Mapping[str, object], part: str) -> None:
        """A value that does not fit is told what it should be."""
        with pytest.raises(UsageError) as caught:
            check_inputs(self.definition(), {"name": "abc", "any": 1, **values})
        (problem,) = caught.value.problems
        assert part in problem

    def test_all_at_once(self) -> None:
        """Missing and unknown inputs are told together."""
        with pytest.raises(UsageError) as caught:
            check_inputs(self.definition(), {"x": 1, "count": "many"})
        assert len(caught.value.problems) == 4

    @pytest.mark.parametrize(
        ("declared", "part"),
        [
            ({"type": "strin"}, "there is no type 'strin'; did you mean 'string'?"),
            ({"enum": []}, "enum must be a list"),
            ({"minimum": "1"}, "minimum must be a number"),
            ({"defualt": 1}, "there is no key 'defualt'; did you mean 'default'?"),
            ({"type": "string", "default": 1}, "default must be string, not 1"),
            ({"required": True, "default": 1}, "leave one of them out"),
            ({"items": {"type": "x"}}, "items: there is no type 'x'"),
            ("string", "must be a mapping"),
        ],
    )
    def test_wrong_declarations(self, declared: object, part: str) -> None:
        """A declaration is checked when the definition is."""
        problem = told(workflow, [{"type": "x"}], {"inputs": {"a": declared}})
        assert problem.startswith("input 'a': ")
        assert part in problem

    def test_child_inputs(self) -> None:
        """A step hands to a defined child what that declares, completed by its defaults."""
        known = self.definition()
        item: dict[str, object] = {"type": "workflow", "name": "w", "inputs": {"name": "abc"}}

        def lookup(kind: RunKind, name: str) -> Definition:
            return known

        problem = told(process, {"steps": [item]}, lookup=lookup)
        assert problem == "step 'workflow': the input 'any' is missing"
        item["inputs"] = {"name": "abc", "any": 1}
        found = process({"steps": [item]}, lookup=lookup)
        assert child(found).inputs["count"] == 3


class TestLimits:
    def test_steps(self) -> None:
        """More steps than allowed are refused before anything else is looked at."""
        problem = told(workflow, [{"type": "wrong"}] * 11, None, Limits(max_steps=10))
        assert problem.startswith("there are 11 tasks, and a definition may have 10")

    def test_steps_at_the_end_count(self) -> None:
        """What undoes steps and what runs whatever the end are steps of the definition, too."""
        undone = [{"type": "x", "compensate": {"type": "y"}}] * 4
        config = {"finally": [{"type": "z"}] * 3}
        assert len(workflow(undone, config, Limits(max_steps=11)).steps) == 11
        problem = told(workflow, undone, config, Limits(max_steps=10))
        assert problem.startswith("there are 11 steps, with what undoes them and what runs at the")

    def test_payload(self) -> None:
        """A config over the limit is refused, counted in bytes."""
        task = {"type": "x", "text": "é" * 600_000}
        assert "has 1,200,011 bytes" in told(workflow, [task])

    def test_definition(self) -> None:
        """A definition over the limit is refused."""
        tasks = [{"type": "x", "text": "a" * 900}] * 10
        assert "a definition may have 8,000" in told(
            workflow, tasks, None, Limits(max_definition_bytes=8_000)
        )

    def test_definitions_that_double(self) -> None:
        """Definitions that embed each other many times are refused before they are written out."""
        big = workflow([{"type": "x", "text": "a" * 1_000_000}])
        items = [{"id": f"s{n}", "type": "workflow", "name": "w"} for n in range(5_000)]
        problem = told(process, {"steps": items}, lookup=lambda kind, name: big)
        assert "the definitions of its child runs have" in problem


class TestDocuments:
    def test_kinds(self) -> None:
        """A file says what it describes, or it is seen by tasks or steps."""
        for data, kind in (
            ({"kind": "workflow", "tasks": [{"type": "x"}]}, RunKind.WORKFLOW),
            ({"tasks": [{"type": "x"}]}, RunKind.WORKFLOW),
            ({"steps": [{"type": "x"}], "kind": "process"}, RunKind.PROCESS),
            ({"steps": [{"type": "x"}]}, RunKind.PROCESS),
        ):
            assert parse_document(data, nothing, accept, LIMITS).definition.kind is kind

    def test_a_file_is_what_the_objects_take(self) -> None:
        """A workflow file and create_workflow with the same content are the same definition."""
        tasks = [{"type": "x"}]
        config = {"priority": 2, "inputs": {"a": {"default": 1}}}
        file = {"id": "i", "name": "w", "tasks": tasks, "priority": 2, "inputs": config["inputs"]}
        document = parse_document(file, nothing, accept, LIMITS)
        assert document.id == "i"
        assert definition_hash(document.definition) == definition_hash(workflow(tasks, config))

    @pytest.mark.parametrize("data", [[], None, {}, {"kind": "task"}, {"tasks": [], "stps": []}])
    def test_no_definition(self, data: object) -> None:
        """What is no definition says what is missing."""
        problems_of(parse_document, data, nothing, accept, LIMITS)

    def test_config_and_beside_must_agree(self) -> None:
        """Priority and tags may stand in config or beside it; both at once must agree."""
        one = [{"type": "x"}]
        assert process({"steps": one, "priority": 1, "config": {"priority": 1}}).priority == 1
        problem = told(process, {"steps": one, "priority": 1, "config": {"priority": 2}})
        assert "'priority' says one thing in config and another beside it" in problem

    def test_named_definitions(self) -> None:
        """The names that tasks and steps refer to are found at any depth, and only those."""
        data = {
            "steps": [
                {"type": "workflow", "name": "A"},
                {"type": "workflow", "name": "B", "tasks": []},
                {"type": "process", "name": "C", "steps": [{"type": "process", "name": "D"}]},
                {"type": "task", "name": "E"},
            ]
        }
        assert named_definitions(data) == {(RunKind.WORKFLOW, "A"), (RunKind.PROCESS, "D")}
        assert named_definitions({"tasks": [{"type": "workflow", "tasks": data["steps"]}]}) == (
            named_definitions(data)
        )
        assert named_definitions({"tasks": [{"type": ["workflow"], "name": "A"}, None]}) == set()


class TestStored:
    @given(documents)
    def test_round_trip(self, data: Mapping[str, object]) -> None:
        """What the store keeps of a definition is all of it: read back, it is equal."""
        definition = parse_document(data, nothing, accept, LIMITS).definition
        again = definition_from_data(json.loads(definition_text(definition)))
        assert definition_to_data(again) == definition_to_data(definition)
        assert again.steps == definition.steps or _has_child(definition)
        assert (again.kind, again.name, again.tags, again.inputs, again.dependencies) == (
            definition.kind,
            definition.name,
            definition.tags,
            definition.inputs,
            definition.dependencies,
        )
        assert definition_hash(again) == definition_hash(definition)

    def test_hash_is_of_the_content(self) -> None:
        """The order of keys does not change the hash; any value does."""
        one = workflow([{"type": "x", "a": 1, "b": 2}])
        same = workflow([{"b": 2, "a": 1, "type": "x"}])
        other = workflow([{"type": "x", "a": 1, "b": 2.0}])
        assert definition_hash(one) == definition_hash(same)
        assert definition_hash(one) != definition_hash(other)

    def test_defaults_are_left_out(self) -> None:
        """What is stored of a plain task is no more than it says."""
        assert definition_to_data(workflow([{"type": "x"}])) == {
            "kind": "workflow", "name": "w", "steps": [{"id": "x", "type": "x"}],
        }  # fmt: skip


def _has_child(definition: Definition) -> bool:
    return any(isinstance(step.work, ChildSpec) for step in definition.steps)


def test_a_step_that_says_nothing_hides_no_other_problem() -> None:
    """What depends on it, and what stands behind it, is told of as well."""
    items = [
        {"id": "a", "type": "x", "depends_on": ["b"]},
        {"id": "c", "type": "x", "depends_on": ["nowhere"]},
        {"id": "b", "type": "task"},
    ]
    first, second = problems_of(steps, *items)
    assert "step 'b': a step of type task needs task_data" in first + second
    assert "step 'c': depends_on names no step: 'nowhere'" in first + second
