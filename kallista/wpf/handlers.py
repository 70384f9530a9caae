"""The task types of this package: design an application, generate it, take stock of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from kallista.wpf import document
from kallista.wpf.context import Context
from kallista.wpf.design import Design
from kallista.wpf.errors import DesignError, OutputError
from kallista.wpf.files import TEMPLATES, PlannedFile, Template, planned
from kallista.wpf.output import OutputFolder, record_of
from kallista.wpf.rendering import render
from kallista.wpf.review import design as design_of
from kallista.wpf.specification import (
    STRICT,
    EntitySpec,
    EnumSpec,
    Pattern,
    Specification,
    ViewSpec,
)

MANIFEST_PATH = "docs/manifest.json"


@dataclass(frozen=True, slots=True)
class Params:
    """Which part of a template's files to generate."""

    __pydantic_config__ = STRICT

    name: str | None = None
    """The view, view model, model or file to generate alone, by its name without ending."""


def system_design(
    ctx: Context,
    pattern: Pattern = "MVVM",
    name: str = "SampleApp",
    namespace: str | None = None,
    title: str | None = None,
    description: str = "",
    entities: Sequence[EntitySpec] = (),
    enums: Sequence[EnumSpec] = (),
    views: Sequence[ViewSpec] = (),
    output_dir: str | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Turn a specification into a design, and write it as ``docs/design.json`` and ``design.md``.

    Args:
        ctx: The task that asks.
        pattern: The architecture.
        name: The solution's name, a C# identifier that starts with a capital letter.
        namespace: The root namespace; the name when not said.
        title: What the window says; made from the name when not said.
        description: One sentence about the application.
        entities: What it keeps; a small to-do list when there are none.
        enums: The closed lists that properties choose from.
        views: Its pages; one for each entity when not said.
        output_dir: Where to write; ``output/<name>`` when not said.
        overwrite: Replace documents of another run.

    Returns:
        The design as plain data, with ``output_dir`` and the ``documents`` written.

    Raises:
        DesignError: When the specification cannot become an application.
        OutputConflictError: When the folder holds another design.
    """
    specification = Specification(
        name=name,
        namespace=namespace,
        pattern=pattern,
        title=title,
        description=description,
        entities=tuple(entities),
        enums=tuple(enums),
        views=tuple(views),
    )
    made = design_of(specification)
    ctx.progress(0.5, f"designed {made.name}: {len(made.entities)} entities")
    folder = output_dir or f"output/{made.name}"
    documents = _folder(ctx, folder).write(
        {
            document.JSON_PATH: document.json_document(made),
            document.MARKDOWN_PATH: document.markdown_document(made),
        },
        overwrite=overwrite,
    )
    ctx.progress(1.0, f"wrote {document.MARKDOWN_PATH}")
    return {**document.as_data(made), "output_dir": folder, "documents": documents}


def code_generation(
    ctx: Context,
    template: Template | None = None,
    params: Params | None = None,
    design: dict[str, object] | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Generate a solution, or one part of it, from a design.

    Args:
        ctx: The task that asks; without a design of its own, the last one in its results is used,
            and without any, a small to-do list.
        template: The part to generate; the whole solution when not said.
        params: Which of the part's files to generate; all when not said.
        design: What a ``system_design`` task returned.
        output_dir: Where to write; where the design was written, or else ``output/<name>``.
        overwrite: Replace files of another run.

    Returns:
        The ``output_dir``, and every file with its size and SHA-256.

    Raises:
        DesignError: When the design cannot be read, or has nothing of that name.
        OutputConflictError: When the folder holds other files of these names.
    """
    data = design if design is not None else document.find(ctx.results)
    made = document.load(data) if data is not None else design_of(Specification())
    files = _chosen(planned(made), template, params.name if params else None)
    contents = _rendered(ctx, files, made)
    folder = _output_dir(output_dir, data, made)
    records = _folder(ctx, folder).write(contents, overwrite=overwrite)
    ctx.progress(1.0, f"wrote {len(records)} files")
    return {
        "name": made.name,
        "template": template,
        "output_dir": folder,
        "files": records,
        "size": sum(record["size"] for record in records),
    }


def solution_manifest(
    ctx: Context,
    design: dict[str, object] | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Take stock of a generated solution: every file of the design is there and can be read.

    Args:
        ctx: The task that asks; without a design of its own, the last one in its results is used.
        design: What a ``system_design`` task returned.
        output_dir: Where the solution is; where the design was written, or else ``output/<name>``.
        overwrite: Replace a manifest of another run.

    Returns:
        The ``output_dir``, the ``solution`` to open, every file with its size and SHA-256, and
        the ``manifest`` written.

    Raises:
        DesignError: When there is no design.
        OutputError: When files are missing, are not those that the results before it list, or
            are no XML where they should be.
    """
    data = design if design is not None else document.find(ctx.results)
    if data is None:
        raise DesignError("There is no design to check against; run system_design before.")
    made = document.load(data)
    shown = _output_dir(output_dir, data, made)
    folder = _folder(ctx, shown)
    paths = [document.JSON_PATH, document.MARKDOWN_PATH, *(file.path for file in planned(made))]
    contents = {path: folder.read(path) for path in paths}
    ctx.progress(0.5, f"looked at {len(contents)} files")
    _refuse_gaps(shown, contents, document.recorded(ctx.results, shown))
    records = [
        record_of(path, content) for path, content in contents.items() if content is not None
    ]
    manifest = json.dumps({"name": made.name, "files": records}, indent=1, ensure_ascii=False)
    written = folder.write({MANIFEST_PATH: f"{manifest}\n".encode()}, overwrite=overwrite)
    ctx.progress(1.0, f"{len(records)} files are whole")
    return {
        "name": made.name,
        "output_dir": shown,
        "solution": f"{made.name}.sln",
        "files": records,
        "size": sum(record["size"] for record in records),
        "manifest": written[0],
    }


def _folder(ctx: Context, path: str) -> OutputFolder:
    if ctx.cancelled:
        raise OutputError(f"The task was cancelled before it wrote anything into {path}.")
    return OutputFolder(path, run=ctx.run_id, writer=ctx.task_id)


def _output_dir(asked: str | None, data: Mapping[str, object] | None, made: Design) -> str:
    written = data.get("output_dir") if data else None
    return asked or (written if isinstance(written, str) else f"output/{made.name}")


def _chosen(
    files: Sequence[PlannedFile], template: Template | None, name: str | None
) -> list[PlannedFile]:
    if template is not None and template not in TEMPLATES:
        raise DesignError(f"There is no template {template!r}; there are: {', '.join(TEMPLATES)}.")
    part = [file for file in files if template in (None, file.part)]
    chosen = [file for file in part if name in (None, file.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(file.name for file in part))
        raise DesignError(f"{template or 'The solution'} has no {name!r}; it has: {names}.")
    return chosen


def _rendered(ctx: Context, files: Sequence[PlannedFile], made: Design) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for file in files:
        contents[file.path] = render(file, made)
        if len(contents) % 20 == 0:
            ctx.progress(0.8 * len(contents) / len(files), file.path)
    return contents


def _refuse_gaps(
    folder: str, contents: Mapping[str, bytes | None], recorded: Mapping[str, str]
) -> None:
    problems = [
        problem
        for path, content in contents.items()
        if (problem := _gap(path, content, recorded.get(path))) is not None
    ]
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise OutputError(
            f"The solution in {folder} is not what was generated; generate it again:\n{lines}"
        )


def _gap(path: str, content: bytes | None, sha256: str | None) -> str | None:
    if content is None:
        return f"{path} is missing"
    if sha256 is not None and record_of(path, content)["sha256"] != sha256:
        return f"{path} was changed since it was generated"
    if path.endswith((".xaml", ".csproj")):
        try:
            ET.fromstring(content)
        except ET.ParseError as error:
            return f"{path} is no XML: {error}"
    return None
