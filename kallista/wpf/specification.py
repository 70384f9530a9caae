"""The words in which a user says what to design and what to generate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Pattern: TypeAlias = Literal["MVVM"]
"""The architectures there are templates for."""

PropertyType: TypeAlias = Literal[
    "string",
    "text",
    "email",
    "phone",
    "url",
    "int",
    "long",
    "double",
    "decimal",
    "money",
    "bool",
    "date",
    "datetime",
    "enum",
]
"""What a property may hold; ``text`` is a string of several lines, ``datetime`` a UTC moment."""

RelationKind: TypeAlias = Literal["many_to_one", "one_to_many", "many_to_many"]

OnDelete: TypeAlias = Literal["restrict", "cascade", "set_null"]

Template: TypeAlias = Literal[
    "wpf_project",
    "wpf_main",
    "wpf_model",
    "wpf_data",
    "wpf_viewmodel",
    "wpf_view",
    "wpf_tests",
]
"""The parts of a solution that can be generated on their own."""

TEMPLATES: Final[tuple[Template, ...]] = get_args(Template)

PATTERNS: Final[tuple[Pattern, ...]] = get_args(Pattern)

STRICT: Final = {"extra": "forbid", "use_attribute_docstrings": True}
"""How pydantic reads these classes: unknown keys are errors, docstrings are descriptions."""


@dataclass(frozen=True, slots=True)
class EnumSpec:
    """A closed list of values that a property may have."""

    __pydantic_config__ = STRICT

    name: str
    """A C# identifier that starts with a capital letter."""

    values: tuple[str, ...]
    """The values in their order, each a C# identifier that starts with a capital letter."""

    description: str = ""
    """One sentence for the reader of the code."""


@dataclass(frozen=True, slots=True)
class PropertySpec:
    """One field of an entity."""

    __pydantic_config__ = STRICT

    name: str
    """A C# identifier that starts with a capital letter."""

    type: PropertyType = "string"
    """What it holds."""

    required: bool = False
    """Whether an entity can be saved without a value."""

    unique: bool = False
    """Whether two entities may share a value."""

    max_length: int | None = None
    """The longest text, in characters; 100 for a string, 2,000 for a text when not said."""

    minimum: int | float | None = None
    """The smallest number."""

    maximum: int | float | None = None
    """The largest number."""

    default: str | int | float | bool | None = None
    """What a new entity starts with; for an enum, the name of a value."""

    enum: str | None = None
    """The name of the enum, when the type is ``enum``."""

    title: str | None = None
    """What the form calls it; made from the name when not said."""

    description: str = ""
    """One sentence for the reader of the code and the form."""


@dataclass(frozen=True, slots=True)
class RelationSpec:
    """How one entity refers to another; said once, on either side."""

    __pydantic_config__ = STRICT

    name: str
    """What this entity calls the other: ``Category``, or ``Lines`` for several."""

    to: str
    """The name of the other entity."""

    kind: RelationKind = "many_to_one"
    """How many there are on each side, read from here."""

    required: bool = False
    """Whether the side that refers to one can be saved without it."""

    inverse: str | None = None
    """What the other entity calls this one; made from the names when not said."""

    on_delete: OnDelete | None = None
    """What deleting the one does to the many; ``restrict`` if required, else ``set_null``."""

    title: str | None = None
    """What the form calls it; made from the name when not said."""


@dataclass(frozen=True, slots=True)
class EntitySpec:
    """A kind of thing that the application keeps."""

    __pydantic_config__ = STRICT

    name: str
    """A C# identifier that starts with a capital letter, in the singular."""

    properties: tuple[PropertySpec, ...] = ()
    """Its fields; a numeric ``Id`` comes with every entity."""

    relations: tuple[RelationSpec, ...] = ()
    """The other entities it refers to."""

    plural: str | None = None
    """Several of them; made by the rules of English when not said."""

    title: str | None = None
    """What people call one; made from the name when not said."""

    description: str = ""
    """One sentence for the reader of the code."""


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A page of the application: a list of entities beside a form for one."""

    __pydantic_config__ = STRICT

    name: str
    """A C# identifier that ends in ``View``."""

    entity: str
    """The entity it lists."""

    title: str | None = None
    """What the menu calls it; the entity's plural when not said."""

    columns: tuple[str, ...] = ()
    """The properties and relations that the list shows; all but long texts when not said."""


@dataclass(frozen=True, slots=True)
class Specification:
    """A whole application, as its user describes it."""

    __pydantic_config__ = STRICT

    name: str = "SampleApp"
    """The solution's name: a C# identifier that starts with a capital letter."""

    namespace: str | None = None
    """The root namespace; the name when not said."""

    pattern: str = "MVVM"
    """The architecture."""

    title: str | None = None
    """What the window says; made from the name when not said."""

    description: str = ""
    """One sentence for the README."""

    entities: tuple[EntitySpec, ...] = ()
    """What it keeps; a small to-do list when there are none."""

    enums: tuple[EnumSpec, ...] = ()
    """The closed lists that properties choose from."""

    views: tuple[ViewSpec, ...] = ()
    """Its pages; one for each entity when not said."""
