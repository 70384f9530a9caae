"""A wire to PostgreSQL that can be cut at a word: before it arrives, or before its answer does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum


class Cut(Enum):
    """Where the wire is cut."""

    BEFORE = "the word never arrives"
    AFTER = "the word is obeyed, and the answer never arrives"


class Wire:
    """A proxy before a server; its cuts are used up one by one.

    Args:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cuts: list[tuple[bytes, Cut]] = []
        self.connections = 0
        self._is_down = False
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        """Let nobody through from now on."""
        self._is_down = True

    def up(self) -> None:
        """Let everybody through again."""
        self._is_down = False

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._is_down:
                    client.close()
                    continue
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._server))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._carry,
                        args=(source, sink, source is client),
                        daemon=True,
                    ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        cut = None
        with suppress(OSError):
            while cut is None and (data := source.recv(1 << 20)):
                cut = self._cut_at(data) if outward else None
                if cut is not Cut.BEFORE:
                    sink.sendall(data)
        if cut is Cut.AFTER:
            # Only a whole close would take back what the server has not read yet.
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        for end in (source,) if cut is Cut.AFTER else (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _cut_at(self, data: bytes) -> Cut | None:
        if self.cuts and self.cuts[0][0] in data:
            return self.cuts.pop(0)[1]
        return None
