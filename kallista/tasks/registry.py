"""Which handler stands behind which task type: for the whole program, and for one app."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, TypeGuard, TypeVar, cast

from kallista.core.handlers import Handler
from kallista.core.types import TaskType
from kallista.errors import ConflictError, UsageError
from kallista.tasks.handler import FunctionHandler, origin
from kallista.tasks.parameters import Function

FunctionT = TypeVar("FunctionT", bound=Function)


class Registry:
    """The handlers of a program, or of one app on top of those.

    Args:
        parent: Where a type is looked for that is not here.
    """

    def __init__(self, parent: Registry | None = None) -> None:
        self._parent = parent
        self._handlers: dict[TaskType, Handler] = {}

    def add(
        self,
        handler: Function | Handler,
        type: str | None = None,
        *,
        max_concurrency: int | None = None,
        executor: str | None = None,
    ) -> Handler:
        """Register a handler.

        Args:
            handler: A function, or an object with the methods of ``Handler``.
            type: Its task type; None: the one it is registered under already, or its own name.
            max_concurrency: How many attempts of it one program may run at once.
            executor: Where the function is called; see ``task``.

        Returns:
            The handler as it is registered.

        Raises:
            ConflictError: Another function has this name. The same function again (same file and
                qualified name) replaces itself.
            UsageError: The function cannot be a handler.
        """
        made = self._made(handler, type, max_concurrency, executor)
        known = self.get(made.type)
        if known is not None and not _same(known, made):
            raise ConflictError(
                f"the task type {made.type!r} is taken: by {_place(known)}, and now by"
                f" {_place(made)}; give one of them another name"
            )
        self._handlers[made.type] = made
        return made

    def get(self, type: TaskType) -> Handler | None:
        """The handler of a type, or None."""
        registry: Registry | None = self
        while registry is not None:
            handler = registry._handlers.get(type)
            if handler is not None:
                return handler
            registry = registry._parent
        return None

    def types(self) -> Collection[TaskType]:
        """Every type there is a handler for, in alphabetical order."""
        inherited = self._parent.types() if self._parent is not None else ()
        return sorted({*self._handlers, *inherited})

    def type_of(self, handler: Function | Handler) -> TaskType | None:
        """The type under which a function or handler is registered; None: under none."""
        for type, known in self._handlers.items():
            if known is handler or getattr(known, "function", None) == handler:
                return type
        return self._parent.type_of(handler) if self._parent is not None else None

    def _made(
        self,
        handler: Function | Handler,
        type: str | None,
        max_concurrency: int | None,
        executor: str | None,
    ) -> Handler:
        registered = self.type_of(handler) if type is None else None
        if registered is not None and max_concurrency is None:
            known = self.get(registered)
            assert known is not None, "it was just found"
            return known
        if _is_handler(handler):
            return handler
        function = cast(Function, handler)
        name = type or registered or getattr(function, "__name__", None)
        if name is None:
            raise UsageError(f"{function!r} has no name; register it by @task('a name')")
        return FunctionHandler(name, function, max_concurrency=max_concurrency, executor=executor)


program_registry = Registry()
"""The handlers of the whole program; ``@task`` adds to it."""


def task(
    type: str,
    *,
    max_concurrency: int | None = None,
    executor: Literal["process"] | None = None,
) -> Callable[[FunctionT], FunctionT]:
    """Register a function as the handler of a task type, for the whole program.

    Args:
        type: The task type, as definitions name it.
        max_concurrency: How many attempts of it one program may run at once; None: no limit.
        executor: ``"process"``: call it in a process of its own. That is for work that keeps a
            processor busy, and for what may crash or hang: the process is killed when the attempt
            is out of time or cancelled. The function has to be a plain one that a module holds.

    Returns:
        A decorator that returns the function unchanged: it can be called and tested as it is.

    Raises:
        ConflictError: Another function has this name.
        UsageError: The function cannot be a handler.
    """
    if callable(type):
        name = getattr(type, "__name__", "a_name")
        raise UsageError(f'a task type needs a name: write @task("{name}")')

    def register(function: FunctionT) -> FunctionT:
        program_registry.add(function, type, max_concurrency=max_concurrency, executor=executor)
        return function

    return register


def _is_handler(value: Function | Handler) -> TypeGuard[Handler]:
    return all(hasattr(value, name) for name in ("type", "blocking", "call", "problems"))


def _same(one: Handler, other: Handler) -> bool:
    if isinstance(one, FunctionHandler) and isinstance(other, FunctionHandler):
        return origin(one.function) == origin(other.function)
    return one is other


def _place(handler: Handler) -> str:
    return handler.place if isinstance(handler, FunctionHandler) else repr(handler)
