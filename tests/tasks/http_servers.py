"""A real server on this machine, whose answers a test writes byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks_support import answered

from kallista.tasks.http import HttpHandler
from kallista.tasks.reach import Reach

TLS = Path(__file__).parent / "tls"
LOCAL = "127.0.0.1"


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Server:
    """What the server was asked, and where it is."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def only(self) -> Asked:
        """The one request there was."""
        (asked,) = self.asked
        return asked


Answer = bytes | Callable[[Asked, asyncio.StreamWriter], Any]


def answer(body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(text: str, status: int = 200) -> bytes:
    """An answer in JSON."""
    return answer(text.encode(), status, {"Content-Type": "application/json"})


@asynccontextmanager
async def serving(*answers: Answer, secure: bool = False) -> AsyncIterator[Server]:
    """A server that gives these answers, one a request, and the last one again and again."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            server.asked.append(asked)
            given = answers[min(len(server.asked), len(answers)) - 1]
            if isinstance(given, bytes):
                writer.write(given)
            else:
                await given(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            server.hung_up.set()

    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "server.pem")
    listening = await asyncio.start_server(serve, LOCAL, 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


class Names:
    """A resolver that knows what a test tells it, and remembers what it was asked."""

    def __init__(self, known: Mapping[str, Sequence[Sequence[str]] | str]) -> None:
        self._known = {
            name: [[given]] if isinstance(given, str) else [list(one) for one in given]
            for name, given in known.items()
        }
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name: the next ones each time, and the last ones for ever."""
        self.asked.append(host)
        if host not in self._known:
            raise OSError(f"nobody knows {host}")
        answers = self._known[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def handler(
    known: Mapping[str, Sequence[Sequence[str]] | str] | None = None,
    allowed: Sequence[str] = (LOCAL,),
) -> HttpHandler:
    """The handler of ``http``, which may reach this machine, where ``shop.test`` stands."""
    names = Names({"shop.test": LOCAL, "other.test": LOCAL, **(known or {})})
    tls = ssl.create_default_context(cafile=str(TLS / "authority.pem"))
    return HttpHandler(lambda: Reach(allowed, names), tls)


async def ask(server: Server, path: str = "/", /, **config: Any) -> Any:
    """What the task returns that asks this server."""
    url = f"http://shop.test:{server.port}{path}"
    return await answered(handler(), {"url": url, **config})
