"""The generated solutions hold together, and have what a WPF developer of today expects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kallista.wpf.reserved import FRAMEWORK_TYPES, GENERATED_TYPES
from kallista.wpf.specification import Specification

from . import csharp_model
from .checks import problems
from .known import IMPLICIT_USINGS, NAMESPACES


def _read(root: Path, path: str) -> str:
    return (root / path).read_text(encoding="utf-8")


def test_the_example_passes_every_check(inventory_solution: Path) -> None:
    """The shipped example is a solution whose every name, binding and package exists."""
    assert problems(inventory_solution) == []


def test_the_small_application_passes_every_check(sample_solution: Path) -> None:
    """What is made without any specification is a whole solution too."""
    assert problems(sample_solution) == []


def test_the_example_is_the_real_input(inventory: Specification) -> None:
    """Six entities or more, both kinds of relations, and every kind of field that was promised."""
    properties = [prop for entity in inventory.entities for prop in entity.properties]
    relations = [relation for entity in inventory.entities for relation in entity.relations]
    assert len(inventory.entities) >= 6
    assert {relation.kind for relation in relations} == {
        "many_to_one",
        "one_to_many",
        "many_to_many",
    }
    assert {"money", "date", "datetime", "enum"} <= {prop.type for prop in properties}
    assert any(prop.required for prop in properties)
    assert any(prop.unique for prop in properties)
    assert {view.entity for view in inventory.views} == {
        entity.name for entity in inventory.entities
    }


def test_every_entity_has_its_files(inventory: Specification, inventory_solution: Path) -> None:
    """An entity has a model, a mapping, a service, a form and a page, and tests of them."""
    files = {path.name for path in inventory_solution.rglob("*") if path.is_file()}
    for entity in inventory.entities:
        assert {
            f"{entity.name}.cs",
            f"{entity.name}Configuration.cs",
            f"{entity.name}Service.cs",
            f"{entity.name}EditorViewModel.cs",
            f"{entity.name}EditorView.xaml",
            f"{entity.name}EditorView.xaml.cs",
            f"{entity.name}ServiceTests.cs",
            f"{entity.name}EditorViewModelTests.cs",
        } <= files
    for view in inventory.views:
        assert {f"{view.name}.xaml", f"{view.name}Model.cs"} <= files


def test_the_house_is_complete(sample_solution: Path) -> None:
    """A solution comes with what surrounds the code."""
    for path in (
        "SampleApp.sln",
        ".editorconfig",
        ".gitignore",
        "README.md",
        "docs/design.json",
        "docs/design.md",
        "src/SampleApp/App.xaml",
        "src/SampleApp/Themes/Styles.xaml",
        "src/SampleApp/Services/NavigationService.cs",
        "src/SampleApp/Services/DialogService.cs",
        "tests/SampleApp.Tests/SampleApp.Tests.csproj",
    ):
        assert (sample_solution / path).is_file(), path


def test_the_container_can_make_every_page(inventory_solution: Path) -> None:
    """What a constructor asks for is registered."""
    model = csharp_model.read(inventory_solution / "src")
    registration = _read(inventory_solution, "src/InventoryApp/ServiceRegistration.cs")
    registered = set(re.findall(r"Add(?:Singleton|Transient|Editor)<([^(]+)>\(", registration))
    provided = {service.split(", ")[0] for service in registered}
    for each in model.types.values():
        if not each.name.endswith("ViewModel") or "abstract" in each.modifiers:
            continue
        assert each.name in provided
        header = next(
            child for child in each.node.children if child.type in ("parameter_list", "base_list")
        )
        if header.type == "base_list":
            continue
        for parameter in header.named_children:
            wanted = csharp_model.text(parameter.child_by_field_name("type"))
            made = re.fullmatch(r"Func<(\w+)>", wanted)
            assert (made[1] if made else wanted) in provided, (each.name, wanted)


def test_money_and_moments_survive_sqlite(sample_solution: Path) -> None:
    """SQLite orders neither decimals nor knows time zones, so both are converted everywhere."""
    context = _read(sample_solution, "src/SampleApp/Data/AppDbContext.cs")
    assert "Properties<decimal>().HaveConversion<FixedPointConverter>()" in context
    assert "Properties<DateTime>().HaveConversion<UtcConverter>()" in context


def test_relations_and_unique_fields_reach_the_database(inventory_solution: Path) -> None:
    """One-to-many, many-to-many, cascades and unique indexes are mapped."""
    folder = "src/InventoryApp/Data/Configurations"
    product = _read(inventory_solution, f"{folder}/ProductConfiguration.cs")
    line = _read(inventory_solution, f"{folder}/OrderLineConfiguration.cs")
    assert "builder.HasIndex(entity => entity.Sku).IsUnique();" in product
    assert ".WithMany(other => other.Products)" in product
    assert '.UsingEntity("Product_Tags")' in product
    assert ".WithMany(other => other.Lines)" in line
    assert "DeleteBehavior.Cascade" in line


def test_forms_validate(inventory_solution: Path) -> None:
    """Required, bounded and formatted fields are validated by the form's view model."""
    source = _read(inventory_solution, "src/InventoryApp/ViewModels/CustomerEditorViewModel.cs")
    assert '[Required(ErrorMessage = "Number is required.")]' in source
    assert "[StringLength(20," in source
    assert "[EmailAddress(" in source
    assert '"1000000",' in source


def test_taken_names_are_refused_as_names_of_entities(inventory_solution: Path) -> None:
    """Types that each solution declares, or uses where it uses entities, cannot be hidden."""
    model = csharp_model.read(inventory_solution)
    assert {each.name for each in model.types.values()} >= GENERATED_TYPES
    for file in model.files:
        if not any(name.endswith(".Models") for name in file.usings):
            continue
        for namespace in {*file.usings, *IMPLICIT_USINGS} & NAMESPACES.keys():
            types = {name for name in NAMESPACES[namespace][1] if not name.endswith("Attribute")}
            missing = types - FRAMEWORK_TYPES
            assert not missing or namespace == "System.Windows.Data", (file.path, missing)


@pytest.mark.parametrize("solution", ["inventory_solution", "sample_solution"])
def test_lines_end_alike(solution: str, request: pytest.FixtureRequest) -> None:
    """Every file is UTF-8 with LF, ends with a line break, and has no trailing blanks."""
    root: Path = request.getfixturevalue(solution)
    for path in root.rglob("*"):
        if path.is_file() and ".kallista" not in path.parts:
            text = path.read_bytes().decode("utf-8")
            assert "\r" not in text, path
            assert text.endswith("\n"), path
            assert not re.search(r"[ \t]+$", text, re.MULTILINE), path
            assert "\n\n\n" not in text, path
