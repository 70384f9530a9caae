"""Finds the code of handlers: modules a user names, plug-ins, and functions by dotted paths."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

from kallista.errors import KallistaError, UsageError
from kallista.tasks.parameters import Function
from kallista.tasks.registry import Registry, program_registry

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "kallista.tasks"


_is_child = False


@contextmanager
def as_child() -> Iterator[None]:
    """While a process loads the code of handlers that it is to call."""
    global _is_child
    _is_child = True
    try:
        yield
    finally:
        _is_child = False


def refuse_in_child() -> None:
    """A program that is loaded for the sake of its handlers must not do its work once more.

    Raises:
        UsageError: It is being loaded so.
    """
    if _is_child:
        raise UsageError(
            "this program is being loaded by a process that calls its handlers, and begins its work"
            ' once more; put what it does under: if __name__ == "__main__":'
        )


def load_module(name: str) -> ModuleType:
    """Import a module so that its ``@task`` functions are registered.

    Args:
        name: A dotted name (found in the working folder too), or the path of a ``.py`` file.

    Raises:
        UsageError: There is no such module, or it cannot be imported; the message says why.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        return _load_file(Path(name))
    search_working_folder()
    try:
        return importlib.import_module(name)
    except KallistaError:
        raise
    except Exception as error:
        raise UsageError(_explained(name, error)) from error


def load_again(name: str, file: str | None) -> ModuleType:
    """Import a module as another program has imported it.

    Args:
        name: The name it has there.
        file: Its file; None: it has none.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec(name)
    if file is None or (spec is not None and spec.origin == file):
        return importlib.import_module(name)
    return _load_as(name, Path(file))


def load_plugins(
    into: Registry = program_registry, plugins: Iterable[EntryPoint] | None = None
) -> None:
    """Load what installed packages offer in the entry-point group ``kallista.tasks``.

    An entry point names a module with ``@task`` functions, or a function or handler, which is
    registered under the entry point's name unless it has a type already.

    Args:
        into: Where functions and handlers are registered.
        plugins: The entry points; None: those of the packages installed.

    Raises:
        UsageError: A plug-in cannot be loaded; ``problems`` names every one.
    """
    problems: list[str] = []
    for plugin in _installed() if plugins is None else plugins:
        try:
            _add_plugin(plugin, into)
        except Exception as error:
            package = f" of the package {plugin.dist.name}" if plugin.dist else ""
            problems.append(
                f"{plugin.name!r}{package} ({plugin.value}): {_explained(plugin.module, error)}"
            )
    if problems:
        raise UsageError("plug-ins with task types cannot be loaded", problems)


def load_function(path: str) -> Function:
    """The function of a dotted path.

    Args:
        path: ``package.module:function`` or ``package.module.function``.

    Raises:
        UsageError: There is no such module or function, or it cannot be imported.
    """
    search_working_folder()
    found: object
    if ":" in path:
        module, _, attributes = path.partition(":")
        found = _attribute(_imported(module, path), attributes, path)
    else:
        found = _by_dots(path)
    if not callable(found):
        raise UsageError(f"{path!r} is a {type(found).__name__}, no function")
    return cast(Function, found)


def search_working_folder() -> None:
    """Let modules of the working folder be found, after all others, as ``python -m`` does."""
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _installed() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _add_plugin(plugin: EntryPoint, into: Registry) -> None:
    found = plugin.load()
    if isinstance(found, ModuleType):
        return
    into.add(found, into.type_of(found) or getattr(found, "type", None) or plugin.name)


def _load_file(path: Path) -> ModuleType:
    full = path.resolve()
    if not full.is_file():
        raise UsageError(f"there is no file {path}; --tasks takes a module's name or a .py file")
    loaded = _loaded_from(full)
    if loaded is not None:
        return loaded
    name = full.stem if full.stem not in sys.modules else f"{full.parent.name}_{full.stem}"
    return _load_as(name, full)


def _load_as(name: str, full: Path) -> ModuleType:
    spec = spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise UsageError(f"{full} is no Python file")
    if str(full.parent) not in sys.path:
        sys.path.append(str(full.parent))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KallistaError) or not isinstance(error, Exception):
            raise
        raise UsageError(_explained(str(full), error)) from error
    return module


def _loaded_from(file: Path) -> ModuleType | None:
    return next(
        (
            module
            for module in list(sys.modules.values())
            if isinstance(place := getattr(module, "__file__", None), str)
            and place == str(file)
            and module.__name__ != "__main__"
        ),
        None,
    )


def _by_dots(path: str) -> object:
    """Import as much of the path as is modules; the rest is attributes."""
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise UsageError(_explained(name, error)) from error
        except Exception as error:
            raise UsageError(_explained(name, error)) from error
        return _attribute(module, ".".join(parts[count:]), path)
    raise UsageError(
        f"{path!r} names no function: there is no module {parts[0]!r}; write module:function"
    )


def _imported(module: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"{path!r} names no function: {_explained(module, error)}") from error


def _attribute(module: ModuleType, attributes: str, path: str) -> object:
    found: object = module
    for name in attributes.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{path!r} names no function: {module.__name__} has no {attributes!r}")
        found = getattr(found, name)
    return found


def _explained(name: str, error: Exception) -> str:
    match error:
        case ModuleNotFoundError(name=missing) if missing and f"{name}.".startswith(f"{missing}."):
            return f"there is no module {missing!r} on the path, nor in the working folder"
        case ModuleNotFoundError(name=missing) if missing:
            return f"{name} needs the module {missing!r}, which is not installed"
        case SyntaxError(filename=file, lineno=line, msg=message):
            return f"{name} is no valid Python: {message} ({file}, line {line})"
        case _:
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
