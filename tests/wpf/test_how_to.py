"""The how-to says what is true: its tables name what the code has, its examples run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from kallista.wpf import HANDLERS, code_generation, system_design
from kallista.wpf.handlers import Params
from kallista.wpf.specification import TEMPLATES, PropertyType

from .support import FakeContext, specification_of

HOW_TO = Path(__file__).parents[2] / "docs/how-to/generate-a-wpf-application.md"


@pytest.fixture(scope="module")
def text() -> str:
    """The page."""
    return HOW_TO.read_text(encoding="utf-8")


def _first_cells(text: str, heading: str) -> set[str]:
    """The names in the first column of the table that starts with a heading."""
    table = re.search(rf"^\| {re.escape(heading)} \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    rows = table[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_tables_name_what_there_is(text: str) -> None:
    """Task types, keys, property types and templates are listed whole."""
    assert _first_cells(text, "task type") == set(HANDLERS)
    assert _first_cells(text, "key") == set(inspect.signature(system_design).parameters) - {"ctx"}
    assert _first_cells(text, "template") == set(TEMPLATES)
    table = text[text.index("| type | C# |") :]
    assert _first_cells(table, "type") == set(get_args(PropertyType))


def test_the_shortest_way_works(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example designs and generates what it says it does."""
    monkeypatch.chdir(tmp_path)
    first = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    design, generate = yaml.safe_load(first)["tasks"]
    said = specification_of(design["config"])
    made = system_design(FakeContext(), name=said.name, entities=said.entities)
    assert generate == {"type": "code_generation"}
    code_generation(FakeContext(results={"system_design": made}))
    assert (tmp_path / "output/Library/Library.sln").is_file()


def test_every_example_is_valid(text: str) -> None:
    """All examples are YAML, and the params in them are those of the handler."""
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for entry in yaml.safe_load(block) if block.startswith("- ") else []:
            if "params" in entry:
                TypeAdapter(Params).validate_python(entry["params"])
