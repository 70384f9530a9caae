"""A specification becomes a design, or every reason why it cannot is told at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kallista.wpf import document, naming
from kallista.wpf.errors import DesignError, PatternError
from kallista.wpf.review import design
from kallista.wpf.specification import Specification

from .support import designed, specification_of


def _problems(**said: object) -> str:
    with pytest.raises(DesignError) as caught:
        design(specification_of({"name": "Shop", **said}))
    return "\n".join(caught.value.problems)


def _entity(name: str = "Thing", **said: object) -> dict[str, object]:
    return {"name": name, "properties": [{"name": "Name"}], **said}


def test_the_default_design_is_a_small_application() -> None:
    """Nothing said is a to-do list, with relations and an enum."""
    made = design(Specification())
    assert [entity.name for entity in made.entities] == ["TodoList", "TodoItem"]
    assert [view.name for view in made.views] == ["TodoListsView", "TodoItemsView"]


def test_another_pattern_is_refused_with_what_there_is() -> None:
    """The error for an unknown pattern lists the known ones."""
    with pytest.raises(PatternError, match=r"'MVC'; there are: MVVM"):
        design(Specification(pattern="MVC"))


def test_all_problems_are_told_at_once() -> None:
    """One error names every wrong place, so that one edit mends all."""
    told = _problems(
        namespace="Acme.class",
        enums=[{"name": "Colour", "values": []}],
        entities=[
            _entity("order item"),
            {"name": "Part", "properties": [{"name": "Kind", "type": "enum", "enum": "Color"}]},
            _entity("Box", relations=[{"name": "Owner", "to": "Person"}]),
        ],
        views=[{"name": "Boxes", "entity": "Box", "columns": ["Size"]}],
    )
    assert "namespace 'Acme.class' has the part 'class', which is a C# keyword" in told
    assert "enum 'Colour' has no values" in told
    assert "entity 'order item' is no C# identifier" in told
    assert "is of the enum 'Color'; there are: Colour" in told
    assert "leads to 'Person'; there are: order item, Part, Box" in told
    assert "view 'Boxes' must end in View" in told
    assert "there is no column 'Size'; there are: Name" in told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "is a C# keyword"),
        ("Order Line", "is no C# identifier"),
        ("../../etc/Passwd", "is no C# identifier"),
        ("..\\Outside", "is no C# identifier"),
        ("C:Order", "is no C# identifier"),
        ("", "is no C# identifier"),
        ("2Fast", "is no C# identifier"),
        ("order", "must start with a capital letter, such as Order"),
        ("_Order", "must start with a capital letter, such as Order"),
        ("\u0130d", "must start with a capital letter"),
        ("Con", "is a device on Windows"),
        ("Aux", "is a device on Windows"),
        ("Com1", "is a device on Windows"),
        ("X" * 61, "is longer than 60 characters"),
        ("E\u0301tat", "is no C# identifier"),
    ],
)
def test_names_that_cannot_be_are_refused(name: str, reason: str) -> None:
    """A name that C#, the file system or Windows cannot bear never reaches a path."""
    assert reason in _problems(entities=[_entity(name)])


@pytest.mark.parametrize("name", ["Task", "Range", "DbContext", "MainViewModel", "Entity", "Shop"])
def test_names_that_would_hide_others_are_refused(name: str) -> None:
    """An entity cannot be called like a type that the generated code uses, or its namespace."""
    assert f"the name {name!r}" in _problems(entities=[_entity(name)])


def test_namespaces_that_would_hide_others_are_refused() -> None:
    """``Acme.Window`` would hide the window that every application has."""
    assert "has the part 'Window'" in _problems(namespace="Acme.Window")
    assert "has the part 'System'" in _problems(namespace="System")


def test_names_in_other_alphabets_are_welcome() -> None:
    """C# takes letters of every alphabet, and so does a design."""
    made = design(
        specification_of({"entities": [_entity("Descrição"), _entity("Größe"), _entity("商品")]})
    )
    assert [entity.name for entity in made.entities] == ["Descrição", "Größe", "商品"]


def test_names_that_differ_only_by_case_are_refused() -> None:
    """``Order.cs`` and ``ORDER.cs`` are one file on Windows and macOS, and one table in SQLite."""
    assert "'ORDER' differs from 'Order' only by case" in _problems(
        entities=[_entity("Order"), _entity("ORDER", plural="Others")]
    )
    twice = _entity(properties=[{"name": "Name"}, {"name": "NAME"}])
    assert "'NAME' differs from 'Name' only by case" in _problems(entities=[twice])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Id", "is there already in every entity"),
        ("DisplayName", "is there already in every entity"),
        ("HasErrors", "is there already in every form"),
        ("SaveCommand", "is there already in every form"),
        ("Thing", "has the name of the entity itself"),
        ("DateTime", "would hide a .NET type"),
    ],
)
def test_members_that_are_taken_are_refused(name: str, reason: str) -> None:
    """A property cannot be called like something that entities or forms have anyway."""
    assert reason in _problems(entities=[_entity(properties=[{"name": name}])])


def test_members_made_by_relations_count_too() -> None:
    """A foreign key or the other end of a relation cannot meet a property of its name."""
    told = _problems(
        entities=[
            _entity("Owner", properties=[{"name": "Things"}]),
            _entity(
                properties=[{"name": "OwnerId", "type": "int"}],
                relations=[{"name": "Owner", "to": "Owner"}],
            ),
        ]
    )
    assert "entity 'Owner': member 'Things' is there twice" in told
    assert "entity 'Thing': member 'OwnerId' is there twice" in told


