"""Generated files are what their generators write today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_synchronous_door_is_up_to_date() -> None:
    """A public method of the three objects that changes changes in its synchronous twin too."""
    written = (ROOT / "kallista" / "workflows" / "sync.py").read_text(encoding="utf-8")
    assert written == load("generate_sync").generated()


def test_the_state_diagrams_are_up_to_date() -> None:
    """The documentation's diagrams are drawn from the tables that the code obeys."""
    written = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    assert written == load("draw_states").drawn()
