"""The task types: configs as users write them, parts, and the whole."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from kallista.errors import UsageError
from kallista.wpf import (
    HANDLERS,
    SYSTEM_DESIGN_WORKFLOW,
    code_generation,
    solution_manifest,
    system_design,
)
from kallista.wpf.errors import DesignError, OutputConflictError, OutputError
from kallista.wpf.handlers import Params
from kallista.wpf.specification import TEMPLATES, Specification

from .support import FakeContext, bytes_of, designed


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _paths(result: dict[str, object]) -> set[str]:
    files = result["files"]
    assert isinstance(files, list)
    return {record["path"] for record in files}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_every_parameter_has_a_default_and_a_schema(handler: object) -> None:
    """A task without any config is valid, and its parameters can be shown to users."""
    assert callable(handler)
    parameters = list(inspect.signature(handler, eval_str=True).parameters.values())
    assert parameters[0].name == "ctx"
    for parameter in parameters[1:]:
        assert parameter.default is not parameter.empty
        assert TypeAdapter(parameter.annotation).json_schema()


def test_the_founding_workflow_runs_as_it_stands() -> None:
    """A design, then ``wpf_main``, land in the default folder of the default application."""
    design = system_design(FakeContext(), pattern="MVVM")
    result = code_generation(FakeContext(results={"system_design": design}), template="wpf_main")
    assert result["output_dir"] == "output/SampleApp"
    assert "src/SampleApp/App.xaml" in _paths(result)
    assert (Path("output/SampleApp/src/SampleApp/App.xaml")).is_file()
    assert Path("output/SampleApp/docs/design.md").is_file()


def test_the_founding_view_is_made_without_a_design() -> None:
    """``wpf_view`` with a name makes that view alone, working by default."""
    result = code_generation(FakeContext(), template="wpf_view", params=Params(name="MainWindow"))
    assert _paths(result) == {
        "src/SampleApp/Views/MainWindow.xaml",
        "src/SampleApp/Views/MainWindow.xaml.cs",
    }


def test_the_founding_process_makes_the_whole_application() -> None:
    """A design inside the result of a workflow is found, and all of it is generated."""
    design = system_design(FakeContext())
    result = code_generation(FakeContext(results={"design": {"design": design}}))
    files = design["files"]
    assert isinstance(files, list)
    assert _paths(result) == {file["path"] for file in files}


def test_three_programs_share_the_default_folder() -> None:
    """Different runs that make the same bytes do not stand in each other's way."""
    first = system_design(FakeContext("run-1"))
    code_generation(FakeContext("run-1", results={"d": first}), template="wpf_main")
    code_generation(FakeContext("run-2"), template="wpf_view", params=Params(name="MainWindow"))
    second = system_design(FakeContext("run-3"))
    code_generation(FakeContext("run-3", results={"d": second}))


def test_the_parts_make_the_whole(tmp_path: Path) -> None:
    """Each file belongs to exactly one template, and all templates together are the solution."""
    design = designed(Specification(), tmp_path / "app")
    whole = _paths(code_generation(FakeContext(), design=design))
    parts = [
        _paths(code_generation(FakeContext(), template=template, design=design))
        for template in TEMPLATES
    ]
    assert set().union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)


@pytest.mark.parametrize(
    ("template", "name", "endings"),
    [
        ("wpf_model", "TodoItem", {"Models/TodoItem.cs"}),
        ("wpf_viewmodel", "TodoItemsViewModel", {"ViewModels/TodoItemsViewModel.cs"}),
        ("wpf_view", "TodoItemsView", {"Views/TodoItemsView.xaml", "Views/TodoItemsView.xaml.cs"}),
    ],
)
def test_a_name_selects_within_a_part(template: str, name: str, endings: set[str]) -> None:
    """One view, view model or model can be generated on its own."""
    result = code_generation(FakeContext(), template=template, params=Params(name=name))  # type: ignore[arg-type]
    assert _paths(result) == {f"src/SampleApp/{ending}" for ending in endings}


def test_what_is_not_there_is_told_with_what_is() -> None:
    """An unknown template or name is a usage error that lists the known ones."""
    with pytest.raises(UsageError, match="there are: wpf_project, wpf_main"):
        code_generation(FakeContext(), template="wpf_nothing")  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="has no 'Nothing'; it has: MainWindow"):
        code_generation(FakeContext(), template="wpf_view", params=Params(name="Nothing"))
    assert not Path("output").exists()


