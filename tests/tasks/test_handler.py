from __future__ import annotations

import enum
import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tasks_support import run

from kallista.core.ids import idempotency_key
from kallista.core.json_text import from_json
from kallista.core.outcomes import Asleep
from kallista.core.types import Micros
from kallista.errors import UsageError
from kallista.tasks import FunctionHandler, TaskContext

if TYPE_CHECKING:
    from kallista.tasks import TaskContext as OnlyForTypeCheckers


def handler(function: Callable[..., Any], **more: Any) -> FunctionHandler:
    """A function as a handler."""
    return FunctionHandler("tried", function, **more)


def problems(function: Callable[..., Any], **config: Any) -> list[str]:
    """What its handler says about a config."""
    return list(handler(function).problems(config, ()))


@dataclass
class Point:
    """A value with fields."""

    x: int
    y: float = 0.5
    raw: bytes = b""


class Model(BaseModel):
    """A value that checks itself."""

    name: str
    when: datetime | None = None


class Colour(enum.Enum):
    """A closed list."""

    RED = "red"


class TestCalls:
    def test_async(self) -> None:
        """An async function is awaited on the loop."""

        async def function(x: int) -> int:
            return x + 1

        assert not handler(function).blocking
        assert run(handler(function), {"x": 1}) == 2

    def test_plain(self) -> None:
        """A plain function is one for a thread."""
        assert handler(lambda: 5).blocking
        assert run(handler(lambda: 5)) == 5

    def test_async_behind_a_plain_wrapper(self) -> None:
        """A decorator that hides an async function does not break it."""

        async def function(x: int) -> int:
            return x

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        assert handler(wrapper).blocking
        assert run(handler(wrapper), {"x": 3}) == 3

    def test_other_callables(self) -> None:
        """Partials, methods, static methods and objects that can be called are handlers too."""

        class Thing:
            async def method(self, x: int) -> int:
                return x

            @staticmethod
            async def static(x: int) -> int:
                return x

            async def __call__(self, x: int) -> int:
                return x

        async def two(y: int, x: int) -> int:
            return x * y

        static = Thing.__dict__["static"]
        for function in (Thing().method, static, Thing(), functools.partial(two, 1)):
            made = handler(function)
            assert not made.blocking
            assert run(made, {"x": 4}) == 4

    def test_asleep_passes_through(self) -> None:
        """A handler that asks for a pause gets it."""
        assert run(handler(lambda: Asleep(Micros(5)))) == Asleep(Micros(5))

    def test_what_it_raises(self) -> None:
        """What a handler raises comes out as it is."""

        async def function() -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            run(handler(function))

    @pytest.mark.parametrize("kind", ["plain", "async"])
    def test_generators(self, kind: str) -> None:
        """A function that yields is refused when it is registered, with another way."""

        def plain() -> Iterator[int]:
            yield 1

        async def asynchronous() -> AsyncIterator[int]:
            yield 1

        with pytest.raises(UsageError, match=r"yields; let it return .*ctx\.progress"):
            handler(plain if kind == "plain" else asynchronous)

    @pytest.mark.parametrize("function", [Point, 5, "text"])
    def test_no_function(self, function: Any) -> None:
        """Classes and other values are refused when they are registered."""
        with pytest.raises(UsageError, match="give a function"):
            handler(function)

    @pytest.mark.parametrize("type", ["", "a b", "workflow", "task", None])
    def test_type_names(self, type: Any) -> None:
        """A task type is an id, and none of the words for steps."""
        with pytest.raises(UsageError):
            FunctionHandler(type, lambda: None)

    @pytest.mark.parametrize("limit", [0, -1, True, "2"])
    def test_max_concurrency(self, limit: Any) -> None:
        """The number of attempts at once is a whole number above zero."""
        with pytest.raises(UsageError, match="must be 1 or more"):
            handler(lambda: None, max_concurrency=limit)


