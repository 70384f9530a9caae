"""Relations as both sides see them: said once by the user, known to two entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kallista.wpf.naming import plural, words
from kallista.wpf.specification import EntitySpec, OnDelete, RelationSpec


@dataclass(frozen=True, slots=True)
class Reference:
    """An entity refers to one other, which has a collection of those that refer to it.

    Args:
        owner: The entity that holds the foreign key.
        name: What the owner calls the other.
        target: The other entity.
        inverse: What the target calls its collection of owners.
        required: Whether an owner can be saved without a target.
        on_delete: What deleting the target does to its owners.
        title: What the form calls it.
    """

    owner: str
    name: str
    target: str
    inverse: str
    required: bool
    on_delete: OnDelete
    title: str

    @property
    def key(self) -> str:
        """The foreign key property."""
        return f"{self.name}Id"

    @property
    def options(self) -> str:
        """The form's list of what can be chosen."""
        return f"{self.name}Options"


@dataclass(frozen=True, slots=True)
class Link:
    """Two entities that each have several of the other.

    Args:
        owner: The entity whose form edits it.
        name: What the owner calls the others.
        target: The other entity.
        inverse: What the target calls the owners.
        title: What the form calls it.
    """

    owner: str
    name: str
    target: str
    inverse: str
    title: str

    @property
    def table(self) -> str:
        """The table of pairs."""
        return f"{self.owner}_{self.name}"

    @property
    def options(self) -> str:
        """The form's list of what can be chosen."""
        return f"{self.name}Options"


def resolve(entities: Sequence[EntitySpec]) -> tuple[tuple[Reference, ...], tuple[Link, ...]]:
    """Give every relation both of its ends.

    Relations to entities that do not exist are left out; the review names them.
    """
    by_name = {entity.name: entity for entity in entities}
    known = [
        (entity, relation)
        for entity in entities
        for relation in entity.relations
        if relation.to in by_name
    ]
    pairs = Counter((entity.name, relation.to) for entity, relation in known)
    references: list[Reference] = []
    links: list[Link] = []
    for entity, relation in known:
        plain = pairs[entity.name, relation.to] == 1 and relation.to != entity.name
        if relation.kind == "many_to_many":
            links.append(_link(entity, relation, plain))
        elif relation.kind == "many_to_one":
            references.append(_many_to_one(entity, relation, plain))
        else:
            references.append(_one_to_many(entity, relation, plain))
    return tuple(references), tuple(links)


def plural_of(entity: EntitySpec) -> str:
    """What several of an entity are called in code."""
    return entity.plural or plural(entity.name)


def _link(entity: EntitySpec, relation: RelationSpec, plain: bool) -> Link:
    inverse = relation.inverse or (plural_of(entity) if plain else f"{relation.name}Of")
    title = relation.title or words(relation.name)
    return Link(entity.name, relation.name, relation.to, inverse, title)


def _many_to_one(entity: EntitySpec, relation: RelationSpec, plain: bool) -> Reference:
    return Reference(
        owner=entity.name,
        name=relation.name,
        target=relation.to,
        inverse=relation.inverse or (plural_of(entity) if plain else f"{relation.name}Of"),
        required=relation.required,
        on_delete=_on_delete(relation),
        title=relation.title or words(relation.name),
    )


def _one_to_many(entity: EntitySpec, relation: RelationSpec, plain: bool) -> Reference:
    name = relation.inverse or (entity.name if plain else f"{relation.name}Of")
    return Reference(
        owner=relation.to,
        name=name,
        target=entity.name,
        inverse=relation.name,
        required=relation.required,
        on_delete=_on_delete(relation),
        title=words(name),
    )


def _on_delete(relation: RelationSpec) -> OnDelete:
    return relation.on_delete or ("restrict" if relation.required else "set_null")
