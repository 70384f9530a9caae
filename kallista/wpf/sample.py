"""The small application that is made when nobody said what to keep: a to-do list."""

from __future__ import annotations

from typing import Final

from kallista.wpf.specification import EntitySpec, EnumSpec, PropertySpec, RelationSpec

ENUMS: Final = (EnumSpec("TodoPriority", ("Low", "Normal", "High"), "How urgent a to-do is."),)

ENTITIES: Final = (
    EntitySpec(
        "TodoList",
        properties=(
            PropertySpec("Name", required=True, unique=True, max_length=80),
            PropertySpec("Notes", "text"),
        ),
        title="List",
        description="To-dos that belong together.",
    ),
    EntitySpec(
        "TodoItem",
        properties=(
            PropertySpec("Title", required=True, max_length=200),
            PropertySpec("Priority", "enum", required=True, enum="TodoPriority", default="Normal"),
            PropertySpec("DueOn", "date", title="Due on"),
            PropertySpec("IsDone", "bool", required=True, title="Done"),
        ),
        relations=(
            RelationSpec("List", "TodoList", required=True, inverse="Items", on_delete="cascade"),
        ),
        title="To-do",
        description="One thing that remains to be done.",
    ),
)
