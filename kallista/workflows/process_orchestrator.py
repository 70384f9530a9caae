"""ProcessOrchestrator: graphs of steps that wait for other processes and recover from errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack, cast

from kallista.core.commands import Command, Verb
from kallista.core.snapshots import (
    Commanded,
    Forked,
    HistoryEvent,
    Page,
    ProcessSnapshot,
    Redefined,
    RunError,
    RunSummary,
)
from kallista.core.states import ProcessStatus, RunKind
from kallista.core.types import Json
from kallista.engine.port import RunRequest
from kallista.errors import UsageError
from kallista.workflows.bulk import arguments
from kallista.workflows.many import Which
from kallista.workflows.runs import Runs, agreed

_ARGUMENTS: Final = ("definition", "process_id", "priority", "tags", "inputs", "deduplicate")
"""What an item of ``create_processes`` may say."""


class ProcessOrchestrator(Runs[ProcessSnapshot]):
    """Runs graphs of steps, each a task, a workflow or a process of its own."""

    kind = RunKind.PROCESS

    async def define_process(self, name: str, definition: Mapping[str, object]) -> None:
        """Let ``name`` stand for this process from now on, for every program on this store.

        Runs that exist keep the definition they started with.

        Args:
            name: What to run it by.
            definition: As for ``create_process``; it needs no ``id``.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
        """
        parsed = await self._definitions.process({**definition, "name": name})
        await self._definitions.define(parsed)

    async def create_process(
        self,
        definition: Mapping[str, object] | str,
        *,
        process_id: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        inputs: Mapping[str, object] | None = None,
        deduplicate: Mapping[str, object] | None = None,
    ) -> str:
        """Create a process that is PENDING until it is started.

        Args:
            definition: ``{"id"?, "name"?, "steps": […], "dependencies"?: […], …}``, or the name
                of a defined process.
            process_id: Its id; the definition's ``id`` when that has one. A second creation with
                the same content returns the first.
            priority: Higher runs first; 0 unless the definition says otherwise.
            tags: To find it by.
            inputs: Values for the inputs that the definition declares.
            deduplicate: ``{"key": …, "window": "10m"}``: who asks by this key for one of the same
                name within the window after the first gets the first one's id, unless that is
                FAILED or CANCELLED.

        Returns:
            The process's id.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
            ConflictError: Something else has this id.
        """
        request = await self._request(definition, process_id, priority, tags, inputs, deduplicate)
        return await self._engine.create(request, start=False)

    async def create_processes(
        self, processes: Sequence[Mapping[str, object]], *, start: bool = False
    ) -> Sequence[str]:
        """Create many processes: all of them in one commit, or none.

        One that is there already with the same content stays as it is, also when it stands twice in
        the list.

        Args:
            processes: Each a mapping of arguments of ``create_process``: ``definition``,
                ``process_id``, ``priority``, ``tags``, ``inputs``, ``deduplicate``. Or the process
                itself, ``{"steps", "id"?, "name"?, …}``.
            start: Start them as well, in the same commit.

        Returns:
            The ids, in the order of the list.

        Raises:
            DefinitionError: What is wrong with any of them; all of it, with the index of each.
            ConflictError: Something else has one of the ids; nothing was created.
            StateError: One of them is there already, and cannot be started.
        """
        return await self._create_all(processes, "processes", self._one_of_many, start=start)

    async def start_process(self, process_id: str) -> None:
        """Start it; returns once that is durable, the work goes on in the background.

        A process with ``dependencies`` is WAITING until all of them have completed.

        Raises:
            NotFoundError: No such process.
        """
        await self._command(process_id, Verb.START)

    async def run_process(
        self,
        definition: Mapping[str, object] | str,
        *,
        process_id: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        inputs: Mapping[str, object] | None = None,
        deduplicate: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> ProcessSnapshot:
        """Create it, start it and wait for its end: the three in one call.

        Args:
            timeout: Seconds to wait at most; the others as for ``create_process``.

        Returns:
            The finished process, also when it FAILED.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
            ConflictError: Something else has this id.
            WaitTimeoutError: It has not finished in time; it goes on.
        """
        request = await self._request(definition, process_id, priority, tags, inputs, deduplicate)
        return await self._wait(await self._engine.create(request, start=True), timeout)

    async def wait_process(self, process_id: str, timeout: float | None = None) -> ProcessSnapshot:
        """Wait for its end.

        Args:
            process_id: Which one.
            timeout: Seconds to wait at most.

        Returns:
            The finished process, also when it FAILED or was CANCELLED.

        Raises:
            NotFoundError: No such process, or it was deleted meanwhile.
            WaitTimeoutError: It has not finished in time; it goes on.
        """
        return await self._wait(process_id, timeout)

    async def pause_process(
        self, process_id: str, reason: str | None = None, *, stop_clocks: bool = False
    ) -> None:
        """Start nothing new in it or in the runs it has started; what is in flight finishes.

        Pausing once more changes nothing, but for ``stop_clocks`` where the clocks still go: it
        stops them from then on.

        Args:
            process_id: Which one.
            reason: Why, for its history.
            stop_clocks: Let no time pass for it and for what it has started: sleeps, delays before
                retries, and deadlines come later by as long as it is paused. Without it sleeps
                ripen and deadlines are kept. What is in flight keeps the limits it began with.

        Raises:
            NotFoundError: No such process.
            StateError: It is not under way.
        """
        await self._command(process_id, Verb.PAUSE, reason, stop_clocks=stop_clocks)

    async def resume_process(
        self,
        process_id: str,
        reason: str | None = None,
        *,
        budget: Mapping[str, object] | None = None,
    ) -> None:
        """Let a paused process go on; the reason is kept in its history.

        Args:
            process_id: Which one.
            reason: Why, for its history.
            budget: New limits of its budgets, by unit, where one of them is used up.

        Raises:
            NotFoundError: No such process.
            StateError: It is not under way, or its budget is used up.
        """
        await self._resume(process_id, reason, budget)

    async def cancel_process(
        self, process_id: str, reason: str | None = None, *, rollback: bool = False
    ) -> None:
        """End it, and the runs that it has started; tasks in flight are told to stop.

        Args:
            process_id: Which one.
            reason: Why, for its history.
            rollback: Undo what has completed, by what its steps say in ``compensate``. Until that
                is done, and ``finally`` as well, it is COMPENSATING.

        Raises:
            NotFoundError: No such process.
            StateError: It has finished already.
        """
        await self._command(process_id, Verb.CANCEL, reason, rollback=rollback)

    async def retry_process(
        self,
        process_id: str,
        reason: str | None = None,
        *,
        definition: Mapping[str, object] | str | None = None,
        dry_run: bool = False,
    ) -> Redefined | None:
        """Run again what failed or was skipped in a FAILED or CANCELLED process, nothing else.

        With its own definition, unless another one is given. Then the steps that it has keep their
        places and what completed keeps its results; others may come behind them.

        Args:
            process_id: Which one.
            reason: Why, for its history.
            definition: What it goes on with: ``"current"`` for what its name stands for now, or a
                description as in a definition file.
            dry_run: Only say what another definition would change.

        Returns:
            What another definition changes; None where it goes on with its own.

        Raises:
            NotFoundError: No such process, or nothing is defined under its name.
            StateError: It has not failed, or the definition does not fit what it has done: the
                message says why, and ``fork_process`` may do instead.
            DefinitionError: The description has problems; all of them are listed.
            UsageError: A preview of a retry with its own definition.
        """
        return await self._retry(process_id, reason, definition, dry_run=dry_run)

    async def fork_process(
        self,
        process_id: str,
        from_step: str,
        *,
        config_changes: Mapping[str, Mapping[str, object]] | None = None,
        definition: Mapping[str, object] | str | None = None,
        fork_id: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Forked:
        """Start a new process that keeps what another one did before a step.

        That step and all that depends on it run again, as does what did not complete or was
        undone; all of it under new idempotency keys. The other process stays as it is, and what is
        kept is for it to undo: a rollback of the fork leaves that alone. Inputs, priority and tags
        are the same.

        Args:
            process_id: The process to go on from, whatever its state.
            from_step: The first step that runs again.
            config_changes: ``{step id: {key: value}}``: merged into the config of steps that
                run again, or into the inputs of child runs.
            definition: What it runs: ``"current"`` for what its name stands for now, or a
                description as in a definition file; None: what the other one runs.
            fork_id: The id of the new process; the same fork once more returns the first.
            reason: Why, for its history.
            dry_run: Only say what is kept, what runs again, and how long that took last time.

        Returns:
            The new process's id and what it does again; of a preview without an id.

        Raises:
            NotFoundError: No such process, or nothing is defined under its name.
            UsageError: There is no such step, or what is changed does not run again.
            DefinitionError: The changes or the description have problems; all are listed.
            StateError: The other one has still to complete what comes before that step.
            ConflictError: Something else has the id of the fork.
        """
        return await self._fork(
            process_id, from_step, config_changes, definition, fork_id, reason, dry_run=dry_run
        )

    async def pause_processes(
        self,
        *,
        reason: str | None = None,
        stop_clocks: bool = False,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> Commanded:
        """Pause all processes that match, and what they have started.

        Args:
            reason: Why, for their histories.
            stop_clocks: As for ``pause_process``.
            dry_run: Only say how many there are, and which are the first.
            which: By ``status``, ``name``, ``tag``, ``created_from``, ``created_until``,
                ``schedule_id``, ``error``, as for ``list_processes``; at least one of them.
                Without a status all that the command is for. What others have started is told by
                those.

        Returns:
            How many there were, for how many it changed something, and who refused it.

        Raises:
            UsageError: It is not said which are meant.
        """
        command = Command(Verb.PAUSE, reason, stop_clocks=stop_clocks)
        return await self._command_all(command, which, dry_run=dry_run)

    async def resume_processes(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Let all paused processes go on that match.

        Arguments, result and errors as for ``pause_processes``.
        """
        command = Command(Verb.RESUME, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def cancel_processes(
        self,
        *,
        reason: str | None = None,
        rollback: bool = False,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> Commanded:
        """Cancel all processes that match, and what they have started.

        Arguments, result and errors as for ``pause_processes``; ``rollback`` undoes what has
        completed.
        """
        command = Command(Verb.CANCEL, reason, rollback=rollback)
        return await self._command_all(command, which, dry_run=dry_run)

    async def retry_processes(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Retry all failed processes that match.

        Arguments, result and errors as for ``pause_processes``.
        """
        command = Command(Verb.RETRY, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def get_process(self, process_id: str) -> ProcessSnapshot:
        """The process as it is now. Raises ``NotFoundError``."""
        return await self._get(process_id)

    async def get_process_status(self, process_id: str) -> ProcessStatus:
        """Its status. Raises ``NotFoundError``."""
        return (await self._get(process_id)).status

    async def get_process_results(self, process_id: str) -> Mapping[str, Json]:
        """What its completed steps returned, by step id. Raises ``NotFoundError``."""
        results = (await self._get(process_id)).results
        return {str(step): result for step, result in results.items()}

    async def get_process_errors(self, process_id: str) -> Sequence[RunError]:
        """Everything that failed in it. Raises ``NotFoundError``."""
        return (await self._get(process_id)).errors

    async def get_history(self, process_id: str) -> Sequence[HistoryEvent]:
        """All that happened to it, in order. Raises ``NotFoundError``."""
        return await self._history(process_id)

    async def list_processes(
        self,
        *,
        status: ProcessStatus | str | Sequence[str] | None = None,
        name: str | None = None,
        tag: str | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        schedule_id: str | None = None,
        part_of: str | None = None,
        error: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[RunSummary]:
        """Processes that match, newest first; arguments as for ``list_workflows``.

        Raises:
            UsageError: An unknown status, a bad cursor or limit.
            NotFoundError: There is no run that it could be part of.
        """
        return await self._list(
            status=status,
            name=name,
            tag=tag,
            created_from=created_from,
            created_until=created_until,
            cursor=cursor,
            limit=limit,
            schedule=schedule_id,
            part_of=part_of,
            error=error,
        )

    async def delete_process(self, process_id: str) -> None:
        """Remove a finished process and the runs it has started.

        Raises:
            NotFoundError: No such process.
            StateError: It has not finished.
        """
        await self._delete(process_id)

    def watch(self, process_id: str) -> AsyncIterator[HistoryEvent]:
        """What happened so far, then what happens, until it has finished.

        Raises ``NotFoundError`` at the first step when there is no such process.
        """
        return self._watch(process_id)

    async def _one_of_many(self, item: object) -> RunRequest:
        if isinstance(item, Mapping) and "definition" not in item:
            item = {"definition": item}
        given = arguments(item, _ARGUMENTS, "definition")
        return await self._request(
            cast("Mapping[str, object] | str", given["definition"]),
            cast("str | None", given.get("process_id")),
            cast("int | None", given.get("priority")),
            cast("Sequence[str]", given.get("tags", ())),
            cast("Mapping[str, object] | None", given.get("inputs")),
            cast("Mapping[str, object] | None", given.get("deduplicate")),
        )

    async def _request(
        self,
        data: Mapping[str, object] | str,
        process_id: str | None,
        priority: int | None,
        tags: Sequence[str],
        inputs: Mapping[str, object] | None,
        deduplicate: Mapping[str, object] | None,
    ) -> RunRequest:
        described = data.get("id") if isinstance(data, Mapping) else None
        if described is not None and not isinstance(described, str):
            raise UsageError(f"the process id must be a text, not {described!r}")
        definition = await self._definitions.process(data)
        id = agreed("the process id", process_id, described, None)
        return self._run_request(definition, id, priority, tags, inputs, deduplicate)