@pytest.mark.parametrize(
    ("prop", "reason"),
    [
        ({"type": "bool", "unique": True}, "of type bool cannot be unique"),
        ({"type": "int", "max_length": 5}, "of type int has no max_length"),
        ({"max_length": 0}, "max_length is 0"),
        ({"type": "email", "max_length": 5}, "at least 32"),
        ({"minimum": 1}, "has no minimum or maximum"),
        ({"type": "int", "minimum": 5, "maximum": 1}, "minimum 5 is above maximum 1"),
        ({"type": "int", "minimum": 0.5}, "must be a whole number"),
        ({"type": "int", "maximum": 3_000_000_000}, "beyond what int can hold"),
        ({"type": "money", "maximum": 1e15}, "beyond what money can hold"),
        ({"type": "double", "maximum": float("inf")}, "must be a finite number"),
        ({"type": "int", "default": "three"}, "must be a number"),
        ({"type": "int", "minimum": 1, "default": 0}, "outside its minimum and maximum"),
        ({"type": "bool", "default": 1}, "must be true or false"),
        ({"type": "date", "default": "2024-01-01"}, "takes no default"),
        ({"max_length": 2, "default": "long"}, "is longer than max_length 2"),
        ({"enum": "Colour"}, "use type: enum"),
        ({"title": "a\x00b"}, "holds control characters"),
    ],
)
def test_properties_that_contradict_themselves_are_refused(
    prop: dict[str, object], reason: str
) -> None:
    """A field is checked against its own type before code is made of it."""
    assert reason in _problems(entities=[_entity(properties=[{"name": "Field", **prop}])])


def test_entities_that_wait_for_each_other_are_refused() -> None:
    """A circle of required relations could never be saved; the circle is shown once."""
    told = _problems(
        entities=[
            _entity("Hen", relations=[{"name": "Egg", "to": "Egg", "required": True}]),
            _entity("Egg", relations=[{"name": "Hen", "to": "Hen", "required": True}]),
            _entity("Fox", relations=[{"name": "Hen", "to": "Hen", "required": True}]),
        ]
    )
    assert told.count("could be saved first") == 1
    assert "Egg -> Hen -> Egg" in told


def test_relations_have_two_ends() -> None:
    """What is said on one side is known on the other, whichever side said it."""
    made = design(
        specification_of(
            {
                "entities": [
                    _entity(
                        "Order",
                        relations=[
                            {"name": "Lines", "to": "Line", "kind": "one_to_many"},
                            {"name": "Labels", "to": "Label", "kind": "many_to_many"},
                        ],
                    ),
                    _entity("Line", relations=[{"name": "Mentor", "to": "Line"}]),
                    _entity("Label"),
                ]
            }
        )
    )
    order, line, label = made.entities
    assert order.members == ("Name", "Lines", "Labels")
    assert line.members == ("Name", "Order", "OrderId", "Mentor", "MentorId", "MentorOf")
    assert label.members == ("Name", "Orders")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("StockMovement", "Stock movement"),
        ("SKU", "SKU"),
        ("DueOn", "Due on"),
        ("HTMLText", "HTML text"),
        ("Größe", "Größe"),
        ("Line2", "Line 2"),
    ],
)
def test_names_are_read_as_words(name: str, expected: str) -> None:
    """Titles are made from names as a person would write them."""
    assert naming.words(name) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("Category", "Categories"), ("Day", "Days"), ("Address", "Addresses"), ("Box", "Boxes")],
)
def test_plurals_are_regular(noun: str, expected: str) -> None:
    """Plurals follow the regular rules; others are said by ``plural``."""
    assert naming.plural(noun) == expected


def test_the_design_is_plain_data(inventory: Specification, tmp_path: Path) -> None:
    """A design survives JSON, says what it is, and leads back to the same design."""
    data = json.loads(json.dumps(designed(inventory, tmp_path)))
    assert data["kind"] == "kallista.wpf/design"
    assert {layer["name"] for layer in data["layers"]} == {
        "Views",
        "ViewModels",
        "Services",
        "Data",
        "Models",
    }
    for key in ("models", "view_models", "views", "services", "files"):
        assert data[key]
    assert document.load(data) == design(inventory)
    assert json.loads((tmp_path / "docs/design.json").read_text(encoding="utf-8")) == {
        key: value for key, value in data.items() if key not in ("output_dir", "documents")
    }


def test_the_design_can_be_read_by_people(inventory: Specification, tmp_path: Path) -> None:
    """The Markdown document has diagrams, and whole tables for every entity."""
    designed(inventory, tmp_path)
    text = (tmp_path / "docs/design.md").read_text(encoding="utf-8")
    assert text.count("```mermaid") == 2
    assert "erDiagram" in text
    assert 'Order ||--o{ OrderLine : "Order"' in text
    for entity in inventory.entities:
        assert f"    {entity.name} {{\n" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_a_changed_design_is_read_again() -> None:
    """Who edits a design's specification gets the same review as who wrote it."""
    data = document.as_data(design(Specification()))
    with pytest.raises(DesignError, match="is a C# keyword"):
        document.load({**data, "specification": {"name": "class"}})
    with pytest.raises(DesignError, match=r"entities\.0\.name"):
        document.load({**data, "specification": {"entities": [{}]}})
    with pytest.raises(DesignError, match="design the application again"):
        document.load({**data, "format": 99})
    with pytest.raises(DesignError, match="This is no design"):
        document.load({"kind": "other"})


def test_the_last_design_among_results_is_found() -> None:
    """Designs are found inside the results of workflows too; the last one wins."""
    first = {"kind": document.KIND, "name": "First"}
    last = {"kind": document.KIND, "name": "Last"}
    assert document.find({"a": first, "b": {"design": last}, "c": {"files": []}}) == last
    assert document.find({"a": {"b": {"design": first}}}) == first
    assert document.find({"a": {"files": []}, "b": None}) is None
