"""Reads runs with their steps and definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apsw

from kallista.core.events import StepState
from kallista.core.json_text import to_json
from kallista.core.types import JsonText, RunKey
from kallista.store.definition_texts import DefinitionTexts
from kallista.store.port import RunRecord
from kallista.store.rows import NEW_STEP, Row, run_record, step_state, task_step
from kallista.store.sqlite.statements import statement

_RECORDS_BY_KEY = statement("records_by_key")
_STEPS_OF = statement("steps_of")
_STEPS_OF_RUNS = statement("steps_of_runs")
_DEFINITION_CONTENTS = statement("definition_contents")


class DefinitionCache:
    """The contents of definitions, read when they are first asked for.

    Keys are given again once no run has the old one, so a key is asked for with its hash.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._texts = DefinitionTexts()

    def content(self, key: int, hash: str) -> JsonText:
        """The content of a definition."""
        return self.contents({hash: key})[hash]

    def contents(self, keys: Mapping[str, int]) -> Mapping[str, JsonText]:
        """The contents of definitions, by hash.

        Args:
            keys: The keys by hash.
        """
        found = self._texts.among(keys)
        missing = [key for hash, key in keys.items() if hash not in found]
        if missing:
            rows: Iterable[tuple[str, JsonText]] = self._db.execute(
                _DEFINITION_CONTENTS, (key_list(missing),)
            )
            read = dict(rows)
            self._texts.keep(read)
            found |= read
        return found


def full_record(db: apsw.Connection, definitions: DefinitionCache, row: Row) -> RunRecord:
    """A row of ``run_records`` with its steps."""
    task = task_step(row)
    steps = run_steps(db, row[0], row[20]) if task is None else (task,)
    return run_record(row, definitions.content(row[5], row[6]), steps)


def full_records(
    db: apsw.Connection, definitions: DefinitionCache, keys: str
) -> dict[RunKey, RunRecord]:
    """All runs of a list of keys, with their steps."""
    rows: list[Row] = db.execute(_RECORDS_BY_KEY, (keys,)).fetchall()
    contents = definitions.contents({row[6]: row[5] for row in rows})
    tasks = {row[0]: (task,) for row in rows if (task := task_step(row)) is not None}
    steps = tasks if len(tasks) == len(rows) else _steps_of(db, keys, rows) | tasks
    return {row[0]: run_record(row, contents[row[6]], steps[row[0]]) for row in rows}


def _steps_of(
    db: apsw.Connection, keys: str, rows: Iterable[Row]
) -> dict[RunKey, tuple[StepState, ...]]:
    steps = {row[0]: [NEW_STEP] * row[20] for row in rows}
    row: Row
    for row in db.execute(_STEPS_OF_RUNS, (keys,)):
        steps[row[0]][row[1]] = step_state(row[2:])
    return {key: tuple(states) for key, states in steps.items()}


def bare_record(definitions: DefinitionCache, row: Row) -> RunRecord:
    """A row of ``run_records`` without its steps."""
    return run_record(row, definitions.content(row[5], row[6]), ())


def run_steps(db: apsw.Connection, run: int, count: int) -> tuple[StepState, ...]:
    """The steps of a run; those without a row are as they were at the start."""
    steps = [NEW_STEP] * count
    row: Row
    for row in db.execute(_STEPS_OF, (run,)):
        steps[row[0]] = step_state(row[1:])
    return tuple(steps)


def text_list(texts: Iterable[str]) -> str:
    """Ids or hashes as ``json_each`` reads them."""
    return to_json(list(texts))


def key_list(keys: Iterable[RunKey | int]) -> str:
    """Keys as ``json_each`` reads them."""
    return to_json(list(keys))
