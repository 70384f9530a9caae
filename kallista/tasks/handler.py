"""A function as the handler of a task type."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from kallista.core.handlers import Invocation
from kallista.core.ids import check_id
from kallista.core.outcomes import Asks, Asleep, Outcome
from kallista.core.types import Json, JsonText, TaskType
from kallista.errors import UsageError
from kallista.tasks.binding import Binder, binder, outline, surplus_problems
from kallista.tasks.context import TaskContext
from kallista.tasks.encoding import NULL, encode
from kallista.tasks.endings import Ending, outcome_of_ending
from kallista.tasks.parameters import Function, parameters_of

Check: TypeAlias = Callable[[Mapping[str, Json], Collection[str]], Sequence[str]]
"""Says what is wrong with a config beyond its types, looking at no ``unresolved`` key."""

STEP_KINDS: Final = ("task", "workflow", "process")

_NO_KEYS: Final = JsonText('{"type":"object","properties":{},"additionalProperties":false}')


class Home(NamedTuple):
    """Where another process finds a function: its module, by name and file, and its name there."""

    module: str
    file: str | None
    name: str


class FunctionHandler:
    """The function behind a task type.

    Args:
        type: The name it is registered under.
        function: What executes the task: ``async def`` (on the event loop) or ``def`` (on a
            thread). A first parameter named ``ctx`` or annotated ``TaskContext`` gets the
            context; the others are the config, checked against their type hints.
        max_concurrency: How many attempts of it one program may run at once; None: no limit.
        executor: ``"process"``: the function is called in a process of its own, which is killed
            when the attempt has to end; it is found there by its module and name. None: on the
            event loop or on a thread.
        check: What else a config has to fulfil.

    Raises:
        UsageError: The name or the function is none that a handler can have.
    """

    def __init__(
        self,
        type: str,
        function: Function,
        *,
        max_concurrency: int | None = None,
        executor: str | None = None,
        check: Check | None = None,
    ) -> None:
        self.type: TaskType = _checked_type(type)
        self.function: Function = _checked_function(type, function)
        self.max_concurrency: int | None = _checked_limit(type, max_concurrency)
        self.home: Home | None = _home(type, self.function, executor)
        self.in_process: bool = self.home is not None
        self.blocking: bool = not (_is_async(self.function) or self.in_process)
        self._name = f"task type {type!r}"
        self._parameters = parameters_of(self.function, f"the handler of {self._name}")
        self.wants_context: bool = self._parameters.context
        self._bare = self._parameters.bare
        self._check = check
        self._known_binder: Binder | None = None

    @property
    def place(self) -> str:
        """Where the function stands: ``module.name (file:line)``."""
        file, name = origin(self.function)
        line = getattr(getattr(_innermost(self.function), "__code__", None), "co_firstlineno", 0)
        return f"{name} ({file}:{line})"

    @property
    def description(self) -> str:
        """The first paragraph of its docstring, in one line; empty when it has none."""
        text = inspect.getdoc(self.function) or ""
        return " ".join(text.split("\n\n", 1)[0].split())

    def call(self, invocation: Invocation) -> JsonText | Outcome | Awaitable[JsonText | Outcome]:
        """Validate the config, run the function, and encode what it returns.

        Raises:
            UsageError: The config does not fit, or the result is no plain data or too large.
        """
        if not self.blocking:
            return self._awaited(self._called(invocation), invocation)
        result = self._called(invocation)
        if hasattr(type(result), "__await__"):
            return self._awaited(result, invocation)
        return _answer(result, invocation)

    def problems(self, config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
        """What is wrong with a config, a sentence each; values of ``unresolved`` keys aside."""
        if self._bare:
            return list(surplus_problems(config, ()))
        try:
            found = self._binder.problems(config, unresolved)
        except UsageError as problem:
            return [str(problem)]
        return found or (self._check(config, unresolved) if self._check else ())

    def schema(self) -> JsonText:
        """The JSON Schema of its config."""
        return _NO_KEYS if self._bare else self._binder.schema()

    def outline(self) -> JsonText:
        """The JSON Schema of its config, quick to be had: some values are left open."""
        return self._outline

    @functools.cached_property
    def _outline(self) -> JsonText:
        return _NO_KEYS if self._bare else outline(self._parameters, self.function, self._name)

    @property
    def _binder(self) -> Binder:
        if self._known_binder is None:
            self._known_binder = binder(self._parameters, self.function, self._name)
        return self._known_binder

    def _called(self, invocation: Invocation) -> object:
        arguments = self._arguments(invocation.config)
        if self._parameters.context:
            return self.function(TaskContext(invocation), **arguments)
        return self.function(**arguments)

    def _arguments(self, config: Mapping[str, Json]) -> Mapping[str, object]:
        if not self._bare:
            return self._binder.bind(config)
        if config:
            problems = "; ".join(surplus_problems(config, ()))
            raise UsageError(f"the config does not fit {self._name}: {problems}")
        return {}

    async def _awaited(self, coming: object, invocation: Invocation) -> JsonText | Outcome:
        return _answer(await coming, invocation)  # type: ignore[misc]  # it was just asked for

    def __repr__(self) -> str:
        return f"FunctionHandler({self.type!r}, {self.place})"


def origin(function: Function) -> tuple[str, str]:
    """The file and the qualified name of a function: what makes it the same function again."""
    inner = _innermost(function)
    code = getattr(inner, "__code__", None)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    module = getattr(inner, "__module__", "?")
    return (code.co_filename if code else module), f"{module}.{name}"


def _answer(result: object, invocation: Invocation) -> JsonText | Outcome:
    if result is None:
        return NULL
    if isinstance(result, Asleep | Asks):
        return result
    if isinstance(result, Ending):
        return outcome_of_ending(result)
    return encode(result, invocation.task_id, invocation.max_result_bytes)


def _innermost(function: Function) -> object:
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if inspect.isfunction(function) or inspect.isbuiltin(function):
        return function
    return type(function).__call__ if callable(function) else function


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object may be called by a method
    )


def _checked_type(type: object) -> TaskType:
    name = check_id(type, "task type")
    if name in STEP_KINDS:
        raise UsageError(f"{name!r} is what steps are made of; give the task type another name")
    return TaskType(name)


def _checked_function(type: str, function: object) -> Function:
    if isinstance(function, staticmethod):
        function = function.__func__
    if inspect.isclass(function):
        raise UsageError(f"task type {type!r} is a class; give a function, or one of its objects")
    if not callable(function):
        raise UsageError(f"task type {type!r} is a {function.__class__.__name__}; give a function")
    inner = _innermost(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise UsageError(
            f"the handler of task type {type!r} yields; let it return its result, and report"
            " what happens on the way by ctx.progress(fraction, message)"
        )
    return function


def _home(type: str, function: Function, executor: str | None) -> Home | None:
    """Where another process finds the function; None: it need not."""
    if executor is None:
        return None
    what = f"task type {type!r}"
    if executor != "process":
        raise UsageError(
            f'executor of {what} can only be "process", not {executor!r}; without it, an async'
            " function runs on the event loop and another one on a thread"
        )
    if _is_async(function):
        raise UsageError(
            f'the handler of {what} is async, and executor="process" is for work that keeps a'
            " processor busy; make it a plain function"
        )
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not inspect.isfunction(function) or module is None or name is None or "<" in name:
        raise UsageError(
            f"the handler of {what} runs in another process, which has to find it by its name;"
            f" {name or function!r} is no function that a module holds: define it by def, outside"
            " of all functions"
        )
    if module == "__main__" and program_of_main() is None:
        raise UsageError(
            f"the handler of {what} runs in another process, which has to import it, and what is"
            " typed at a prompt or in a notebook cannot be imported; put it into a module"
        )
    return Home(module, getattr(sys.modules.get(module), "__file__", None), name)


def program_of_main() -> str | None:
    """How another process finds this program's own module, by name or file; None: it cannot."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return None if file is None or not Path(file).is_file() else str(Path(file).resolve())


def _checked_limit(type: str, limit: object) -> int | None:
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1):
        return limit
    raise UsageError(f"max_concurrency of task type {type!r} must be 1 or more, not {limit!r}")
