"""Statements that go out together, without a word to the server between them.

psycopg's own pipeline hands each statement to the network by itself, through a cursor of its own:
that takes 30 µs of Python for each, and the server is woken for each. Here a statement only
fills libpq's buffer, which is sent when somebody asks for rows, or at the end.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Final, TypeAlias

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from kallista.store.rows import Row

Database: TypeAlias = "psycopg.Connection[Row]"

_GOOD: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Answer:
    """What the server says to a statement, once it does.

    Args:
        prepares: The statement that it makes known to the server, if that is what it does.
    """

    __slots__ = ("prepares", "result")

    def __init__(self, prepares: bytes | None = None) -> None:
        self.prepares = prepares
        self.result: PGresult | None = None


class Exchange:
    """One session in which statements are sent ahead of the answers to those before.

    Args:
        db: The session.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pg = db.pgconn
        self._decoder = Transformer(db)
        self._prepared: dict[bytes, bytes] = {}
        self._numbers = count()
        self._unanswered: deque[Answer | None] = deque()
        self._is_synced = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pg.socket, selectors.EVENT_READ)

    def begin(self) -> None:
        """From now on statements are sent together."""
        self._pg.enter_pipeline_mode()

    def end(self) -> None:
        """Have all statements carried out that were sent.

        Raises:
            psycopg.Error: One of them failed, and with it those after it.
        """
        self._sync()
        self._read()
        self._pg.exit_pipeline_mode()

    def abandon(self) -> None:
        """End it after an error, which has said all there is to say."""
        try:
            self._sync()
            self._read(heed=False)
            self._pg.exit_pipeline_mode()
        except psycopg.Error:
            self._db.close()

    def close(self) -> None:
        """Let go of the session."""
        self._selector.close()

    def send(self, query: bytes, values: Sequence[str | None] = ()) -> Answer:
        """Send a statement along with the next ones; its values are text for PostgreSQL to read.

        Raises:
            psycopg.DataError: A value holds what no text in PostgreSQL may hold.
            UnicodeEncodeError: The same.
        """
        texts = [None if value is None else value.encode() for value in values]
        if any(text is not None and b"\0" in text for text in texts):
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        name = self._prepared.get(query)
        if name is None:
            name = self._prepared[query] = b"kallista_%d" % next(self._numbers)
            self._pg.send_prepare(name, query)
            self._unanswered.append(Answer(query))
        self._pg.send_query_prepared(name, texts)
        answer = Answer()
        self._unanswered.append(answer)
        self._is_synced = False
        return answer

    def rows(self, answer: Answer) -> list[Row]:
        """The rows that a statement brought; what it is waited for is sent now.

        While a server waits for the next statement without having been told that it may take long,
        it takes the transaction for a busy one: a program that freezes there would never be sent
        away.
        """
        if not self._is_synced:
            self._sync()
        if answer.result is None:
            self._read(answer)
        result = answer.result
        assert result is not None
        self._decoder.set_pgresult(result)
        return self._decoder.load_rows(0, result.ntuples, tuple)

    def notifications(self) -> list[str]:
        """The payloads of what has been notified, also along with answers."""
        self._pg.consume_input()
        return [note.extra.decode() for note in iter(self._pg.notifies, None)]

    def _sync(self) -> None:
        self._pg.pipeline_sync()
        self._unanswered.append(None)
        self._is_synced = True
        while self._pg.flush():
            # The server may be waiting for its own words to be read.
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)
            self._pg.consume_input()

    def _read(self, wanted: Answer | None = None, *, heed: bool = True) -> None:
        """Read answers in their order, up to the wanted one, or all."""
        ended = False
        while self._unanswered and (wanted is None or wanted.result is None):
            result = self._next_result()
            if result is None:
                # One statement's answer ends here; where nothing follows, nothing ever will.
                if ended:
                    raise psycopg.OperationalError("the server has ended the session")
                ended = True
                continue
            ended = False
            self._note(self._unanswered.popleft(), result, heed)

    def _note(self, answer: Answer | None, result: PGresult, heed: bool) -> None:
        if answer is None:
            return
        if result.status in _GOOD:
            answer.result = result
            return
        if answer.prepares is not None:
            self._prepared.pop(answer.prepares, None)
        if heed:
            raise psycopg.errors.error_from_result(result)

    def _next_result(self) -> PGresult | None:
        while self._pg.is_busy():
            self._wait(selectors.EVENT_READ)
            self._pg.consume_input()
        return self._pg.get_result()

    def _wait(self, events: int) -> None:
        if events != selectors.EVENT_READ:
            self._selector.modify(self._pg.socket, events)
        self._selector.select()
        if events != selectors.EVENT_READ:
            self._selector.modify(self._pg.socket, selectors.EVENT_READ)
