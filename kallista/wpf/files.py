"""The files of a solution: where each goes, what makes it, and to which part it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from kallista.wpf.design import Design, Entity, Enum, View
from kallista.wpf.specification import Template

Subject: TypeAlias = Entity | Enum | View | None


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that a solution will have.

    Args:
        part: The template name that users ask for it by.
        path: Where it goes, relative to the output folder, with forward slashes.
        source: The Jinja template that makes it.
        name: What users call it: ``params: {name: …}`` selects by this.
        subject: What of the design it is about; the whole when None.
    """

    part: Template
    path: str
    source: str
    name: str
    subject: Subject = None


def planned(design: Design) -> tuple[PlannedFile, ...]:
    """Every file of a design's solution, in a stable order."""
    return tuple(
        file
        for files in (_project, _main, _model, _data, _view_models, _views, _tests)
        for file in files(design)
    )


def _project(design: Design) -> Iterator[PlannedFile]:
    name = design.name
    for path, source in (
        (f"{name}.sln", "solution.sln"),
        (".editorconfig", "editorconfig"),
        (".gitignore", "gitignore"),
        ("README.md", "readme.md"),
        (f"src/{name}/{name}.csproj", "app.csproj"),
        (f"tests/{name}.Tests/{name}.Tests.csproj", "tests.csproj"),
    ):
        yield PlannedFile("wpf_project", path, f"project/{source}.j2", path.rpartition("/")[2])


def _main(design: Design) -> Iterator[PlannedFile]:
    for path in (
        "App.xaml",
        "App.xaml.cs",
        "ServiceRegistration.cs",
        "Services/IDialogService.cs",
        "Services/DialogService.cs",
        "Services/INavigationService.cs",
        "Services/NavigationService.cs",
        "Services/NavigationItem.cs",
        "Converters/DateOnlyConverter.cs",
        "Converters/HumanizedConverter.cs",
        "Converters/LocalTimeConverter.cs",
        "Behaviors/InputErrors.cs",
        "Themes/Colors.xaml",
        "Themes/Styles.xaml",
    ):
        yield _app_file("wpf_main", design, path)


def _model(design: Design) -> Iterator[PlannedFile]:
    yield _app_file("wpf_model", design, "Models/Entity.cs")
    yield _app_file("wpf_model", design, "Models/EnumText.cs")
    for enum in design.enums:
        yield _app_file("wpf_model", design, f"Models/{enum.name}.cs", "Models/_enum.cs", enum)
    for entity in design.entities:
        path = f"Models/{entity.name}.cs"
        yield _app_file("wpf_model", design, path, "Models/_entity.cs", entity)


def _data(design: Design) -> Iterator[PlannedFile]:
    for path in (
        "Data/AppDbContext.cs",
        "Data/AppDbContextFactory.cs",
        "Data/DatabaseInitializer.cs",
        "Data/DatabaseLocation.cs",
        "Data/FixedPointConverter.cs",
        "Data/UtcConverter.cs",
        "Services/DataConflictException.cs",
        "Services/DataService.cs",
        "Services/EntityNotFoundException.cs",
        "Services/IDataService.cs",
    ):
        yield _app_file("wpf_data", design, path)
    for entity in design.entities:
        path = f"Data/Configurations/{entity.configuration}.cs"
        yield _app_file("wpf_data", design, path, "Data/Configurations/_configuration.cs", entity)
        path = f"Services/{entity.service}.cs"
        yield _app_file("wpf_data", design, path, "Services/_service.cs", entity)


def _view_models(design: Design) -> Iterator[PlannedFile]:
    for path in (
        "ViewModels/CheckableChoice.cs",
        "ViewModels/Choice.cs",
        "ViewModels/Choices.cs",
        "ViewModels/EditorClosedEventArgs.cs",
        "ViewModels/EntityEditorViewModel.cs",
        "ViewModels/EntityListViewModel.cs",
        "ViewModels/MainViewModel.cs",
        "ViewModels/PageViewModel.cs",
    ):
        yield _app_file("wpf_viewmodel", design, path)
    for view in design.views:
        path = f"ViewModels/{view.view_model}.cs"
        yield _app_file("wpf_viewmodel", design, path, "ViewModels/_list.cs", view)
    for entity in design.edited:
        path = f"ViewModels/{entity.editor}.cs"
        yield _app_file("wpf_viewmodel", design, path, "ViewModels/_editor.cs", entity)


def _views(design: Design) -> Iterator[PlannedFile]:
    for path in ("Views/MainWindow.xaml", "Views/MainWindow.xaml.cs", "Views/ViewTemplates.xaml"):
        yield _app_file("wpf_view", design, path)
    for ending in (".xaml", ".xaml.cs"):
        for view in design.views:
            path = f"Views/{view.name}{ending}"
            yield _app_file("wpf_view", design, path, f"Views/_list{ending}", view)
        for entity in design.edited:
            path = f"Views/{entity.editor_view}{ending}"
            yield _app_file("wpf_view", design, path, f"Views/_editor{ending}", entity)


def _tests(design: Design) -> Iterator[PlannedFile]:
    for path in (
        "AppDbContextTests.cs",
        "MainViewModelTests.cs",
        "NavigationServiceTests.cs",
        "RecordingDialogs.cs",
        "RecordingNavigation.cs",
        "Samples.cs",
        "TestDatabase.cs",
    ):
        yield _test_file(design, path, path)
    for entity in design.entities:
        yield _test_file(design, f"{entity.service}Tests.cs", "_service_tests.cs", entity)
    for entity in design.edited:
        yield _test_file(design, f"{entity.editor}Tests.cs", "_editor_tests.cs", entity)
    for view in design.views:
        yield _test_file(design, f"{view.view_model}Tests.cs", "_list_tests.cs", view)


def _app_file(
    part: Template, design: Design, path: str, source: str | None = None, subject: Subject = None
) -> PlannedFile:
    return PlannedFile(
        part=part,
        path=f"src/{design.name}/{path}",
        source=f"app/{source or path}.j2",
        name=_stem(path),
        subject=subject,
    )


def _test_file(design: Design, path: str, source: str, subject: Subject = None) -> PlannedFile:
    return PlannedFile(
        part="wpf_tests",
        path=f"tests/{design.name}.Tests/{path}",
        source=f"tests/{source}.j2",
        name=_stem(path),
        subject=subject,
    )


def _stem(path: str) -> str:
    """``Views/MainWindow.xaml.cs`` and ``Views/MainWindow.xaml`` are both called MainWindow."""
    return path.rpartition("/")[2].split(".")[0]
