"""The design of an application: its specification with every name made and every gap filled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kallista.wpf import naming, sample
from kallista.wpf.relations import Link, Reference, plural_of, resolve
from kallista.wpf.specification import (
    EntitySpec,
    EnumSpec,
    PropertySpec,
    PropertyType,
    Specification,
    ViewSpec,
)

TEXTS: Final = frozenset[PropertyType](["string", "text", "email", "phone", "url"])
NUMBERS: Final = frozenset[PropertyType](["int", "long", "double", "decimal", "money"])
DATES: Final = frozenset[PropertyType](["date", "datetime"])

_MAX_LENGTHS: Final[dict[PropertyType, int]] = {
    "string": 100,
    "text": 2000,
    "email": 254,
    "phone": 32,
    "url": 500,
}

_CS_TYPES: Final[dict[PropertyType, str]] = {
    **dict.fromkeys(TEXTS, "string"),
    "int": "int",
    "long": "long",
    "double": "double",
    "decimal": "decimal",
    "money": "decimal",
    "bool": "bool",
    "date": "DateOnly",
    "datetime": "DateTime",
}


@dataclass(frozen=True)
class Property:
    """A field of an entity, with its shape in C#."""

    spec: PropertySpec

    @property
    def name(self) -> str:
        """Its name in C#."""
        return self.spec.name

    @property
    def type(self) -> PropertyType:
        """What it holds."""
        return self.spec.type

    @property
    def required(self) -> bool:
        """Whether it always has a value."""
        return self.spec.required

    @property
    def title(self) -> str:
        """What the form calls it."""
        return self.spec.title or naming.words(self.name)

    @property
    def field(self) -> str:
        """The private field in the form's view model."""
        return naming.field(self.name)

    @property
    def options(self) -> str:
        """The form's list of what can be chosen, for an enum."""
        return f"{self.name}Options"

    @property
    def is_text(self) -> bool:
        """Whether it is a string in C#."""
        return self.type in TEXTS

    @property
    def is_number(self) -> bool:
        """Whether it can be compared with a minimum and a maximum."""
        return self.type in NUMBERS

    @property
    def max_length(self) -> int | None:
        """The longest text, or None when it is no text."""
        return self.spec.max_length or _MAX_LENGTHS.get(self.type)

    @property
    def cs_type(self) -> str:
        """Its C# type without the question mark."""
        return self.spec.enum or "string" if self.type == "enum" else _CS_TYPES[self.type]

    @property
    def model_type(self) -> str:
        """Its C# type in the model."""
        return self.cs_type if self.required else f"{self.cs_type}?"

    @property
    def editor_type(self) -> str:
        """Its C# type in the form: what can be emptied can be missing until it is validated."""
        can_be_empty = self.is_number or self.type in DATES
        return f"{self.cs_type}?" if can_be_empty else self.model_type


@dataclass(frozen=True)
class Enum:
    """A closed list of values."""

    spec: EnumSpec

    @property
    def name(self) -> str:
        """Its name in C#."""
        return self.spec.name

    @property
    def values(self) -> tuple[str, ...]:
        """Its values, in their order."""
        return self.spec.values

    @property
    def longest(self) -> int:
        """The length of its longest value, in characters."""
        return max(len(value) for value in self.values)

    @property
    def description(self) -> str:
        """One sentence for the reader of the code."""
        return self.spec.description or f"The values of {naming.words(self.name).lower()}."


@dataclass(frozen=True)
class Entity:
    """A kind of thing the application keeps, with both ends of its relations.

    Args:
        spec: What the user said.
        properties: Its fields.
        references: The entities it refers to one of.
        collections: The references that others have to it.
        links: Its many-to-many relations that its own form edits.
        linked: Its many-to-many relations that another form edits.
    """

    spec: EntitySpec
    properties: tuple[Property, ...]
    references: tuple[Reference, ...]
    collections: tuple[Reference, ...]
    links: tuple[Link, ...]
    linked: tuple[Link, ...]

    @property
    def name(self) -> str:
        """Its name in C#."""
        return self.spec.name

    @property
    def plural(self) -> str:
        """What several of them are called in C#."""
        return plural_of(self.spec)

    @property
    def title(self) -> str:
        """What people call one."""
        return self.spec.title or naming.words(self.name)

    @property
    def titles(self) -> str:
        """What people call several."""
        if self.spec.title:
            return naming.plural(self.spec.title)
        return naming.words(self.plural)

    @property
    def description(self) -> str:
        """One sentence for the reader of the code."""
        return self.spec.description or f"One of the {self.titles.lower()}."

    @property
    def service(self) -> str:
        """The class that loads and saves it."""
        return f"{self.name}Service"

    @property
    def configuration(self) -> str:
        """The class that maps it to a table."""
        return f"{self.name}Configuration"

    @property
    def editor(self) -> str:
        """The view model of its form."""
        return f"{self.name}EditorViewModel"

    @property
    def editor_view(self) -> str:
        """The view of its form."""
        return f"{self.name}EditorView"

    @cached_property
    def display(self) -> Property | None:
        """The property people know it by: its first required one-line text, or else its first."""
        lines = [prop for prop in self.properties if prop.is_text and prop.type != "text"]
        required = [prop for prop in lines if prop.required]
        return next(iter(required or lines), None)

    @property
    def newest_first(self) -> Property | None:
        """The moment its lists are ordered by, when it has no name to be ordered by."""
        if self.display is not None and self.display.required:
            return None
        dates = [prop for prop in self.properties if prop.type in DATES]
        return next((prop for prop in dates if prop.required), next(iter(dates), None))

    @property
    def searched(self) -> tuple[Property, ...]:
        """The properties that a search looks into."""
        return tuple(prop for prop in self.properties if prop.is_text)

    @property
    def chosen_from(self) -> tuple[str, ...]:
        """The other entities that its form lists to choose from, each once."""
        targets = [ref.target for ref in self.references] + [link.target for link in self.links]
        return tuple(dict.fromkeys(target for target in targets if target != self.name))

    @property
    def members(self) -> tuple[str, ...]:
        """Every member of its class that the design names."""
        return (
            *(prop.name for prop in self.properties),
            *(name for ref in self.references for name in (ref.name, ref.key)),
            *(ref.inverse for ref in self.collections),
            *(link.name for link in self.links),
            *(link.inverse for link in self.linked),
        )

    @property
    def editor_members(self) -> tuple[str, ...]:
        """Every member of its form's view model that the design names."""
        return (
            *(prop.name for prop in self.properties),
            *(prop.options for prop in self.properties if prop.type == "enum"),
            *(name for ref in self.references for name in (ref.key, ref.options)),
            *(link.options for link in self.links),
        )


