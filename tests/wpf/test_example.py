"""The shipped process file: its parts, made at the same time, are the whole application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from kallista.wpf import code_generation, solution_manifest
from kallista.wpf.specification import TEMPLATES, Specification, Template

from .support import EXAMPLE, FakeContext, bytes_of, designed


def _steps() -> list[dict[str, object]]:
    steps = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["steps"]
    assert isinstance(steps, list)
    return steps


def _configs() -> Iterator[dict[str, object]]:
    for step in _steps():
        data = step.get("task_data")
        if isinstance(data, dict):
            yield {key: value for key, value in data.items() if key != "config"}
        tasks = step.get("tasks", [])
        assert isinstance(tasks, list)
        for task in tasks:
            yield {"type": task["type"], **task["config"]}


def test_every_part_is_generated_once() -> None:
    """The steps of the example name every template, each once."""
    templates = [config["template"] for config in _configs() if "template" in config]
    assert sorted(map(str, templates)) == sorted(TEMPLATES)


def test_independent_parts_wait_for_the_design_alone() -> None:
    """Five steps start together once the design is there; the last one waits for all."""
    depends_on = {step["id"]: step.get("depends_on") for step in _steps()}
    parts = [name for name, before in depends_on.items() if before == ["design"]]
    assert len(parts) == 5
    manifest = depends_on["manifest"]
    assert isinstance(manifest, list)
    assert set(manifest) == {"design", *parts}


def test_references_lead_to_steps_and_inputs_that_exist() -> None:
    """Each reference starts at a step listed before, or at a declared input."""
    text = EXAMPLE.read_text(encoding="utf-8")
    ids = {str(step["id"]) for step in _steps()}
    references = re.findall(r"\$\{(\w+)\.(\w+)", text)
    assert references
    for kind, name in references:
        assert (kind == "steps" and name in ids) or (
            kind == "inputs" and name in {"output_dir", "design"}
        )


def test_parts_made_at_once_are_the_whole(
    inventory: Specification, inventory_solution: Path, tmp_path: Path
) -> None:
    """Seven tasks on seven threads make the same bytes as one task alone."""
    design = designed(inventory, tmp_path)

    def generate(template: Template) -> dict[str, object]:
        return code_generation(FakeContext(task_id=template), template=template, design=design)

    with ThreadPoolExecutor(len(TEMPLATES)) as pool:
        made = dict(zip(TEMPLATES, pool.map(generate, TEMPLATES), strict=True))
    assert bytes_of(tmp_path) == bytes_of(inventory_solution)
    results = {"design": {"design": design}, "parts": made}
    result = solution_manifest(FakeContext(results=results))
    assert len(bytes_of(tmp_path)) == len(result["files"]) + 1  # type: ignore[arg-type]
