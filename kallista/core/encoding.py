"""Definitions as plain data and back: what the store keeps, and the hash it is known by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

from kallista.core.definitions import (
    DEFAULT_MAX_CRASHES,
    DEFAULT_MAX_PARALLEL,
    Case,
    ChildSpec,
    Definition,
    Expiry,
    InputSpec,
    MapSpec,
    OnFailure,
    Phase,
    StepSpec,
    SwitchSpec,
    TaskSpec,
    Work,
)
from kallista.core.dependencies import DependencyPolicy
from kallista.core.ids import canonical_json, text_hash
from kallista.core.limits import LimitKind, LimitSpec
from kallista.core.plan import DEFAULT_QUEUE
from kallista.core.retry import NO_RETRY, RetryPolicy
from kallista.core.states import RunKind
from kallista.core.trigger_rules import TriggerRule
from kallista.core.types import Json, JsonText, Micros, RunId, StepId, TaskType

# A member of an enumeration costs more to look up on its class than a constant.
_MAIN: Final = Phase.MAIN
_ALL_COMPLETED: Final = TriggerRule.ALL_COMPLETED


@lru_cache(maxsize=1024)
def definition_text(definition: Definition) -> JsonText:
    """The definition as canonical JSON; encoded once per definition object."""
    return canonical_json(definition_to_data(definition))


@lru_cache(maxsize=1024)
def definition_hash(definition: Definition) -> str:
    """The hash of a definition's content: equal definitions have equal hashes."""
    return text_hash(definition_text(definition))


def definition_to_data(definition: Definition) -> dict[str, Json]:
    """The definition as plain data; what has its default is left out."""
    return _without_defaults(
        {
            "kind": (definition.kind.value, None),
            "name": (definition.name, None),
            "steps": ([_step_to_data(step) for step in definition.steps], None),
            "continue_on_error": (definition.continue_on_error, False),
            "deadline": (definition.deadline, None),
            "inputs": (
                {name: _input_to_data(spec) for name, spec in definition.inputs.items()},
                {},
            ),
            "dependencies": (list(definition.dependencies), []),
            "dependency_policies": (
                {id: policy.value for id, policy in definition.dependency_policies.items()},
                {},
            ),
            "priority": (definition.priority, 0),
            "tags": (list(definition.tags), []),
            "on_failure": (definition.on_failure.value, OnFailure.STOP.value),
            "budget": (dict(definition.budget), {}),
            "under_budget": (definition.under_budget, False),
            "expires": (_expiry_to_data(definition.expires), {}),
        }
    )


def step_content(definition: Definition, position: int) -> dict[str, Json]:
    """What a definition says of a step: equal where it means the same, wherever that stands."""
    spec, steps = definition.steps[position], definition.steps
    content = _step_to_data(spec)
    content["after"] = [steps[before].id for before in spec.depends_on]
    for key, position_of in (("undoes", spec.undoes), ("branch_of", spec.branch_of)):
        content[key] = None if position_of is None else steps[position_of].id
    if isinstance(spec.work, SwitchSpec):
        cases = [(case.when, case.then) for case in spec.work.cases]
        content["switch"] = [[when, [steps[at].id for at in then]] for when, then in cases]
        content["default"] = [steps[at].id for at in spec.work.otherwise]
    return content


def definition_from_data(data: object) -> Definition:
    """The definition that ``definition_to_data`` made the data from; it is trusted."""
    known = cast(Mapping[str, Any], data)
    return Definition(
        kind=RunKind(known["kind"]),
        name=known["name"],
        steps=tuple(_step_from_data(step) for step in known["steps"]),
        continue_on_error=known.get("continue_on_error", False),
        deadline=known.get("deadline"),
        inputs={
            name: InputSpec(spec["schema"], spec.get("required", True), spec.get("default"))
            for name, spec in known.get("inputs", {}).items()
        },
        dependencies=tuple(RunId(id) for id in known.get("dependencies", ())),
        priority=known.get("priority", 0),
        tags=tuple(known.get("tags", ())),
        on_failure=OnFailure(known.get("on_failure", OnFailure.STOP)),
        budget=known.get("budget", {}),
        under_budget=known.get("under_budget", False),
        expires=Expiry(**known["expires"]) if "expires" in known else None,
        dependency_policies={
            RunId(id): DependencyPolicy(policy)
            for id, policy in known.get("dependency_policies", {}).items()
        },
    )


def _expiry_to_data(expiry: Expiry | None) -> dict[str, Json]:
    if expiry is None:
        return {}
    return _without_defaults({"after": (expiry.after, None), "at": (expiry.at, None)})


def _input_to_data(spec: InputSpec) -> dict[str, Json]:
    return _without_defaults(
        {
            "schema": (dict(spec.schema), None),
            "required": (spec.required, True),
            "default": (spec.default, None),
        }
    )


def _step_to_data(step: StepSpec) -> dict[str, Json]:
    match step.work:
        case TaskSpec() as task:
            work = _task_to_data(task)
        case ChildSpec() as child:
            work = _child_to_data(child)
        case MapSpec() as mapped:
            work = {**_child_to_data(mapped.child), "for_each": _map_to_data(mapped)}
        case SwitchSpec(cases, otherwise):
            listed: list[Json] = [[case.when, list(case.then)] for case in cases]
            work = _without_defaults({"switch": (listed, None), "default": (list(otherwise), [])})
    # Spelled out, as there may be 10,000 steps: a table of defaults takes five times as long.
    work["id"] = step.id
    if step.name != step.id:
        work["name"] = step.name
    if step.depends_on:
        work["after"] = list(step.depends_on)
    if step.when is not None:
        work["when"] = step.when
    if step.continue_on_error:
        work["continue_on_error"] = True
    if step.priority is not None:
        work["priority"] = step.priority
    if step.trigger_rule is not _ALL_COMPLETED:
        work["trigger_rule"] = step.trigger_rule.value
    if step.phase is not _MAIN:
        work["phase"] = step.phase.value
    if step.undoes is not None:
        work["undoes"] = step.undoes
    if step.branch_of is not None:
        work["branch_of"] = step.branch_of
    return work


