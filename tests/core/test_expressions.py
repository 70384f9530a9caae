"""Expressions: what they mean, what they may read, and that nothing makes them run away."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista.core.cel_program import CelProgram
from kallista.core.cel_syntax import parse
from kallista.core.expressions import compile_condition, compile_value
from kallista.core.types import Json
from kallista.errors import ExpressionError

SCOPE: dict[str, object] = {
    "tasks": {
        "design": {
            "result": {
                "views": ["main", "orders"],
                "count": 2,
                "share": 2.0,
                "ok": True,
                "note": None,
                "by_name": {"z": 1, "b": {"y": 2, "a": 3}},
            }
        },
        "my-task": {"result": {"strange key": 7}},
    },
    "inputs": {"x": 4, "name": "Olá", "some": list(range(2_000)), "many": list(range(4_000))},
}


def value_of(value: Json) -> Json:
    """What a value becomes in SCOPE."""
    compiled = compile_value(value)
    assert compiled is not None
    return compiled.evaluate(SCOPE)


@pytest.mark.parametrize("value", [None, 5, "text", "$x {y}", {"a": ["b", {"c": 1.5}]}, [], {}])
def test_values_without_expressions_cost_nothing(value: Json) -> None:
    """Who uses no expression carries none."""
    assert compile_value(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${tasks.design.result.views}", ["main", "orders"]),
        ("${ tasks.design.result.views[1] }", "orders"),
        ('${tasks["my-task"].result["strange key"]}', 7),
        ("${inputs.x + 1}", 5),
        ("${inputs.x > 3 ? 'many' : 'few'}", "many"),
        ("${size(tasks.design.result.views)}", 2),
        ("${tasks.design.result.views.map(v, v + '.xaml')}", ["main.xaml", "orders.xaml"]),
        ("${[1, 2, 3].filter(n, n > inputs.x - 3)}", [2, 3]),
        ("${[1, 2].map(a, [10, 20].map(b, a * b))}", [[10, 20], [20, 40]]),
        ("${has(inputs.nope) ? inputs.nope : 'default'}", "default"),
        ("${{'a': {'b': [1, null]}}}", {"a": {"b": [1, None]}}),
        ("${'}' + \"${\"}", "}${"),
        ("${duration('90s')}", "90s"),
        ("${timestamp('2024-01-01T00:00:00Z') + duration('1h')}", "2024-01-01T01:00:00Z"),
        ("${type(inputs.x) == int}", True),
        ("${inputs.x // the number\n}", 4),
    ],
)
def test_one_expression_gives_the_value_itself(value: str, expected: Json) -> None:
    """Lists stay lists and numbers numbers."""
    assert value_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Hi ${inputs.name}!", "Hi Olá!"),
        ("${inputs.x}${inputs.x}", "44"),
        ("<${tasks.design.result.note}>", "<>"),
        ("is ${tasks.design.result.ok}", "is true"),
        ("${tasks.design.result.share}%", "2.0%"),
        ("${tasks.design.result.by_name};", '{"b":{"a":3,"y":2},"z":1};'),
        ("$${inputs.x}", "${inputs.x}"),
        ("$${a} ${inputs.x} $${b}", "${a} 4 ${b}"),
        ("${inputs.x} $", "4 $"),
    ],
)
def test_expressions_within_a_text(value: str, expected: str) -> None:
    """Text takes values as JSON writes them, null as nothing, and a doubled dollar literally."""
    assert value_of(value) == expected


def test_values_are_replaced_where_they_stand() -> None:
    """Objects and lists keep their shape, keys and order."""
    value: Json = {"b": [1, "${inputs.x}", {"c": "-${inputs.x}-"}], "a": None, "${k}": "plain"}
    assert value_of(value) == {"b": [1, 4, {"c": "-4-"}], "a": None, "${k}": "plain"}
    assert list(cast("dict[str, Json]", value_of(value))) == ["b", "a", "${k}"]


def test_integers_and_floats_stay_what_they_are() -> None:
    """2 and 2.0 are not the same thing to a handler."""
    for expression, kind in [
        ("${tasks.design.result.count}", int),
        ("${tasks.design.result.share}", float),
        ("${tasks.design.result.count * 1}", int),
        ("${tasks.design.result.share * 1.0}", float),
    ]:
        assert type(value_of(expression)) is kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${tasks.a.result}", {"tasks.a"}),
        ('${tasks["my-task"].x + inputs.y}', {'tasks["my-task"]', "inputs.y"}),
        ("${has(steps.s.result.x) || processes['p'].ok}", {"steps.s", "processes.p.ok"}),
        ("${processes.p.results.s.x[0]}", {"processes.p.results.s"}),
        ("${tasks.a.list[inputs.i].name}", {"tasks.a", "inputs.i"}),
        ("${tasks.a.list.filter(x, x.tasks == inputs.y)}", {"tasks.a", "inputs.y"}),
        ("${'tasks.no' + inputs.y // tasks.neither\n}", {"inputs.y"}),
        ("${{'tasks': tasks.a}.tasks}", {"tasks.a"}),
        ("${true ? 1 : tasks.late.result}", {"tasks.late"}),
        ("$${tasks.a}", set()),
    ],
)
def test_references_are_found(value: str, expected: set[str]) -> None:
    """Everything an expression may read is known before it runs, nothing else is named."""
    compiled = compile_value({"deep": [value]})
    assert compiled is not None
    assert {str(reference) for reference in compiled.references} == expected


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("${tsks.a}", "did you mean 'tasks'"),
        ("${a.b}", "tasks, steps, inputs, processes, firing"),
        ("${tasks.my-task.result}", 'quoted: tasks\\["my-task"\\]'),
        ("${tasks[inputs.x].result}", "spelled out"),
        ("${tasks['a' + 'b']}", "spelled out"),
        ("${size(tasks)}", "read by name"),
        ("${tasks}", "read by name"),
        ("${tasks.map(t, t)}", "read by name"),
        ("${[1].map(inputs, inputs)}", "cannot be called 'inputs'"),
        ("${sizee(inputs.x)}", "did you mean 'size'"),
        ("${inputs.x.startWith('a')}", "did you mean 'startsWith'"),
        ("${", "never closed"),
        ("${inputs.x", "never closed"),
        ("${'}", "cannot be read"),
        ("${}", "empty"),
        ("${inputs.x +}", "ends too early"),
        ("${inputs.x inputs.y}", "not expected"),
        ("${inputs.in}", "a name was expected"),
        ("${1u}", "without u"),
        ("${b'a'}", "no JSON"),
        ("${" + "(" * 30 + "1" + ")" * 30 + "}", "nested deeper"),
        ("${inputs" + ".x" * 100 + "}", "chains"),
        ("${" + "1+" * 2_000 + "1}", "at most 2000 characters"),
        ("${[1].map(a, [1].map(b, [1].map(c, [1].map(d, d))))}", "nested deeper"),
        ("${[1].map(a, 'x'.matches('x'))}", "startsWith"),
        ("${inputs.x.map(1, 2)}", "a name for the item"),
    ],
)
def test_wrong_expressions_are_refused_when_read(value: str, says: str) -> None:
    """Before anything is stored, with a message that says how to write it."""
    with pytest.raises(ExpressionError, match=says):
        compile_value(value)


def test_all_wrong_expressions_are_reported_with_their_place() -> None:
    """One look at the message is enough to mend them all."""
    with pytest.raises(ExpressionError) as caught:
        compile_value({"a": "${foo.x}", "b": [1, {"c": "${"}], "d": "${inputs.fine}"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a", "b[1].c"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("${tasks.desgn.result}", "tasks has no 'desgn'; did you mean 'design'.*my-task"),
        ("${tasks.design.result.vews}", "tasks.design.result has no 'vews'; did you mean 'views'"),
        ("${tasks.design.result.vews + 'x'}", "tasks.design.result has no 'vews'"),
        ("${tasks.design.result.views[2]}", "has 2 items"),
        ("${tasks.design.result.count.x}", "tasks.design.result.count is 2"),
        ("${tasks.design.result.note.x}", "is null"),
        ("${inputs.x + 'a'}", "failed"),
        ("${inputs.x / 0}", "failed: division by zero"),
        ("${9223372036854775807 + inputs.x}", "failed"),
        ("${1.0 / 0.0}", "no JSON"),
        ("${{1: 2}}", "must be texts"),
        ("${type(inputs.x).nope}", "failed"),
        ("${'a'.matches('(')}", "failed"),
    ],
)
def test_evaluation_errors_say_what_is_there(value: str, says: str) -> None:
    """A wrong path names what it met; an operation that does not fit is an error of ours."""
    with pytest.raises(ExpressionError, match=says):
        value_of(value)


BIG = "inputs.many"


@pytest.mark.parametrize(
    "source",
    [
        f"{BIG}.map(a, {BIG}.map(b, a * b))",
        f"{BIG}.map(a, {BIG})",
        f"{BIG}.exists(a, {BIG}.exists(b, {BIG}.exists(c, c < 0)))",
        f"{BIG}.filter(a, a in {BIG})",
        "[1]" + ".map(x, [x, x, x, x, x, x, x, x, x, x])" * 12,
        "[1]" + ".map(x, [x, x, x, x, x, x, x, x, x, x])" * 7,
        "['aaaaaaaaaaaaaaaa']" + ".map(x, x + x + x + x + x + x + x + x)" * 20,
        "[[1]]" + ".map(x, x.map(y, [x, x, x, x, x, x]))" * 8,
    ],
)
def test_bombs_do_not_go_off(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nested, repeated and doubling iterations are stopped before they cost time or memory."""
    with pytest.raises(ExpressionError, match="too much"):
        value_of("${" + source + "}")
    assert capfd.readouterr() == ("", "")


