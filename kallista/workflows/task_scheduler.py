"""TaskScheduler: tasks at a time, by priority, again and again, many at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack, cast

from kallista.core import fields
from kallista.core.commands import Command, Verb
from kallista.core.definitions import Definition
from kallista.core.durations import to_datetime
from kallista.core.expressions import Scope
from kallista.core.firing_values import scope_of
from kallista.core.ids import check_id
from kallista.core.problems import Problems
from kallista.core.snapshots import (
    BackfillMoment,
    Commanded,
    HistoryEvent,
    NextFiring,
    Page,
    RunSummary,
    ScheduleSnapshot,
    TaskSnapshot,
)
from kallista.core.states import RunKind, ScheduleStatus, TaskStatus
from kallista.core.triggers import At, Cron, Trigger
from kallista.core.types import Json, Micros, RunId, ScheduleId
from kallista.engine.port import RunRequest, ScheduleRequest
from kallista.errors import NotFoundError, StateError, UsageError
from kallista.workflows.bulk import arguments
from kallista.workflows.many import Which
from kallista.workflows.runs import Runs, agreed, agreed_priority, agreed_tags
from kallista.workflows.same_again import read_deduplicate
from kallista.workflows.schedule_options import (
    ScheduleOptions,
    read_max_runs,
    read_rules,
    read_trigger,
    refuse,
)


class TaskScheduler(Runs[TaskSnapshot]):
    """Runs single tasks when their time has come, the highest priority first.

    Also keeps the schedules, which start tasks, workflows and processes again and again.
    """

    kind = RunKind.TASK

    async def schedule_task(
        self,
        task_id: str | None,
        task_data: Mapping[str, object],
        scheduled_time: datetime | str | None = None,
        priority: int | None = None,
        *,
        recurring: bool = False,
        tags: Sequence[str] = (),
        deduplicate: Mapping[str, object] | None = None,
        concurrency_key: str | Mapping[str, object] | None = None,
        rate_limit: str | Mapping[str, object] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> str:
        """Let a task run once at a time, or again and again.

        With ``interval``, ``cron`` or a recurring ``trigger`` the id names a schedule; each firing
        is a task of its own, ``task_id@moment``. By default a recurring task runs once for any
        number of firings missed, and a firing is skipped while the one before is unfinished;
        ``catch_up`` and ``overlap`` say otherwise.

        Args:
            task_id: Its id; scheduling the same content again returns the first.
            task_data: ``{"type", "config"?, "retry"?, "timeout"?, …}``. Texts in the config of a
                recurring task may name the firing, as those of ``schedule_workflow`` do.
            scheduled_time: When (of a recurring task: the first time); a naive datetime is in the
                configured time zone. None: now, or the trigger's own first moment.
            priority: Higher runs first among what is due; 0 unless ``task_data`` says otherwise.
            recurring: Says again that it recurs; then an interval, a cron or a trigger is needed.
            interval: Seconds, "1m30s", ISO 8601 or a timedelta.
            cron: A cron expression, read in ``timezone``.
            timezone: An IANA name; the configured time zone when it is None.
            dst: What happens where the clocks of that zone are changed, as for ``Cron``: one word
                of ``after``, ``skip`` for a time that is left out, one of ``first``, ``second``,
                ``both`` for a time that comes twice, or one of each.
            trigger: ``Cron``, ``Every`` or ``At`` instead of the arguments above, or a list of
                them: it fires whenever one of them is due, and once where several are.
            start: No firing before this moment; an interval begins there. Unlike with
                ``scheduled_time``, the first firing is one of the trigger's own.
            until: No firing after this moment.
            max_runs: After so many firings it is over, those by hand included.
            jitter: A length (as for ``interval``): each firing starts later by a part of it, but
                before the moment after it. The part is another one for each schedule and moment,
                and the same whichever program fires it.
            catch_up: Which firings are made up for that were missed while nothing ran: ``latest``
                (the default: one, for the latest of them), ``all``, ``none`` (what is more than a
                minute late), or a length (as for ``interval``): all that are no older.
            overlap: What becomes of a firing while the run of the one before is unfinished:
                ``skip`` it (the default), ``queue`` it until that has ended (the default where
                more than one is made up for), ``replace`` that run, which is cancelled, or
                ``allow`` both. A firing that waits counts like one that was missed.
            pause_on_failure: After so many failures in a row the schedule is PAUSED.
            tags: To find it by.
            deduplicate: ``{"key": …, "window": "10m"}``: who asks by this key for a task of the
                same type within the window after the first gets the first one's id, and so its
                result; unless that is FAILED or CANCELLED. Not for what recurs.
            concurrency_key: One task of this key runs at a time, over all workers; with
                ``{"key": …, "limit": 3}`` three of them. ``"customer-${config.customer}"`` reads
                the task's config. As in ``task_data``.
            rate_limit: ``"100/minute"``: no more tasks of this type that say so begin in a time,
                over all workers, and evenly; ``{"limit": …, "key": …}`` counts by a key.

        Returns:
            The id; that of the first one where it is the same again.

        Raises:
            DefinitionError: The task has problems; all of them are listed.
            UsageError: The arguments contradict each other.
            ConflictError: Something else has this id.
        """
        chosen = read_trigger(options) if options else None
        if concurrency_key is not None or rate_limit is not None:
            task_data = _limited(task_data, concurrency_key, rate_limit)
        if recurring and (chosen is None or isinstance(chosen, At)):
            raise UsageError("a recurring task needs interval=, cron= or a trigger that recurs")
        if isinstance(chosen, At):
            scheduled_time = agreed("the time", scheduled_time, chosen.moment, None)
            chosen = None
        moment = self._moment(scheduled_time, "scheduled_time")
        if chosen is None:
            if options:
                refuse(options, "only a recurring task has")
            request = await self._task_request(
                task_id, task_data, priority, tags, moment, deduplicate
            )
            return await self._engine.create(request, start=True)
        if deduplicate is not None:
            raise UsageError("deduplicate is for what runs once; a firing has its moment for a key")
        id = ScheduleId(check_id(task_id, "task id"))
        settled = self._settled(chosen)
        task = await self._definitions.firing_task(id, task_data, self._example(id, settled))
        return await self._create_schedule(
            id, task.definition, task.config, settled, moment, priority, tags, options
        )

    async def schedule_workflow(
        self,
        schedule_id: str,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None = None,
        config: Mapping[str, object] | None = None,
        scheduled_time: datetime | str | None = None,
        *,
        inputs: Mapping[str, object] | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        **options: Unpack[ScheduleOptions],
    ) -> str:
        """Let a workflow run at a time, or again and again; each run is ``schedule_id@moment``.

        The schedule keeps the definition that it is created with.

        Args:
            schedule_id: Names the schedule; the same content again returns the first.
            name: Of the workflow; with ``tasks`` and ``config`` as for ``create_workflow``.
            tasks: Its tasks; None: those of the workflow that is defined under this name.
            config: Its options.
            scheduled_time: The first time, or the only one without ``interval``, ``cron`` and
                ``trigger``; a naive datetime is in the configured time zone.
            inputs: Its arguments. Texts in them may name the firing: ``${firing.moment}`` (in UTC),
                ``${firing.local}`` and ``${firing.date}`` (in the zone of the cron expression),
                ``${firing.schedule}``; then ``$${`` stands for a plain ``${``.
            priority: Higher runs first; 0 unless ``config`` says otherwise.
            tags: To find the runs by.
            options: ``interval``, ``cron`` and the others that ``schedule_task`` has.

        Returns:
            The id of the schedule.

        Raises:
            DefinitionError: The workflow has problems; all of them are listed.
            ExpressionError: A text names something else than the firing.
            UsageError: The arguments contradict each other, or do not fit the workflow's inputs.
            ConflictError: Something else has this id.
        """
        definition = await self._definitions.workflow(name, tasks, config)
        return await self._schedule_run(
            schedule_id, definition, inputs, scheduled_time, priority, tags, options
        )

    async def schedule_process(
        self,
        schedule_id: str,
        process: Mapping[str, object] | str,
        scheduled_time: datetime | str | None = None,
        *,
        inputs: Mapping[str, object] | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        **options: Unpack[ScheduleOptions],
    ) -> str:
        """Let a process run at a time, or again and again; each run is ``schedule_id@moment``.

        Args:
            schedule_id: Names the schedule; the same content again returns the first.
            process: What describes it, as for ``create_process``, or the name of a defined one.
            scheduled_time: As for ``schedule_workflow``, and so are the others.

        Returns:
            The id of the schedule.

        Raises:
            DefinitionError: The process has problems; all of them are listed.
            ExpressionError: A text names something else than the firing.
            UsageError: The arguments contradict each other, or do not fit the process's inputs.
            ConflictError: Something else has this id.
        """
        definition = await self._definitions.process(process)
        return await self._schedule_run(
            schedule_id, definition, inputs, scheduled_time, priority, tags, options
        )

    async def schedule_tasks(self, tasks: Sequence[Mapping[str, object]]) -> Sequence[str]:
        """Let many tasks run, each once: all of them are scheduled in one commit, or none is.

        Far cheaper than one call each. One that is there already with the same content stays as it
        is, also when it stands twice in the list.

        Args:
            tasks: Each a mapping of arguments of ``schedule_task``: ``task_data``, ``task_id``
                (a generated one without it), ``scheduled_time``, ``priority``, ``tags``,
                ``deduplicate``. Or the task itself, ``{"type", "id"?, "config"?, …}``.

        Returns:
            The ids, in the order of the list.

        Raises:
            DefinitionError: What is wrong with any of them; all of it, with the index of each.
            ConflictError: Something else has one of the ids; nothing was scheduled.
        """
        return await self._create_all(tasks, "tasks", self._one_of_many, start=True)

    async def cancel_task(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a task, or end a schedule together with the firing that is under way.

        A running async task is cancelled; a running thread cannot be stopped, which the task's
        ``note`` then says.

        Returns:
            True if something was cancelled; false if it had finished before.

        Raises:
            NotFoundError: Nothing has this id.
        """
        schedule = await self._schedule_or_none(task_id)
        if schedule is None:
            return await self._cancel_one(task_id, reason)
        ended = schedule.status is not ScheduleStatus.FINISHED and await self._engine.schedules.set(
            schedule.id, ScheduleStatus.FINISHED, reason
        )
        firing = schedule.last_run_id
        return (
            firing is not None and await self._cancel_one(firing, reason, schedule.kind)
        ) or ended

    async def retry_task(self, task_id: str, reason: str | None = None) -> None:
        """Let a FAILED or CANCELLED task run again, with the same idempotency key.

        The reason is kept in its history.

        Raises:
            NotFoundError: No such task.
            StateError: It has not failed.
        """
        await self._command(task_id, Verb.RETRY, reason)

    async def cancel_tasks(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Cancel all single tasks that match; schedules go on.

        Args:
            reason: Why, for their histories.
            dry_run: Only say how many there are, and which are the first.
            which: By ``status``, ``name``, ``tag``, ``created_from``, ``created_until``,
                ``schedule_id``, ``error``, as for ``list_tasks``; at least one of them.
                Without a status all that the command is for. What others have started is told by
                those.

        Returns:
            How many there were, for how many it changed something, and who refused it.

        Raises:
            UsageError: It is not said which are meant.
        """
        command = Command(Verb.CANCEL, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def retry_tasks(
        self, *, reason: str | None = None, dry_run: bool = False, **which: Unpack[Which]
    ) -> Commanded:
        """Retry all failed single tasks that match.

        Arguments, result and errors as for ``cancel_tasks``.
        """
        command = Command(Verb.RETRY, reason)
        return await self._command_all(command, which, dry_run=dry_run)

    async def delete_task(self, task_id: str) -> None:
        """Remove a finished task; who waits for it learns how it ended.

        Raises:
            NotFoundError: No such task.
            StateError: It has not finished.
        """
        await self._delete(task_id)

    async def wait_task(self, task_id: str, timeout: float | None = None) -> TaskSnapshot:
        """Wait for its end.

        Args:
            task_id: Which one.
            timeout: Seconds to wait at most.

        Returns:
            The finished task, also when it FAILED or was CANCELLED.

        Raises:
            NotFoundError: No such task, or it was deleted meanwhile.
            WaitTimeoutError: It has not finished in time; it goes on.
        """
        return await self._wait(task_id, timeout)

    async def get_task(self, task_id: str) -> TaskSnapshot:
        """The task as it is now. Raises ``NotFoundError``."""
        return await self._get(task_id)

    async def get_task_status(self, task_id: str) -> TaskStatus:
        """Its status. Raises ``NotFoundError``."""
        return (await self._get(task_id)).status

    async def get_task_result(self, task_id: str) -> Json:
        """What it returned.

        Raises:
            NotFoundError: No such task.
            StateError: It is not COMPLETED; the message says where it is and why.
        """
        task = await self._get(task_id)
        if task.status is not TaskStatus.COMPLETED:
            why = f" ({task.error})" if task.error else ""
            raise StateError(
                f"task {task_id!r} has no result: it is {task.status}{why};"
                " wait_task waits for its end, explain says what it waits for"
            )
        return task.result

    async def get_history(self, task_id: str) -> Sequence[HistoryEvent]:
        """All that happened to it, in order. Raises ``NotFoundError``."""
        return await self._history(task_id)

    async def get_scheduled_tasks(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> Page[RunSummary]:
        """Tasks that have not started: waiting for their time, or READY for a worker."""
        waiting = (TaskStatus.SCHEDULED, TaskStatus.READY)
        return await self.list_tasks(status=waiting, cursor=cursor, limit=limit)

    async def get_running_tasks(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> Page[RunSummary]:
        """Tasks that a worker is executing now."""
        return await self.list_tasks(status=TaskStatus.RUNNING, cursor=cursor, limit=limit)

    async def list_tasks(
        self,
        *,
        status: TaskStatus | str | Sequence[str] | None = None,
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
        """Single tasks that match, newest first; arguments as for ``list_workflows``.

        The items of lists are left out, unless they are asked for by ``part_of``.

        Args:
            schedule_id: Only firings of this schedule.
            part_of: Only what this run has started: its children, or the items of its lists.
            error: Only those of which something has failed by this error, or of the runs below
                them; the name of its class alone, or with its module.

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

    def watch(self, task_id: str) -> AsyncIterator[HistoryEvent]:
        """What happened so far, then what happens, until it has finished.

        Raises ``NotFoundError`` at the first step when there is no such task.
        """
        return self._watch(task_id)

    async def pause_schedule(self, schedule_id: str, reason: str | None = None) -> None:
        """Let it fire no more until it is resumed; a firing under way goes on.

        Args:
            schedule_id: Which one.
            reason: Kept as its note.

        Raises:
            NotFoundError: No such schedule.
            StateError: It is over.
        """
        await self._engine.schedules.set(ScheduleId(schedule_id), ScheduleStatus.PAUSED, reason)

    async def resume_schedule(self, schedule_id: str, reason: str | None = None) -> None:
        """Let it fire again, in its own rhythm; what it missed is made up for by its ``catch_up``.

        Args:
            schedule_id: Which one.
            reason: Kept as its note.

        Raises:
            NotFoundError: No such schedule.
            StateError: It is over.
        """
        await self._engine.schedules.set(ScheduleId(schedule_id), ScheduleStatus.ACTIVE, reason)

    async def trigger_schedule(self, schedule_id: str) -> str:
        """Fire it once now, whatever its trigger says; its rhythm stays.

        Returns:
            The id of the run that was started.

        Raises:
            NotFoundError: No such schedule.
        """
        return await self._engine.schedules.trigger(ScheduleId(schedule_id))

    async def backfill_schedule(
        self,
        schedule_id: str,
        start: datetime | str,
        until: datetime | str,
        *,
        priority: int | None = None,
    ) -> bool:
        """Let it fire for moments of the past: those of its trigger between two moments.

        Its own firings come first. Each moment gets the run that its firing would have had, under
        the same id; one that exists, or was deleted, stays as it is. Unless ``overlap`` is
        ``allow``, one runs after the other, and a firing that is due meanwhile waits.
        ``preview_backfill`` shows the moments.

        Args:
            schedule_id: Which one.
            start: The first moment that counts; a naive datetime is in the configured time zone.
            until: The last one; it is past.
            priority: Of the runs; one less than the schedule's own by default.

        Returns:
            False if the same backfill is under way already.

        Raises:
            NotFoundError: No such schedule.
            UsageError: No moment lies between, or ``until`` is not past.
            StateError: It is over, or another backfill is under way.
        """
        return await self._engine.schedules.backfill(
            ScheduleId(schedule_id), *self._past(start, until), _checked_priority(priority)
        )

    async def preview_backfill(
        self,
        schedule_id: str,
        start: datetime | str,
        until: datetime | str,
        count: int = 100,
    ) -> Sequence[BackfillMoment]:
        """For which moments ``backfill_schedule`` would fire; nothing is started.

        Args:
            schedule_id: Which one.
            start: As for ``backfill_schedule``.
            until: As for ``backfill_schedule``.
            count: How many moments at most.

        Returns:
            The moments in their order, each with its run's status if that exists already.

        Raises:
            NotFoundError: No such schedule.
            UsageError: ``until`` is not past.
        """
        return await self._engine.schedules.preview_backfill(
            ScheduleId(schedule_id), *self._past(start, until), count
        )

    async def cancel_backfill(self, schedule_id: str) -> bool:
        """Leave out what its backfill has not started yet; what runs goes on.

        Returns:
            False if there is none.

        Raises:
            NotFoundError: No such schedule.
        """
        return await self._engine.schedules.cancel_backfill(ScheduleId(schedule_id))

    async def delete_schedule(self, schedule_id: str) -> None:
        """Remove it; the runs it has started stay. Raises ``NotFoundError``."""
        await self._engine.schedules.delete(ScheduleId(schedule_id))

    async def get_schedule(self, schedule_id: str) -> ScheduleSnapshot:
        """The schedule as it is now. Raises ``NotFoundError``."""
        return await self._engine.schedules.get(ScheduleId(schedule_id))

    async def list_schedules(
        self,
        *,
        status: ScheduleStatus | str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[ScheduleSnapshot]:
        """Schedules in the order of their ids.

        Raises:
            UsageError: An unknown status, a bad cursor or limit.
        """
        return await self._engine.schedules.list(_schedule_status(status), cursor, limit)

    async def next_fire_times(self, schedule_id: str, count: int = 10) -> Sequence[datetime]:
        """When it will fire next, in UTC, if nothing changes.

        Args:
            schedule_id: Which one.
            count: How many moments at most.

        Raises:
            NotFoundError: No such schedule.
        """
        moments = await self._engine.schedules.next_fire_times(ScheduleId(schedule_id), count)
        return [to_datetime(moment) for moment in moments]

    async def next_firings(self, schedule_id: str, count: int = 10) -> Sequence[NextFiring]:
        """When it will fire next, if nothing changes, and what changes of the clocks do to that.

        Args:
            schedule_id: Which one.
            count: How many firings at most; those that a change leaves out come on top.

        Returns:
            Firings in their order, each in the schedule's zone; ``change_over`` says of one what
            becomes of it, and why.

        Raises:
            NotFoundError: No such schedule.
        """
        return await self._engine.schedules.next_firings(ScheduleId(schedule_id), count)

    async def _cancel_one(self, id: str, reason: str | None, kind: RunKind = RunKind.TASK) -> bool:
        try:
            return await self._engine.command(kind, RunId(id), Command(Verb.CANCEL, reason))
        except StateError:
            return False

    async def _schedule_or_none(self, id: str) -> ScheduleSnapshot | None:
        try:
            return await self._engine.schedules.get(ScheduleId(id))
        except NotFoundError:
            return None

    async def _one_of_many(self, item: object) -> RunRequest:
        if isinstance(item, Mapping) and "task_data" not in item:
            data = {key: value for key, value in item.items() if key != "id"}
            return await self._task_request(item.get("id"), data, None, (), None)
        given = arguments(item, _ARGUMENTS, "task_data")
        return await self._task_request(
            cast("str | None", given.get("task_id")),
            cast("Mapping[str, object]", given["task_data"]),
            cast("int | None", given.get("priority")),
            cast("Sequence[str]", given.get("tags", ())),
            self._moment(cast("str | None", given.get("scheduled_time")), "scheduled_time"),
            cast("Mapping[str, object] | None", given.get("deduplicate")),
        )

    async def _task_request(
        self,
        id: str | None,
        data: Mapping[str, object],
        priority: int | None,
        tags: Sequence[str],
        ready_at: Micros | None,
        deduplicate: Mapping[str, object] | None = None,
    ) -> RunRequest:
        task = await self._definitions.single_task(_UNNAMED if id is None else id, data)
        return RunRequest(
            id=None if id is None else RunId(id),
            definition=task.definition,
            inputs=task.config,
            priority=agreed_priority(priority, task.definition),
            tags=agreed_tags(tags, task.definition),
            ready_at=ready_at,
            deduplicate=read_deduplicate(deduplicate),
        )

    def _past(self, start: datetime | str, until: datetime | str) -> tuple[Micros, Micros]:
        first = self._definitions.moment(start, "start")
        last = self._definitions.moment(until, "until")
        if last < first:
            raise UsageError(f"until ({until}) lies before start ({start})")
        return first, last

    async def _schedule_run(
        self,
        schedule_id: str,
        definition: Definition,
        inputs: Mapping[str, object] | None,
        scheduled_time: datetime | str | None,
        priority: int | None,
        tags: Sequence[str],
        options: ScheduleOptions,
    ) -> str:
        moment = self._moment(scheduled_time, "scheduled_time")
        chosen = read_trigger(options)
        if chosen is None:
            if moment is None:
                raise UsageError(
                    f"schedule {schedule_id!r} has no trigger; give interval=, cron= or trigger=,"
                    " or a scheduled_time to run once"
                )
            chosen = At(to_datetime(moment))
        settled = self._settled(chosen)
        id = ScheduleId(check_id(schedule_id, "schedule id"))
        values = self._definitions.firing_inputs(definition, inputs, self._example(id, settled))
        return await self._create_schedule(
            id, definition, values, settled, moment, priority, tags, options
        )

    async def _create_schedule(
        self,
        id: ScheduleId,
        definition: Definition,
        inputs: Mapping[str, Json],
        trigger: Trigger,
        first: Micros | None,
        priority: int | None,
        tags: Sequence[str],
        options: ScheduleOptions,
    ) -> str:
        start = options.get("start")
        if start is not None and first is not None:
            raise UsageError(
                "scheduled_time and start exclude each other: scheduled_time is the first firing"
                " itself, start is from when on the trigger's own moments count"
            )
        request = ScheduleRequest(
            id=id,
            definition=definition,
            inputs=inputs,
            trigger=trigger,
            first=first,
            start=self._moment(start, "start"),
            priority=agreed_priority(priority, definition),
            tags=agreed_tags(tags, definition),
            max_runs=read_max_runs(options),
            until=self._moment(options.get("until"), "until"),
            rules=read_rules(options),
        )
        return await self._engine.schedules.create(request)

    def _example(self, id: ScheduleId, trigger: Trigger) -> Scope:
        """What the values of a firing of this moment would read."""
        return scope_of(id, trigger, self._engine.now())

    def _settled(self, trigger: Trigger) -> Trigger:
        """The trigger with what depends on this moment and machine filled in."""
        named = trigger.timezone if isinstance(trigger, Cron) else None
        return trigger.localized(self._definitions.zone(named))


_UNNAMED: Final = "task"

_ARGUMENTS: Final = (
    "task_id", "task_data", "scheduled_time", "priority", "tags", "deduplicate",
)  # fmt: skip
"""What an item of ``schedule_tasks`` may say."""


def _checked_priority(priority: int | None) -> int | None:
    if priority is None:
        return None
    problems = Problems()
    checked = fields.priority(priority, problems)
    problems.raise_if_any("the request")
    return checked


def _schedule_status(status: ScheduleStatus | str | None) -> ScheduleStatus | None:
    if status is None:
        return None
    try:
        return ScheduleStatus(str(status).upper())
    except ValueError:
        known = ", ".join(ScheduleStatus)
        raise UsageError(f"{status!r} is no status of a schedule; there are {known}") from None


def _limited(
    data: object,
    concurrency_key: str | Mapping[str, object] | None,
    rate_limit: str | Mapping[str, object] | None,
) -> Mapping[str, object]:
    """A task with limits that were given beside it; in both places they have to agree."""
    if not isinstance(data, Mapping):
        return cast("Mapping[str, object]", data)  # which is told when it is read
    key = agreed("the concurrency key", concurrency_key, data.get("concurrency_key"), None)
    rate = agreed("the rate limit", rate_limit, data.get("rate_limit"), None)
    return {**data, "concurrency_key": key, "rate_limit": rate}
