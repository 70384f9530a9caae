"""Reads what users describe, against the task types and the names that exist."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from difflib import get_close_matches
from functools import cached_property
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo

from kallista.core import fields
from kallista.core.definitions import Definition
from kallista.core.durations import parse_moment
from kallista.core.encoding import definition_from_data, definition_hash, definition_text
from kallista.core.expressions import Scope
from kallista.core.firing_values import compile_firing_value, template_of
from kallista.core.inputs import check_inputs
from kallista.core.parsing import (
    CheckTask,
    Document,
    KnownDefinitions,
    Limits,
    Lookup,
    SingleTask,
    SingleTasks,
    divided,
    named_definitions,
    parse_document,
    parse_process,
    parse_task,
    parse_workflow,
    with_changes,
)
from kallista.core.plain import plain
from kallista.core.plan import type_of_lane
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import Json, JsonText, Micros, TaskType
from kallista.core.wall_clock import zone_named
from kallista.engine.clock import Clock
from kallista.errors import DefinitionError, NotFoundError, UsageError
from kallista.store.port import Store

CURRENT: Final = "current"
"""What asks for the definition that a name stands for now."""

ReadT = TypeVar("ReadT", Definition, Document)


class StoredDefinitions:
    """Definitions, some of them under names that the store keeps.

    Args:
        store: Where names are kept.
        clock: What time it is.
        shipped: Gives definitions that come with the program; a stored one of the same name wins.
        check_task: Gives what says what is wrong with a task's type and config, given the schemas
            of the types that other workers have.
        handler_of: The code behind a task type, if this program has it.
        limits: How large a definition may be.
        timezone: The IANA name that naive datetimes are read by.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        shipped: Callable[[], Sequence[Definition]],
        check_task: Callable[[Mapping[TaskType, JsonText]], CheckTask],
        handler_of: Callable[[TaskType], object | None],
        limits: Limits,
        timezone: Callable[[], str],
    ) -> None:
        self._store = store
        self._known = KnownDefinitions(handler_of)
        self._single_tasks = SingleTasks(self._known, limits)
        self._check_here = check_task({})
        self._clock = clock
        self._ship = shipped
        self._check_task = check_task
        self._limits = limits
        self._timezone = timezone

    @cached_property
    def _shipped(self) -> Mapping[tuple[RunKind, str], Definition]:
        return {(definition.kind, definition.name): definition for definition in self._ship()}

    async def workflow(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None,
        config: Mapping[str, object] | None,
    ) -> Definition:
        """A workflow of these tasks, or the defined one of this name when there are none."""
        if tasks is None:
            if config is not None:
                raise UsageError(
                    f"config belongs to a definition, and {name!r} is run by its name alone;"
                    " give its tasks too, or define it with this config"
                )
            return await self._named(RunKind.WORKFLOW, name)
        key = self._known.key("workflow", name, tasks, config)
        known = self._known.get(key)
        if known is not None:
            return known
        names = named_definitions({"tasks": tasks})
        lookup = await self._lookup(names)
        read = await self._read(
            lambda check: parse_workflow(name, tasks, config, check, self._limits, lookup)
        )
        if not names:  # which may mean something else the next time
            self._known.put(key, read)
        return read

    async def process(self, data: Mapping[str, object] | str) -> Definition:
        """A process described by this data, or the defined one of this name."""
        if isinstance(data, str):
            return await self._named(RunKind.PROCESS, data)
        lookup = await self._lookup(named_definitions(data))
        return await self._read(lambda check: parse_process(data, lookup, check, self._limits))

    async def document(self, data: object) -> Document:
        """What a definition file holds: a workflow or a process."""
        lookup = await self._lookup(named_definitions(data))
        return await self._read(lambda check: parse_document(data, lookup, check, self._limits))

    async def task(self, id: str, data: Mapping[str, object]) -> Definition:
        """A single task."""
        return await self._read(lambda check: parse_task(id, data, check, self._limits))

    async def single_task(self, id: str, data: Mapping[str, object]) -> SingleTask:
        """A task that runs once: what alike ones share, and its own config."""
        known = self._single_tasks.alike(id, data, self._check_here)
        if known is None:
            known = divided(await self.task(id, data))
            self._single_tasks.remember(data, known)
        return known

    async def firing_task(self, id: str, data: Mapping[str, object], example: Scope) -> SingleTask:
        """A task that a schedule starts; texts of its config may name the firing."""
        compiled = compile_firing_value(dict(data))
        if compiled is None:
            return SingleTask(await self.task(id, data), {})
        task = divided(await self.task(id, cast("dict[str, object]", compiled.evaluate(example))))
        if not task.config:
            raise DefinitionError(
                f"the config of what {id!r} starts names the firing and holds a plain ${{ too;"
                " give one of them another form"
            )
        config = data.get("config")
        given = {**data, **(config if isinstance(config, Mapping) else {})}
        return SingleTask(task.definition, template_of(_plain(given), task.config))

    def firing_inputs(
        self, definition: Definition, values: Mapping[str, object] | None, example: Scope
    ) -> Mapping[str, Json]:
        """The arguments of runs that a schedule starts; texts in them may name the firing."""
        given = dict(values or {})
        compiled = compile_firing_value(given)
        if compiled is None:
            return self.inputs(definition, given)
        filled = cast("Mapping[str, object]", compiled.evaluate(example))
        return template_of(_plain(given), self.inputs(definition, filled))

    def inputs(
        self, definition: Definition, values: Mapping[str, object] | None
    ) -> Mapping[str, Json]:
        """The arguments of a run, checked and completed by defaults."""
        return check_inputs(definition, values or {}, self._limits.max_payload_bytes)

    async def another(
        self, kind: RunKind, name: str, wanted: Mapping[str, object] | str
    ) -> Definition:
        """What ``current`` means today: the definition of the name; or one that is described."""
        if isinstance(wanted, str):
            if wanted != CURRENT:
                raise UsageError(f"definition must be {CURRENT!r} or a description, not {wanted!r}")
            return await self._named(kind, name)
        problems = Problems()
        described = fields.mapping(wanted, "a description", problems)
        problems.raise_if_any("the definition")
        read = await self.document({"kind": kind.value, "name": name, **described})
        if read.definition.kind is not kind:
            raise UsageError(f"it describes a {read.definition.kind}, and this is a {kind}")
        return read.definition

    async def changed(
        self, definition: Definition, changes: Mapping[str, Mapping[str, object]]
    ) -> Definition:
        """A definition, some steps of which are given something else."""
        return await self._read(
            lambda check: with_changes(definition, changes, check, self._limits)
        )

    async def define(self, definition: Definition) -> None:
        """Let the definition's name mean it from now on."""
        await self._store.define(
            definition.kind,
            definition.name,
            definition_hash(definition),
            definition_text(definition),
            self._clock.now(),
        )

    async def names(self, kind: RunKind) -> Sequence[str]:
        """The names that are defined."""
        shipped = {name for shipped_kind, name in self._shipped if shipped_kind is kind}
        return sorted(shipped | set(await self._store.definition_names(kind)))

    def zone(self, name: str | None) -> str:
        """The IANA name to read local times by: this one, or the configured one."""
        return self._timezone() if name is None else zone_named(name).key

    def moment(self, value: object, what: str) -> Micros:
        """A moment from a datetime or ISO text; a naive one is in the configured time zone."""
        try:
            return parse_moment(value, ZoneInfo(self._timezone()))
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from error

    async def _read(self, parse: Callable[[CheckTask], ReadT]) -> ReadT:
        """Read a description; task types that only other workers have are asked for if need be."""
        try:
            return parse(self._check_task({}))
        except DefinitionError:
            lanes = await self._store.type_schemas()
            if not lanes:
                raise
            elsewhere = {type_of_lane(lane): schema for lane, schema in lanes.items()}
            return parse(self._check_task(elsewhere))

    async def _lookup(self, names: Set[tuple[RunKind, str]]) -> Lookup:
        """The definitions that a description names, read beforehand."""
        known = {name: found for name in names if (found := await self._find(*name)) is not None}
        return lambda kind, name: known.get((kind, name))

    async def _named(self, kind: RunKind, name: str) -> Definition:
        found = await self._find(kind, name)
        if found is not None:
            return found
        known = await self.names(kind)
        near = get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "define it first"
        raise NotFoundError(f"no {kind} is defined under the name {name!r}; {hint}")

    async def _find(self, kind: RunKind, name: str) -> Definition | None:
        content = await self._store.definition(kind, name)
        if content is not None:
            return definition_from_data(json.loads(content))
        return self._shipped.get((kind, name))


def _plain(values: Mapping[str, object]) -> dict[str, Json]:
    """What of some values is plain data; the others name no firing."""
    problems: list[str] = []
    found = {key: plain(value, key, problems) for key, value in values.items()}
    return {key: value for key, value in found.items() if value is not None}
