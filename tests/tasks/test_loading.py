from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kallista.errors import UsageError
from kallista.tasks import Registry, load_module, load_plugins, program_registry
from kallista.tasks.loading import load_function

TASKS = """
from kallista.tasks import task

@task("loaded.{name}")
def handler():
    return "{name}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder; what is imported from it is forgotten afterwards."""
    modules, path = dict(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.path[:] = path


def write(folder: Path, name: str, text: str) -> None:
    """Put a file there."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


class TestModules:
    def test_by_name(self, folder: Path) -> None:
        """A module of the working folder is found by its dotted name."""
        write(folder, "kallista_pack/__init__.py", "")
        write(folder, "kallista_pack/mine.py", TASKS.format(name="dotted"))
        load_module("kallista_pack.mine")
        assert "loaded.dotted" in program_registry.types()

    def test_by_path(self, folder: Path) -> None:
        """A file is loaded by its path, with modules beside it, and once however often asked."""
        write(folder, "sub/kallista_beside.py", "name = 'path'")
        write(
            folder,
            "sub/kallista_file.py",
            "from kallista_beside import name\n" + TASKS.replace('"loaded', 'f"loaded'),
        )
        loaded = load_module("sub/kallista_file.py")
        assert load_module("sub/kallista_file.py") is loaded
        assert "loaded.path" in program_registry.types()

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("kallista_none", None, "there is no module 'kallista_none'"),
            ("none.py", None, "there is no file none.py"),
            ("kallista_a", "import kallista_missing", "needs the module 'kallista_missing', which"),
            ("kallista_b", "def (", "is no valid Python: invalid syntax"),
            ("kallista_c", "1 / 0", "cannot be imported: ZeroDivisionError"),
            ("kallista_d.py", "1 / 0", "kallista_d.py cannot be imported: ZeroDivisionError"),
        ],
    )
    def test_failures(self, folder: Path, name: str, text: str | None, message: str) -> None:
        """Why a module cannot be loaded is said, and what failed is not kept."""
        if text is not None:
            write(folder, name if name.endswith(".py") else f"{name}.py", text)
        with pytest.raises(UsageError, match=message):
            load_module(name)
        assert name.removesuffix(".py") not in sys.modules


class TestPlugins:
    def test_kinds(self, folder: Path) -> None:
        """A plug-in is a module with @task functions, or a function of the entry point's name."""
        write(folder, "kallista_plug.py", TASKS.format(name="plug") + "\ndef plain(): ...\n")
        sys.path.insert(0, str(folder))
        registry = Registry(program_registry)
        load_plugins(
            registry,
            [
                EntryPoint("module", "kallista_plug", "kallista.tasks"),
                EntryPoint("its-name", "kallista_plug:plain", "kallista.tasks"),
                EntryPoint("unused", "kallista_plug:handler", "kallista.tasks"),
            ],
        )
        assert {"loaded.plug", "its-name"} <= set(registry.types())
        assert "unused" not in registry.types()

    def test_broken_ones_are_named(self, folder: Path) -> None:
        """All plug-ins that cannot be loaded are named, each with its reason."""
        with pytest.raises(UsageError) as caught:
            load_plugins(
                Registry(),
                [
                    EntryPoint("one", "kallista_no_such_module", "kallista.tasks"),
                    EntryPoint("two", "json:no_such_function", "kallista.tasks"),
                ],
            )
        one, two = caught.value.problems
        assert "'one' (kallista_no_such_module): there is no module" in one
        assert "'two' (json:no_such_function)" in two

    def test_nothing_installed(self) -> None:
        """Without plug-ins nothing happens."""
        registry = Registry()
        load_plugins(registry)
        assert registry.types() == []


class TestFunctions:
    @pytest.mark.parametrize(
        "path", ["os.path:join", "os.path.join", "pathlib:Path.cwd", "pathlib.Path.cwd"]
    )
    def test_paths(self, path: str) -> None:
        """Both ways to write a dotted path find functions, and methods of classes."""
        assert callable(load_function(path))

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("json:nothing", "json has no 'nothing'"),
            ("json.nothing", "json has no 'nothing'"),
            ("kallista_nowhere.f", "there is no module 'kallista_nowhere'"),
            ("kallista_nowhere:f", "there is no module 'kallista_nowhere'"),
            ("json:__name__", "is a str, no function"),
        ],
    )
    def test_failures(self, path: str, message: str) -> None:
        """Why a path names no function is said."""
        with pytest.raises(UsageError, match=message):
            load_function(path)
