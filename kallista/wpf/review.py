"""What is wrong with a specification: everything at once, before anything is written."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal

from kallista.wpf import naming, reserved
from kallista.wpf.csharp import DECIMAL_LIMIT
from kallista.wpf.design import DATES, NUMBERS, TEXTS, Design, Entity, build, columns
from kallista.wpf.errors import DesignError, PatternError
from kallista.wpf.relations import Reference
from kallista.wpf.specification import (
    PATTERNS,
    EntitySpec,
    EnumSpec,
    PropertySpec,
    PropertyType,
    Specification,
    ViewSpec,
)

_UNIQUE: frozenset[PropertyType] = frozenset(["string", "email", "phone", "url", "int", "long"])

_LIMITS: dict[PropertyType, Decimal] = {
    "int": Decimal(2**31 - 1),
    "long": Decimal(2**63 - 1),
    "decimal": DECIMAL_LIMIT,
    "money": DECIMAL_LIMIT,
}


def design(specification: Specification) -> Design:
    """Turn a specification into a design.

    Raises:
        PatternError: For an architecture without templates.
        DesignError: For names that C#, XAML, the database or a file system cannot bear, and for
            whatever else contradicts itself; all of it at once.
    """
    if specification.pattern not in PATTERNS:
        raise PatternError(
            f"There are no templates for the pattern {specification.pattern!r}; "
            f"there are: {', '.join(PATTERNS)}."
        )
    made = build(specification)
    problems = [
        *_solution(specification),
        *_unprintable(specification),
        *(line for enum in specification.enums for line in _enum(enum)),
        *(line for entity in specification.entities for line in _entity(entity, made)),
        *(line for view in specification.views for line in _view(view, made)),
        *_type_names(made),
        *(line for entity in made.entities for line in _members(entity, made.enum_by_name)),
        *_circles(made),
    ]
    if problems:
        raise DesignError(
            f"The specification of {specification.name!r} cannot become an application:",
            list(dict.fromkeys(problems)),
        )
    return made


def _solution(specification: Specification) -> Iterator[str]:
    name = specification.name
    problem = naming.identifier_problem(name) or naming.namespace_problem(name)
    if problem:
        yield f"name {name!r} {problem}"
    if specification.namespace is not None:
        problem = naming.namespace_problem(specification.namespace)
        if problem:
            yield f"namespace {specification.namespace!r} {problem}"


def _enum(enum: EnumSpec) -> Iterator[str]:
    where = f"enum {enum.name!r}"
    yield from _name(where, enum.name)
    if not enum.values:
        yield f"{where} has no values; give it at least one"
    for value in enum.values:
        problem = naming.identifier_problem(value)
        if problem:
            yield f"{where}: value {value!r} {problem}"
    yield from _repeated(f"{where}: value", enum.values)


def _entity(entity: EntitySpec, made: Design) -> Iterator[str]:
    where = f"entity {entity.name!r}"
    yield from _name(where, entity.name)
    if entity.plural is not None:
        yield from _name(f"{where}: plural {entity.plural!r}", entity.plural)
    if not entity.properties and not entity.relations:
        yield f"{where} has neither properties nor relations; give it at least one"
    for prop in entity.properties:
        yield from _property(f"{where}: property {prop.name!r}", prop, made)
    names = [known.name for known in made.entities]
    for relation in entity.relations:
        at = f"{where}: relation {relation.name!r}"
        yield from _name(at, relation.name)
        if relation.inverse is not None:
            yield from _name(f"{at}: inverse {relation.inverse!r}", relation.inverse)
        if relation.to not in names:
            yield f"{at} leads to {relation.to!r}; there are: {', '.join(names)}"
        if relation.required and relation.on_delete == "set_null":
            yield f"{at} is required, so on_delete cannot be set_null; use restrict or cascade"
        if relation.kind == "many_to_many" and (relation.required or relation.on_delete):
            yield f"{at} is many_to_many: required and on_delete mean nothing there"


def _name(where: str, name: str) -> Iterator[str]:
    problem = naming.identifier_problem(name)
    if problem:
        yield f"{where}: {name!r} {problem}" if repr(name) not in where else f"{where} {problem}"


def _property(where: str, prop: PropertySpec, made: Design) -> Iterator[str]:
    yield from _name(where, prop.name)
    if prop.type == "enum" and prop.enum not in made.enum_by_name:
        known = ", ".join(made.enum_by_name) or "none yet; declare it under enums"
        yield f"{where} is of the enum {prop.enum!r}; there are: {known}"
    if prop.type != "enum" and prop.enum is not None:
        yield f"{where} names the enum {prop.enum!r} but is of type {prop.type}; use type: enum"
    if prop.unique and prop.type not in _UNIQUE:
        yield f"{where} of type {prop.type} cannot be unique; these can: {_listed(_UNIQUE)}"
    yield from _length(where, prop)
    yield from _bounds(where, prop)
    yield from _default(where, prop, made)


def _length(where: str, prop: PropertySpec) -> Iterator[str]:
    if prop.max_length is None:
        return
    if prop.type not in TEXTS:
        yield f"{where} of type {prop.type} has no max_length; these have: {_listed(TEXTS)}"
    elif prop.max_length < 1:
        yield f"{where}: max_length is {prop.max_length}; it must be at least 1"
    elif prop.type in ("email", "phone", "url") and prop.max_length < 32:
        yield f"{where} of type {prop.type} needs a max_length of at least 32"


def _bounds(where: str, prop: PropertySpec) -> Iterator[str]:
    bounds = [bound for bound in (prop.minimum, prop.maximum) if bound is not None]
    if not bounds:
        return
    if prop.type not in NUMBERS:
        yield f"{where} of type {prop.type} has no minimum or maximum; numbers have"
        return
    for bound in bounds:
        problem = _number_problem(prop.type, bound)
        if problem:
            yield f"{where}: the bound {bound} {problem}"
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        yield f"{where}: minimum {bounds[0]} is above maximum {bounds[1]}"


def _default(where: str, prop: PropertySpec, made: Design) -> Iterator[str]:
    value = prop.default
    if value is None:
        return
    if prop.type in DATES:
        yield f"{where} of type {prop.type} takes no default: a required one starts with today"
    elif prop.type == "enum":
        enum = made.enum_by_name.get(prop.enum or "")
        if enum and value not in enum.values:
            yield f"{where}: default {value!r} is no value of {enum.name}: {_listed(enum.values)}"
    elif prop.type == "bool":
        if not isinstance(value, bool):
            yield f"{where}: default {value!r} must be true or false"
    elif prop.type in NUMBERS:
        yield from _number_default(where, prop, value)
    elif not isinstance(value, str):
        yield f"{where}: default {value!r} must be a text"
    elif prop.max_length is not None and len(value) > prop.max_length:
        yield f"{where}: default {value!r} is longer than max_length {prop.max_length}"


def _number_default(where: str, prop: PropertySpec, value: str | float | bool) -> Iterator[str]:
    if isinstance(value, (str, bool)):
        yield f"{where}: default {value!r} must be a number"
        return
    problem = _number_problem(prop.type, value)
    if problem:
        yield f"{where}: default {value} {problem}"
    below = prop.minimum is not None and value < prop.minimum
    above = prop.maximum is not None and value > prop.maximum
    if below or above:
        yield f"{where}: default {value} is outside its minimum and maximum"


def _number_problem(type_: PropertyType, value: float) -> str | None:
    exact = Decimal(str(value))
    if not exact.is_finite():
        return "must be a finite number"
    if type_ in ("int", "long") and exact != exact.to_integral_value():
        return "must be a whole number"
    if type_ in _LIMITS and abs(exact) > _LIMITS[type_]:
        return f"is beyond what {type_} can hold"
    return None


def _view(view: ViewSpec, made: Design) -> Iterator[str]:
    where = f"view {view.name!r}"
    yield from _name(where, view.name)
    if not view.name.endswith("View") or view.name == "View":
        yield f"{where} must end in View, such as {view.name.removesuffix('View')}ListView"
    entity = made.by_name.get(view.entity)
    if entity is None:
        yield f"{where} lists {view.entity!r}; there are: {', '.join(made.by_name)}"
        return
    possible = columns(entity)
    for column in view.columns:
        if column not in possible:
            yield f"{where}: there is no column {column!r}; there are: {', '.join(possible)}"
    yield from _repeated(f"{where}: column", view.columns)


def _type_names(made: Design) -> Iterator[str]:
    names = [
        *(enum.name for enum in made.enums),
        *(name for entity in made.entities for name in _types_of(entity)),
        *(
            name
            for view in made.views
            for name in (view.name, view.view_model, f"{view.view_model}Tests")
        ),
    ]
    yield from _repeated("type", names)
    for name in names:
        if name in reserved.GENERATED_TYPES:
            yield f"the name {name!r} belongs to a part that every application has; choose another"
        elif name in reserved.FRAMEWORK_TYPES:
            yield f"the name {name!r} would hide a .NET type of that name; choose another"
    roots = {made.name, *made.namespace.split(".")}
    for name in names:
        if name in roots:
            yield f"the name {name!r} is also part of the namespace; choose another for one of them"
    sets = [entity.plural for entity in made.entities]
    yield from _repeated("plural", sets)
    for name in sets:
        if name in reserved.DB_CONTEXT_MEMBERS:
            yield f"the plural {name!r} is a member of DbContext; set another plural"
    yield from _repeated("table", [*sets, *(ln.table for e in made.entities for ln in e.links)])


def _types_of(entity: Entity) -> tuple[str, ...]:
    return (
        entity.name,
        entity.service,
        entity.configuration,
        entity.editor,
        entity.editor_view,
        f"{entity.service}Tests",
        f"{entity.editor}Tests",
    )


def _members(entity: Entity, enums: Collection[str]) -> Iterator[str]:
    where = f"entity {entity.name!r}: member"
    yield from _repeated(where, entity.members)
    yield from _repeated(f"{where} of its form", entity.editor_members)
    for name in entity.members:
        if name == entity.name:
            yield f"{where} {name!r} has the name of the entity itself; choose another"
        elif name in reserved.ENTITY_MEMBERS:
            yield f"{where} {name!r} is there already in every entity; choose another"
    for name in (*entity.members, *entity.editor_members):
        if name in reserved.STATIC_NAMES:
            yield f"{where} {name!r} would hide a .NET type of that name; choose another"
    for prop in entity.properties:
        if prop.name in enums and prop.cs_type != prop.name:
            yield f"{where} {prop.name!r} would hide the enum of that name; choose another"
    for name in entity.editor_members:
        if name in reserved.EDITOR_MEMBERS:
            yield f"{where} {name!r} is there already in every form; choose another"


def _circles(made: Design) -> Iterator[str]:
    """Entities that each require another one to be saved first, so that none ever can be."""
    required = {
        entity.name: [ref for ref in entity.references if ref.required] for entity in made.entities
    }
    for start in required:
        circle = _way_back(start, required)
        if circle:
            yield (
                f"none of {' -> '.join(circle)} could be saved first, since each requires the "
                "next; make one of these relations optional"
            )


def _way_back(start: str, required: dict[str, list[Reference]]) -> list[str] | None:
    """The shortest way from an entity to itself, told once: from its smallest member."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for ref in required[way[-1]]:
            if ref.target == start:
                return [*way, start] if start == min(way) else None
            if ref.target not in seen:
                seen.add(ref.target)
                ways.append([*way, ref.target])
    return None


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    """Names that differ in nothing but case count as the same: files and columns do."""
    first: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded not in first:
            first[folded] = name
        elif first[folded] == name:
            yield f"{what} {name!r} is there twice"
        else:
            yield f"{what} {name!r} differs from {first[folded]!r} only by case"


def _unprintable(specification: Specification) -> Iterator[str]:
    """Texts that XML cannot hold, wherever they stand."""
    for text in _texts(dataclasses.asdict(specification)):
        if any(
            unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\r\t" for char in text
        ):
            yield f"the text {text!r} holds control characters; remove them"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names if isinstance(names, tuple) else sorted(names))
