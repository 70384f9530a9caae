"""The JSON Schema of definition files, by which editors complete and check them.

It says what each key is for and how its value looks. What only a program can know (task types,
ids that are not there, cycles) is left to the parser, which accepts nothing that fails here.
"""

from __future__ import annotations

from typing import Final

from kallista.core.definitions import DEFAULT_MAX_PARALLEL, OnFailure
from kallista.core.dependencies import DependencyPolicy
from kallista.core.fields import MAX_COUNT, MAX_NAME, MAX_PRIORITY
from kallista.core.inputs import TYPES
from kallista.core.parsing.last import NOT_IN_FINALLY, NOT_IN_UNDOING
from kallista.core.parsing.maps import MAX_PARALLEL
from kallista.core.parsing.steps import OWN_LIST
from kallista.core.parsing.switches import SWITCH_KEYS
from kallista.core.parsing.tasks import AMONG_OTHERS, OF_CHILDREN
from kallista.core.trigger_rules import TriggerRule
from kallista.core.types import Json

Schema = dict[str, Json]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def definition_schema() -> Schema:
    """The schema of a definition file: a workflow, or a process."""
    workflow: Schema = {"tasks": _ref("tasks")}
    process: Schema = {"steps": _ref("steps"), "dependencies": _ref("dependencies")}
    return {
        "$schema": DIALECT,
        "title": "Kallista definition",
        "description": "A workflow (tasks, one after the other) or a process (a graph of steps).",
        "type": "object",
        "oneOf": [{"$ref": "#/$defs/workflow"}, {"$ref": "#/$defs/process"}],
        "$defs": {
            "workflow": _workflow(),
            "process": _process(),
            "config": _object(_settings(), "What holds for the run and for its steps."),
            "task": _task(),
            "undoing": _undoing(),
            "final": _final(),
            "finalStep": _final_step(),
            "step": _step(),
            "taskStep": _task_step(),
            "workflowTask": _child("workflow", workflow),
            "processTask": _child("process", process),
            "workflowStep": _child("workflow", {**_depends_on(), **workflow}),
            "processStep": _child("process", {**_depends_on(), **process}),
            "inlineStep": _inline_step(),
            "switch": _switch(),
            "case": _case(),
            "tasks": {
                "type": "array",
                "minItems": 1,
                "items": {"oneOf": _refs("task", "workflowTask", "processTask", "switch")},
                "description": "Tasks, run one after the other.",
            },
            "steps": _list(
                "Steps. Each depends on the one listed before it unless depends_on says otherwise.",
                "step",
            ),
            "dependencies": _dependencies(),
            "id": {
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$",
            },
            "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
            "tags": {"type": "array", "items": _ref("name")},
            "priority": {"type": "integer", "minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY},
            "duration": {
                "type": ["number", "string"],
                "minimum": 0,
                "examples": [90, "1m 30s", "PT1M30S"],
            },
            "retry": _retry(),
            "inputs": {
                "type": "object",
                "description": "The arguments a run may be given, by name: ${inputs.name}.",
                "propertyNames": _ref("id"),
                "additionalProperties": {"anyOf": [_ref("input"), {"type": "null"}]},
            },
            "input": _input(),
            "valueSchema": _object(_value_keys(), "How a value looks."),
        },
    }


def _dependencies() -> Schema:
    """A process that another waits for, or a list of such."""
    policy: Schema = {
        "enum": list(DependencyPolicy),
        "description": "If it fails: wait for its retry, fail as well, or go on without it (skip).",
    }
    with_policy = _object(
        {"process": _ref("id"), "on_failure": policy},
        "A process, and what becomes of this one if that fails.",
        required=["process"],
    )
    return {
        "description": "Processes that must have completed before this one starts.",
        "anyOf": [
            _ref("id"),
            {"type": "array", "items": {"anyOf": [_ref("id"), with_policy]}},
        ],
    }


def _workflow() -> Schema:
    own: Schema = {"kind": {"const": "workflow"}, "tasks": _ref("tasks")}
    return _object({**own, **_top()}, "Tasks, one after the other.", required=["tasks"])


def _process() -> Schema:
    own: Schema = {
        "kind": {"const": "process"},
        "steps": _ref("steps"),
        "dependencies": _nullable(_ref("dependencies")),
    }
    return _object({**own, **_top()}, "A graph of steps.", required=["steps"])


def _top() -> Schema:
    return {
        "id": _nullable(_ref("id", "The id of the run; running the file again goes on with it.")),
        "name": _nullable(_ref("name", "What people read.")),
        "config": _nullable(_ref("config")),
        **_settings(),
    }


def _settings() -> Schema:
    return {
        "continue_on_error": _nullable(
            _flag("Record failures of steps, and go on with what comes after them.")
        ),
        "retry": _nullable(_ref("retry", "How failed tasks are tried again.")),
        "timeout": _nullable(_ref("duration", "The limit of one attempt of a task.")),
        "deadline": _nullable(_ref("duration", "The limit of the whole run.")),
        "budget": {
            "type": ["object", "null"],
            "description": "What it may spend (ctx.spend) with all that it starts, by unit.",
            "propertyNames": _ref("id"),
            "additionalProperties": {"type": ["number", "string"], "minimum": 0},
            "examples": [{"usd": 5, "tokens": 200000}],
        },
        "expires_at": {
            "type": ["number", "string", "null"],
            "description": "Until when it is of use: a length from its creation, or a moment.",
            "examples": ["10m", "2030-05-01T18:00:00+02:00"],
        },
        "tags": _nullable(_ref("tags", "To find runs by.")),
        "priority": _nullable(_ref("priority", "Higher runs first; 0 when not said.")),
        "inputs": _nullable(_ref("inputs")),
        "on_failure": {
            "enum": [*OnFailure, None],
            "description": "rollback: what has completed is undone (compensate).",
        },
        "finally": {
            "anyOf": [
                {"type": "array", "items": {"oneOf": [_ref("final"), _ref("finalStep")]}},
                {"type": "null"},
            ],
            "description": "Tasks that run whatever the end; ${run.status} says which it is.",
        },
    }


def _common() -> Schema:
    return {
        "id": _nullable(_ref("id", "Named after its type when not said.")),
        "name": _nullable(_ref("name", "What people read; the id when not said.")),
        "when": {
            "type": ["string", "boolean", "null"],
            "description": "A condition (CEL); it is skipped when that is false.",
            "examples": ["tasks.design.result.views.size() > 0"],
        },
        "continue_on_error": _nullable(_flag("Record its failure, and go on.")),
        "priority": _nullable(_ref("priority", "Higher runs first; the run's when not said.")),
        "trigger_rule": {
            "enum": [*TriggerRule, None],
            "description": "What it asks of the steps before it; all_completed when not said.",
        },
        "compensate": {
            "anyOf": [_ref("undoing"), {"type": "null"}],
            "description": "The task that undoes it when the run is rolled back.",
        },
    }


def _limits() -> Schema:
    return {
        "retry": _nullable(_ref("retry", "How failed attempts are tried again.")),
        "timeout": _nullable(_ref("duration", "The limit of one attempt.")),
        "deadline": _nullable(_ref("duration", "The limit of all attempts together.")),
        "max_crashes": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MAX_COUNT,
            "description": "How often its worker may die while it runs; 5 when not said.",
        },
        "queue": _nullable(_ref("id", "Which workers execute it; `default` when not said.")),
        "heartbeat_timeout": _nullable(
            _ref("duration", "How long an attempt may be silent before it is stopped.")
        ),
    }


