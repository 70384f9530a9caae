"""What must hold in generated C#, as far as it can be seen without a compiler."""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from .csharp_model import (
    CsFile,
    CsType,
    Model,
    TypeRef,
    attributes,
    text,
    type_ref,
    walk,
)
from .known import (
    COMMANDS,
    EXTENSIONS,
    FRAMEWORK,
    IMPLICIT_USINGS,
    INHERITED,
    MEMBERS,
    NAMESPACES,
    OVERRIDABLE,
)


def problems(model: Model, packages_of: dict[str, set[str]]) -> Iterator[str]:
    """Everything wrong in the C# of a solution; packages are those of each file's project."""
    members = MEMBERS | {name for each in model.types.values() for name in each.members}
    for file in model.files:
        yield from _syntax(file)
        yield from _usings(file, model, packages_of)
        yield from _type_names(file, model)
        yield from _member_names(file, members)
        yield from _extensions(file)
        for each in file.types:
            yield from _declarations(each, model)
            yield from _generators(each, model)
    yield from _repeated_types(model)


def _syntax(file: CsFile) -> Iterator[str]:
    for node in file.nodes:
        if node.is_error or node.is_missing:
            line = node.start_point[0] + 1
            yield f"{file.path}:{line}: cannot be parsed near {text(node)[:40]!r}"
            return


def _usings(file: CsFile, model: Model, packages_of: dict[str, set[str]]) -> Iterator[str]:
    for name in file.usings:
        if name in model.namespaces:
            continue
        if name not in NAMESPACES:
            yield f"{file.path}: using {name} names no namespace"
            continue
        package = NAMESPACES[name][0]
        if package not in packages_of[file.path] | {FRAMEWORK}:
            yield f"{file.path}: using {name} needs the package {package}"


def _visible_types(file: CsFile, model: Model) -> set[str]:
    imported = {*file.usings, *IMPLICIT_USINGS, *_enclosing(file.namespace)}
    visible = {each.name for each in model.types.values() if each.namespace in imported}
    for name in imported:
        visible |= NAMESPACES.get(name, (FRAMEWORK, frozenset()))[1]
    return visible


def _enclosing(namespace: str) -> list[str]:
    parts = namespace.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _type_names(file: CsFile, model: Model) -> Iterator[str]:
    visible = _visible_types(file, model)
    own = {name for node in file.nodes for name in _type_parameters(node)}
    bare = visible | own | INHERITED | _locals(file)
    for each in file.types:
        for base in model.lineage(TypeRef(each.name)):
            bare |= base[0].members.keys()
    for node in file.nodes:
        name = _used_type(node)
        if name and name not in visible | own:
            yield f"{file.path}:{node.start_point[0] + 1}: the type {name} is not visible here"
        head = _bare_head(node)
        if head and head not in bare:
            yield f"{file.path}:{node.start_point[0] + 1}: the name {head} is not visible here"


def _type_parameters(node: Node) -> list[str]:
    return [text(child) for child in node.named_children] * (node.type == "type_parameter_list")


def _used_type(node: Node) -> str | None:
    """The type that stands at this place, if one does."""
    if node.type == "attribute":
        return f"{text(node.child_by_field_name('name'))}Attribute"
    if node.type not in ("identifier", "generic_name") or node.parent is None:
        return None
    parent = node.parent
    is_type = (
        parent.child_by_field_name("type") == node
        or parent.child_by_field_name("returns") == node
        or parent.type in ("base_list", "nullable_type", "type_argument_list", "array_type")
    )
    name = type_ref(node).name
    return name if is_type and name[0].isupper() else None


def _bare_head(node: Node) -> str | None:
    """A capitalised name that no dot precedes, where a value is expected."""
    if node.type != "identifier" or node.parent is None or not text(node)[0].isupper():
        return None
    parent = node.parent
    if parent.type == "member_access_expression":
        return text(node) if parent.child_by_field_name("expression") == node else None
    values = ("argument", "assignment_expression", "return_statement", "conditional_expression")
    if parent.parent is not None and parent.parent.type == "initializer_expression":
        return None
    if parent.type == "invocation_expression":
        return text(node) if parent.child_by_field_name("function") == node else None
    return text(node) if parent.type in values else None