class TestContext:
    def test_by_name_or_hint(self) -> None:
        """A first parameter is the context by its name or by its hint, also as a text."""

        def by_name(ctx, x=0):  # type: ignore[no-untyped-def]
            return [ctx.run_id, x]

        def by_hint(context: TaskContext, x: int = 0) -> Any:
            return [context.run_id, x]

        def by_text(c: OnlyForTypeCheckers, x: int = 0) -> Any:
            return [c.run_id, x]

        for function in (by_name, by_hint):
            assert handler(function).wants_context
            assert run(handler(function), {"x": 1}) == ["run-1", 1]
        assert not handler(by_text).wants_context

    def test_what_it_tells(self) -> None:
        """The context knows the attempt, and passes progress and cancellation on."""
        told: list[tuple[float, str | None]] = []

        def function(ctx: TaskContext) -> Any:
            ctx.progress(0.5)
            ctx.progress(1, "done")
            return [
                ctx.run_id, ctx.task_id, ctx.type, ctx.attempt, ctx.idempotency_key,
                dict(ctx.results), ctx.cancelled,
            ]  # fmt: skip

        answer = run(
            handler(function),
            results={"before": 1},
            progress=lambda *report: told.append(report),
            cancelled=lambda: True,
        )
        key = idempotency_key("run-1", "task-1", 0)
        assert answer == ["run-1", "task-1", "tried", 2, key, {"before": 1}, True]
        assert told == [(0.5, None), (1, "done")]

    def test_not_first(self) -> None:
        """A context anywhere else is refused with the way to write it."""

        def function(x: int, context: TaskContext) -> None: ...

        with pytest.raises(UsageError, match="put it first"):
            handler(function)

    def test_without_it_no_results_are_needed(self) -> None:
        """A handler that takes no context says so, which spares loading results."""
        assert not handler(lambda x: x).wants_context

    @pytest.mark.parametrize("source", ["def f(*items): ...", "def f(x, /): ...", "f = print"])
    def test_by_position(self, source: str) -> None:
        """What a config cannot give by name is refused when it is registered."""
        names: dict[str, Any] = {}
        exec(source, names)
        with pytest.raises(UsageError, match="by position"):
            handler(names["f"])


def typed(
    count: int, name: str = "x", mode: Literal["a", "b"] = "a", points: list[Point] | None = None
) -> None:
    """Takes a few keys."""


class TestConfigs:
    def test_missing_and_surplus(self) -> None:
        """Missing and surplus keys are told together, with the nearest key and the type."""
        assert problems(typed, nam="y", zzz=1) == [
            "the key 'count' is missing (int)",
            "there is no key 'nam'; did you mean 'name'?",
            "there is no key 'zzz'; it takes count, name, mode, points",
        ]

    def test_ill_typed(self) -> None:
        """An ill-typed value is told with its place, what it must be and what it is."""
        found = problems(typed, count="three", mode="c", points=[{"x": 1}, {"x": "?", "y": []}])
        assert found == [
            "count must be a valid integer, unable to parse string as an integer, not 'three'",
            "mode must be 'a' or 'b', not 'c'",
            "points[1].x must be a valid integer, unable to parse string as an integer, not '?'",
            "points[1].y must be a valid number, not []",
        ]

    def test_members_of_a_union_are_one_place(self) -> None:
        """A value that fits no member of a union is one problem, at its own place."""

        def function(v: int | list[int]) -> None: ...

        (problem,) = problems(function, v="x")
        assert problem.startswith("v must be a valid integer")
        assert problem.endswith(" or must be a valid array, not 'x'") or " or " in problem

    def test_when_it_runs(self) -> None:
        """The same is said when a resolved config does not fit at run time."""
        with pytest.raises(UsageError, match="does not fit task type 'tried': count must be"):
            run(handler(typed), {"count": "many"})
        with pytest.raises(UsageError, match="there is no key 'x'; it takes none"):
            run(handler(lambda: None), {"x": 1})

    def test_unresolved_keys(self) -> None:
        """Values that hold references are not looked at; their keys are."""
        made = handler(typed)
        assert made.problems({"count": "${inputs.n}"}, {"count"}) == ()
        assert len(made.problems({"count": "${inputs.n}", "z": "${x}"}, {"count", "z"})) == 1

    def test_more_keys(self) -> None:
        """A handler with **kwargs takes any key."""

        def function(a: int, **more: object) -> Any:
            return [a, more]

        assert run(handler(function), {"a": 1, "b": 2}) == [1, {"b": 2}]
        assert problems(function, b=2) == ["the key 'a' is missing (int)"]

    def test_defaults_are_the_functions_own(self) -> None:
        """A key that is not given is not passed at all."""
        marker = object()

        def function(x: Any = marker) -> bool:
            return x is marker

        assert run(handler(function)) is True

    def test_keys_that_look_like_methods(self) -> None:
        """Keys may have the names that models use for their methods."""

        def function(schema: str, json: int, model_config: bool, copy: str = "c") -> Any:
            return [schema, json, model_config, copy]

        config: Any = {"schema": "s", "json": 1, "model_config": True}
        assert run(handler(function), config) == ["s", 1, True, "c"]

    def test_secrets_are_not_shown(self) -> None:
        """A value under a secret key appears in no problem."""

        def function(api_key: int, options: dict[str, int]) -> None: ...

        text = " ".join(problems(function, api_key="hush-hush", options={"token": "sesame!"}))
        assert "must be" in text
        assert "hush" not in text
        assert "sesame" not in text

    def test_what_validators_say(self) -> None:
        """A model's own validator speaks in its own words."""

        class Even(BaseModel):
            n: int

            def model_post_init(self, context: Any) -> None:
                if self.n % 2:
                    raise ValueError(f"{self.n} is odd")

        def function(even) -> None: ...  # type: ignore[no-untyped-def]

        function.__annotations__["even"] = Even
        assert problems(function, even={"n": 3}) == ["even is wrong: 3 is odd, not {'n': 3}"]

    def test_hints_that_cannot_be_resolved(self) -> None:
        """A hint that names what only type checkers see is told, with the way to mend it."""

        def function(c: int, x: OnlyForTypeCheckers) -> None: ...

        function.__annotations__["x"] = "Nowhere"
        (problem,) = problems(function, c=1, x=2)
        assert "cannot be resolved" in problem
        assert "Nowhere" in problem

    def test_hints_that_cannot_be_checked(self) -> None:
        """A hint that pydantic knows nothing of is told."""

        def function(x) -> None: ...  # type: ignore[no-untyped-def]

        function.__annotations__["x"] = FunctionHandler
        assert "cannot be checked" in problems(function, x=2)[0]

    def test_more_checks(self) -> None:
        """A handler's own check is asked once the types are right."""
        made = handler(typed, check=lambda config, unresolved: ["too many"])
        assert made.problems({"count": 1}, ()) == ["too many"]
        assert made.problems({}, ()) == ["the key 'count' is missing (int)"]


