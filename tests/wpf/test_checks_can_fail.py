"""The checks see what they promise to see: each mistake here is planted, and found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .checks import problems

APP = "src/SampleApp"

MISTAKES = {
    "a brace is missing": (
        f"{APP}/Models/TodoList.cs", "}\n", "\n", "cannot be parsed"),
    "a using names nothing": (
        f"{APP}/App.xaml.cs", "using System.Windows.Markup;", "using System.Windows.Markdown;",
        "System.Windows.Markdown names no namespace"),
    "a using is missing": (
        f"{APP}/Data/DatabaseLocation.cs", "using System.IO;\n", "",
        "Path is not visible"),
    "a using of an extension is missing": (
        f"{APP}/Services/NavigationService.cs", "using Microsoft.Extensions.DependencyInjection;\n",
        "", "GetRequiredService needs using"),
    "a package is missing": (
        f"{APP}/SampleApp.csproj",
        '<PackageReference Include="CommunityToolkit.Mvvm" Version="8.4.0" />', "",
        "needs the package CommunityToolkit.Mvvm"),
    "a package does not exist": (
        f"{APP}/SampleApp.csproj", "8.4.0", "8.44.0", "CommunityToolkit.Mvvm 8.44.0"),
    "a project is not WPF": (
        f"{APP}/SampleApp.csproj", "<UseWPF>true</UseWPF>", "", "UseWPF is not true"),
    "a project reference leads nowhere": (
        "tests/SampleApp.Tests/SampleApp.Tests.csproj", r"SampleApp\SampleApp.csproj",
        r"SampleApp\Other.csproj", "Other.csproj, which does not exist"),
    "the solution lists another project": (
        "SampleApp.sln", r"src\SampleApp\SampleApp.csproj", r"src\SampleApp\Other.csproj",
        "is not both there and listed"),
    "a type does not exist": (
        f"{APP}/Models/TodoItem.cs", "TodoPriority Priority", "Urgency Priority",
        "the type Urgency is not visible"),
    "a name does not exist": (
        f"{APP}/ViewModels/TodoItemEditorViewModel.cs", "Title = entity.Title;",
        "Caption = entity.Title;", "the name Caption is not visible"),
    "a member does not exist": (
        f"{APP}/Services/TodoItemService.cs", "source.DueOn", "source.DueAt",
        "nothing has a member DueAt"),
    "an abstract member is missing": (
        f"{APP}/ViewModels/TodoListEditorViewModel.cs", "override string Noun", "string Noun2",
        "lacks Noun"),
    "an override overrides nothing": (
        f"{APP}/Services/TodoListService.cs", "void Copy(", "void CopyAll(",
        "overrides CopyAll, which no base has"),
    "a generator's class is not partial": (
        f"{APP}/ViewModels/MainViewModel.cs", "sealed partial class", "sealed class",
        "must be partial"),
    "a validated class is no validator": (
        f"{APP}/ViewModels/EntityEditorViewModel.cs", ": ObservableValidator", ": ObservableObject",
        "is no validator"),
    "a command that is notified does not exist": (
        f"{APP}/ViewModels/EntityListViewModel.cs", "nameof(EditCommand)", "nameof(ChangeCommand)",
        "names ChangeCommand"),
    "a property is written beside the generated one": (
        f"{APP}/ViewModels/MainViewModel.cs", "    public string Title =>",
        "    public NavigationItem? SelectedPage => null;\n\n    public string Title =>",
        "declares SelectedPage that a generator makes too"),
    "a type is declared twice": (
        f"{APP}/Models/TodoList.cs", "class TodoList", "class TodoItem",
        "TodoItem is declared in"),
    "XAML is not well-formed": (
        f"{APP}/Views/MainWindow.xaml", "</Grid>", "</Gird>", "not well-formed"),
    "x:Class names nothing": (
        f"{APP}/Views/MainWindow.xaml", 'x:Class="SampleApp.Views.MainWindow"',
        'x:Class="SampleApp.Views.MainWindows"', "is declared nowhere"),
    "an element does not exist": (
        f"{APP}/Views/MainWindow.xaml", "<ListBox", "<ListBocks", "there is no element ListBocks"),
    "an attribute does not exist": (
        f"{APP}/Views/MainWindow.xaml", "FontWeight=", "FontWait=",
        "there is no property FontWait"),
    "a binding leads nowhere": (
        f"{APP}/Views/TodoItemEditorView.xaml", "{Binding Title,", "{Binding Caption,",
        "TodoItemEditorViewModel has no Caption"),
    "a binding leads nowhere in the end": (
        f"{APP}/Views/MainWindow.xaml", "Navigation.Current", "Navigation.Present",
        "INavigationService has no Present"),
    "a column's binding leads nowhere": (
        f"{APP}/Views/TodoItemsView.xaml", "{Binding List.DisplayName", "{Binding List.FullName",
        "TodoList has no FullName"),
    "a command does not exist": (
        f"{APP}/Views/TodoItemsView.xaml", "{Binding RefreshCommand}", "{Binding ReloadCommand}",
        "has no ReloadCommand"),
    "a command is none": (
        f"{APP}/Views/TodoItemsView.xaml", "{Binding RefreshCommand}", "{Binding Title}",
        "Title is no command"),
    "a member path leads nowhere": (
        f"{APP}/Views/TodoItemEditorView.xaml", 'DisplayMemberPath="Text"',
        'DisplayMemberPath="Caption"', "Choice has no Caption"),
    "what cannot be set is bound in both directions": (
        f"{APP}/Views/TodoItemsView.xaml", "{Binding List.DisplayName, Mode=OneWay}",
        "{Binding List.DisplayName}", "cannot be set"),
    "a list is bound to no collection": (
        f"{APP}/Views/TodoItemsView.xaml", 'ItemsSource="{Binding Items}"',
        'ItemsSource="{Binding Title}"', "is no collection"),
    "a resource does not exist": (
        f"{APP}/Views/TodoItemsView.xaml", "{StaticResource PageTitle}", "{StaticResource Heading}",
        "there is no resource Heading"),
    "a resource is used before it is defined": (
        f"{APP}/Themes/Styles.xaml", 'x:Key="FieldErrorTemplate"', 'x:Key="LaterTemplate"',
        "there is no resource FieldErrorTemplate yet"),
    "a style is for another element": (
        f"{APP}/Views/TodoItemsView.xaml", "{StaticResource EntityGrid}",
        "{StaticResource PageTitle}", "style PageTitle is for TextBlock"),
    "a merged dictionary does not exist": (
        f"{APP}/App.xaml", "Themes/Styles.xaml", "Themes/Stiles.xaml", "which does not exist"),
    "a template is for a type that does not exist": (
        f"{APP}/Views/ViewTemplates.xaml", "viewmodels:TodoItemsViewModel}",
        "viewmodels:TodoThingsViewModel}", "has no type TodoThingsViewModel"),
    "an attached property does not exist": (
        f"{APP}/Views/TodoItemEditorView.xaml", "InputErrors.Watch", "InputErrors.Look",
        "InputErrors has no attached property Look"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str, sample_solution: Path, tmp_path: Path) -> None:
    """Each check fails for the mistake that it is there to find, and names the file's trouble."""
    path, right, wrong, expected = MISTAKES[mistake]
    broken = tmp_path / "broken"
    shutil.copytree(sample_solution, broken)
    source = (broken / path).read_text(encoding="utf-8")
    assert right in source
    (broken / path).write_text(source.replace(right, wrong, 1), encoding="utf-8", newline="\n")

    found = problems(broken)

    assert any(expected in problem for problem in found), found