def test_lists_of_ordinary_length_are_within_the_bounds() -> None:
    """The bounds stop bombs, not work."""
    found = value_of("${inputs.some.filter(n, n % 2 == 0).map(n, n + 1)}")
    assert found == list(range(1, 2_000, 2))


def test_data_too_deep_for_the_library_are_refused() -> None:
    """The library would crash the program on them."""
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    compiled = compile_value("${size(inputs.deep)}")
    assert compiled is not None
    with pytest.raises(ExpressionError, match="nested deeper"):
        compiled.evaluate({"inputs": {"deep": deep}})


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_integers_beyond_64_bits_are_never_rounded(number: int) -> None:
    """They pass through untouched, but nothing is computed with them."""
    scope = {"inputs": {"n": number}}
    path, sum_ = compile_value("${inputs.n}"), compile_value("${inputs.n + 1}")
    assert path is not None
    assert sum_ is not None
    assert path.evaluate(scope) == number
    with pytest.raises(ExpressionError, match="64 bits"):
        sum_.evaluate(scope)


def test_only_what_is_referenced_is_looked_at() -> None:
    """A huge or odd result elsewhere in the scope costs nothing and breaks nothing."""
    scope = {"inputs": {"x": 1, "odd": object(), "huge": 10**40}, "tasks": {"a": object()}}
    compiled = compile_value("${inputs.x + 1}")
    assert compiled is not None
    assert compiled.evaluate(scope) == 2


