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
                for ends in ((client, server, Cut.BEFORE), (server, client, Cut.AFTER)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, cut: Cut) -> None:
        with suppress(OSError):
            while (data := source.recv(1 << 20)) and not self._is_cut(data, cut):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_cut(self, data: bytes, cut: Cut) -> bool:
        """Whether the wire is cut here; what is obeyed is repeated in the answer."""
        if self.cuts and self.cuts[0][1] is cut and self.cuts[0][0] in data:
            self.cuts.pop(0)
            return True
        return False
