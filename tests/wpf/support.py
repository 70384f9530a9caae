"""A context without a run, and short ways to a generated solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from kallista.wpf import code_generation, system_design
from kallista.wpf.specification import Specification

EXAMPLE = Path(__file__).parents[2] / "examples" / "inventory_app.yaml"


@dataclass
class FakeContext:
    """A task's context without a run."""

    run_id: str = "run-1"
    task_id: str = "task-1"
    results: Mapping[str, object] = field(default_factory=dict)
    cancelled: bool = False
    told: list[tuple[float, str]] = field(default_factory=list)

    def progress(self, fraction: float, message: str) -> None:
        """Remember what was told."""
        self.told.append((fraction, message))


def specification_of(data: object) -> Specification:
    """A specification from plain data, as the engine makes one of a config."""
    return TypeAdapter(Specification).validate_python(data)


def designed(specification: Specification, folder: Path, run: str = "run-1") -> dict[str, object]:
    """What a system_design task returns for a specification."""
    return system_design(
        FakeContext(run),
        pattern=specification.pattern,  # type: ignore[arg-type]  # bad patterns are tested too
        name=specification.name,
        namespace=specification.namespace,
        title=specification.title,
        description=specification.description,
        entities=specification.entities,
        enums=specification.enums,
        views=specification.views,
        output_dir=str(folder),
    )


def generated(specification: Specification, folder: Path) -> Path:
    """A folder with the whole solution of a specification."""
    code_generation(FakeContext(), design=designed(specification, folder))
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a solution with its bytes, without the folder's own books."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".kallista" not in path.relative_to(folder).parts
    }
