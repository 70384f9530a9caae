"""The task type ``http``: sends one request and keeps the answer."""

from __future__ import annotations

import asyncio
import base64
import ssl
from email.message import Message
from json import loads
from typing import TYPE_CHECKING, Final, NoReturn

from kallista.core.durations import format_duration
from kallista.core.plain import shown
from kallista.errors import KallistaError, UsageError
from kallista.tasks.context import TaskContext
from kallista.tasks.handler import FunctionHandler
from kallista.tasks.reach import AddressRefusedError, Reach
from kallista.tasks.request import FOLLOWING, Request, check, request_of

if TYPE_CHECKING:
    from kallista.tasks.sending import Answer

PASSING: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses by which a server says that another attempt may be answered otherwise."""

REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))

_TOLD: Final = 500


class HttpError(KallistaError):
    """A request was not answered as it should have been."""


class HttpTemporaryError(HttpError):
    """Another attempt may fare better: what ``retry_on`` names for all that passes."""


class HttpConnectionError(HttpTemporaryError, ConnectionError):
    """The server cannot be reached, broke off, shows a wrong certificate or speaks no HTTP."""


class HttpTimeoutError(HttpTemporaryError, TimeoutError):
    """The server had not answered in full when ``patience`` was over."""


class HttpStatusError(HttpError):
    """The server answered with another status than expected."""


class HttpBusyError(HttpStatusError, HttpTemporaryError):
    """It did so with one that passes: 408, 425, 429, 500, 502, 503 or 504."""


class HttpAnswerError(HttpError):
    """The answer is too large, or cannot be unpacked."""


class HttpRefusedError(HttpError):
    """The address is not open to tasks, or a redirect leads where none is followed."""


class HttpHandler(FunctionHandler):
    """The handler of ``http``.

    Args:
        reach: Says which addresses requests may go to.
        tls: Which certificates count; None: those of the usual authorities.
    """

    def __init__(self, reach: Reach, tls: ssl.SSLContext | None = None) -> None:
        self._reach = reach
        self._tls = tls
        super().__init__("http", self.http, check=check)
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
        request = request_of(config, ctx.idempotency_key)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(request.patience / 1e6):
                return await self._answered(request, ctx.max_result_bytes)
        except TimeoutError:
            raise HttpTimeoutError(
                f"{request.target} had not answered in full within"
                f" {format_duration(request.patience)} (patience)"
            ) from None

    async def _answered(self, request: Request, limit: int) -> dict[str, object]:
        """The answer, after all redirects; each is looked at as if it had been asked for."""
        from kallista.tasks.sending import FAILURES, sent

        while True:
            try:
                async with sent(self._reach, request, self._tls) as answer:
                    if not _leads_on(request, answer):
                        return await _result(request, answer, limit)
                    location = answer.headers["location"]
            except AddressRefusedError as error:
                raise HttpRefusedError(str(error)) from None
            except FAILURES as error:
                raise HttpConnectionError(
                    f"{request.target} could not be asked: {error or type(error).__name__}"
                ) from None
            request = _redirected(request, location)


def _leads_on(request: Request, answer: Answer) -> bool:
    """Whether an answer is a redirect to follow."""
    return (
        answer.status in REDIRECTS
        and "location" in answer.headers
        and not request.expects(answer.status)
        and request.method in FOLLOWING
        and request.redirects > 0
    )


def _redirected(request: Request, location: str) -> Request:
    try:
        return request.redirected(location)
    except UsageError as problem:
        raise HttpRefusedError(f"{request.target} redirects, but {problem}") from None


async def _result(request: Request, answer: Answer, limit: int) -> dict[str, object]:
    """What the task returns for an answer.

    Raises:
        HttpStatusError: Its status is not expected.
        HttpAnswerError: Its body is too large or cannot be unpacked.
    """
    expected = request.expects(answer.status)
    try:
        body, complete = await answer.read(limit if expected else _TOLD)
    except ValueError as error:
        raise HttpAnswerError(f"the answer of {request.target} cannot be read: {error}") from None
    if not expected:
        _fail(request, answer, body)
    if not complete:
        raise HttpAnswerError(
            f"the answer of {request.target} has more than {limit:,} bytes, which is what a"
            " payload may have; ask for less at once, or raise the limit (max_payload_bytes)"
        )
    return {"status": answer.status, "headers": answer.headers, **_read(answer, body)}


def _fail(request: Request, answer: Answer, body: bytes) -> NoReturn:
    told = " ".join(body.decode(errors="replace").split())
    message = f"{request.method} {request.target} was answered {answer.status}"
    message += f", and {', '.join(request.expected)} was expected"
    if answer.status in REDIRECTS and "location" in answer.headers:
        message += f"; it redirects to {shown(answer.headers['location'].partition('?')[0])}"
        message += _unfollowed(request)
    elif "retry-after" in answer.headers:
        message += f"; it asks to come again after {shown(answer.headers['retry-after'])}"
    kind = HttpBusyError if answer.status in PASSING else HttpStatusError
    raise kind(f"{message}: {told}" if told else message)


def _unfollowed(request: Request) -> str:
    if request.method not in FOLLOWING:
        return f", and a {request.method} is not sent on: give that URL if it is right"
    return ", and that was one redirect too many (redirects)"


def _read(answer: Answer, body: bytes) -> dict[str, object]:
    """The body as what its type says it is."""
    kind = Message()
    kind["content-type"] = answer.headers.get("content-type", "")
    name = kind.get_content_type()
    try:
        if body and (name == "application/json" or name.endswith("+json")):
            return {"json": loads(body, parse_constant=_no_json)}
    except (ValueError, RecursionError):
        pass
    try:
        return {"text": body.decode(kind.get_content_charset("utf-8"))}
    except (UnicodeDecodeError, LookupError):
        return {"bytes": base64.b64encode(body).decode()}


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
