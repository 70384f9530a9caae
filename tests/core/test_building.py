"""Validators are built one at a time, since two threads that parse at once disturb each other."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from kallista.core.building import BUILDING
from kallista.core.types import TaskType
from kallista.tasks.handler import FunctionHandler
from kallista.wpf import document
from kallista.wpf.handlers import system_design


@pytest.fixture
def parsed_alone(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the lock was held, for every source text that is parsed."""
    seen: list[bool] = []
    parse = ast.parse

    def noted(*args: Any, **kwargs: Any) -> Any:
        seen.append(BUILDING._is_owned())  # type: ignore[attr-defined]  # RLock has it
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", noted)
    return seen


def test_a_design_is_read_by_a_validator_that_was_built_alone(parsed_alone: list[bool]) -> None:
    """Several tasks read the design at once, each on a thread of its own."""
    document._reader.cache_clear()
    document._reader()
    assert parsed_alone
    assert all(parsed_alone)


def test_a_handlers_validator_is_built_alone(parsed_alone: list[bool]) -> None:
    """After a crash the first configs are checked on threads, many at once."""
    FunctionHandler(TaskType("design"), system_design).problems({"name": "Shop"}, ())
    assert parsed_alone
    assert all(parsed_alone)
