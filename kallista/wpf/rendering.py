"""Text from templates: one Jinja environment, and the escaping that XAML and Markdown need."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from kallista.wpf import csharp, naming
from kallista.wpf.design import Design, Entity, Enum, View
from kallista.wpf.files import PlannedFile

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE_FOLDER: Final = Path(__file__).parent / "templates"

_XML: Final = (".xaml.j2", ".csproj.j2")


def render(file: PlannedFile, design: Design) -> bytes:
    """The bytes of one file: UTF-8, lines ended by LF, the same for the same design."""
    return render_source(file.source, design, file.subject)


def render_source(
    source: str, design: Design, subject: Entity | Enum | View | None = None
) -> bytes:
    """Render one template over a design, and over the part of it that the file is about."""
    template = _environment().get_template(source)
    text = template.render(design=design, subject=subject, ns=design.namespace)
    if source.endswith(".cs.j2"):
        text = csharp.sorted_usings(text)
    return text.encode("utf-8")


@cache
def _environment() -> Environment:
    # Jinja takes longer to import than everything else here, and few programs generate code.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=lambda name: name is not None and name.endswith(_XML),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters.update(
        camel=naming.camel,
        cell=markdown_cell,
        cs=csharp.string,
        cs_format=csharp.format_string,
        doc=csharp.doc,
        doc_words=csharp.doc_words,
        field=naming.field,
        guid=guid,
        initial=csharp.initial_value,
        interpolated=csharp.interpolated,
        lowered=naming.lowered,
        line=naming.one_line,
        rules=csharp.rules,
        sample=csharp.sample,
        sentence=naming.sentence,
        xaml=xaml_text,
    )
    return environment


def xaml_text(text: str) -> str:
    """An attribute's text in XAML, which takes an opening brace for a markup extension."""
    line = naming.one_line(text)
    return "{}" + line if line.startswith("{") else line


def markdown_cell(text: str) -> str:
    """A cell of a Markdown table."""
    return naming.one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def guid(text: str) -> str:
    """The same GUID for the same text, everywhere and for ever."""
    return "{" + str(uuid5(NAMESPACE_URL, f"kallista.wpf:{text}")).upper() + "}"
