"""Checks a config against a handler's type hints, and turns it into the function's arguments.

pydantic does the checking. It reads the config as JSON, so that base64 becomes bytes and ISO 8601
becomes moments, whatever way the config came. It is imported when the first config is checked that
holds more than texts, numbers and truths of exactly the types that the hints ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NotRequired, Protocol, Required, cast, get_type_hints

import msgspec

from kallista.core.building import BUILDING
from kallista.core.parsing.tasks import TASK_KEYS
from kallista.core.plain import own, plain_json, shown
from kallista.core.types import Json, JsonText
from kallista.errors import UsageError
from kallista.logs import mask, mask_text, secret_values
from kallista.tasks.parameters import Function, Parameter, Parameters

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

_ANY: Final = (None, object, Any, "object", "Any", "typing.Any")
_SCALARS: Final = {type.__name__: type for type in (str, int, float, bool)}
_encode = msgspec.json.Encoder().encode


class Binder(Protocol):
    """Turns configs into arguments."""

    def bind(self, config: Mapping[str, Json]) -> Mapping[str, object]:
        """The arguments. Raises ``UsageError`` for a config that does not fit."""
        ...

    def problems(self, config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
        """What is wrong with a config; the values of ``unresolved`` keys are not looked at."""
        ...

    def schema(self) -> JsonText:
        """The JSON Schema of the config."""
        ...


def binder(parameters: Parameters, function: Function, name: str) -> Binder:
    """What turns configs into this function's arguments.

    Args:
        parameters: What the function takes.
        function: The function, to resolve its type hints by.
        name: How messages call it.

    Raises:
        UsageError: A type hint cannot be resolved, or pydantic cannot check it.
    """
    if all(key.hint in _ANY for key in parameters.keys.values()):
        return NameBinder(parameters, name)
    return HintBinder(parameters, function, name)


class NameBinder:
    """Checks the names of keys alone: for handlers whose parameters have no type hints."""

    def __init__(self, parameters: Parameters, name: str) -> None:
        self._parameters = parameters
        self._name = name

    def bind(self, config: Mapping[str, Json]) -> Mapping[str, object]:
        """A copy of the config: runs share it, and a function may change what it gets."""
        problems = list(name_problems(self._parameters, config))
        if problems:
            raise _unfit(self._name, problems)
        return {key: own(value) for key, value in config.items()}

    def problems(self, config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
        """Missing and surplus keys."""
        return list(name_problems(self._parameters, config))

    def schema(self) -> JsonText:
        """The names, and which of them are required."""
        return _names_schema(self._parameters)


class HintBinder:
    """Checks keys and values by type hints."""

    def __init__(self, parameters: Parameters, function: Function, name: str) -> None:
        self._parameters = parameters
        self._function = function
        self._name = name
        self._scalars = _scalars(parameters, function)
        self._required = {key.name for key in parameters.keys.values() if key.required}
        if self._scalars is None:
            self._validate  # noqa: B018  # a hint that cannot be checked is told at once

    @cached_property
    def _adapter(self) -> TypeAdapter[dict[str, object]]:
        return _adapter(self._parameters, self._function, self._name)

    @cached_property
    def _validate(self) -> Callable[[bytes], dict[str, object]]:
        return self._adapter.validator.validate_json

    def bind(self, config: Mapping[str, Json]) -> Mapping[str, object]:
        """The values that the hints ask for."""
        if self._is_exact(config):
            return config
        try:
            return cast("Mapping[str, object]", self._validate(_encode(config)))
        except ValueError:
            problems = self.problems(config, ())
            if not problems:
                raise
            raise _unfit(self._name, problems) from None

    def problems(self, config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
        """Missing, surplus and ill-typed keys."""
        if not unresolved and (self._is_exact(config) or self._fits(config)):
            return ()
        named = list(name_problems(self._parameters, config))
        known = {key: value for key, value in config.items() if key not in unresolved}
        return [*named, *self._value_problems(known)]

    def schema(self) -> JsonText:
        """As pydantic describes the hints, or the names alone where it cannot."""
        from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

        try:
            schema = self._adapter.json_schema()
        except (PydanticInvalidForJsonSchema, PydanticUserError):
            return _names_schema(self._parameters)
        schema["additionalProperties"] = self._parameters.surplus
        schema.pop("title", None)
        return JsonText(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))

    def _is_exact(self, config: Mapping[str, Json]) -> bool:
        """Whether every value is of the very type that is asked for, so that nothing is changed."""
        types = self._scalars
        if types is None or not config.keys() >= self._required:
            return False
        for key, value in config.items():  # noqa: SIM110 - all() costs more than the rest
            if type(value) is not types.get(key):
                return False
        return True

    def _fits(self, config: Mapping[str, Json]) -> bool:
        """Whether nothing is wrong with it; what is, is looked for only if something is."""
        try:
            self._validate(_encode(config))
        except ValueError:
            return False
        return True

    def _value_problems(self, config: Mapping[str, Json]) -> Iterator[str]:
        from pydantic import ValidationError

        try:
            self._validate(_encode(config))
        except ValidationError as error:
            yield from _told(error, config)


def name_problems(parameters: Parameters, given: Collection[str]) -> Iterator[str]:
    """Keys that are missing, and keys that nobody takes, with the nearest that somebody does."""
    for key in parameters.keys.values():
        if key.required and key.name not in given:
            yield f"the key {key.name!r} is missing{_expected(key)}{_hidden(key.name)}"
    if not parameters.surplus:
        yield from surplus_problems(given, list(parameters.keys))


def surplus_problems(given: Collection[str], known: Sequence[str]) -> Iterator[str]:
    """Keys that nobody takes, with the nearest that somebody does."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            yield f"there is no key {name!r}; " + (f"did you mean {near[0]!r}?" if near else takes)


