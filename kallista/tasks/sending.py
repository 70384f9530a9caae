"""One HTTP request over the wire, by httpcore, which is imported with this module and not before.

Each request has a connection of its own: no connection that was checked for one host is ever used
for another one that happens to stand at the same address.
"""

from __future__ import annotations

import os
import ssl
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

import httpcore

from kallista.tasks.reach import Reach
from kallista.tasks.request import Request

CONNECT_WITHIN: Final = 10.0
"""How many seconds one address has to accept a connection before the next one is tried."""

_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")
_PIECE: Final = 64 * 1024

FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
)
"""What it means that a request was not answered."""


class Answer:
    """What a server has answered; its body is still to be read.

    Args:
        response: The answer as httpcore has it.
    """

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in response.headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            earlier = self.headers.get(name)
            self.headers[name] = value if earlier is None else f"{earlier}, {value}"

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """The body, unpacked if it came packed.

        Args:
            limit: How many bytes of it are kept at most; no more than a little beyond them is
                ever received or unpacked.

        Returns:
            Its bytes, and whether that is all of it.

        Raises:
            ValueError: It cannot be unpacked.
        """
        body = bytearray()
        async for piece in _unpacked(self._received(), self.headers.get("content-encoding", "")):
            body += piece
            if len(body) > limit:
                return bytes(body[:limit]), False
        return bytes(body), True

    async def _received(self) -> AsyncIterator[bytes]:
        async for piece in self._response.aiter_stream():
            yield piece


@asynccontextmanager
async def sent(reach: Reach, request: Request, tls: ssl.SSLContext | None) -> AsyncIterator[Answer]:
    """Send a request and have its answer, whose connection is closed afterwards.

    Args:
        reach: Says which addresses may be connected to.
        request: What is asked for.
        tls: Which certificates count; None: those of the usual authorities.

    Raises:
        AddressRefusedError: The host may not be reached.
        OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException: It
            cannot be reached, or does not speak HTTP.
    """
    target = request.target
    pool = httpcore.AsyncConnectionPool(
        ssl_context=(tls or usual_tls()) if target.scheme == "https" else None,
        max_connections=1,
        network_backend=_Pinned(reach),
    )
    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    given = [("host", target.host_header), *request.headers]
    raw = [(name.encode(), value.encode()) for name, value in given]
    async with (
        pool,
        pool.stream(request.method, url, headers=raw, content=request.content) as response,
    ):
        yield Answer(response)


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were looked at, and to no other.

    httpcore asks for a connection to the URL's host. The certificate is still checked against that
    host's name, for httpcore takes it from the URL and not from what was connected to.

    Args:
        reach: Resolves a name and says which of its addresses may be connected to.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of the host that accepts one."""
        failure: Exception | None = None
        for address in await self._reach.addresses(host, port):
            try:
                return await self._network.connect_tcp(
                    address, port, CONNECT_WITHIN, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "there is at least one address"
        raise failure


@lru_cache(maxsize=1)
def usual_tls() -> ssl.SSLContext:
    """The authorities of certifi, or those that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    return httpcore.default_ssl_context()


async def _unpacked(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The bytes as they were before they were packed, in bounded pieces."""
    if encoding.strip().lower() not in _ENCODINGS:
        async for piece in pieces:
            yield piece
        return
    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    begun = False
    async for piece in pieces:
        begun, left = True, piece
        while left and not unpacker.eof:
            try:
                yield unpacker.decompress(left, _PIECE)
            except zlib.error as error:
                raise ValueError(f"its {encoding} cannot be unpacked: {error}") from None
            left = unpacker.unconsumed_tail
    yield unpacker.flush()
    if begun and not unpacker.eof:
        raise ValueError(f"its {encoding} ends too early")
