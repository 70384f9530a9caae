"""The work of the task types: design an application, generate it, take stock of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from kallista.wpf import document
from kallista.wpf.context import Context
from kallista.wpf.design import Design
from kallista.wpf.errors import DesignError, OutputError
from kallista.wpf.files import PlannedFile, planned
from kallista.wpf.output import OutputFolder, record_of
from kallista.wpf.rendering import render
from kallista.wpf.review import design as design_of
from kallista.wpf.specification import TEMPLATES, Specification, Template

MANIFEST_PATH: Final = "docs/manifest.json"


def design_application(
    ctx: Context, specification: Specification, output_dir: str | None, overwrite: bool
) -> dict[str, object]:
    """Review a specification, write its design for programs and for people, and return it."""
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


def generate(
    ctx: Context,
    data: Mapping[str, object] | None,
    template: Template | None,
    name: str | None,
    output_dir: str | None,
    overwrite: bool,
) -> dict[str, object]:
    """Render the files of a design, or of the small application when there is none."""
    data = data if data is not None else document.find(ctx.results)
    made = document.load(data) if data is not None else design_of(Specification())
    files = _chosen(planned(made), template, name)
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


def take_stock(
    ctx: Context, data: Mapping[str, object] | None, output_dir: str | None, overwrite: bool
) -> dict[str, object]:
    """Compare what is on disk with the design and the results before, and list it."""
    data = data if data is not None else document.find(ctx.results)
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
