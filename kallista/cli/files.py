"""Loads definition files: YAML or JSON, whole and within bounds, problems with line and column."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from kallista.core.types import Json
from kallista.errors import NotFoundError, UsageError

MAX_BYTES: Final = 8 * 1024 * 1024
STDIN: Final = "-"

_ENDINGS: Final = (".yaml", ".yml", ".json")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def load_file(path: str, max_bytes: int = MAX_BYTES) -> object:
    """The content of a definition file as plain data.

    Args:
        path: A ``.json`` or a YAML file; ``-`` reads standard input, which may hold either.
        max_bytes: How large it may be.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It cannot be read, is too large, or is no YAML or JSON; the message says where.
    """
    text = _decoded(_read(path, max_bytes), path)
    if path.endswith(".json"):
        return _json(text, path)
    if path == STDIN and text.lstrip().startswith("{"):
        return _either(text, path)
    return _yaml(text, path)


def load_value(text: str, what: str) -> object:
    """A value as it stands in a YAML file, such as ``5``, ``true`` or ``[a, b]``.

    Args:
        text: The value.
        what: What it is, for the message.

    Raises:
        UsageError: It is no YAML.
    """
    return _yaml(text, what)


def read_settings(
    settings: Sequence[str], schemas: Mapping[str, Mapping[str, Json]]
) -> dict[str, object]:
    """``key=value`` settings: a text is taken as it is, anything else is read as YAML.

    Args:
        settings: As they were typed.
        schemas: The JSON Schemas of the values, by key, as far as they are known.

    Raises:
        UsageError: One of them is none; all of them are listed.
    """
    values: dict[str, object] = {}
    problems: list[str] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            problems.append(f"--set takes key=value, not {setting!r}")
        elif key in values:
            problems.append(f"--set {key} is given twice")
        else:
            is_text = schemas.get(key, {}).get("type") == "string"
            values[key] = text if is_text else load_value(text, f"--set {key}")
    if problems:
        raise UsageError("--set is wrong", problems)
    return values


def _read(path: str, most: int) -> bytes:
    try:
        if path == STDIN:
            raw = sys.stdin.buffer.read(most + 1)
        else:
            with open(path, "rb") as file:
                raw = file.read(most + 1)
    except FileNotFoundError:
        raise NotFoundError(_missing(Path(path))) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; name a file in it") from None
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {told}") from None
    if len(raw) > most:
        raise UsageError(
            f"{path} is larger than {most:,} bytes; hand large data over as files, or raise the"
            " limit (max_definition_bytes)"
        )
    return raw


def _missing(path: Path) -> str:
    folder = path.parent
    names = (
        [file.name for file in folder.iterdir() if file.suffix in _ENDINGS]
        if folder.is_dir()
        else []
    )
    near = get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {folder / near[0]}?" if near else ""
    return f"there is no file {path}{hint}"


def _decoded(raw: bytes, path: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        how = "UTF-16" if raw.startswith(_UTF16) else f"no UTF-8 at byte {error.start}"
        raise UsageError(f"{path} is {how}; save it as UTF-8") from None


def _yaml(text: str, path: str) -> object:
    from kallista.cli.yaml_text import YamlProblems, load_yaml

    try:
        return load_yaml(text)
    except YamlProblems as found:
        lines = [
            f"{path}:{problem.line}:{problem.column}: {problem.message}"
            if problem.line
            else f"{path}: {problem.message}"
            for problem in found.problems
        ]
    if len(lines) == 1:
        raise UsageError(lines[0])
    raise UsageError(f"{path} cannot be read", lines)


def _json(text: str, path: str) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            _doubled(text, path)
        return found

    try:
        data: object = json.loads(text, object_pairs_hook=once)
        return data
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise UsageError(f"{place}: this is no JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise UsageError(f"{path}: this is no JSON: {why}") from None


def _doubled(text: str, path: str) -> None:
    """Raise that a key stands there twice; JSON is YAML too, and that reader knows the place."""
    _yaml(text, path)
    raise UsageError(f"{path}: a key stands twice in one object")


def _either(text: str, path: str) -> object:
    """Standard input has no ending that says what it holds."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _yaml(text, path)
    return _json(text, path)
