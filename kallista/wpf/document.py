"""A design as data that anyone can read: JSON for programs, Markdown for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from kallista.core.building import BUILDING
from kallista.wpf.design import Design, Entity, View
from kallista.wpf.errors import DesignError
from kallista.wpf.files import planned
from kallista.wpf.rendering import render_source
from kallista.wpf.review import design
from kallista.wpf.specification import Specification

if TYPE_CHECKING:
    from pydantic import TypeAdapter

KIND: Final = "kallista.wpf/design"
"""What a design calls itself, so that it is found among other results."""

FORMAT: Final = 1

JSON_PATH: Final = "docs/design.json"
MARKDOWN_PATH: Final = "docs/design.md"

LAYERS: Final = {
    "Views": "XAML and nothing else: bindings to view models",
    "ViewModels": "what a page shows and does, on CommunityToolkit.Mvvm, without WPF",
    "Services": "loading and saving, navigation, dialogs",
    "Data": "EF Core over SQLite: context, configurations, start-up",
    "Models": "entities and enums, free of any framework",
}


def as_data(made: Design) -> dict[str, object]:
    """The design as plain JSON data; ``specification`` alone is what code is generated from."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "name": made.name,
        "namespace": made.namespace,
        "pattern": made.specification.pattern,
        "title": made.title,
        "layers": [{"name": name, "holds": holds} for name, holds in LAYERS.items()],
        "models": [_model(entity) for entity in made.entities],
        "enums": [{"name": enum.name, "values": list(enum.values)} for enum in made.enums],
        "view_models": [
            *(_page(view) for view in made.views),
            *(_form(entity) for entity in made.edited),
        ],
        "views": [
            {"name": "MainWindow", "view_model": "MainViewModel", "title": made.title},
            *(
                {"name": view.name, "view_model": view.view_model, "title": view.title}
                for view in made.views
            ),
            *(
                {"name": form.editor_view, "view_model": form.editor, "title": form.title}
                for form in made.edited
            ),
        ],
        "services": [
            {"name": "DialogService", "contract": "IDialogService"},
            {"name": "NavigationService", "contract": "INavigationService"},
            *(
                {"name": entity.service, "contract": f"IDataService<{entity.name}>"}
                for entity in made.entities
            ),
        ],
        "files": [{"path": file.path, "template": file.part} for file in planned(made)],
        "specification": _said(made.specification),
    }


def json_document(made: Design) -> bytes:
    """The design as a JSON file."""
    text = json.dumps(as_data(made), indent=2, ensure_ascii=False)
    return f"{text}\n".encode()


def markdown_document(made: Design) -> bytes:
    """The design as a Markdown file with diagrams."""
    return render_source("docs/design.md.j2", made)


def _model(entity: Entity) -> dict[str, object]:
    return {
        "name": entity.name,
        "plural": entity.plural,
        "properties": [
            {
                "name": prop.name,
                "type": prop.type,
                "cs_type": prop.model_type,
                "required": prop.required,
                "unique": prop.spec.unique,
            }
            for prop in entity.properties
        ],
        "relations": list(_relations(entity)),
    }


def _relations(entity: Entity) -> Iterator[dict[str, object]]:
    for ref in entity.references:
        yield {"name": ref.name, "to": ref.target, "kind": "many_to_one", "required": ref.required}
    for ref in entity.collections:
        yield {"name": ref.inverse, "to": ref.owner, "kind": "one_to_many"}
    for link in entity.links:
        yield {"name": link.name, "to": link.target, "kind": "many_to_many"}
    for link in entity.linked:
        yield {"name": link.inverse, "to": link.owner, "kind": "many_to_many"}


def _page(view: View) -> dict[str, object]:
    return {
        "name": view.view_model,
        "entity": view.entity.name,
        "commands": ["RefreshCommand", "NewCommand", "EditCommand", "DeleteCommand"],
    }


def _form(entity: Entity) -> dict[str, object]:
    return {
        "name": entity.editor,
        "entity": entity.name,
        "commands": ["SaveCommand", "CancelCommand"],
        "fields": [
            *(prop.name for prop in entity.properties),
            *(ref.key for ref in entity.references),
            *(link.options for link in entity.links),
        ],
    }


def _said(value: object) -> object:
    """Plain data without what has its default value, so that results stay small."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: _said(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple):
        return [_said(part) for part in value]
    return value


def load(data: object) -> Design:
    """The design that ``as_data`` made this data of.

    Raises:
        DesignError: If it is no design, or its specification was changed to what cannot be built.
    """
    if not isinstance(data, Mapping) or data.get("kind") != KIND:
        raise DesignError(
            f"This is no design: its kind is not {KIND!r}. Pass what a system_design task "
            "returned, such as ${tasks.design.result}."
        )
    if data.get("format") != FORMAT:
        raise DesignError(
            f"The design has format {data.get('format')!r}, this version of Kallista reads "
            f"format {FORMAT}; design the application again."
        )
    return design(_specification(data.get("specification")))


@cache
def _reader() -> TypeAdapter[Specification]:
    from pydantic import TypeAdapter

    with BUILDING:
        return TypeAdapter(Specification)


def _specification(data: object) -> Specification:
    # pydantic takes longer to import than this to run, and designing alone does not need it.
    from pydantic import ValidationError

    try:
        return _reader().validate_python(data)
    except ValidationError as error:
        raise DesignError(
            "The design's specification cannot be read:",
            [f"{_place(line['loc'])}: {line['msg']}" for line in error.errors()],
        ) from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "specification"


def find(results: Mapping[str, object]) -> Mapping[str, object] | None:
    """The last design among results, also inside the results of workflows."""
    return _last_design(results, depth=3)


def _last_design(value: object, depth: int) -> Mapping[str, object] | None:
    if not isinstance(value, Mapping):
        return None
    if value.get("kind") == KIND:
        return value
    if depth == 0:
        return None
    parts = reversed(list(value.values()))
    return next(filter(None, (_last_design(part, depth - 1) for part in parts)), None)


def recorded(results: Mapping[str, object], output_dir: str) -> dict[str, str]:
    """The SHA-256 of every file that results say was written into a folder, by its path."""
    return dict(_recorded(results, output_dir, depth=3))


def _recorded(value: object, output_dir: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return
    if value.get("output_dir") == output_dir:
        for key in ("files", "documents"):
            for entry in value.get(key) or ():
                if isinstance(entry, Mapping) and "sha256" in entry:
                    yield str(entry["path"]), str(entry["sha256"])
    elif depth > 0:
        for part in value.values():
            yield from _recorded(part, output_dir, depth - 1)
