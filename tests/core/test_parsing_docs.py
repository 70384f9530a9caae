from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from parsing_support import LIMITS, nothing

from kallista.core.parsing import parse_document
from kallista.core.schema import definition_schema
from kallista.tasks import Registry, TaskChecker, general_handlers

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "describe-a-workflow.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_examples_of_the_page(block: str) -> None:
    """The definitions that the documentation shows are read without a problem, and fit editors."""
    registry = Registry()
    for handler in general_handlers():
        registry.add(handler)
    data = yaml.safe_load(block)
    parse_document(data, nothing, TaskChecker(registry), LIMITS)
    Draft202012Validator(definition_schema()).validate(data)
