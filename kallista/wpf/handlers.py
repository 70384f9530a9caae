"""The task types of this package, with the config that each of them takes.

Most programs never generate anything, so the work is imported when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kallista.wpf.context import Context
from kallista.wpf.specification import (
    STRICT,
    EntitySpec,
    EnumSpec,
    Pattern,
    Specification,
    Template,
    ViewSpec,
)


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
    from kallista.wpf.generation import design_application

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
    return design_application(ctx, specification, output_dir, overwrite)


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
    from kallista.wpf.generation import generate

    name = params.name if params else None
    return generate(ctx, design, template, name, output_dir, overwrite)


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
    from kallista.wpf.generation import take_stock

    return take_stock(ctx, design, output_dir, overwrite)