def _depends_on() -> Schema:
    return {
        "depends_on": {
            **_nullable(_ids("")),
            "description": "Steps that come before; [] starts at once; the one listed before"
            " when not said.",
        }
    }


def _task_keys() -> Schema:
    return {
        **_common(),
        **_limits(),
        "type": {"type": "string", "description": "The task type.", **_NO_KIND},
        "config": {
            "type": ["object", "null"],
            "description": "The handler's arguments; ${…} refers to inputs and earlier results.",
        },
    }


_NO_KIND: Final[Schema] = {"not": {"enum": ["task", *OF_CHILDREN]}}


def _task() -> Schema:
    return {
        "type": "object",
        "description": "A task; keys that are not its own go to the handler, like config.",
        "properties": {**_task_keys(), "for_each": _for_each(), "depends_on": False, "tags": False},
        "dependentSchemas": _beside_for_each(),
        "required": ["type"],
    }


def _for_each() -> Schema:
    return {
        "type": ["array", "string", "null"],
        "description": "A list, or ${…} that is one: it runs for each ${item}, at ${index}.",
    }


def _map_keys() -> Schema:
    return {
        "max_parallel": {
            "type": ["integer", "null"], "minimum": 1, "maximum": MAX_PARALLEL,
            "description": f"How many items at a time; {DEFAULT_MAX_PARALLEL} when not said.",
        },
        "collect": _nullable(
            _flag("Whether the result is the list of what the items returned; it is, unless said.")
        ),
    }  # fmt: skip


def _beside_for_each() -> Schema:
    """What keys mean only where there is a list; elsewhere they go to the handler."""
    return {"for_each": {"properties": _map_keys()}}


def _undoing() -> Schema:
    return {
        "type": "object",
        "description": "A task that undoes another one.",
        "properties": {
            **_task_keys(),
            **dict.fromkeys((*NOT_IN_UNDOING, *AMONG_OTHERS), False),
        },
        "required": ["type"],
    }


def _final() -> Schema:
    return {
        "type": "object",
        "description": "A task that runs whatever the end.",
        "properties": {
            **_task_keys(),
            **dict.fromkeys((*NOT_IN_FINALLY, *AMONG_OTHERS), False),
        },
        "required": ["type"],
    }


