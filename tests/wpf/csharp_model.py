"""Generated C# as the checks see it: types, their members, and those that generators add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import tree_sitter_c_sharp
from tree_sitter import Language, Node, Parser

from .known import COLLECTIONS, FRAMEWORK_MEMBERS

_PARSER = Parser(Language(tree_sitter_c_sharp.language()))

_TYPES = {
    "class_declaration": "class",
    "record_declaration": "record",
    "interface_declaration": "interface",
    "enum_declaration": "enum",
}


@dataclass(frozen=True)
class TypeRef:
    """A type as code names it: ``List<Product>`` is ``List`` of ``Product``."""

    name: str
    args: tuple[TypeRef, ...] = ()

    def filled(self, values: Mapping[str, TypeRef]) -> TypeRef:
        """The type with type parameters replaced by what they stand for."""
        if not self.args and self.name in values:
            return values[self.name]
        return TypeRef(self.name, tuple(arg.filled(values) for arg in self.args))


@dataclass(frozen=True)
class Member:
    """Something a type has."""

    name: str
    type: TypeRef
    settable: bool = False
    abstract: bool = False
    overrides: bool = False
    generated: bool = False


@dataclass
class CsType:
    """A type that generated code declares."""

    name: str
    namespace: str
    kind: str
    file: str
    node: Node
    parameters: tuple[str, ...] = ()
    bases: tuple[TypeRef, ...] = ()
    modifiers: frozenset[str] = frozenset()
    members: dict[str, Member] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    def add(self, member: Member) -> None:
        """Remember a member; overloads of a method are one."""
        known = self.members.get(member.name)
        if known is not None and (known.generated or member.generated):
            self.repeated.append(member.name)
        self.members[member.name] = member


@dataclass
class CsFile:
    """A source file."""

    path: str
    root: Node
    namespace: str
    usings: tuple[str, ...]
    types: list[CsType]

    @cached_property
    def nodes(self) -> list[Node]:
        """Everything in the file, in its order."""
        return list(walk(self.root))


def parse(path: str, source: bytes) -> CsFile:
    """Read one source file."""
    root = _PARSER.parse(source).root_node
    namespace = ""
    usings: list[str] = []
    types: list[CsType] = []
    for child in root.named_children:
        if child.type == "using_directive":
            usings.append(text(child.named_children[-1]))
        elif child.type == "file_scoped_namespace_declaration":
            namespace = text(child.child_by_field_name("name"))
        elif child.type in _TYPES:
            types.append(_type(child, namespace, path))
    return CsFile(path, root, namespace, tuple(usings), types)


def text(node: Node | None) -> str:
    """The source of a node."""
    return node.text.decode() if node is not None and node.text is not None else ""


def walk(node: Node) -> Iterator[Node]:
    """A node and everything in it."""
    yield node
    for child in node.children:
        yield from walk(child)


def type_ref(node: Node | None) -> TypeRef:
    """The type that a node names."""
    if node is None:
        return TypeRef("void")
    if node.type == "nullable_type":
        return type_ref(node.named_children[0])
    if node.type == "generic_name":
        arguments = next(child for child in node.children if child.type == "type_argument_list")
        return TypeRef(text(node.named_children[0]), tuple(map(type_ref, arguments.named_children)))
    if node.type == "qualified_name":
        return type_ref(node.child_by_field_name("name"))
    return TypeRef(text(node))


def _type(node: Node, namespace: str, path: str) -> CsType:
    made = CsType(
        name=text(node.child_by_field_name("name")),
        namespace=namespace,
        kind=_TYPES[node.type],
        file=path,
        node=node,
        modifiers=_modifiers(node),
    )
    for child in node.children:
        if child.type == "type_parameter_list":
            made.parameters = tuple(text(each) for each in child.named_children)
        elif child.type == "base_list":
            made.bases = tuple(
                type_ref(each) for each in child.named_children if each.type != "argument_list"
            )
        elif child.type == "parameter_list" and made.kind == "record":
            for each in child.named_children:
                made.add(_plain(each, settable=False))
    body = node.child_by_field_name("body")
    for child in body.named_children if body is not None else ():
        for member in _members(child, made.kind):
            made.add(member)
    return made


def _modifiers(node: Node) -> frozenset[str]:
    return frozenset(text(child) for child in node.children if child.type == "modifier")


def attributes(node: Node) -> dict[str, Node]:
    """The attributes of a declaration by their names."""
    return {
        text(attribute.child_by_field_name("name")): attribute
        for child in node.children
        if child.type == "attribute_list"
        for attribute in child.named_children
    }


def _plain(node: Node, *, settable: bool) -> Member:
    name = text(node.child_by_field_name("name"))
    return Member(name, type_ref(node.child_by_field_name("type")), settable)


def _members(node: Node, kind: str) -> Iterator[Member]:
    modifiers = _modifiers(node)
    abstract = "abstract" in modifiers or kind == "interface"
    overrides = "override" in modifiers
    if node.type == "enum_member_declaration":
        yield Member(text(node.child_by_field_name("name")), TypeRef("int"))
    elif node.type == "property_declaration":
        accessors = node.child_by_field_name("accessors")
        settable = accessors is not None and "set" in text(accessors)
        plain = _plain(node, settable=settable)
        yield Member(plain.name, plain.type, settable, abstract, overrides)
    elif node.type == "method_declaration":
        yield from _method(node, abstract, overrides)
    elif node.type in ("field_declaration", "event_field_declaration"):
        yield from _fields(node)


def _method(node: Node, abstract: bool, overrides: bool) -> Iterator[Member]:
    name = text(node.child_by_field_name("name"))
    returns = type_ref(node.child_by_field_name("returns"))
    yield Member(name, returns, abstract=abstract, overrides=overrides)
    if "RelayCommand" in attributes(node):
        kind = "IAsyncRelayCommand" if returns.name == "Task" else "IRelayCommand"
        yield Member(f"{name.removesuffix('Async')}Command", TypeRef(kind), generated=True)


def _fields(node: Node) -> Iterator[Member]:
    declaration = next(each for each in node.children if each.type == "variable_declaration")
    kind = type_ref(declaration.child_by_field_name("type"))
    for each in declaration.named_children:
        if each.type != "variable_declarator":
            continue
        name = text(each.child_by_field_name("name"))
        yield Member(name, kind, settable=True)
        if "ObservableProperty" in attributes(node):
            bare = name.lstrip("_")
            yield Member(bare[0].upper() + bare[1:], kind, settable=True, generated=True)


@dataclass
class Model:
    """All generated C# of a solution."""

    files: list[CsFile]

    def __post_init__(self) -> None:
        self.types: dict[str, CsType] = {}
        for file in self.files:
            for each in file.types:
                self.types.setdefault(each.name, each)
        self.namespaces = {file.namespace for file in self.files}

    def lineage(self, ref: TypeRef) -> Iterator[tuple[CsType, Mapping[str, TypeRef]]]:
        """A type and its base types that the solution declares, with their type arguments."""
        found = self.types.get(ref.name)
        if found is None:
            return
        values = dict(zip(found.parameters, ref.args, strict=False))
        yield found, values
        for base in found.bases:
            yield from self.lineage(base.filled(values))

    def base_names(self, ref: TypeRef) -> set[str]:
        """The names of a type and of all its bases, those of .NET too."""
        names = {ref.name}
        for found, _ in self.lineage(ref):
            names.update(base.name for base in found.bases)
        return names

    def member(self, ref: TypeRef, name: str) -> Member | None:
        """What a type has under a name, its own or inherited, with type parameters filled."""
        for found, values in self.lineage(ref):
            if name in found.members:
                known = found.members[name]
                return Member(name, known.type.filled(values), known.settable)
        for base in self.base_names(ref):
            if name in FRAMEWORK_MEMBERS.get(base, ()):
                return Member(name, TypeRef("object"))
        return None

    @staticmethod
    def item(ref: TypeRef) -> TypeRef | None:
        """What a collection holds, or None when it is no collection."""
        return ref.args[0] if ref.name in COLLECTIONS and ref.args else None


def read(root: Path) -> Model:
    """Read every source file below a folder."""
    return Model(
        [
            parse(path.relative_to(root).as_posix(), path.read_bytes())
            for path in sorted(root.rglob("*.cs"))
        ]
    )