def test_the_order_of_objects_is_always_the_same() -> None:
    """Objects are iterated and returned in the order of their keys, in every program."""
    keys = [f"k{number}" for number in range(20)]
    scope = {"inputs": {"map": dict.fromkeys(reversed(keys), 1)}}
    iterated = compile_value("${inputs.map.map(k, k)}")
    returned = compile_value("${true ? inputs.map : {}}")
    assert iterated is not None
    assert returned is not None
    assert iterated.evaluate(scope) == sorted(keys)
    result = returned.evaluate(scope)
    assert isinstance(result, dict)
    assert list(result) == sorted(keys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks.design.result.ok && inputs.x > 3", True),
        ("${tasks.design.result.ok}", True),
        (" ${ inputs.x < 3 } ", False),
        ("inputs.name == '}'", False),
        ("inputs.many.exists(n, n == 7)", True),
    ],
)
def test_conditions_are_true_or_false(text: str, expected: bool) -> None:
    """Bare or wrapped, a condition is one expression."""
    assert compile_condition(text).evaluate(SCOPE) is expected


@pytest.mark.parametrize("text", ["inputs.x", "inputs.name", "'true'", "[]"])
def test_a_condition_that_is_neither_is_an_error(text: str) -> None:
    """Nothing is taken for true because it is not empty."""
    with pytest.raises(ExpressionError, match="must be true or false"):
        compile_condition(text).evaluate(SCOPE)


