from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator
from parsing_support import LIMITS, accept, documents, nothing

from kallista.core.parsing import parse_document
from kallista.core.schema import definition_schema
from kallista.wpf import SYSTEM_DESIGN_WORKFLOW

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))

schema = Draft202012Validator(definition_schema())


def test_the_schema_is_one() -> None:
    """What is published is a valid schema of its dialect."""
    Draft202012Validator.check_schema(definition_schema())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_fit(file: Path) -> None:
    """Every example file is valid for editors."""
    schema.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_shipped_definitions_fit() -> None:
    """So are the definitions that ship."""
    schema.validate(SYSTEM_DESIGN_WORKFLOW)


@pytest.mark.parametrize(
    "data",
    [
        {"steps": [{"type": "x"}], "finally": [{"type": "task", "task_data": {"type": "y"}}]},
        {"tasks": [{"type": "x", "compensate": {"type": "y", "retry": 3}}], "finally": []},
        {"tasks": [{"type": "x", "compensate": None}], "finally": None, "on_failure": None},
        {"tasks": [{"switch": [{"when": True, "then": "x"}], "default": ["x"]}, {"type": "x"}]},
        {"tasks": [{"type": "x", "for_each": [1, {}], "max_parallel": 3, "collect": False}]},
        {"tasks": [{"type": "x", "max_parallel": "a handler's", "collect": "too"}]},
        {"steps": [{"type": "workflow", "tasks": [{"type": "x"}], "for_each": "${inputs.a}"}],
         "inputs": {"a": None}},
        {"steps": [{"type": "task", "task_data": {"type": "x"}, "for_each": [], "collect": True}]},
        {"tasks": [{"type": "workflow", "tasks": [{"type": "x"}], "for_each": [1], "when": "true",
                    "inputs": {"a": 1}, "compensate": {"type": "y"}, "config": {"retry": 2}}]},
        {"tasks": [{"type": "process", "steps": [{"type": "x"}], "dependencies": ["a"]}]},
    ],
)  # fmt: skip
def test_all_ways_to_say_it_fit(data: Mapping[str, object]) -> None:
    """In all ways in which it may be written."""
    parse_document(data, nothing, accept, LIMITS)
    schema.validate(data)


@given(documents)
def test_what_is_read_fits(data: Mapping[str, object]) -> None:
    """An editor never complains about what Kallista accepts."""
    parse_document(data, nothing, accept, LIMITS)
    schema.validate(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tasks": [], "name": "w"},
        {"tasks": [{"config": {}}]},
        {"steps": [{"type": "task"}]},
        {"steps": [{"type": "x", "retry": {"attempts": 3}}]},
        {"steps": [{"type": "workflow", "tasks": [{"type": "x"}], "when": 5}]},
        {"tasks": [{"type": "x"}], "config": {"retri": 1}},
        {"tasks": [{"type": "workflow"}]},
        {"steps": [{"type": "process"}]},
        {"tasks": [{"type": "workflow", "tasks": [{"type": "x"}], "depends_on": []}]},
        {"tasks": [{"type": "x"}], "finally": [{"type": "x", "trigger_rule": "always"}]},
        {"tasks": [{"type": "x"}], "finally": [{"type": "x", "compensate": {"type": "y"}}]},
        {"tasks": [{"type": "x", "compensate": {"type": "y", "continue_on_error": True}}]},
    ],
)
def test_slips_are_seen(data: Mapping[str, object]) -> None:
    """Editors see what is wrong by its form alone."""
    assert not schema.is_valid(data)
