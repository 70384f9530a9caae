"""The founding domain: design a C#/WPF application, and generate it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kallista.wpf.definitions import SYSTEM_DESIGN_WORKFLOW
from kallista.wpf.handlers import code_generation, solution_manifest, system_design

HANDLERS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "system_design": system_design,
    "code_generation": code_generation,
    "solution_manifest": solution_manifest,
}
"""The handlers of this package by the task types they are registered under."""

__all__ = [
    "HANDLERS",
    "SYSTEM_DESIGN_WORKFLOW",
    "code_generation",
    "solution_manifest",
    "system_design",
]
