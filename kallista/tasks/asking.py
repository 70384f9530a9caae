"""Asks for what a config of the task type ``http`` describes, and makes a result of the answer."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from json import dumps, loads
from typing import Final, NoReturn

from kallista.core.plain import shown
from kallista.errors import UsageError
from kallista.logs import mask_text
from kallista.tasks.http_errors import (
    HttpAnswerError,
    HttpBusyError,
    HttpConnectionError,
    HttpRefusedError,
    HttpStatusError,
)
from kallista.tasks.reach import AddressRefusedError, Reach
from kallista.tasks.request import FOLLOWING, Request
from kallista.tasks.sending import FAILURES, Answer, sent

PASSING: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses by which a server says that another attempt may be answered otherwise."""

REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))

_TOLD: Final = 500


async def asked(
    request: Request, limit: int, reach: Reach, tls: ssl.SSLContext | None
) -> dict[str, object]:
    """What the task returns, after all redirects; each is looked at as if it had been asked for.

    Args:
        request: What is asked for.
        limit: How many bytes a body may have.
        reach: Says which addresses may be connected to.
        tls: Which certificates count; None: those of the usual authorities.

    Raises:
        HttpError: It was not answered as it should have been.
    """
    while True:
        try:
            async with sent(reach, request, tls) as answer:
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
    told = mask_text(" ".join(body.decode(errors="replace").split()), request.target.secrets)
    message = f"{request.method} {request.target} was answered {answer.status}"
    message += f", and {', '.join(request.expected)} was expected"
    if answer.status in REDIRECTS and "location" in answer.headers:
        message += f"; it redirects to {shown(answer.headers['location'].partition('?')[0])}"
        message += _unfollowed(request)
    elif "retry-after" in answer.headers:
        message += f"; it asks to come again after {shown(answer.headers['retry-after'])}"
    kind = HttpBusyError if answer.status in PASSING else HttpStatusError
    raise kind(f"{message}: {told}" if told else message, _retry_after(answer))


def _retry_after(answer: Answer) -> float | None:
    """In how many seconds the server asks to come again: RFC 9110, section 10.2.3."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": a moment in UTC of an unknown zone
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


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
            read = loads(body, parse_constant=_no_json)
            dumps(read, ensure_ascii=False, allow_nan=False).encode()  # what cannot be kept raises
            return {"json": read}
    except (ValueError, RecursionError):
        pass
    try:
        return {"text": body.decode(kind.get_content_charset("utf-8"))}
    except (UnicodeDecodeError, LookupError):
        return {"bytes": base64.b64encode(body).decode()}


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