def _final_step() -> Schema:
    properties: Schema = {
        **_common(),
        **_limits(),
        **dict.fromkeys(NOT_IN_FINALLY, False),
        "type": {"const": "task"},
        "task_data": _ref("final"),
    }
    what = "A task that runs whatever the end of a process, written as its steps are."
    return _object(properties, what, required=["type", "task_data"])


def _step() -> Schema:
    return {
        "type": "object",
        "oneOf": _refs("taskStep", "workflowStep", "processStep", "inlineStep", "switch"),
    }


def _switch() -> Schema:
    common = _common()
    properties: Schema = {
        **{key: common[key] for key in common if key in SWITCH_KEYS},
        **_depends_on(),
        "switch": _list("Asked in this order; the first case that holds is chosen.", "case"),
        "default": _nullable(_ids("What runs when no case holds.")),
    }
    what = "A choice between later tasks or steps: those that are not chosen are skipped."
    return _object(properties, what, required=["switch"])


def _case() -> Schema:
    properties: Schema = {
        "when": {"type": ["string", "boolean"], "description": "A condition (CEL)."},
        "then": _ids("The tasks or steps that run when it holds."),
    }
    return _object(properties, "One way to go on.", required=["when", "then"])


def _task_step() -> Schema:
    properties: Schema = {
        **_common(),
        **_limits(),
        **_depends_on(),
        "for_each": _for_each(),
        **_map_keys(),
        "type": {"const": "task"},
        "task_data": _ref("task"),
    }
    return _object(properties, "A step that is one task.", required=["type", "task_data"])


def _child(kind: str, own: Schema) -> Schema:
    """A task or step that starts a child run."""
    properties: Schema = {
        **_common(),
        **own,
        "for_each": _for_each(),
        **_map_keys(),
        "type": {"const": kind},
        "config": _nullable(_ref("config")),
        "inputs": {
            "type": ["object", "null"],
            "description": "What the run is given; ${…} refers to inputs and earlier results.",
        },
    }
    what = f"Runs a {kind}: the defined one of its name, or the one described here."
    given: list[Json] = [{"required": [OWN_LIST[kind]]}, {"required": ["name"]}]
    return {**_object(properties, what, required=["type"]), "anyOf": given}


def _inline_step() -> Schema:
    return {
        "type": "object",
        "description": "A step that is one task, written without task_data.",
        "properties": {
            **_task_keys(),
            **_depends_on(),
            "for_each": _for_each(),
            "task_data": False,
            "tags": False,
        },
        "dependentSchemas": _beside_for_each(),
        "required": ["type"],
    }


def _retry() -> Schema:
    names: Schema = {"type": ["array", "string"], "items": {"type": "string"}}
    fields: Schema = {
        "max_attempts": {
            "type": "integer", "minimum": 1, "description": "How many, the first included.",
        },
        "delay": _ref("duration", "The pause before the second attempt."),
        "backoff": {
            "type": "number", "minimum": 1,
            "description": "By what each further pause is multiplied; 2 when not said.",
        },
        "max_delay": _nullable(_ref("duration", "No pause is longer.")),
        "jitter": {
            "type": "number", "minimum": 0, "maximum": 1,
            "description": "The fraction of a pause that may be cut off at random.",
        },
        "retry_on": {**names, "description": "Exceptions; only these are tried again."},
        "give_up_on": {**names, "description": "Exceptions that are never tried again."},
    }  # fmt: skip
    return {"anyOf": [{"type": "integer", "minimum": 1}, _object(fields, "")]}


def _input() -> Schema:
    own: Schema = {
        "default": {"description": "The value when none is given."},
        "required": _flag("Whether a run must be given it: yes, unless there is a default."),
    }
    return _object({**_value_keys(), **own}, "One argument.")


def _value_keys() -> Schema:
    names: Schema = {"enum": list(TYPES)}
    return {
        "type": {"anyOf": [names, {"type": "array", "items": names}]},
        "enum": {"type": "array", "minItems": 1, "description": "The values allowed."},
        "items": _ref("valueSchema", "How the items of a list look."),
        "minimum": {"type": "number"},
        "maximum": {"type": "number"},
        "minLength": {"type": "number"},
        "maxLength": {"type": "number"},
        "title": {"type": "string"},
        "description": {"type": "string"},
    }


def _object(properties: Schema, description: str, required: list[Json] | None = None) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if description:
        schema["description"] = description
    if required:
        schema["required"] = required
    return schema


def _list(description: str, item: str) -> Schema:
    return {"type": "array", "minItems": 1, "items": _ref(item), "description": description}


def _ids(description: str) -> Schema:
    ids: Schema = {"anyOf": [{"type": "array", "items": _ref("id")}, _ref("id")]}
    return {**ids, "description": description} if description else ids


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str, description: str = "") -> Schema:
    ref: Schema = {"$ref": f"#/$defs/{name}"}
    return {**ref, "description": description} if description else ref


def _refs(*names: str) -> list[Json]:
    return [_ref(name) for name in names]
