"""Decides which new runs may be written, and under which keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from kallista.core.plan import NewRun
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunId, RunKey, WorkerKey
from kallista.errors import ConflictError, KallistaError, NotFoundError
from kallista.store.circles import Waits
from kallista.store.conflicts import id_conflict
from kallista.store.port import Created


class Creation(NamedTuple):
    """Runs that are created together or not at all.

    Args:
        runs: The runs.
        alone: There is one of them, and the answer is about it instead of a list.
    """

    runs: Sequence[NewRun]
    alone: bool = False


class There(Struct, frozen=True, gc=False):
    """What has an id."""

    key: RunKey
    kind: str
    name: str
    content: str


class First(Struct, frozen=True, gc=False):
    """The run that a key stands for: the first one that was asked for by it.

    Args:
        key: The run's key.
        id: Its id.
        until: Up to which moment it is the answer.
        state: Where it is; what has FAILED or was CANCELLED is no answer.
    """

    key: RunKey
    id: RunId
    until: Micros
    state: str

    def answers(self, now: Micros) -> bool:
        """Whether it is the answer to a request of this moment."""
        return now < self.until and self.state not in _NO_ANSWERS


_NO_ANSWERS: Final = ("FAILED", "CANCELLED")


Birth: TypeAlias = tuple[RunKey, RunKey | None, NewRun]
"""A run that is about to be written: its key, its root, and what it is."""


class Births:
    """The runs that may be written, one after the other.

    Args:
        there: What has one of their ids already.
        roots: The root of each parent that is there.
        key: The key of the run that is accepted as the first, the second …, from 0 on.
        check_worker: Raises ``LeaseLost`` when a run's owner has been taken for dead.
        first: The runs that the keys stand for by which some of the runs are the same.
        waits: Who waits for them; None: none of them waits for another.
    """

    def __init__(
        self,
        there: dict[RunId, There],
        roots: Mapping[RunKey, RunKey],
        key: Callable[[int], RunKey],
        check_worker: Callable[[WorkerKey], None],
        first: dict[tuple[str, str], First] | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._waits = waits
        self.there = there
        self._roots = roots
        self._key = key
        self._check_worker = check_worker
        self._first = {} if first is None else first
        self.accepted: list[Birth] = []

    def accept(self, creation: Creation) -> Created | Sequence[Created] | KallistaError:
        """Take on all runs of a creation, or none of them."""
        before = len(self.accepted)
        try:
            created = [self._created(run) for run in creation.runs]
            if self._waits is not None:
                self._waits.add([run for _, _, run in self.accepted[before:]])
            return created[0] if creation.alone else created
        except KallistaError as error:
            for _, _, run in self.accepted[before:]:
                del self.there[run.id]
                if run.same is not None:  # whoever it had replaced was no answer any more
                    self._first.pop((run.same.scope, run.same.key), None)
            del self.accepted[before:]
            return error

    def _created(self, run: NewRun) -> Created:
        there = self.there.get(run.id)
        if there is None:
            first = None if run.same is None else self._first.get((run.same.scope, run.same.key))
            if first is not None and first.answers(run.created_at):
                return Created(first.key, new=False, id=first.id)
            key = self._add(run)
            if run.owner is not None:
                self._check_worker(run.owner)
            return Created(key, new=True)
        if there.kind == run.kind and there.content == run.content:
            return Created(there.key, new=False)
        raise ConflictError(id_conflict(run, RunKind(there.kind), there.name))

    def _add(self, run: NewRun) -> RunKey:
        root = None
        if run.parent is not None:
            root = self._roots.get(run.parent[0])
            if root is None:
                raise NotFoundError(f"the run that was to start {run.id!r} is gone; it was deleted")
        key = self._key(len(self.accepted))
        self.accepted.append((key, root, run))
        self.there[run.id] = There(key, run.kind, run.name, run.content)
        if run.same is not None:
            same = run.same
            self._first[same.scope, same.key] = First(key, run.id, same.until, run.head.state)
        return key

    def add_missing(self, runs: Sequence[NewRun]) -> None:
        """Take on those whose ids are free; whatever has an id is left as it is."""
        for run in runs:
            if run.id not in self.there:
                self._add(run)
