"""What many runs have come to, taken together: what failed, and what was spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final

from kallista.core.amounts import exact
from kallista.core.definitions import Definition
from kallista.core.durations import to_datetime
from kallista.core.ids import may_exist
from kallista.core.json_text import from_json
from kallista.core.plan import WHOLE_RUN
from kallista.core.snapshots import Snapshot
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunId, StepId
from kallista.engine.active import DefinitionCache
from kallista.engine.nowhere import nothing
from kallista.errors import UsageError
from kallista.store.port import FailedStep, FailureFilter, SpendingFilter, Store

MOST_EXAMPLES: Final = 100

BY: Final = ("run", "type", "tag", "unit")
"""What spending can be summed up by."""


class FailureExample(Snapshot, frozen=True):
    """One of the newest failures of a group.

    Args:
        run_id: The run it belongs to.
        task_id: The task or step; None: the run itself (its time limit, say).
        root_id: The run at the top of its tree, which a retry is asked of.
        root_kind: What that is a run of.
        message: What the error says.
        at: When it failed.
    """

    run_id: RunId
    task_id: StepId | None
    root_id: RunId
    root_kind: RunKind
    message: str
    at: datetime


class FailureGroup(Snapshot, frozen=True):
    """What has failed by the same error in tasks of the same type.

    Args:
        error: The qualified name of the exception's class.
        type: The task type; of a child run, or of a run itself, its kind.
        count: How many there are.
        examples: The newest of them.
    """

    error: str
    type: str
    count: int
    examples: tuple[FailureExample, ...]


class SpendingSum(Snapshot, frozen=True):
    """What was spent of a unit.

    Args:
        of: For what it is summed up: the id of a run, a task type, a tag, or a unit.
        unit: Of what.
        amount: How much, exactly.
    """

    of: str
    unit: str
    amount: Decimal


class Reports:
    """What many runs have come to, of whatever kind they are.

    Args:
        store: Where they are.
        read_moment: Reads a moment that a user gives; the text says what it is.
    """

    def __init__(self, store: Store, read_moment: Callable[[object, str], Micros]) -> None:
        self._store = store
        self._read_moment = read_moment
        self._definitions = DefinitionCache()

    async def failures(
        self,
        *,
        error: str | None = None,
        type: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        examples: int = 3,
    ) -> Sequence[FailureGroup]:
        """What is FAILED now, by error and task type; what was retried since is not in it.

        Steps count whose failure was let pass, too. ``retry_workflows(error=…)`` and the like let
        all runs go on that failed by an error.

        Args:
            error: Only this error; the name of its class alone, or with its module.
            type: Only of this task type.
            since: Only what failed at this moment or later; a naive datetime is in the configured
                time zone.
            until: Only what failed before this moment.
            examples: How many of each group are told at most, from 1 to 100.

        Returns:
            The groups, the largest first.

        Raises:
            UsageError: A moment or a number is none.
        """
        if not 1 <= examples <= MOST_EXAMPLES:
            raise UsageError(f"examples must be from 1 to {MOST_EXAMPLES}, not {examples!r}")
        if not all(name is None or name.isprintable() for name in (error, type)):
            return ()  # nothing is called so, and not every store could compare it
        found = await self._store.failure_groups(
            FailureFilter(
                error=error,
                type=type,
                since=self._moment(since, "since"),
                until=self._moment(until, "until"),
                examples=examples,
            )
        )
        definitions = await self._definitions_of([failed.run for failed in found])
        return [
            FailureGroup(error, type, count, tuple(_example(step, definitions) for step in steps))
            for (error, type, count), steps in groupby(found, key=lambda step: step[:3])
        ]

    async def spending(
        self,
        by: str = "run",
        *,
        unit: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> Sequence[SpendingSum]:
        """What handlers have spent (``ctx.spend``), attempts that failed included.

        What a run has spent goes with it when it is deleted or purged.

        Args:
            by: ``run`` (that at the top of the tree, with all that it has started), ``type`` (of
                the tasks), ``tag`` (of that run; one with two tags counts for both) or ``unit``.
            unit: Only of this unit.
            since: Only what was spent at this moment or later; a naive datetime is in the
                configured time zone.
            until: Only what was spent before this moment.

        Returns:
            The sums, in the order of what they are of, and of the units.

        Raises:
            UsageError: There is no such ``by``, or a moment is none.
        """
        if by not in BY:
            raise UsageError(f"spending is summed up by {', '.join(BY)}, not {by!r}")
        if unit is not None and not unit.isprintable():
            return ()
        found = await self._store.spending(
            SpendingFilter(
                by=by,
                unit=unit,
                since=self._moment(since, "since"),
                until=self._moment(until, "until"),
            )
        )
        return [SpendingSum(of, unit, exact(amount)) for of, unit, amount in found]

    async def spent(self, run_id: str) -> Mapping[str, Decimal]:
        """What a run of any kind has spent with all that it has started, by unit.

        Raises:
            NotFoundError: No run has this id.
        """
        record = await self._store.load(RunId(run_id)) if may_exist(run_id) else None
        if record is None:
            raise await nothing(self._store, "run", run_id)
        spent = await self._store.spent(record.key)
        return {unit: exact(amount) for unit, amount in spent.items()}

    def _moment(self, value: datetime | str | None, what: str) -> Micros | None:
        return None if value is None else self._read_moment(value, what)

    async def _definitions_of(self, runs: Sequence[RunId]) -> Mapping[RunId, Definition]:
        heads = await self._store.heads(list(dict.fromkeys(runs))) if runs else {}
        return {
            id: self._definitions.get(record.definition, record.definition_content)
            for id, record in heads.items()
        }


def _example(failed: FailedStep, definitions: Mapping[RunId, Definition]) -> FailureExample:
    definition = definitions.get(failed.run)  # None: the run was deleted meanwhile
    task_id: StepId | None = None
    if failed.step != WHOLE_RUN and definition is not None:
        task_id = definition.steps[failed.step].id or StepId(failed.run)
    told = {} if failed.data is None else from_json(failed.data)
    return FailureExample(
        failed.run,
        task_id,
        failed.root,
        failed.root_kind,
        str(told.get("message", "")),
        to_datetime(failed.at),
    )
