"""The task type ``http``: sends one request and keeps the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from kallista.core.types import Json
from kallista.tasks.context import TaskContext
from kallista.tasks.handler import FunctionHandler
from kallista.tasks.http_errors import HttpTimeoutError

if TYPE_CHECKING:
    import ssl

    from kallista.tasks.reach import Reach


class HttpHandler(FunctionHandler):
    """The handler of ``http``.

    What it needs to send anything is imported with the first request.

    Args:
        reach: Called once, says which addresses requests may go to.
        tls: Which certificates count; None: those of the usual authorities.
    """

    def __init__(self, reach: Callable[[], Reach], tls: ssl.SSLContext | None = None) -> None:
        self._make_reach = reach
        self._reach: Reach | None = None
        self._tls = tls
        super().__init__("http", self.http, check=_check)
        # Of the context only the attempt's key is used: no results need to be loaded for it.
        self.wants_context = False

    async def http(
        self,
        ctx: TaskContext,
        url: str,
        method: str = "GET",
        params: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        json: object = None,
        body: str | None = None,
        expected_status: int | str | list[int | str] = "2xx",
        redirects: int = 5,
        patience: object = 600,
    ) -> dict[str, object]:
        """Send an HTTP request and keep the answer; one that is not expected fails the task.

        Args:
            ctx: The attempt; its idempotency key goes along with what is no GET, HEAD or OPTIONS.
            url: Where to: ``https://host/path``; names and passwords belong into ``headers``.
            method: GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE.
            params: What is added to the URL's query; a list gives its name several times, and
                null leaves it out.
            headers: What goes along.
            json: The body, as data.
            body: The body, as a text.
            expected_status: The statuses that are no failure: numbers like 404, and ``2xx``.
            redirects: How many redirects of a GET or HEAD are followed.
            patience: How long connecting and answering may take in all: seconds, ``"1m30s"`` or
                ISO 8601; the task's own ``timeout`` ends the attempt besides.

        Returns:
            ``status``, ``headers`` with names in small letters, and the body: ``json`` if that is
            what it is, else ``text``, or ``bytes`` in base64 if it is no text.

        Raises:
            HttpTemporaryError: It may pass: no connection, no answer in time, or a status like 503.
            HttpStatusError: Another status than expected.
            HttpAnswerError: The answer is too large, or cannot be unpacked.
            HttpRefusedError: The address is not open to tasks, or a redirect's is not.
            UsageError: The request itself is wrong.
        """
        config = {
            "url": url, "method": method, "params": params, "headers": headers, "json": json,
            "body": body, "expected_status": expected_status, "redirects": redirects,
            "patience": patience,
        }  # fmt: skip
        from kallista.core.durations import format_duration
        from kallista.tasks.asking import asked
        from kallista.tasks.request import request_of

        request = request_of(config, ctx.idempotency_key)  # type: ignore[arg-type]
        if self._reach is None:
            self._reach = self._make_reach()
        try:
            async with asyncio.timeout(request.patience / 1e6):
                return await asked(request, ctx.max_result_bytes, self._reach, self._tls)
        except TimeoutError:
            raise HttpTimeoutError(
                f"{request.target} had not answered in full within"
                f" {format_duration(request.patience)} (patience)"
            ) from None


def _check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """What is wrong with a config beyond its types."""
    from kallista.tasks.request import check

    return check(config, unresolved)