class TestSchemas:
    def test_of_hints(self) -> None:
        """Clients without the code learn keys, types and which are required."""
        schema = json.loads(handler(typed).schema())
        assert schema["required"] == ["count"]
        assert schema["additionalProperties"] is False
        assert schema["properties"]["count"]["type"] == "integer"

    def test_of_names(self) -> None:
        """Without hints there are names at least, and without keys none."""
        schema = json.loads(handler(lambda a, b=1: None).schema())
        assert (list(schema["properties"]), schema["required"]) == (["a", "b"], ["a"])
        assert json.loads(handler(lambda: None).schema())["properties"] == {}

    def test_of_what_has_none(self) -> None:
        """A hint without a JSON Schema leaves the names."""

        def function(a: Callable[[], int], b: int = 0) -> None: ...

        assert list(json.loads(handler(function).schema())["properties"]) == ["a", "b"]

    def test_outlines(self) -> None:
        """What workers tell of their task types names all keys, and values as is quick."""

        @dataclass
        class Part:
            size: int

        def function(a: list[Part], b: Callable[[], int], c: str | None = None) -> None: ...

        function.__annotations__ |= {"a": list[Part]}
        outline = json.loads(handler(function).outline())
        assert outline["required"] == ["a", "b"]
        assert outline["properties"]["a"] == {"type": "array", "items": {"$ref": "#/$defs/Part"}}
        assert outline["$defs"]["Part"]["properties"] == {"size": {"type": "integer"}}
        assert outline["properties"]["b"] == {}
        assert {"type": "null"} in outline["properties"]["c"]["anyOf"]

    def test_outlines_of_what_cannot_be_described(self) -> None:
        """A worker tells its task types when it starts, so no hint may keep it from starting."""

        class Hash(enum.Enum):
            LARGEST = 2**64 - 1

        @dataclass
        class Reading:
            value: float = nan

        def function(a: int, b: int, c: int) -> None: ...

        function.__annotations__ |= {"a": Hash, "b": Reading}
        outline = from_json(handler(function).outline())
        assert outline["properties"] == {"a": {}, "b": {}, "c": {"type": "integer"}}


class TestRoundTrips:
    @pytest.mark.parametrize(
        ("hint", "value"),
        [
            (datetime, datetime(2030, 5, 1, 12, 30, 0, 5, UTC)),
            (datetime, datetime(2030, 5, 1)),
            (date, date(2030, 5, 1)),
            (timedelta, timedelta(days=1, seconds=3, microseconds=7)),
            (UUID, UUID(int=7)),
            (bytes, bytes(range(256))),
            (Decimal, Decimal("1.10")),
            (Colour, Colour.RED),
            (set[int], {1, 2}),
            (tuple[int, str], (1, "a")),
            (Path, Path("a") / "b"),
            (Point, Point(1, 2.5, b"\xfb\xff")),
            (list[Point], [Point(1), Point(2)]),
            (Model, Model(name="n", when=datetime(2030, 1, 1, tzinfo=UTC))),
            (dict[str, UUID], {"a": UUID(int=1)}),
            (dict[int, bytes], {1: b"\xff"}),
            (Any, {"a": [1, 2.5, None, True, "é"]}),
        ],
        ids=str,
    )
    def test_result_to_config(self, hint: Any, value: Any) -> None:
        """What one handler returns, the next gets back by its hint: equal, and of its type."""
        seen: list[Any] = []

        def consume(value) -> None:  # type: ignore[no-untyped-def]
            seen.append(value)

        consume.__annotations__["value"] = hint
        run(handler(consume), {"value": run(handler(lambda: value))})
        assert seen == [value]
        assert type(seen[0]) is type(value)

    @given(st.binary(max_size=40))
    def test_all_bytes(self, value: bytes) -> None:
        """Any bytes come back as they were, whatever letters their text has."""

        def echo(value: bytes) -> bytes:
            return value

        once = run(handler(lambda: value))
        assert run(handler(echo), {"value": once}) == once

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        )
    )  # fmt: skip
    def test_all_json(self, value: Any) -> None:
        """Plain data is returned as it is."""
        assert run(handler(lambda: value)) == value


