"""The definitions that ship with Kallista for designing applications."""

from __future__ import annotations

from typing import Final

SYSTEM_DESIGN_WORKFLOW: Final[dict[str, object]] = {
    "kind": "workflow",
    "name": "System Design",
    "inputs": {
        "name": {"type": "string", "default": "SampleApp"},
        "namespace": {"type": ["string", "null"], "default": None},
        "pattern": {"type": "string", "default": "MVVM"},
        "title": {"type": ["string", "null"], "default": None},
        "description": {"type": "string", "default": ""},
        "entities": {"type": "array", "default": []},
        "enums": {"type": "array", "default": []},
        "views": {"type": "array", "default": []},
        "output_dir": {"type": ["string", "null"], "default": None},
        "overwrite": {"type": "boolean", "default": False},
    },
    "tasks": [
        {
            "id": "design",
            "type": "system_design",
            "name": "Turn the specification into a design",
            "config": {
                "name": "${inputs.name}",
                "namespace": "${inputs.namespace}",
                "pattern": "${inputs.pattern}",
                "title": "${inputs.title}",
                "description": "${inputs.description}",
                "entities": "${inputs.entities}",
                "enums": "${inputs.enums}",
                "views": "${inputs.views}",
                "output_dir": "${inputs.output_dir}",
                "overwrite": "${inputs.overwrite}",
            },
        }
    ],
}
"""The workflow that a step of type workflow with the name ``System Design`` runs."""