@dataclass(frozen=True)
class Column:
    """A column of a list: a property, or the entity that a reference leads to."""

    title: str
    property: Property | None = None
    reference: Reference | None = None


@dataclass(frozen=True)
class View:
    """A page: a list of entities beside a form for one."""

    name: str
    title: str
    entity: Entity
    columns: tuple[Column, ...]

    @property
    def view_model(self) -> str:
        """The page's view model."""
        return f"{self.name}Model"


@dataclass(frozen=True)
class Design:
    """A whole application, ready to be rendered."""

    specification: Specification
    entities: tuple[Entity, ...]
    enums: tuple[Enum, ...]
    views: tuple[View, ...]

    @property
    def name(self) -> str:
        """The solution's name."""
        return self.specification.name

    @property
    def namespace(self) -> str:
        """The root namespace."""
        return self.specification.namespace or self.name

    @property
    def title(self) -> str:
        """What the window says."""
        return self.specification.title or naming.words(self.name)

    @property
    def description(self) -> str:
        """One sentence for the README."""
        return self.specification.description or f"{self.title}, a desktop application."

    @cached_property
    def by_name(self) -> dict[str, Entity]:
        """The entities by their names."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def enum_by_name(self) -> dict[str, Enum]:
        """The enums by their names."""
        return {enum.name: enum for enum in self.enums}

    @property
    def edited(self) -> tuple[Entity, ...]:
        """The entities that have a page, and so a form."""
        shown = {view.entity.name for view in self.views}
        return tuple(entity for entity in self.entities if entity.name in shown)


def build(specification: Specification) -> Design:
    """Fill every gap of a specification that ``review`` found nothing wrong with."""
    said = bool(specification.entities)
    entity_specs = specification.entities if said else sample.ENTITIES
    enum_specs = (*specification.enums, *(() if said else sample.ENUMS))
    references, links = resolve(entity_specs)
    entities = tuple(_entity(spec, references, links) for spec in entity_specs)
    by_name = {entity.name: entity for entity in entities}
    view_specs = specification.views or tuple(_view_of(entity) for entity in entities)
    return Design(
        specification=specification,
        entities=entities,
        enums=tuple(Enum(spec) for spec in enum_specs),
        views=tuple(_view(spec, by_name) for spec in view_specs if spec.entity in by_name),
    )


def _entity(spec: EntitySpec, references: tuple[Reference, ...], links: tuple[Link, ...]) -> Entity:
    return Entity(
        spec=spec,
        properties=tuple(Property(prop) for prop in spec.properties),
        references=tuple(ref for ref in references if ref.owner == spec.name),
        collections=tuple(ref for ref in references if ref.target == spec.name),
        links=tuple(link for link in links if link.owner == spec.name),
        linked=tuple(link for link in links if link.target == spec.name),
    )


def _view_of(entity: Entity) -> ViewSpec:
    return ViewSpec(f"{entity.plural}View", entity.name)


def _view(spec: ViewSpec, entities: dict[str, Entity]) -> View:
    entity = entities[spec.entity]
    possible = columns(entity)
    chosen = spec.columns or tuple(
        name for name, column in possible.items() if not _is_long(column)
    )
    return View(
        name=spec.name,
        title=spec.title or entity.titles,
        entity=entity,
        columns=tuple(possible[name] for name in chosen if name in possible),
    )


def columns(entity: Entity) -> dict[str, Column]:
    """The columns that a list of an entity may have, by the name to ask for them."""
    return {
        **{prop.name: Column(prop.title, property=prop) for prop in entity.properties},
        **{ref.name: Column(ref.title, reference=ref) for ref in entity.references},
    }


def _is_long(column: Column) -> bool:
    return column.property is not None and column.property.type == "text"
