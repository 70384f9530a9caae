"""YAML as plain data: the core schema of YAML 1.2, within bounds, problems with their place.

The events of PyYAML's parser are put together here instead of by its constructors. Those would
read ``no`` as false and ``12:30`` as 750 (YAML 1.1), keep the last of two equal keys, know no
bounds, and forget where a value stood.

Core schema: YAML 1.2.2, chapter 10.3. Merge keys (``<<``) of YAML 1.1 are kept, since people use
them; a key is always a text, as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1_000_000
_MOST_PROBLEMS: Final = 20

_CORE: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a text, and where; lines and columns count from 1, 0 is nowhere."""

    line: int
    column: int
    message: str


class YamlProblems(Exception):
    """The text cannot be read; ``problems`` lists what was found, at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def load_yaml(text: str) -> object:
    """The only document of a YAML text.

    Args:
        text: The text; one without any value is None.

    Returns:
        Mappings with text keys, lists, texts, numbers, booleans and None. A value that has aliases
        is the same object in every place.

    Raises:
        YamlProblems: It is no YAML, or more than this module allows.
    """
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        composer.problem(error.problem_mark, _told(error, text))
        raise YamlProblems(composer.problems) from None
    except yaml.reader.ReaderError as error:
        place = _misplaced(text, error.position, "a control character")
        raise YamlProblems([*composer.problems, place]) from None
    except UnicodeEncodeError as error:
        place = _misplaced(text, error.start, "half a character")
        raise YamlProblems([*composer.problems, place]) from None
    if composer.problems:
        raise YamlProblems(composer.problems)
    return composer.document


def _misplaced(text: str, position: int, what: str) -> Problem:
    before = text[:position].splitlines() or [""]
    return Problem(len(before), len(before[-1]) + 1, f"{what} is not allowed here")


class _TooMuch(yaml.MarkedYAMLError):
    """Reading on would be useless, or never end."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    value: dict[str, object] | list[object]
    anchor: str | None
    key: str | None = None
    at: Any = None
    own: set[str] = field(default_factory=set)
    size: int = 1


class _Composer:
    """Puts events together, without recursion."""

    def __init__(self) -> None:
        self.document: object = None
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._documents = 0
        self._size = 0

    def problem(self, mark: Any, message: str) -> None:
        """Note what is wrong at a place."""
        line, column = (0, 0) if mark is None else (mark.line + 1, mark.column + 1)
        self.problems.append(Problem(line, column, message))
        if len(self.problems) == _MOST_PROBLEMS:
            raise YamlProblems(self.problems)

    def take(self, event: Any) -> None:
        """Go on by one event."""
        match event:
            case yaml.ScalarEvent():
                self._value(event, self._scalar(event), event.anchor, 1)
            case yaml.AliasEvent():
                value, size = self._anchored(event)
                self._value(event, value, None, size)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._enter(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._value(event, done.value, done.anchor, done.size)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _too_much(event, "a second document starts; put it into its own file")

    def _enter(self, event: Any) -> None:
        if len(self._open) == MAX_DEPTH:
            raise _too_much(event, f"this lies more than {MAX_DEPTH} levels deep")
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_CORE}{'map' if mapping else 'seq'}"):
            self._unknown_tag(event)
        if self._open and self._is_key(self._open[-1]):
            self.problem(event.start_mark, "a key must be a text, no mapping or list")
        self._open.append(_Open({} if mapping else [], event.anchor))

    def _value(self, event: Any, value: object, anchor: str | None, size: int) -> None:
        """Put a value where it belongs."""
        if anchor is not None:
            self._anchors[anchor] = value, size
        if not self._open:
            self.document = value
            return
        around = self._open[-1]
        around.size += size
        if around.size > MAX_VALUES:
            raise _too_much(event, f"with its aliases this has more than {MAX_VALUES:,} values")
        if isinstance(around.value, list):
            around.value.append(value)
        elif around.key is None:
            around.key, around.at = self._key(event, value), event.start_mark
        else:
            self._put(around, around.key, value)
            around.key = None

    def _put(self, around: _Open, key: str, value: object) -> None:
        assert isinstance(around.value, dict), "only mappings have keys"
        if key == _MERGE:
            self._merge(around, value)
        elif key in around.own:
            self.problem(around.at, f"the key {key!r} stands there twice")
        else:
            around.own.add(key)
            around.value[key] = value

    def _merge(self, around: _Open, value: object) -> None:
        """Take over what is not said here; of several, the first says most."""
        assert isinstance(around.value, dict), "only mappings have keys"
        for other in value if isinstance(value, list) else [value]:
            if not isinstance(other, Mapping):
                self.problem(around.at, "<< takes a mapping, or a list of mappings")
                return
            for key, item in other.items():
                around.value.setdefault(key, item)

    def _anchored(self, event: Any) -> tuple[object, int]:
        if event.anchor not in self._anchors:
            raise _too_much(event, f"there is no anchor &{event.anchor} before this alias")
        return self._anchors[event.anchor]

    def _scalar(self, event: Any) -> object:
        if event.tag is None and event.implicit[0]:
            if self._open and self._is_key(self._open[-1]):
                return event.value
            return self._resolved(event, _implicit_tag(event.value))
        if event.tag in (None, "!"):
            return event.value
        name = event.tag.removeprefix(_CORE)
        if name not in _READERS:
            self._unknown_tag(event)
            return event.value
        return self._resolved(event, name)

    def _resolved(self, event: Any, tag: str) -> object:
        try:
            return _READERS[tag](event.value)
        except (ValueError, KeyError):
            self.problem(event.start_mark, f"{_shown(event.value)} is no {tag}")
            return None

    def _unknown_tag(self, event: Any) -> None:
        self.problem(event.start_mark, f"the tag {_shown(event.tag)} is not allowed; leave it out")

    def _key(self, event: Any, value: object) -> str:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        if isinstance(value, str):
            return value
        if isinstance(event, yaml.AliasEvent):
            self.problem(event.start_mark, "a key must be a text, and this alias is none")
        return f"line {event.start_mark.line + 1}"

    @staticmethod
    def _is_key(around: _Open) -> bool:
        return isinstance(around.value, dict) and around.key is None


def _told(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if mark is not None:
        lines = text.splitlines()[mark.line : mark.line + 1]
        if any(line[mark.column :].startswith("\t") for line in lines):
            return "a tab cannot stand here; indent with spaces"
    return ", ".join(part for part in (error.context, error.problem) if part)


def _too_much(event: Any, message: str) -> _TooMuch:
    return _TooMuch(problem=message, problem_mark=event.start_mark)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _integer(text: str) -> int:
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    return int(text)


_BOOLEANS: Final = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_SPECIAL: Final = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def _float(text: str) -> float:
    special = _SPECIAL.fullmatch(text)
    if special is None:
        return float(text)
    return float(f"{special[1]}inf") if special[2] else float("nan")


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "str": str,
    "null": lambda text: None,
    "bool": _BOOLEANS.__getitem__,
    "int": _integer,
    "float": _float,
}
_PATTERNS: Final = (
    ("null", re.compile(r"null|Null|NULL|~|")),
    ("bool", re.compile("|".join(_BOOLEANS))),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")),
    ("float", _SPECIAL),
)


def _implicit_tag(text: str) -> str:
    return next(_matching(text), "str")


def _matching(text: str) -> Iterator[str]:
    return (tag for tag, pattern in _PATTERNS if pattern.fullmatch(text))
