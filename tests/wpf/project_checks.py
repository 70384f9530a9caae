"""What must hold in generated project and solution files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from .known import PACKAGES

_REQUIRED = {
    "TargetFramework": "net10.0-windows",
    "UseWPF": "true",
    "Nullable": "enable",
    "ImplicitUsings": "enable",
}
_PROJECT = re.compile(
    r'^Project\("\{[0-9A-F-]{36}\}"\) = "([^"]+)", "([^"]+)", "(\{[0-9A-F-]{36}\})"$'
)


def problems(root: Path) -> Iterator[str]:
    """Everything wrong in the project files and the solution file."""
    projects = sorted(root.rglob("*.csproj"))
    for path in projects:
        for problem in _project(path):
            yield f"{path.relative_to(root).as_posix()}: {problem}"
    solutions = sorted(root.glob("*.sln"))
    if len(solutions) != 1:
        yield f"there are {len(solutions)} solution files"
    for path in solutions:
        for problem in _solution(path, projects):
            yield f"{path.name}: {problem}"


def _project(path: Path) -> Iterator[str]:
    try:
        project = ET.fromstring(path.read_bytes())
    except ET.ParseError as error:
        yield f"not well-formed: {error}"
        return
    if project.get("Sdk") != "Microsoft.NET.Sdk":
        yield "is no SDK-style project"
    for name, value in _REQUIRED.items():
        if project.findtext(f"PropertyGroup/{name}") != value:
            yield f"{name} is not {value}"
    for reference in project.iter("PackageReference"):
        name, version = reference.get("Include", ""), reference.get("Version", "")
        if version not in PACKAGES.get(name, ()):
            yield f"the package {name} {version} is not known to exist"
    for target in _project_references(path, project):
        if not target.is_file():
            yield f"refers to {target.name}, which does not exist"


def _project_references(path: Path, project: ET.Element) -> list[Path]:
    return [
        (path.parent / reference.get("Include", "").replace("\\", "/")).resolve()
        for reference in project.iter("ProjectReference")
    ]


def packages(project_file: Path) -> set[str]:
    """The packages that a project's code sees: its own, and those of projects it refers to."""
    project = ET.fromstring(project_file.read_bytes())
    found = {reference.get("Include", "") for reference in project.iter("PackageReference")}
    for target in _project_references(project_file, project):
        if target.is_file():
            found |= packages(target)
    return found


def _solution(path: Path, projects: list[Path]) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    listed = [found for line in lines if (found := _PROJECT.match(line))]
    ids = [found[3] for found in listed]
    if len(set(ids)) != len(ids):
        yield "two projects have one id"
    paths = {(path.parent / found[2].replace("\\", "/")) for found in listed if "." in found[2]}
    for missing in set(projects) ^ paths:
        yield f"{missing.name} is not both there and listed"
    if sum(line.startswith("Project(") for line in lines) != len(listed):
        yield "a project line cannot be read"
    for used in re.findall(r"^\s+(\{[0-9A-F-]{36}\})", "\n".join(lines), re.MULTILINE):
        if used not in ids:
            yield f"{used} is the id of no project"