class TestResults:
    @pytest.mark.parametrize(
        "value", [float("nan"), [1, {"a": float("inf")}], Point(1, float("nan"))]
    )
    def test_nan(self, value: Any) -> None:
        """NaN and infinity are refused; they would come back as null."""
        with pytest.raises(UsageError, match="which JSON cannot express"):
            run(handler(lambda: value))

    def test_null_is_fine(self) -> None:
        """Null, and texts that say so, are values like others."""
        assert run(handler(lambda: [None, "null"])) == [None, "null"]
        assert run(handler(lambda: None)) is None

    def test_what_cannot_be_kept(self) -> None:
        """A result that is no plain data is told with its place and its type."""
        value = {"a": [1, {"b": object()}]}
        message = r"the result of 'task-1' cannot be kept: a\[1\]\.b is of type object"
        with pytest.raises(UsageError, match=message):
            run(handler(lambda: value))

    def test_inside_of_a_dataclass(self) -> None:
        """The place is told inside of objects too."""
        with pytest.raises(UsageError, match=r"\[0\]\.x is of type object"):
            run(handler(lambda: [Point(object())]))  # type: ignore[arg-type]

    def test_endless(self) -> None:
        """A result that contains itself is refused."""
        value: list[Any] = []
        value.append(value)
        with pytest.raises(UsageError, match="nested deeper"):
            run(handler(lambda: value))

    def test_too_large(self) -> None:
        """A result over the limit is refused with both sizes."""
        with pytest.raises(UsageError, match="has 12 bytes, and a payload may have 11"):
            run(handler(lambda: "é" * 5), max_result_bytes=11)
        assert run(handler(lambda: "é" * 5), max_result_bytes=12) == "é" * 5

    def test_subclasses_of_plain_types(self) -> None:
        """Subclasses of str, int and dict are what they are subclasses of."""

        class Text(str):
            __slots__ = ()

        class Number(int):
            pass

        class Table(dict[str, int]):
            pass

        assert run(handler(lambda: [Text("a"), Number(1), Table(b=2)])) == ["a", 1, {"b": 2}]


def test_a_plain_handler_needs_no_pydantic() -> None:
    """Handlers that take nothing, or plain values as they come, import neither it nor structlog."""
    program = """if True:
        import asyncio, sys
        from tasks_support import run
        from kallista.tasks import FunctionHandler, general_handlers
        async def bare(ctx): return 1
        async def plain(a: int, b: "str", c: float = 1.5, d: bool = True): return [a, b, c, d]
        assert run(FunctionHandler("bare", bare)) == 1
        assert run(FunctionHandler("plain", plain), {"a": 1, "b": "x", "d": False})[3] is False
        general_handlers()
        print(*{"pydantic", "structlog", "importlib.metadata"} & set(sys.modules))
    """
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    environ = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environ
    )
    assert done.stdout == "\n", done.stderr


def test_a_value_of_another_type_is_turned_into_the_one_asked_for() -> None:
    """That others are taken as they come changes nothing for a value that has to be converted."""

    async def plain(a: float, b: int) -> str:
        return f"{a!r} {b!r}"

    assert run(FunctionHandler("plain", plain), {"a": 1, "b": "2"}) == "1.0 2"
    with pytest.raises(UsageError, match="no key 'c'"):
        run(FunctionHandler("plain", plain), {"a": 1.0, "b": 2, "c": 3})
    with pytest.raises(UsageError, match="'b' is missing"):
        run(FunctionHandler("plain", plain), {"a": 1.0})


def test_a_key_that_the_task_keeps_for_itself_is_explained() -> None:
    """``name`` beside ``type`` names the task; a handler that wants it is told where to put it."""

    async def greet(name: str) -> None: ...

    [problem] = FunctionHandler("greet", greet).problems({}, ())
    assert "give it in config" in problem