def _locals(file: CsFile) -> set[str]:
    return {
        text(node.child_by_field_name("name"))
        for node in file.nodes
        if node.type in ("parameter", "variable_declarator", "declaration_pattern")
    }


def _member_names(file: CsFile, known: frozenset[str] | set[str]) -> Iterator[str]:
    for node in file.nodes:
        if node.type not in ("member_access_expression", "member_binding_expression"):
            continue
        name = type_ref(node.child_by_field_name("name")).name
        if name not in known and name[0].isupper():
            yield f"{file.path}:{node.start_point[0] + 1}: nothing has a member {name}"


def _extensions(file: CsFile) -> Iterator[str]:
    imported = {*file.usings, *_enclosing(file.namespace)}
    for node in file.nodes:
        if node.type == "member_access_expression":
            name = type_ref(node.child_by_field_name("name")).name
            if name in EXTENSIONS and EXTENSIONS[name] not in imported:
                line = node.start_point[0] + 1
                yield f"{file.path}:{line}: {name} needs using {EXTENSIONS[name]}"


def _declarations(each: CsType, model: Model) -> Iterator[str]:
    for name in each.repeated:
        yield f"{each.file}: {each.name} declares {name} that a generator makes too"
    if each.name in each.members and each.kind != "enum":
        yield f"{each.file}: {each.name} has a member of its own name"
    inherited = [found for found, _ in model.lineage(TypeRef(each.name))][1:]
    above = {name for base in inherited for name in base.members} | OVERRIDABLE
    for member in each.members.values():
        if member.overrides and member.name not in above:
            yield f"{each.file}: {each.name} overrides {member.name}, which no base has"
    if "abstract" in each.modifiers or each.kind == "interface":
        return
    has = {
        member.name
        for found, _ in model.lineage(TypeRef(each.name))
        for member in found.members.values()
        if not member.abstract
    }
    for base in inherited:
        for member in base.members.values():
            if member.abstract and member.name not in has:
                yield f"{each.file}: {each.name} lacks {member.name} of {base.name}"


def _generators(each: CsType, model: Model) -> Iterator[str]:
    body = each.node.child_by_field_name("body")
    for node in body.named_children if body is not None else ():
        used = attributes(node)
        if used.keys() & {"ObservableProperty", "RelayCommand"} and (
            "partial" not in each.modifiers
        ):
            yield f"{each.file}: {each.name} must be partial for its generators"
        bases = model.base_names(TypeRef(each.name))
        if "ObservableProperty" in used and not bases & {"ObservableObject", "ObservableValidator"}:
            yield f"{each.file}: {each.name} is no observable object"
        if "NotifyDataErrorInfo" in used and "ObservableValidator" not in bases:
            yield f"{each.file}: {each.name} is no validator"
        for attribute in used.values():
            yield from _named(each, attribute, model)


def _named(each: CsType, attribute: Node, model: Model) -> Iterator[str]:
    """What an attribute names by ``nameof`` is there, and a command where one is meant."""
    owner = TypeRef(each.name, tuple(TypeRef(name) for name in each.parameters))
    for node in walk(attribute):
        if node.type != "invocation_expression" or not text(node).startswith("nameof("):
            continue
        name = text(node).removeprefix("nameof(").removesuffix(")").rpartition(".")[2]
        member = model.member(owner, name)
        kind = text(attribute.child_by_field_name("name"))
        if member is None:
            yield f"{each.file}: {kind} names {name}, which {each.name} lacks"
        elif kind == "NotifyCanExecuteChangedFor" and member.type.name not in COMMANDS:
            yield f"{each.file}: {kind} names {name}, which is no command"


def _repeated_types(model: Model) -> Iterator[str]:
    seen: dict[str, str] = {}
    for file in model.files:
        for each in file.types:
            if each.name in seen:
                yield f"{file.path}: {each.name} is declared in {seen[each.name]} too"
            seen[each.name] = file.path
