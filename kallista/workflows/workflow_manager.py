"""WorkflowManager: tasks in sequence, with their history, paused, resumed and retried."""

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
    Redefined,
    RunSummary,
    WorkflowSnapshot,
)
from kallista.core.states import RunKind, WorkflowStatus
from kallista.engine.port import RunRequest
from kallista.errors import UsageError
from kallista.workflows.bulk import arguments
from kallista.workflows.many import Which
from kallista.workflows.runs import Runs

_ARGUMENTS: Final = (
    "name", "tasks", "config", "workflow_id", "priority", "tags", "inputs", "deduplicate",
)  # fmt: skip
"""What an item of ``create_workflows`` may say."""


class WorkflowManager(Runs[WorkflowSnapshot]):
    """Runs tasks one after the other and remembers all of it."""

    kind = RunKind.WORKFLOW

    async def define_workflow(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]],
        config: Mapping[str, object] | None = None,
    ) -> None:
        """Let ``name`` stand for these tasks from now on, for every program on this store.

        Runs that exist keep the definition they started with.

        Args:
            name: What to run it by.
            tasks: As for ``create_workflow``.
            config: As for ``create_workflow``.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
        """
        definition = await self._definitions.workflow(name, tasks, config)
        await self._definitions.define(definition)

    async def create_workflow(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None = None,
        config: Mapping[str, object] | None = None,
        *,
        workflow_id: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        inputs: Mapping[str, object] | None = None,
        deduplicate: Mapping[str, object] | None = None,
    ) -> str:
        """Create a workflow that is PENDING until it is started.

        Args:
            name: What people read; without ``tasks`` the name of a defined workflow.
            tasks: Each ``{"type", "id"?, "name"?, "config"?, "retry"?, "timeout"?, "when"?, …}``.
                One of type ``workflow`` or ``process`` is a run of its own: it has ``tasks`` or
                ``steps``, or the ``name`` of a defined one, and ``inputs``.
            config: ``continue_on_error``, ``retry``, ``timeout``, ``deadline``, ``tags``,
                ``priority``, ``inputs``.
            workflow_id: Its id; a second creation with the same content returns the first.
            priority: Higher runs first; 0 unless ``config`` says otherwise.
            tags: To find it by.
            inputs: Values for the inputs that the definition declares.
            deduplicate: ``{"key": …, "window": "10m"}``: who asks by this key for one of the same
                name within the window after the first gets the first one's id, unless that is
                FAILED or CANCELLED.

        Returns:
            The workflow's id.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
            ConflictError: Something else has this id.
        """
        request = await self._request(
            name, tasks, config, workflow_id, priority, tags, inputs, deduplicate
        )
        return await self._engine.create(request, start=False)

    async def create_workflows(
        self, workflows: Sequence[Mapping[str, object]], *, start: bool = False
    ) -> Sequence[str]:
        """Create many workflows: all of them in one commit, or none.

        Far cheaper than one call each. One that is there already with the same content stays as it
        is, also when it stands twice in the list.

        Args:
            workflows: Each a mapping of arguments of ``create_workflow``: ``name``, ``tasks``,
                ``config``, ``workflow_id``, ``priority``, ``tags``, ``inputs``,
                ``deduplicate``.
            start: Start them as well, in the same commit.

        Returns:
            The ids, in the order of the list.

        Raises:
            DefinitionError: What is wrong with any of them; all of it, with the index of each.
            ConflictError: Something else has one of the ids; nothing was created.
            StateError: One of them is there already, and cannot be started.
        """
        return await self._create_all(workflows, "workflows", self._one_of_many, start=start)

    async def start_workflow(self, workflow_id: str) -> None:
        """Start it; returns once that is durable, the work goes on in the background.

        Raises:
            NotFoundError: No such workflow.
        """
        await self._command(workflow_id, Verb.START)

    async def run_workflow(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None = None,
        config: Mapping[str, object] | None = None,
        *,
        workflow_id: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        inputs: Mapping[str, object] | None = None,
        deduplicate: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> WorkflowSnapshot:
        """Create it, start it and wait for its end: the three in one call.

        Args:
            timeout: Seconds to wait at most; the others as for ``create_workflow``.

        Returns:
            The finished workflow, also when it FAILED.

        Raises:
            DefinitionError: The description has problems; all of them are listed.
            ConflictError: Something else has this id.
            WaitTimeoutError: It has not finished in time; it goes on.
        """
        request = await self._request(
            name, tasks, config, workflow_id, priority, tags, inputs, deduplicate
        )
        return await self._wait(await self._engine.create(request, start=True), timeout)

    async def wait_workflow(
        self, workflow_id: str, timeout: float | None = None
    ) -> WorkflowSnapshot:
        """Wait for its end.

        Args:
            workflow_id: Which one.
            timeout: Seconds to wait at most.

        Returns:
            The finished workflow, also when it FAILED or was CANCELLED.

        Raises:
            NotFoundError: No such workflow, or it was deleted meanwhile.
            WaitTimeoutError: It has not finished in time; it goes on.
        """
        return await self._wait(workflow_id, timeout)

    async def pause_workflow(
        self, workflow_id: str, reason: str | None = None, *, stop_clocks: bool = False
    ) -> None:
        """Start nothing new in it; what is in flight finishes and is recorded.

        Pausing once more changes nothing, but for ``stop_clocks`` where the clocks still go: it
        stops them from then on.

        Args:
            workflow_id: Which one.
            reason: Why, for its history.
            stop_clocks: Let no time pass for it and for what it has started: sleeps, delays before
                retries, and deadlines come later by as long as it is paused. Without it sleeps
                ripen and deadlines are kept. What is in flight keeps the limits it began with.

        Raises:
            NotFoundError: No such workflow.
            StateError: It is not under way.
        """
        await self._command(workflow_id, Verb.PAUSE, reason, stop_clocks=stop_clocks)

    async def resume_workflow(
        self,
        workflow_id: str,
        reason: str | None = None,
        *,
        budget: Mapping[str, object] | None = None,
    ) -> None:
        """Let a paused workflow go on; the reason is kept in its history.

        Args:
            workflow_id: Which one.
            reason: Why, for its history.
            budget: New limits of its budgets, by unit, where one of them is used up.

        Raises:
            NotFoundError: No such workflow.
            StateError: It is not under way, or its budget is used up.
        """
        await self._resume(workflow_id, reason, budget)

    async def cancel_workflow(
        self, workflow_id: str, reason: str | None = None, *, rollback: bool = False
    ) -> None:
        """End it; tasks in flight are told to stop.

        Args:
            workflow_id: Which one.
            reason: Why, for its history.
            rollback: Undo what has completed, by what its tasks say in ``compensate``. Until that
                is done, and ``finally`` as well, it is COMPENSATING.

        Raises:
            NotFoundError: No such workflow.
            StateError: It has finished already.
        """
        await self._command(workflow_id, Verb.CANCEL, reason, rollback=rollback)

    async def retry_workflow(
        self,
        workflow_id: str,
        reason: str | None = None,
        *,
        definition: Mapping[str, object] | str | None = None,
        dry_run: bool = False,
    ) -> Redefined | None:
        """Let a FAILED or CANCELLED workflow go on from what did not complete.

        With its own definition, unless another one is given. Then the tasks that it has keep their
        places and what completed keeps its results; others may come behind them.

        Args:
            workflow_id: Which one.
            reason: Why, for its history.
            definition: What it goes on with: ``"current"`` for what its name stands for now, or a
                description as in a definition file.
            dry_run: Only say what another definition would change.

        Returns:
            What another definition changes; None where it goes on with its own.

        Raises:
            NotFoundError: No such workflow, or nothing is defined under its name.
            StateError: It has not failed, or the definition does not fit what it has done: the
                message says why, and ``fork_workflow`` may do instead.
            DefinitionError: The description has problems; all of them are listed.
            UsageError: A preview of a retry with its own definition.
        """
        return await self._retry(workflow_id, reason, definition, dry_run=dry_run)

    async def fork_workflow(
        self,
        workflow_id: str,
        from_task: str,
        *,
        config_changes: Mapping[str, Mapping[str, object]] | None = None,
        definition: Mapping[str, object] | str | None = None,
        fork_id: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Forked:
        """Start a new workflow that keeps what another one did before a task.

        That task and all that depends on it run again, as does what did not complete or was
        undone; all of it under new idempotency keys. The other workflow stays as it is, and what is
        kept is for it to undo: a rollback of the fork leaves that alone. Inputs, priority and tags
        are the same.

        Args:
            workflow_id: The workflow to go on from, whatever its state.
            from_task: The first task that runs again.
            config_changes: ``{task id: {key: value}}``: merged into the config of tasks that
                run again, or into the inputs of child runs.
            definition: What it runs: ``"current"`` for what its name stands for now, or a
                description as in a definition file; None: what the other one runs.
            fork_id: The id of the new workflow; the same fork once more returns the first.
            reason: Why, for its history.
            dry_run: Only say what is kept, what runs again, and how long that took last time.

        Returns:
            The new workflow's id and what it does again; of a preview without an id.

        Raises:
            NotFoundError: No such workflow, or nothing is defined under its name.
            UsageError: There is no such task, or what is changed does not run again.
            DefinitionError: The changes or the description have problems; all are listed.
            StateError: The other one has still to complete what comes before that task.
            ConflictError: Something else has the id of the fork.
        """
        return await self._fork(
            workflow_id, from_task, config_changes, definition, fork_id, reason, dry_run=dry_run
        )

    async def pause_workflows(
        self,
        *,
        reason: str | None = None,
        stop_clocks: bool = False,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> Commanded:
        """Pause all workflows that match.

        Args:
            reason: Why, for their histories.
            stop_clocks: As for ``pause_workflow``.
            dry_run: Only say how many there are, and which are the first.
            which: By ``status``, ``name``, ``tag``, ``created_from``, ``created_until``,
                ``schedule_id``, ``error``, as for ``list_workflows``; at least one of them.
                Without a status all that the command is for. What others have started is told by
                those.

        Returns:
            How many there were, for how many it changed something, and who refused it.

        Raises:
            UsageError: It is not said which are meant.
        """
        command = Command(Verb.PAUSE, reason, stop_clocks=stop_clocks)
        return await self._command_all(command, which, dry_run=dry_run)

    async def resume_workflows(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Let all paused workflows go on that match.

        Arguments, result and errors as for ``pause_workflows``.
        """
        command = Command(Verb.RESUME, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def cancel_workflows(
        self,
        *,
        reason: str | None = None,
        rollback: bool = False,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> Commanded:
        """Cancel all workflows that match.

        Arguments, result and errors as for ``pause_workflows``; ``rollback`` undoes what has
        completed.
        """
        command = Command(Verb.CANCEL, reason, rollback=rollback)
        return await self._command_all(command, which, dry_run=dry_run)

    async def retry_workflows(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Retry all failed workflows that match.

        Arguments, result and errors as for ``pause_workflows``.
        """
        command = Command(Verb.RETRY, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def get_workflow(self, workflow_id: str) -> WorkflowSnapshot:
        """The workflow as it is now. Raises ``NotFoundError``."""
        return await self._get(workflow_id)

    async def get_workflow_status(self, workflow_id: str) -> WorkflowStatus:
        """Its status. Raises ``NotFoundError``."""
        return (await self._get(workflow_id)).status

    async def get_history(self, workflow_id: str) -> Sequence[HistoryEvent]:
        """All that happened to it, in order. Raises ``NotFoundError``."""
        return await self._history(workflow_id)

    async def list_workflows(
        self,
        *,
        status: WorkflowStatus | str | Sequence[str] | None = None,
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
        """Workflows that match, newest first.

        Args:
            status: One status or several.
            name: Exactly this name.
            tag: With this tag.
            created_from: Created at this moment or later.
            created_until: Created before this moment.
            schedule_id: Only firings of this schedule.
            part_of: Only what this run has started: its children, or the items of its lists.
            error: Only those of which something has failed by this error, or of the runs below
                them; the name of its class alone, or with its module.
            cursor: Where the page before ended.
            limit: How many at most, up to 1,000.

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

    async def delete_workflow(self, workflow_id: str) -> None:
        """Remove a finished workflow; who waits for it learns how it ended.

        Raises:
            NotFoundError: No such workflow.
            StateError: It has not finished.
        """
        await self._delete(workflow_id)

    def watch(self, workflow_id: str) -> AsyncIterator[HistoryEvent]:
        """What happened so far, then what happens, until it has finished.

        Raises ``NotFoundError`` at the first step when there is no such workflow.
        """
        return self._watch(workflow_id)

    async def _one_of_many(self, item: object) -> RunRequest:
        given = arguments(item, _ARGUMENTS, "name")
        if not isinstance(given["name"], str):
            raise UsageError(f"name must be a text, not {given['name']!r}")
        return await self._request(
            given["name"],
            cast("Sequence[Mapping[str, object]] | None", given.get("tasks")),
            cast("Mapping[str, object] | None", given.get("config")),
            cast("str | None", given.get("workflow_id")),
            cast("int | None", given.get("priority")),
            cast("Sequence[str]", given.get("tags", ())),
            cast("Mapping[str, object] | None", given.get("inputs")),
            cast("Mapping[str, object] | None", given.get("deduplicate")),
        )

    async def _request(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None,
        config: Mapping[str, object] | None,
        workflow_id: str | None,
        priority: int | None,
        tags: Sequence[str],
        inputs: Mapping[str, object] | None,
        deduplicate: Mapping[str, object] | None,
    ) -> RunRequest:
        definition = await self._definitions.workflow(name, tasks, config)
        return self._run_request(definition, workflow_id, priority, tags, inputs, deduplicate)