def _hidden(name: str) -> str:
    """Beside ``type`` some keys are the task's own and never reach the handler."""
    return f"; give it in config, for beside type {name} is the task's own" * (name in TASK_KEYS)


def _expected(key: Parameter) -> str:
    if key.hint in _ANY:
        return ""
    hint = key.hint if isinstance(key.hint, str) else getattr(key.hint, "__name__", str(key.hint))
    return f" ({hint})"


def _unfit(name: str, problems: Sequence[str]) -> UsageError:
    if len(problems) == 1:
        return UsageError(f"the config does not fit {name}: {problems[0]}")
    return UsageError(f"the config does not fit {name}", problems)


def outline(parameters: Parameters, function: Function, name: str) -> JsonText:
    """The JSON Schema of a config as far as it can be had without pydantic.

    That is slow to import. Values whose hints msgspec does not know are left open.

    Args:
        parameters: What the function takes.
        function: The function, to resolve its type hints by.
        name: How messages call it.
    """
    try:
        hints = _resolved(parameters, function, name)
    except UsageError:
        hints = {}
    values: dict[str, Json] = {}
    shared: dict[str, Json] = {}
    for key in parameters.keys:
        values[key], used = _remembered(hints[key]) if key in hints else ({}, {})
        shared |= used
    return _schema(parameters, values, shared)


def _remembered(hint: object) -> tuple[Json, Mapping[str, Json]]:
    """As ``_described``, once a hint: workers of one process have much the same handlers."""
    try:
        return _described_once(hint)
    except TypeError:  # it has no hash, so it cannot be remembered
        return _described(hint)


def _described(hint: object) -> tuple[Json, Mapping[str, Json]]:
    """The JSON Schema of a hint, and what it refers to; an empty one where msgspec knows none."""
    try:
        (schema,), shared = msgspec.json.schema_components([hint], ref_template="#/$defs/{name}")
    except Exception:  # it runs code of the types, and a program that cannot describe still works
        return {}, {}
    # Defaults may be no JSON, as NaN is none.
    return ({}, {}) if plain_json([schema, shared]) is None else (schema, shared)


_described_once = lru_cache(maxsize=256)(_described)


def _names_schema(parameters: Parameters) -> JsonText:
    """The names of the keys, and which of them are required."""
    return _schema(parameters, {key: {} for key in parameters.keys}, {})