def test_results_list_every_file(tmp_path: Path) -> None:
    """A result is JSON, and says the size and the SHA-256 of what is on disk."""
    from hashlib import sha256

    result = json.loads(json.dumps(code_generation(FakeContext(), output_dir=str(tmp_path / "a"))))
    for record in result["files"]:
        content = (tmp_path / "a" / record["path"]).read_bytes()
        assert record["size"] == len(content)
        assert record["sha256"] == sha256(content).hexdigest()


def test_the_same_design_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two folders generated from one specification are equal, byte by byte."""
    for name in ("one", "two"):
        code_generation(FakeContext(), design=designed(Specification(), tmp_path / name))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_another_design_does_not_replace_the_first(tmp_path: Path) -> None:
    """Bytes of another run are replaced only on request."""
    code_generation(FakeContext("run-1"), output_dir=str(tmp_path / "app"))
    other = designed(Specification(title="Other"), tmp_path / "other", run="run-2")
    with pytest.raises(OutputConflictError, match="was written by the run run-1"):
        code_generation(FakeContext("run-2"), design=other, output_dir=str(tmp_path / "app"))
    code_generation(
        FakeContext("run-2"), design=other, output_dir=str(tmp_path / "app"), overwrite=True
    )


def test_bad_names_leave_nothing_behind() -> None:
    """A name that cannot be is refused before a folder is made."""
    for name in ("../../outside", "class", "Con", "/etc/x"):
        with pytest.raises(DesignError):
            system_design(FakeContext(), name=name)
    assert list(Path().iterdir()) == []


def test_a_cancelled_task_writes_nothing() -> None:
    """A task that should stop says so instead of writing."""
    with pytest.raises(OutputError, match="cancelled before it wrote anything"):
        code_generation(FakeContext(cancelled=True))
    assert list(Path().iterdir()) == []


def test_progress_is_told() -> None:
    """Users see how far a long generation is; it ends at 1."""
    ctx = FakeContext()
    code_generation(ctx)
    fractions = [fraction for fraction, _ in ctx.told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 2


def test_the_manifest_lists_the_whole(tmp_path: Path) -> None:
    """Taking stock of a whole solution lists every file, and says what to open."""
    design = designed(Specification(), tmp_path / "app")
    made = code_generation(FakeContext(), design=design)
    result = solution_manifest(FakeContext(results={"design": design, "all": made}))
    assert _paths(result) == _paths(made) | {"docs/design.json", "docs/design.md"}
    assert (tmp_path / "app" / str(result["solution"])).is_file()
    manifest = json.loads((tmp_path / "app" / "docs/manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"] == result["files"]


def test_the_manifest_sees_what_is_missing_or_changed(tmp_path: Path) -> None:
    """Taking stock fails when files are not there, not those generated, or no XML."""
    design = designed(Specification(), tmp_path / "app")
    made = code_generation(FakeContext(), design=design)
    results = {"design": design, "workflow": {"all": made}}
    app = tmp_path / "app" / "src/SampleApp"
    (app / "App.xaml.cs").unlink()
    (app / "Models/TodoItem.cs").write_text("changed", encoding="utf-8")
    with pytest.raises(OutputError) as caught:
        solution_manifest(FakeContext(results=results))
    assert "App.xaml.cs is missing" in str(caught.value)
    assert "TodoItem.cs was changed since it was generated" in str(caught.value)
    (app / "App.xaml").write_text("<Application>", encoding="utf-8")
    with pytest.raises(OutputError, match=r"App.xaml is no XML"):
        solution_manifest(FakeContext(), design=design)
    with pytest.raises(DesignError, match="run system_design before"):
        solution_manifest(FakeContext())


def test_the_shipped_definition_needs_no_inputs() -> None:
    """Every input of ``System Design`` has a default, and every parameter but none more is one."""
    inputs = SYSTEM_DESIGN_WORKFLOW["inputs"]
    tasks = SYSTEM_DESIGN_WORKFLOW["tasks"]
    assert isinstance(inputs, dict)
    assert isinstance(tasks, list)
    assert all("default" in declared for declared in inputs.values())
    config = tasks[0]["config"]
    assert config == {name: f"${{inputs.{name}}}" for name in inputs}
    defaults = {name: declared["default"] for name, declared in inputs.items()}
    assert config.keys() == set(inspect.signature(system_design).parameters) - {"ctx"}
    result = system_design(FakeContext(), **defaults)
    assert result["name"] == "SampleApp"


def test_importing_the_handlers_is_cheap() -> None:
    """Neither pydantic nor jinja2 is imported before something is generated."""
    script = "import sys, kallista.wpf.handlers; print({'jinja2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "set()"
