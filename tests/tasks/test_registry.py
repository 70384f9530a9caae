from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tasks_support import invocation, run

from kallista.core.handlers import Handler
from kallista.core.types import TaskType
from kallista.errors import ConflictError, UsageError
from kallista.tasks import Registry, TaskChecker, general_handlers, program_registry, task


def first() -> int:
    """A handler."""
    return 1


def second() -> int:
    """Another one."""
    return 2


def again() -> Callable[[], int]:
    """The same function each time, made anew: as when a notebook's cell runs again."""

    def made() -> int:
        return 1

    return made


def test_the_decorator_returns_the_function() -> None:
    """@task leaves the function as it is: it can be called and tested as before."""
    decorated = task("tried.first", max_concurrency=3)(first)
    assert decorated is first
    handler = program_registry.get(TaskType("tried.first"))
    assert handler is not None
    assert handler.max_concurrency == 3
    assert program_registry.type_of(first) == "tried.first"
    assert run(handler) == 1


def test_the_decorator_needs_a_name() -> None:
    """@task without a name says how to write it."""
    with pytest.raises(UsageError, match=r'write @task\("first"\)'):
        task(first)  # type: ignore[arg-type]


def test_the_same_function_replaces_itself() -> None:
    """A cell that runs again, or a spawned worker, registers the same function again."""
    registry = Registry()
    one, other = again(), again()
    registry.add(one, "t")
    registry.add(other, "t")
    assert registry.type_of(other) == "t"
    assert registry.type_of(one) is None


def test_another_function_is_refused() -> None:
    """Two functions under one name are an error that says where both are."""
    registry = Registry()
    registry.add(first, "t")
    with pytest.raises(ConflictError, match=r"'t' is taken: by .*first \(.*:\d+\).*second \("):
        registry.add(second, "t")
    assert registry.type_of(second) is None


def test_one_app_on_top_of_the_program() -> None:
    """An app's own handlers are added to the program's, and not to those of other apps."""
    program = Registry()
    program.add(first, "a")
    app, other = Registry(program), Registry(program)
    app.add(second, "b")
    assert app.types() == ["a", "b"]
    assert other.types() == ["a"]
    assert app.type_of(first) == "a"
    with pytest.raises(ConflictError):
        app.add(second, "a")


def test_names_of_functions() -> None:
    """A function that is registered nowhere has its own name as its type."""
    registry = Registry(Registry())
    assert registry.add(first).type == "first"
    with pytest.raises(UsageError, match="has no name"):
        registry.add(functools.partial(first))


def test_a_registered_function_keeps_its_type() -> None:
    """Given to an app, a decorated function has the type it was decorated with."""
    program = Registry()
    program.add(first, "named")
    assert Registry(program).add(first).type == "named"


def test_handlers_of_other_kinds() -> None:
    """Objects with the methods of a handler are taken as they are."""
    registry = Registry()
    (made, *_) = general_handlers()
    assert registry.add(made) is made
    assert registry.get(made.type) is made


def test_general_types_are_not_in_the_program() -> None:
    """Importing the task types registers nothing; an app adds the general ones."""
    types = [handler.type for handler in general_handlers()]
    assert types == ["python", "shell", "sleep", "approval", "wait_for_signal"]


class TestChecker:
    def checker(self, schemas: Mapping[TaskType, Any] | None = None) -> TaskChecker:
        registry = Registry()
        registry.add(lambda count: None, "code_generation")
        registry.add(first, "first")
        return TaskChecker(registry, schemas or {})

    def test_unknown_types(self) -> None:
        """An unknown type comes with the nearest ones, or with all there are."""
        check = self.checker()
        assert check(TaskType("code_generatoin"), {}, ()) == [
            "there is no task type 'code_generatoin'; did you mean 'code_generation'?"
        ]
        assert check(TaskType("zzz"), {}, ()) == [
            "there is no task type 'zzz'; there are code_generation, first"
        ]

    def test_known_types(self) -> None:
        """A known type's handler looks at the config."""
        assert self.checker()(TaskType("first"), {"x": 1}, ()) == [
            "there is no key 'x'; it takes none"
        ]

    def test_types_of_other_workers(self) -> None:
        """Of a type that only another worker has, names are checked by its schema."""
        handler: Handler = Registry().add(lambda a, b=1: None, "far")
        check = self.checker({TaskType("far"): handler.schema()})
        assert check(TaskType("far"), {"a": 1}, ()) == []
        assert check(TaskType("far"), {"c": 1}, ()) == [
            "the key 'a' is missing",
            "there is no key 'c'; it takes a, b",
        ]
        assert "did you mean 'far'?" in check(TaskType("fra"), {}, ())[0]


def test_invocations_have_a_limit_by_default() -> None:
    """Whoever calls a handler without saying how large its result may be gets 1 MiB."""
    assert invocation(Registry().add(first), {}).max_result_bytes == 1024 * 1024
