"""Solutions that are generated once for all tests of the WPF domain."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kallista.wpf.specification import Specification

from .support import EXAMPLE, generated, specification_of


@pytest.fixture(scope="session")
def inventory() -> Specification:
    """The specification of the shipped example."""
    process = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    inputs = dict(process["steps"][0]["inputs"])
    del inputs["output_dir"]
    return specification_of(inputs)


@pytest.fixture(scope="session")
def inventory_solution(inventory: Specification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example, generated once; not to be changed."""
    return generated(inventory, tmp_path_factory.mktemp("inventory"))


@pytest.fixture(scope="session")
def sample_solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small application, generated once; not to be changed."""
    return generated(Specification(), tmp_path_factory.mktemp("sample"))