def _child_to_data(child: ChildSpec) -> dict[str, Json]:
    return _without_defaults(
        {
            "child": (definition_to_data(child.definition), None),
            "inputs": (dict(child.inputs), {}),
        }
    )


def _map_to_data(mapped: MapSpec) -> dict[str, Json]:
    return _without_defaults(
        {
            "items": (mapped.items, None),
            "max_parallel": (mapped.max_parallel, DEFAULT_MAX_PARALLEL),
            "collect": (mapped.collect, True),
        }
    )


def _task_to_data(task: TaskSpec) -> dict[str, Json]:
    data: dict[str, Json] = {"type": task.type}
    if task.config:
        data["config"] = dict(task.config)
    if task.retry != NO_RETRY:
        data["retry"] = _retry_to_data(task.retry)
    if task.timeout is not None:
        data["timeout"] = task.timeout
    if task.deadline is not None:
        data["deadline"] = task.deadline
    if task.max_crashes != DEFAULT_MAX_CRASHES:
        data["max_crashes"] = task.max_crashes
    if task.queue != DEFAULT_QUEUE:
        data["queue"] = task.queue
    if task.heartbeat_timeout is not None:
        data["heartbeat_timeout"] = task.heartbeat_timeout
    if task.limits:
        data["limits"] = [_limit_to_data(spec) for spec in task.limits]
    return data


def _step_from_data(data: Mapping[str, Any]) -> StepSpec:
    work: Work
    if "child" in data:
        child = ChildSpec(definition_from_data(data["child"]), data.get("inputs", {}))
        work = _map_from_data(child, data["for_each"]) if "for_each" in data else child
    elif "switch" in data:
        cases = tuple(Case(when, tuple(then)) for when, then in data["switch"])
        work = SwitchSpec(cases, tuple(data.get("default", ())))
    else:
        work = TaskSpec(
            type=TaskType(data["type"]),
            config=data.get("config", {}),
            retry=_retry_from_data(data.get("retry", {})),
            timeout=data.get("timeout"),
            deadline=data.get("deadline"),
            max_crashes=data.get("max_crashes", DEFAULT_MAX_CRASHES),
            queue=data.get("queue", DEFAULT_QUEUE),
            heartbeat_timeout=data.get("heartbeat_timeout"),
            limits=tuple(_limit_from_data(limit) for limit in data.get("limits", ())),
        )
    return StepSpec(
        id=StepId(data["id"]),
        name=data.get("name", data["id"]),
        work=work,
        depends_on=tuple(data.get("after", ())),
        when=data.get("when"),
        continue_on_error=data.get("continue_on_error", False),
        priority=data.get("priority"),
        trigger_rule=TriggerRule(data.get("trigger_rule", TriggerRule.ALL_COMPLETED)),
        phase=Phase(data.get("phase", Phase.MAIN)),
        undoes=data.get("undoes"),
        branch_of=data.get("branch_of"),
    )


def _map_from_data(child: ChildSpec, data: Mapping[str, Any]) -> MapSpec:
    return MapSpec(
        child=child,
        items=data["items"],
        max_parallel=data.get("max_parallel", DEFAULT_MAX_PARALLEL),
        collect=data.get("collect", True),
    )


def _limit_to_data(spec: LimitSpec) -> dict[str, Json]:
    return _without_defaults(
        {
            "kind": (spec.kind.value, None),
            "key": (spec.key, None),
            "number": (spec.number, None),
            "period": (spec.period, 0),
        }
    )


def _limit_from_data(data: Mapping[str, Any]) -> LimitSpec:
    period = Micros(data.get("period", 0))
    return LimitSpec(LimitKind(data["kind"]), data["key"], data["number"], period)


def _retry_to_data(policy: RetryPolicy) -> dict[str, Json]:
    return _without_defaults(
        {
            "max_attempts": (policy.max_attempts, 1),
            "delay": (policy.delay, 0),
            "backoff": (policy.backoff, 2.0),
            "max_delay": (policy.max_delay, None),
            "jitter": (policy.jitter, 0.0),
            "retry_on": (list(policy.retry_on), []),
            "give_up_on": (list(policy.give_up_on), []),
        }
    )


def _retry_from_data(data: Mapping[str, Any]) -> RetryPolicy:
    if not data:
        return NO_RETRY
    return RetryPolicy(
        max_attempts=data.get("max_attempts", 1),
        delay=Micros(data.get("delay", 0)),
        backoff=data.get("backoff", 2.0),
        max_delay=data.get("max_delay"),
        jitter=data.get("jitter", 0.0),
        retry_on=tuple(data.get("retry_on", ())),
        give_up_on=tuple(data.get("give_up_on", ())),
    )


def _without_defaults(fields: Mapping[str, tuple[Any, Json]]) -> dict[str, Json]:
    return {key: value for key, (value, default) in fields.items() if value != default}