@pytest.mark.parametrize("text", ["${inputs.x} > 3", "${inputs.a} ${inputs.b}", "", "${"])
def test_a_condition_that_is_no_expression_is_refused(text: str) -> None:
    """A text is no condition."""
    with pytest.raises(ExpressionError):
        compile_condition(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=12,
)
paths = st.lists(
    st.sampled_from([".a", ".b", ".c", '["d"]', "['a b']", "[0]", "[1]"]), max_size=4
).map("".join)


@given(json_values, paths)
def test_a_path_means_the_same_with_and_without_the_library(value: Json, path: str) -> None:
    """The short cut for plain paths gives what the library gives, or fails where it fails."""
    source = f"inputs.it{path}"
    scope = {"inputs": {"it": value}}
    walked = compile_value(f"${{{source}}}")
    assert walked is not None
    program = CelProgram(source, parse(source), (("inputs", "it"),))

    def outcome(evaluate: object) -> object:
        assert callable(evaluate)
        try:
            return repr(_ordered(evaluate(scope)))
        except ExpressionError:
            return "refused"

    assert outcome(walked.evaluate) == outcome(program.evaluate)


def _ordered(value: object) -> object:
    match value:
        case dict():
            return {key: _ordered(value[key]) for key in sorted(value)}
        case list():
            return [_ordered(item) for item in value]
        case _:
            return value


OPERANDS = ["inputs.x", "inputs.many", "tasks.design", "1", "2.5", "'q'", "true", "null", "[1,2]"]
OPERATORS = [*"()[]{}.+-*/%<?:,!\\é\0_", "==", "in", "&&", "${", "'''", "//", "{'k':1}", "x"]
CALLS = [".map(x,", "+x)", ".filter(y,", ".all(x,", "size(", "has(", ".size()", "string(", "int("]
ODD = ["9223372036854775807", "1e308", "timestamp('2024-01-01T00:00:00Z')", "duration('1s')", "[0]"]
pieces = st.sampled_from([*OPERANDS, *OPERATORS, *CALLS, *ODD])


@given(st.lists(pieces, max_size=10).map("".join))
def test_any_text_is_either_evaluated_or_an_expression_error(source: str) -> None:
    """Nothing a user writes crashes, hangs or escapes as another kind of error."""
    try:
        compiled = compile_value("${" + source + "}")
        if compiled is not None:
            compiled.evaluate(SCOPE)
    except ExpressionError:
        pass


def test_the_library_is_loaded_only_when_needed() -> None:
    """Plain values and paths start fast: neither the library nor its command line is imported."""
    program = (
        "import sys; from kallista.core.expressions import compile_value as c;"
        "c('${tasks.a.b}').evaluate({'tasks': {'a': {'b': 1}}});"
        "assert 'cel.cel' not in sys.modules;"
        "assert c('${inputs.x + 1}').evaluate({'inputs': {'x': 1}}) == 2;"
        "assert 'cel.cel' in sys.modules and 'prompt_toolkit' not in sys.modules;"
        "import cel; assert cel.evaluate('1 + 1') == 2"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