def _schema(
    parameters: Parameters, values: Mapping[str, Json], shared: Mapping[str, Json]
) -> JsonText:
    schema = {
        "type": "object",
        "properties": values,
        "required": [name for name, key in parameters.keys.items() if key.required],
        "additionalProperties": parameters.surplus,
        **({"$defs": shared} if shared else {}),
    }
    return JsonText(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))


def _adapter(
    parameters: Parameters, function: Function, name: str
) -> TypeAdapter[dict[str, object]]:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError
    from typing_extensions import TypedDict

    hints = _resolved(parameters, function, name)
    fields = {
        key.name: (Required if key.required else NotRequired)[hints.get(key.name, Any)]
        for key in parameters.keys.values()
    }
    # A dict of its own type: unlike with a model, no key can clash with a method.
    make: Any = TypedDict
    shape = make("config", fields)
    shape.__pydantic_config__ = ConfigDict(
        extra="allow" if parameters.surplus else "forbid", val_json_bytes="base64"
    )
    try:
        with BUILDING:
            return TypeAdapter(shape)
    except PydanticUserError as error:
        raise UsageError(
            f"a type hint of {name} cannot be checked: {error.message}; use types that pydantic"
            " knows (plain types, datetimes, dataclasses, models)"
        ) from error


def _resolved(parameters: Parameters, function: Function, name: str) -> dict[str, Any]:
    hints = {key.name: key.hint for key in parameters.keys.values() if key.hint is not None}
    try:
        return get_type_hints(
            _Annotated(hints), getattr(function, "__globals__", {}), include_extras=True
        )
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise UsageError(
            f"the type hints of {name} cannot be resolved: {error}; import what they name at the"
            " top of its module, not only for type checkers and not inside a function"
        ) from error


def _scalars(parameters: Parameters, function: Function) -> Mapping[str, type] | None:
    """The type of each parameter, if all are texts, numbers or truths; None: some are not."""
    renamed = _SCALARS.keys() & getattr(function, "__globals__", {}).keys()
    found: dict[str, type] = {}
    for key in parameters.keys.values():
        name = key.hint if isinstance(key.hint, str) else getattr(key.hint, "__name__", "")
        scalar = _SCALARS.get(name)
        if scalar is None or name in renamed or key.hint not in (name, scalar):
            return None
        found[key.name] = scalar
    return found


class _Annotated:
    """Carries the hints of some parameters alone, so that no other one has to be resolvable."""

    def __init__(self, hints: Mapping[str, object]) -> None:
        self.__annotations__ = dict(hints)


def _told(error: ValidationError, config: Mapping[str, Json]) -> Iterator[str]:
    """Pydantic's findings in our words, those about one place joined."""
    places: dict[str, tuple[ErrorDetails, list[str]]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        if len(detail["loc"]) == 1 and detail["type"] in ("missing", "extra_forbidden"):
            continue  # told by name_problems, with the nearest key
        place = _place(detail["loc"], config)
        places.setdefault(place, (detail, []))[1].append(_expectation(detail))
    secrets = secret_values(config)
    for place, (detail, expectations) in places.items():
        wanted = " or ".join(dict.fromkeys(expectations))
        yield mask_text(f"{place} {wanted}{_given(place, detail)}", secrets)


def _place(steps: Sequence[str | int], config: Mapping[str, Json]) -> str:
    """Where in the config; the names that pydantic adds for the members of a union are left out."""
    text = ""
    here: Json = dict(config)
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            text += f"[{step}]"
            here = here[step]
        elif isinstance(here, dict) and isinstance(step, str) and (step in here or last):
            text += f".{step}" if text else step
            here = here.get(step)
    return text


def _expectation(detail: ErrorDetails) -> str:
    message = detail["msg"]
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "is no key that it takes"
        case "value_error" | "assertion_error":
            return "is wrong: " + message.partition(", ")[2]
        case _ if message.startswith("Input should "):
            return "must " + message.removeprefix("Input should ")
        case _:
            return "is wrong: " + message[:1].lower() + message[1:]


def _given(place: str, detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return ""
    name = place.rpartition(".")[2]
    return f", not {shown(mask({name: detail['input']})[name])}"
