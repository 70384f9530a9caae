"""Check a generated solution as far as this machine can, without .NET.

- Every C# file parses, and every ``using``, type, member and override in it names something that
  exists: in the solution, or in the part of .NET and the packages that ``known`` lists.
- Every XAML file is well-formed; its classes, resources, styles, bindings and attached properties
  name things that exist in the solution's C# and XAML, with view models as the MVVM toolkit's
  generators complete them.
- The project files list only packages that exist, and the solution lists the projects.
"""

from __future__ import annotations

from pathlib import Path

from . import csharp_checks, csharp_model, project_checks, xaml_checks


def problems(root: Path) -> list[str]:
    """Everything wrong in the solution below a folder; empty when all is well."""
    model = csharp_model.read(root)
    packages_of = {file.path: _packages_of(root, file.path) for file in model.files}
    return [
        *project_checks.problems(root),
        *csharp_checks.problems(model, packages_of),
        *xaml_checks.problems(root, model),
    ]


def _packages_of(root: Path, path: str) -> set[str]:
    """The packages that the project of a source file has."""
    for folder in (root / path).parents:
        for project in folder.glob("*.csproj"):
            return project_checks.packages(project)
        if folder == root:
            break
    return set()
