"""What the three objects have in common: the doors that need nothing but a run's id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar, cast

from kallista.core import fields
from kallista.core.commands import Command, Verb
from kallista.core.definitions import Definition
from kallista.core.ids import check_id
from kallista.core.problems import Problems
from kallista.core.snapshots import (
    Answered,
    AnySnapshot,
    ApprovalSnapshot,
    Commanded,
    Explanation,
    Forked,
    HistoryEvent,
    Page,
    Redefined,
    Replay,
    RunSummary,
)
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunId, ScheduleId
from kallista.engine.port import Definitions, Engine, ForkRequest, ListRequest, RunRequest
from kallista.errors import NotFoundError, StateError, UsageError
from kallista.workflows.bulk import read_all
from kallista.workflows.many import MEANT, TOGETHER, Tally, Which, check_which
from kallista.workflows.same_again import read_deduplicate

SnapshotT = TypeVar("SnapshotT", bound=AnySnapshot)
ValueT = TypeVar("ValueT")


def agreed(key: str, argument: ValueT | None, described: ValueT, absent: ValueT) -> ValueT:
    """One value from the argument and the description.

    Args:
        key: What it is, for the message.
        argument: What the caller gave; None: nothing.
        described: What the description says; ``absent`` when it says nothing.

    Raises:
        UsageError: Both are given and differ.
    """
    if argument is None:
        return described
    if described != absent and described != argument:
        raise UsageError(
            f"{key} is given twice: {argument!r} as an argument and {described!r} in the"
            " description; give it once"
        )
    return argument


def agreed_priority(argument: int | None, definition: Definition) -> int:
    """The priority of a run, from the argument or the description. Raises ``UsageError``."""
    if argument is None:
        return definition.priority
    problems = Problems()
    argument = fields.priority(argument, problems)
    problems.raise_if_any("the request")
    return agreed("priority", argument, definition.priority, 0)


def agreed_tags(argument: Sequence[str], definition: Definition) -> tuple[str, ...]:
    """The tags of a run, from the argument or the description. Raises ``UsageError``."""
    if not argument:
        return definition.tags
    problems = Problems()
    tags = fields.tags(argument, problems)
    problems.raise_if_any("the request")
    return agreed("tags", tags, definition.tags, ())


class Runs(Generic[SnapshotT]):
    """The runs of one kind.

    Args:
        engine: What runs them.
        definitions: What reads their descriptions.
    """

    kind: ClassVar[RunKind]

    def __init__(self, engine: Engine, definitions: Definitions) -> None:
        self._engine = engine
        self._definitions = definitions

    async def explain(self, id: str) -> Explanation:
        """Why a run (or schedule) is where it is.

        Args:
            id: A run of any kind, or a schedule.

        Returns:
            An object whose ``str()`` is the sentence and whose fields are the same as data.

        Raises:
            NotFoundError: Nothing has this id.
        """
        return await self._engine.explain(id)

    async def replay(self, id: str) -> Replay:
        """Follow the history of a run from its beginning, and compare where that leads to.

        Args:
            id: A run of any kind.

        Returns:
            How many events there are, and the first thing that is otherwise than they tell.

        Raises:
            NotFoundError: No run has this id.
        """
        return await self._engine.replay(id)

    async def send_signal(
        self, run_id: str, name: str, payload: object = None, signal_id: str | None = None
    ) -> str:
        """Send a signal to a run, which a step of type ``wait_for_signal`` takes.

        The oldest one is taken first, each exactly once, by the step that has waited longest. One
        that comes before its step waits is kept, also while the run is paused.

        Args:
            run_id: A run of any kind; a child run has an id of its own.
            name: What the step waits for.
            payload: What it says, as plain data: the result of the step.
            signal_id: By which a repeat is known, so that who is not sure whether it has arrived
                may send it again; a generated one when not given.

        Returns:
            Its id, once the signal is durable.

        Raises:
            NotFoundError: No such run.
            StateError: It has finished, or keeps too many signals that nobody has taken.
            UsageError: None of its steps ever waits for such a signal, or for such a payload.
            ConflictError: Another signal was sent to it under this id.
        """
        return await self._engine.outside.send(RunId(run_id), name, payload, signal_id)

    async def approve(
        self,
        run_id: str,
        task_id: str | None = None,
        *,
        by: str | None = None,
        comment: str | None = None,
        form: Mapping[str, object] | None = None,
    ) -> Answered:
        """Approve what a step of type ``approval`` asks.

        Args:
            run_id: A run of any kind: the approval's own, or one above it.
            task_id: Which approval; not needed where only one waits.
            by: Who says so, for history.
            comment: Why, for history.
            form: What the approval's form asks for.

        Returns:
            Which approval it was. The same answer once more changes nothing.

        Raises:
            NotFoundError: No such run or approval.
            StateError: It does not ask now.
            UsageError: The form is not filled in well, or several approvals wait.
            ConflictError: It was answered otherwise before.
        """
        return await self._engine.outside.answer(
            RunId(run_id), task_id, approved=True, by=by, comment=comment, form=form
        )

    async def reject(
        self,
        run_id: str,
        task_id: str | None = None,
        *,
        by: str | None = None,
        comment: str | None = None,
        form: Mapping[str, object] | None = None,
    ) -> Answered:
        """Reject what a step of type ``approval`` asks; its ``on_reject`` says what follows.

        Arguments, result and errors as for ``approve``; the form may be left out.
        """
        return await self._engine.outside.answer(
            RunId(run_id), task_id, approved=False, by=by, comment=comment, form=form
        )

    async def list_approvals(
        self, *, run_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[ApprovalSnapshot]:
        """Approvals that wait for an answer, in runs of all kinds, the longest waiting first.

        Args:
            run_id: Only of this run and of those below it.
            cursor: Where the page before ended.
            limit: How many at most, up to 1,000.

        Raises:
            NotFoundError: No such run.
            UsageError: A bad cursor or limit.
        """
        id = None if run_id is None else RunId(run_id)
        return await self._engine.outside.approvals(id, cursor, limit)

    def _run_request(
        self,
        definition: Definition,
        id: str | None,
        priority: int | None,
        tags: Sequence[str],
        inputs: Mapping[str, object] | None,
        deduplicate: Mapping[str, object] | None = None,
    ) -> RunRequest:
        return RunRequest(
            id=None if id is None else RunId(check_id(id, f"{self.kind} id")),
            definition=definition,
            inputs=self._definitions.inputs(definition, inputs),
            priority=agreed_priority(priority, definition),
            tags=agreed_tags(tags, definition),
            deduplicate=read_deduplicate(deduplicate),
        )

    async def _create_all(
        self,
        items: object,
        what: str,
        read: Callable[[object], Awaitable[RunRequest]],
        *,
        start: bool,
    ) -> Sequence[str]:
        requests = await read_all(items, what, read)
        return await self._engine.create_all(requests, start=start) if requests else []

    async def _command(
        self,
        id: str,
        verb: Verb,
        reason: str | None = None,
        *,
        rollback: bool = False,
        stop_clocks: bool = False,
    ) -> bool:
        command = Command(verb, reason, rollback=rollback, stop_clocks=stop_clocks)
        return await self._engine.command(self.kind, RunId(id), command)

    async def _retry(
        self,
        id: str,
        reason: str | None,
        definition: Mapping[str, object] | str | None,
        *,
        dry_run: bool,
    ) -> Redefined | None:
        if definition is None:
            if dry_run:
                raise UsageError(
                    "dry_run says what another definition would change; give a definition"
                )
            await self._command(id, Verb.RETRY, reason)
            return None
        runs, _ = await self._engine.running(self.kind, RunId(id))
        other = await self._definitions.another(self.kind, runs.name, definition)
        command = Command(Verb.RETRY, reason, definition=other)
        return await self._engine.retry_otherwise(self.kind, RunId(id), command, dry_run=dry_run)

    async def _fork(
        self,
        id: str,
        from_task: str,
        changes: Mapping[str, Mapping[str, object]] | None,
        definition: Mapping[str, object] | str | None,
        fork_id: str | None,
        reason: str | None,
        *,
        dry_run: bool,
    ) -> Forked:
        runs, given = await self._engine.running(self.kind, RunId(id))
        wanted, inputs = runs, given
        if definition is not None:
            wanted = await self._definitions.another(self.kind, runs.name, definition)
            inputs = self._definitions.inputs(wanted, given)
        if changes is not None:
            wanted = await self._definitions.changed(wanted, changes)
        request = ForkRequest(
            source=RunId(id),
            task=from_task,
            id=None if fork_id is None else RunId(check_id(fork_id, f"{self.kind} id")),
            definition=wanted,
            inputs=inputs,
            changes=frozenset(changes or ()),
            reason=reason,
            dry_run=dry_run,
        )
        return await self._engine.fork(self.kind, request)

    async def _resume(
        self, id: str, reason: str | None, budget: Mapping[str, object] | None
    ) -> bool:
        problems = Problems()
        limits = fields.budget(budget, problems)
        problems.raise_if_any("the budget")
        command = Command(Verb.RESUME, reason, budget=limits)
        return await self._engine.command(self.kind, RunId(id), command)

    async def _command_all(
        self,
        command: Command,
        which: Which,
        *,
        dry_run: bool,
    ) -> Commanded:
        """Command all runs that are meant, but for those that others have started."""
        check_which(which)
        tally, cursor = Tally(command.verb), None
        while True:
            page = await self._list(
                status=which.get("status") or MEANT[command.verb, self.kind],
                name=which.get("name"),
                tag=which.get("tag"),
                created_from=which.get("created_from"),
                created_until=which.get("created_until"),
                schedule=which.get("schedule_id"),
                error=which.get("error"),
                cursor=cursor,
                limit=TOGETHER,
            )
            meant = [run for run in page.items if run.parent_id is None]
            tally.match(meant)
            if not dry_run:
                await asyncio.gather(*(self._tell(run.id, command, tally) for run in meant))
            if page.cursor is None:
                return tally.result
            cursor = page.cursor

    async def _tell(self, id: RunId, command: Command, tally: Tally) -> None:
        try:
            tally.answer(changed=await self._engine.command(self.kind, id, command))
        except (StateError, NotFoundError) as error:
            tally.refuse(id, str(error))

    async def _get(self, id: str) -> SnapshotT:
        return cast(SnapshotT, await self._engine.get(self.kind, RunId(id)))

    async def _wait(self, id: str, timeout: float | None) -> SnapshotT:
        return cast(SnapshotT, await self._engine.wait(self.kind, RunId(id), timeout))

    async def _history(self, id: str) -> Sequence[HistoryEvent]:
        return await self._engine.history(self.kind, RunId(id))

    def _watch(self, id: str) -> AsyncIterator[HistoryEvent]:
        return self._engine.watch(self.kind, RunId(id))

    async def _delete(self, id: str) -> None:
        await self._engine.delete(self.kind, RunId(id))

    async def _list(
        self,
        *,
        status: str | Sequence[str] | None,
        name: str | None,
        tag: str | None,
        created_from: datetime | str | None,
        created_until: datetime | str | None,
        cursor: str | None,
        limit: int,
        schedule: str | None = None,
        part_of: str | None = None,
        error: str | None = None,
    ) -> Page[RunSummary]:
        statuses = (status,) if isinstance(status, str) else status
        return await self._engine.list_runs(
            ListRequest(
                kind=self.kind,
                statuses=None if statuses is None else tuple(str(word) for word in statuses),
                name=name,
                tag=tag,
                created_from=self._moment(created_from, "created_from"),
                created_until=self._moment(created_until, "created_until"),
                schedule=None if schedule is None else ScheduleId(schedule),
                part_of=None if part_of is None else RunId(part_of),
                error=error,
                cursor=cursor,
                limit=limit,
            )
        )

    def _moment(self, value: datetime | str | None, what: str) -> Micros | None:
        return None if value is None else self._definitions.moment(value, what)
