"""What must hold in generated XAML: names that exist, bindings that lead somewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from .csharp_model import Member, Model, TypeRef
from .known import COMMANDS, ELEMENTS, FRAMEWORK_MEMBERS, PROPERTIES, TWO_WAY

_PRESENTATION = "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}"
_X = "{http://schemas.microsoft.com/winfx/2006/xaml}"
_D = "{http://schemas.microsoft.com/expression/blend/2008}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_RESOURCE = re.compile(r"\{(?:Static|Dynamic)Resource ([^}]+)\}")
_TYPED = re.compile(r"\{x:Type ([^}]+)\}")
_INSTANCE = re.compile(r"\{d:DesignInstance Type=([^,}]+)")
_CONTENT = frozenset(
    """
    ColumnDefinitions Columns InputBindings ItemTemplate MergedDictionaries Resources Triggers
    """.split()  # noqa: SIM905  # a list of quoted words is harder to read
)
_COLUMNS = ("DataGridTextColumn", "DataGridCheckBoxColumn")


@dataclass
class XamlFile:
    """A XAML file, with the prefixes that it declares."""

    path: str
    root: ET.Element
    prefixes: dict[str, str]
    keys: dict[str, ET.Element] = field(default_factory=dict)

    def of_prefixed(self, name: str) -> tuple[str, str]:
        """``viewmodels:MainViewModel`` as namespace and name; no prefix is WPF itself."""
        prefix, _, local = name.rpartition(":")
        return self.prefixes.get(prefix, "").removeprefix("clr-namespace:"), local


def read(path: str, content: bytes) -> XamlFile:
    """Read one file; raises ``ET.ParseError`` if it is not well-formed."""
    prefixes: dict[str, str] = {}
    root: ET.Element | None = None
    for event, found in ET.iterparse(BytesIO(content), events=("start-ns", "start")):
        if event == "start-ns":
            prefixes[found[0]] = found[1]
        elif root is None:
            root = found
    assert root is not None
    file = XamlFile(path, root, prefixes)
    for element in root.iter():
        key = element.get(f"{_X}Key")
        if key is not None:
            file.keys[key] = element
    return file


def problems(root: Path, model: Model) -> Iterator[str]:
    """Everything wrong in the XAML of a solution."""
    files: dict[str, XamlFile] = {}
    for path in sorted(root.rglob("*.xaml")):
        name = path.relative_to(root).as_posix()
        try:
            files[name] = read(name, path.read_bytes())
        except ET.ParseError as error:
            yield f"{name}: not well-formed: {error}"
    everywhere = _application_keys(files)
    for file in files.values():
        yield from _Check(file, files, model, everywhere).problems()


def _application_keys(files: dict[str, XamlFile]) -> dict[str, ET.Element]:
    """The resources that every view sees: those that App.xaml merges."""
    application = next((path for path in files if path.endswith("/App.xaml")), None)
    keys: dict[str, ET.Element] = {}
    waiting = [application] if application else []
    for path in waiting:
        keys.update(files[path].keys)
        waiting.extend(source for source in _sources(files[path]) if source in files)
    return keys


def _sources(file: XamlFile) -> Iterator[str]:
    """The files whose resources one merges, as paths inside the solution."""
    folder = "/".join(file.path.split("/")[:2])
    for element in file.root.iter(f"{_PRESENTATION}ResourceDictionary"):
        source = element.get("Source")
        if source is not None:
            assembly, _, inside = source.strip("/").partition(";component/")
            yield f"{folder}/{inside}" if folder.endswith(f"/{assembly}") else source


@dataclass
class _Check:
    file: XamlFile
    files: dict[str, XamlFile]
    model: Model
    everywhere: dict[str, ET.Element]

    def problems(self) -> Iterator[str]:
        for problem in self._all():
            yield f"{self.file.path}: {problem}"

    def _all(self) -> Iterator[str]:
        root = self.file.root
        for source in _sources(self.file):
            if source not in self.files:
                yield f"merges {source}, which does not exist"
        for uri in self.file.prefixes.values():
            if uri.startswith("clr-namespace:"):
                namespace = uri.removeprefix("clr-namespace:")
                if namespace not in self.model.namespaces:
                    yield f"{uri} is no namespace of the solution"
        yield from self._class(root)
        yield from self._resources(root)
        yield from self._elements(root, self._design_context(root))

    def _class(self, root: ET.Element) -> Iterator[str]:
        name = root.get(f"{_X}Class")
        if name is None:
            return
        namespace, _, local = name.rpartition(".")
        found = self.model.types.get(local)
        if found is None or found.namespace != namespace:
            yield f"x:Class {name} is declared nowhere"
        elif "partial" not in found.modifiers:
            yield f"x:Class {name} is not partial"
        elif [base.name for base in found.bases] != [_local(root)]:
            yield f"x:Class {name} does not derive from {_local(root)}"
        elif found.file != f"{self.file.path}.cs":
            yield f"x:Class {name} stands in {found.file}"

    def _design_context(self, root: ET.Element) -> TypeRef | None:
        said = _INSTANCE.search(root.get(f"{_D}DataContext", ""))
        return TypeRef(self.file.of_prefixed(said[1])[1]) if said else None

    def _resources(self, root: ET.Element) -> Iterator[str]:
        """A key is defined before it is used, here or in what is merged."""
        merged = {key for source in _sources(self.file) for key in self._merged_keys(source)}
        is_view = root.get(f"{_X}Class") is not None
        defined = {*merged, *(self.everywhere if is_view else ())}
        for element in root.iter():
            for name, value in element.attrib.items():
                for key in _RESOURCE.findall(value):
                    if key not in defined:
                        yield f"{_local(element)}.{name}: there is no resource {key} yet"
                    elif name == "Style":
                        yield from self._style(element, key)
            own = element.get(f"{_X}Key")
            if own is not None:
                defined.add(own)

    def _merged_keys(self, source: str) -> set[str]:
        file = self.files.get(source)
        if file is None:
            return set()
        return {*file.keys, *(key for path in _sources(file) for key in self._merged_keys(path))}

    def _style(self, element: ET.Element, key: str) -> Iterator[str]:
        style = self.file.keys.get(key, self.everywhere.get(key))
        target = style.get("TargetType") if style is not None else None
        if target != _local(element):
            yield f"style {key} is for {target}, used on {_local(element)}"

    def _elements(self, element: ET.Element, context: TypeRef | None) -> Iterator[str]:
        yield from self._known(element)
        yield from self._bindings(element, context)
        items = self._items(element, context)
        for path in ("DisplayMemberPath", "SelectedValuePath"):
            if element.get(path) is not None:
                yield from self._path(element.get(path, ""), items, f"{_local(element)}.{path}")
        if _local(element) == "DataTemplate":
            context = self._template_context(element)
            if context is None:
                yield "a DataTemplate names no DataType, so its bindings cannot be checked"
        if _local(element) == "ControlTemplate":
            context = None
        for child in element:
            in_list = _local(child) in ("DataGrid.Columns", "ItemsControl.ItemTemplate")
            if in_list and items is not None:
                yield from self._item_templates(child, items)
            yield from self._elements(child, items if in_list else context)

    def _known(self, element: ET.Element) -> Iterator[str]:
        local = _local(element)
        if element.tag.startswith(_PRESENTATION):
            owner, _, inner = local.partition(".")
            if owner not in ELEMENTS:
                yield f"there is no element {local}"
            if inner and inner not in PROPERTIES | _CONTENT:
                yield f"there is no property {local}"
        else:
            yield from self._type_exists(element.tag[1:].partition("}")[0], local)
        for name in element.attrib:
            if name.startswith("{clr-namespace:"):
                yield from self._attached(name)
            elif not name.startswith("{") and name not in PROPERTIES:
                yield f"{local}: there is no property {name}"
        for value in element.attrib.values():
            for name in _TYPED.findall(value):
                namespace, type_name = self.file.of_prefixed(name)
                if namespace in self.model.namespaces or ":" in name:
                    yield from self._type_exists(namespace, type_name)
                elif type_name not in FRAMEWORK_MEMBERS:
                    yield f"{local}: there is no type {name}"

    def _type_exists(self, namespace: str, name: str) -> Iterator[str]:
        namespace = namespace.removeprefix("clr-namespace:")
        found = self.model.types.get(name)
        if found is None or found.namespace != namespace:
            yield f"{namespace} has no type {name}"

    def _attached(self, name: str) -> Iterator[str]:
        namespace, _, local = name[1:].partition("}")
        owner, _, attached = local.partition(".")
        yield from self._type_exists(namespace, owner)
        found = self.model.types.get(owner)
        for member in (f"Set{attached}", f"Get{attached}", f"{attached}Property"):
            if found is not None and member not in found.members:
                yield f"{owner} has no attached property {attached}: {member} is missing"

    def _template_context(self, element: ET.Element) -> TypeRef | None:
        said = _TYPED.search(element.get("DataType", ""))
        return TypeRef(self.file.of_prefixed(said[1])[1]) if said else None

    def _item_templates(self, child: ET.Element, items: TypeRef) -> Iterator[str]:
        for template in child.findall(f"{_PRESENTATION}DataTemplate"):
            said = _TYPED.search(template.get("DataType", ""))
            if said and self.file.of_prefixed(said[1])[1] != items.name:
                yield f"a DataTemplate is for {said[1]}, the items are {items.name}"

    def _items(self, element: ET.Element, context: TypeRef | None) -> TypeRef | None:
        binding = _binding(element.get("ItemsSource", ""))
        if binding is None or context is None or not binding.path:
            return None
        member = self._resolve(binding.path, context)
        return self.model.item(member.type) if isinstance(member, Member) else None

    def _bindings(self, element: ET.Element, context: TypeRef | None) -> Iterator[str]:
        local = _local(element)
        # A column hangs in no tree: its Binding is over the items, which the caller knows.
        for name, value in element.attrib.items():
            if name.startswith(_D) or (binding := _binding(value)) is None:
                continue
            where = f"{local}.{name.rpartition('}')[2]}"
            if binding.unsupported:
                yield f"{where}: {value} cannot be checked"
            if not binding.path:
                continue
            if context is None:
                yield f"{where}: {value} is over data that nothing names"
                continue
            yield from self._path(binding.path, context, where)
            member = self._resolve(binding.path, context)
            if isinstance(member, Member):
                yield from _fits(where, local, name, binding, member)

    def _path(self, path: str, context: TypeRef | None, where: str) -> Iterator[str]:
        if context is None:
            yield f"{where}: {path} is over data that nothing names"
            return
        found = self._resolve(path, context)
        if isinstance(found, str):
            yield f"{where}: {found}"

    def _resolve(self, path: str, context: TypeRef) -> Member | str:
        member: Member | None = None
        for name in path.split("."):
            if context.name in FRAMEWORK_MEMBERS and name in FRAMEWORK_MEMBERS[context.name]:
                member = Member(name, TypeRef("object"))
            else:
                member = self.model.member(context, name)
            if member is None:
                return f"{context.name} has no {name} (in {path})"
            context = member.type
        assert member is not None
        return member


@dataclass(frozen=True)
class _Binding:
    path: str
    mode: str | None
    unsupported: bool


def _binding(value: str) -> _Binding | None:
    if not value.startswith("{Binding"):
        return None
    inside = re.sub(r"\{[^{}]*\}", "", value[1:-1].removeprefix("Binding"))
    parts = [part.strip() for part in inside.split(",") if part.strip()]
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    path = next((part for part in parts if "=" not in part), options.get("Path", ""))
    unsupported = bool(options.keys() & {"ElementName", "RelativeSource", "Source"})
    return _Binding(path, options.get("Mode"), unsupported)


def _fits(where: str, element: str, name: str, binding: _Binding, member: Member) -> Iterator[str]:
    if name == "Command" and member.type.name not in COMMANDS:
        yield f"{where}: {binding.path} is no command"
    if name == "ItemsSource" and Model.item(member.type) is None:
        yield f"{where}: {binding.path} is no collection"
    both = name in TWO_WAY or (name == "Text" and element == "TextBox") or element in _COLUMNS
    if ((both and binding.mode is None) or binding.mode == "TwoWay") and not member.settable:
        yield f"{where}: {binding.path} is bound in both directions but cannot be set"


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
