"""Loads definition files: YAML or JSON, safely and within bounds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from kallista.errors import UsageError

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_ALIASES: Final = 1_000

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML without surprises: no objects, no doubled keys, few aliases, true and false only."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0
        self.aliases = 0

    def compose_node(self, parent: object, index: object) -> Any:
        """Count depth and aliases, so that a small file cannot become a large value."""
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise _at(self.peek_event().start_mark, f"more than {MAX_ALIASES:,} aliases")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise _at(mark, f"nested more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are all different."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen and key != "<<":
                raise _at(key_node.start_mark, f"the key {key!r} stands there twice")
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _only_true_and_false() -> None:
    """YAML 1.1 reads ``on``, ``no`` and ``y`` as booleans; nobody means that."""
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }
    pattern = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:bool", pattern, list("tTfF"))


_only_true_and_false()


def load_file(path: str) -> object:
    """The content of a definition file as plain data.

    Args:
        path: A ``.json`` or a YAML file; ``-`` reads standard input.

    Raises:
        UsageError: It cannot be read, is too large, or is no YAML or JSON; the message says where.
    """
    text = _text(path)
    if path.endswith(".json"):
        return _json(text, path)
    try:
        return load_yaml(text)
    except yaml.MarkedYAMLError as error:
        raise UsageError(f"{path}{_place(error.problem_mark)}: {_told(error)}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {error}") from None


def load_yaml(text: str) -> object:
    """YAML text as plain data, within the bounds of this module."""
    loader = _Loader(text)
    try:
        data: object = loader.get_single_data()
        return data
    finally:
        loader.dispose()


def _text(path: str) -> str:
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _json(text: str, path: str) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise UsageError(f"{path}: the key {key!r} stands there twice in one object")
            found[key] = value
        return found

    try:
        data: object = json.loads(text, object_pairs_hook=once)
        return data
    except json.JSONDecodeError as error:
        where = f":{error.lineno}:{error.colno}"
        raise UsageError(f"{path}{where}: this is no JSON: {error.msg}") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deep") from None


def _at(mark: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _place(mark: Any) -> str:
    return "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"


def _told(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)
