"""What comes from outside: signals for runs, the answers of people, and what waits for those."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import UNSET

from kallista.core import fields
from kallista.core.commands import Answer, Send
from kallista.core.definitions import TaskSpec
from kallista.core.durations import to_datetime
from kallista.core.ids import check_id, uuid7
from kallista.core.json_text import to_json
from kallista.core.plain import plain
from kallista.core.problems import Problems
from kallista.core.questions import APPROVAL
from kallista.core.snapshots import Answered, ApprovalSnapshot, Page
from kallista.core.states import RunKind
from kallista.core.types import Json, Micros, RunId, RunKey, StepId
from kallista.engine.active import DefinitionCache
from kallista.engine.driver import Driver
from kallista.engine.paging import checked_limit, cursor_of, read_cursor
from kallista.errors import StateError, UsageError
from kallista.store.port import ApprovalFilter, OpenApproval, RunRecord, Store

_LISTED_AT_MOST = 10
_LOOKED_AT = 1_000


class People:
    """Sends signals, finds what waits for an answer, and answers it.

    Args:
        store: Where everything is.
        driver: Decides.
        definitions: Definitions already read.
        record: Reads a run of any kind; raises ``NotFoundError``.
        now: What time it is.
        entropy: Gives as many random bytes as it is asked for.
        most: How many bytes a payload or a form may have, encoded.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        definitions: DefinitionCache,
        record: Callable[[str], Awaitable[RunRecord]],
        now: Callable[[], Micros],
        entropy: Callable[[int], bytes],
        most: int,
    ) -> None:
        self._store = store
        self._driver = driver
        self._definitions = definitions
        self._record = record
        self._now = now
        self._entropy = entropy
        self._most = most

    async def send(self, id: RunId, name: str, payload: object, signal_id: str | None) -> str:
        """Send a signal to a run; returns its id once it is durable."""
        if not isinstance(name, str):
            raise UsageError(f"the name of a signal is a text, not {name!r}")
        if signal_id is not None:
            check_id(signal_id, "id of a signal")
        signal = signal_id or uuid7(self._now(), self._entropy(10))
        said = self._plain({"payload": payload}, "signal")["payload"]
        record = await self._record(id)
        await self._driver.command(record.key, Send(name, signal, to_json(said)), record)
        return signal

    async def answer(
        self,
        id: RunId,
        step: str | None,
        *,
        approved: bool,
        by: str | None,
        comment: str | None,
        form: Mapping[str, object] | None,
    ) -> Answered:
        """Answer an approval of a run, or of one below it."""
        answer: dict[str, Json] = {
            "approved": approved,
            "by": _said(by, "by"),
            "comment": _said(comment, "comment"),
            "form": dict(self._plain({} if form is None else form, "form")),
        }
        record = await self._record(id)
        asked = await self._asked(record, step)
        key, run, meant = asked or (record.key, record.id, self._meant(record, step))
        changed = await self._driver.command(key, Answer(meant, to_json(answer)))
        return Answered(run, meant, approved, changed)

    async def approvals(
        self, id: RunId | None, cursor: str | None, limit: int
    ) -> Page[ApprovalSnapshot]:
        """What waits for a person, of all runs or of one and those below it."""
        limit = checked_limit(limit)
        root = None if id is None else (await self._record(id)).key
        after = ApprovalFilter().after if cursor is None else _read_place(cursor)
        found = await self._store.approvals(ApprovalFilter(root, after, limit + 1))
        page = found[:limit]
        next = cursor_of(_place(page[-1])) if len(found) > limit else None
        return Page(tuple(map(_shown, page)), next)

    def _plain(self, value: object, what: str) -> Mapping[str, Json]:
        problems = Problems()
        given = fields.payload(value, what, self._most, problems)
        if problems:
            raise UsageError(f"the {what} is none that can be sent", problems.lines)
        return given

    async def _asked(
        self, record: RunRecord, step: str | None
    ) -> tuple[RunKey, RunId, StepId] | None:
        """The open approval that is meant, if there is one."""
        wanted = ApprovalFilter(record.key, limit=_LOOKED_AT)
        found = [
            approval
            for approval in await self._store.approvals(wanted)
            if step in (None, approval.asked.question.step)
        ]
        own = [approval for approval in found if approval.run == record.key]
        meant = own if step is not None and own else found
        if len(meant) > 1:
            told = ", ".join(map(_called, meant[:_LISTED_AT_MOST]))
            raise UsageError(f"{len(meant)} approvals of {record.id!r} wait; say which: {told}")
        if not meant:
            return None
        return meant[0].run, meant[0].run_id, StepId(meant[0].asked.question.step)

    def _meant(self, record: RunRecord, step: str | None) -> StepId:
        """The approval that is meant although none is open: it may have been answered before."""
        if step is not None:
            return StepId(step)
        definition = self._definitions.get(record.definition, record.definition_content)
        approvals = [
            spec.id or StepId(record.id)
            for spec in definition.steps
            if isinstance(spec.work, TaskSpec) and spec.work.type == APPROVAL
        ]
        if len(approvals) != 1:
            raise StateError(
                f"nothing of {record.kind} {record.id!r} waits for an answer; explain says what it"
                " waits for"
            )
        return approvals[0]


def _said(value: str | None, what: str) -> str | None:
    if value is None:
        return None
    problems: list[str] = []
    text = plain(value, what, problems)
    if problems or not isinstance(text, str):
        raise UsageError(f"{what} must be a text, not {value!r}")
    return text


def _shown(approval: OpenApproval) -> ApprovalSnapshot:
    question = approval.asked.question
    default = question.default
    return ApprovalSnapshot(
        run_id=approval.run_id,
        kind=approval.kind,
        name=approval.name,
        task_id=StepId(question.step),
        title=question.title or question.step,
        prompt=question.prompt,
        form=question.schema,
        approvers=question.approvers,
        on_reject=question.on_reject.value,
        default=None if default is UNSET else default,
        since=to_datetime(approval.asked.at),
        until=None if approval.until is None else to_datetime(approval.until),
    )


def _called(approval: OpenApproval) -> str:
    step, run = approval.asked.question.step, approval.run_id
    return run if approval.kind is RunKind.TASK else f"{run} {step}"


def _place(approval: OpenApproval) -> str:
    return f"{approval.asked.at} {approval.run} {approval.step}"


def _read_place(cursor: str) -> tuple[Micros, RunKey, int]:
    text = read_cursor(cursor, str)
    parts: Sequence[str] = text.split()
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 19 for part in parts):
        raise UsageError(f"{cursor!r} is no cursor; give the one of the page before")
    at, run, step = map(int, parts)
    return Micros(at), RunKey(run), step
