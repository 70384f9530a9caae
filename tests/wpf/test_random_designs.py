"""Whatever design passes the review generates a solution that passes every check."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kallista.errors import KallistaError
from kallista.wpf.errors import DesignError
from kallista.wpf.review import design
from kallista.wpf.specification import (
    EntitySpec,
    EnumSpec,
    PropertySpec,
    PropertyType,
    RelationKind,
    RelationSpec,
    Specification,
)

from .checks import problems
from .support import bytes_of, designed, generated

_TYPES: list[PropertyType] = [
    "string", "text", "email", "phone", "url", "int", "long", "double", "decimal", "money",
    "bool", "date", "datetime", "enum",
]  # fmt: skip

_ENTITIES = ["Alpha", "Bêta", "GammaRay", "Delta2", "Class", "Event", "Z", "商品"]
_MEMBERS = ["Title", "Name", "URL", "X", "Größe", "Value", "Text", "Items", "Value_2", "Record"]
_RELATIONS = ["Owner", "Parent", "Members", "Source", "Target"]
_KINDS: list[RelationKind] = ["many_to_one", "one_to_many", "many_to_many"]
_texts = st.text(
    st.sampled_from("ab {}\"\\<>&|'\n%$_*`[]()é漢\u2028-;:,./"), min_size=1, max_size=12
).filter(lambda text: text.strip() != "")


@st.composite
def _property(draw: st.DrawFn, name: str) -> PropertySpec:
    kind = draw(st.sampled_from(_TYPES))
    numeric = kind in ("int", "long", "double", "decimal", "money")
    low = draw(st.none() | st.integers(-5, 5)) if numeric else None
    high = draw(st.none() | st.integers(6, 9000)) if numeric else None
    default: str | int | bool | None = None
    if draw(st.booleans()):
        if kind == "enum":
            default = "Second"
        elif kind == "bool":
            default = draw(st.booleans())
        elif numeric:
            default = 6 if high is not None else draw(st.integers(5, 99))
        elif kind in ("string", "text"):
            default = draw(_texts)
    return PropertySpec(
        name=name,
        type=kind,
        required=draw(st.booleans()),
        unique=kind in ("string", "int", "email") and draw(st.booleans()),
        max_length=draw(st.none() | st.integers(12, 90)) if kind in ("string", "text") else None,
        minimum=low,
        maximum=high,
        default=default,
        enum="Level" if kind == "enum" else None,
        title=draw(st.none() | _texts),
        description=draw(st.just("") | _texts),
    )


@st.composite
def _entity(draw: st.DrawFn, name: str, others: list[str]) -> EntitySpec:
    members = draw(st.lists(st.sampled_from(_MEMBERS), unique=True, min_size=1, max_size=5))
    relations = []
    for relation in draw(st.lists(st.sampled_from(_RELATIONS), unique=True, max_size=3)):
        kind = draw(st.sampled_from(_KINDS))
        one = kind != "many_to_many"
        required = one and draw(st.booleans())
        relations.append(
            RelationSpec(
                name=relation,
                to=draw(st.sampled_from(others)),
                kind=kind,
                required=required,
                on_delete=draw(st.sampled_from([None, "restrict", "cascade"])) if one else None,
                title=draw(st.none() | _texts),
            )
        )
    return EntitySpec(
        name=name,
        properties=tuple(draw(_property(member)) for member in members),
        relations=tuple(relations),
        title=draw(st.none() | _texts),
        description=draw(st.just("") | _texts),
    )


@st.composite
def _specifications(draw: st.DrawFn) -> Specification:
    names = draw(st.lists(st.sampled_from(_ENTITIES), unique=True, min_size=1, max_size=4))
    return Specification(
        name="RandomApp",
        namespace=draw(st.sampled_from([None, "Acme.Random", "acme.tools"])),
        title=draw(st.none() | _texts),
        description=draw(st.just("") | _texts),
        entities=tuple(draw(_entity(name, names)) for name in names),
        enums=(EnumSpec("Level", ("First", "Second", "InBetween")),),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(_specifications())
def test_what_passes_the_review_passes_every_check(specification: Specification) -> None:
    """Names, titles and relations of any kind end in a solution whose every name exists."""
    try:
        design(specification)
    except DesignError:
        assume(False)
    folder = Path(tempfile.mkdtemp())
    try:
        generated(specification, folder / "one")
        assert problems(folder / "one") == []
        generated(specification, folder / "two")
        assert bytes_of(folder / "one") == bytes_of(folder / "two")
    finally:
        shutil.rmtree(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_name_leads_out_of_the_folder(solution: str, entity: str, member: str) -> None:
    """Any text as a name either makes files inside the folder, or an error and no file at all."""
    folder = Path(tempfile.mkdtemp())
    said = Specification(name=solution, entities=(EntitySpec(entity, (PropertySpec(member),)),))
    try:
        designed(said, folder / "out")
    except KallistaError:
        assert list(folder.iterdir()) == []
    else:
        assert [path.name for path in folder.iterdir()] == ["out"]
    finally:
        shutil.rmtree(folder)
