"""Reads runs with their steps and definitions, and lays out lines of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import astuple

from kallista.core.plan import WAKE, Entry, is_alone
from kallista.core.types import JsonText, RunKey
from kallista.store.definition_texts import DefinitionTexts
from kallista.store.port import RunRecord
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.statements import statement
from kallista.store.rows import NEW_STEP, Row, run_record, step_state, task_step

_RECORDS_BY_KEY = statement("records_by_key")
_STEPS_OF_RUNS = statement("steps_of_runs")
_DEFINITION_CONTENTS = statement("definition_contents")


class DefinitionCache:
    """The contents of definitions, read when they are first asked for."""

    def __init__(self) -> None:
        self._texts = DefinitionTexts()

    def contents(self, db: Connection, hashes: Iterable[str]) -> Mapping[str, JsonText]:
        """The contents of definitions by hash."""
        wanted = set(hashes)
        found = self._texts.among(wanted)
        missing = list(wanted - found.keys())
        if missing:
            read = {hash: JsonText(text) for hash, text in db.ask(_DEFINITION_CONTENTS, (missing,))}
            self._texts.keep(read)
            found |= read
        return found


def line(run: RunKey, entry: Entry) -> Row:
    """The values of ``enqueue`` and ``dequeue``."""
    shared = entry.type != WAKE and not is_alone(entry.type)
    return (run, *astuple(entry), shared)


def full_records(
    db: Connection, definitions: DefinitionCache, keys: Iterable[RunKey]
) -> dict[RunKey, RunRecord]:
    """All runs of some keys, with their steps, in one snapshot."""
    wanted = list(keys)
    if not wanted:
        return {}
    records = db.later(_RECORDS_BY_KEY, (wanted,))
    steps = db.later(_STEPS_OF_RUNS, (wanted,))
    return {record.key: record for record in with_steps(db, definitions, records(), steps())}


def with_steps(
    db: Connection, definitions: DefinitionCache, rows: Sequence[Row], step_rows: Iterable[Row]
) -> list[RunRecord]:
    """Rows of ``run_records`` with the steps of all of them."""
    steps = {row[0]: [NEW_STEP] * row[20] for row in rows}
    for row in rows:
        if (task := task_step(row)) is not None:
            steps[row[0]][0] = task
    for run, position, *state in step_rows:
        if run in steps:
            steps[run][position] = step_state(state)
    contents = definitions.contents(db, (row[6] for row in rows))
    return [run_record(row, contents[row[6]], tuple(steps[row[0]])) for row in rows]


def bare_records(
    db: Connection, definitions: DefinitionCache, rows: Sequence[Row]
) -> list[RunRecord]:
    """Rows of ``run_records`` without their steps."""
    contents = definitions.contents(db, (row[6] for row in rows))
    return [run_record(row, contents[row[6]], ()) for row in rows]
