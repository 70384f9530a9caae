"""What a config of the task type ``http`` asks for, checked: a request that can be sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import msgspec

from kallista.core.durations import parse_duration
from kallista.core.plain import shown
from kallista.core.types import Json, Micros
from kallista.errors import UsageError
from kallista.logs import secret_values

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
"""Those that change nothing, by the standard."""

FOLLOWING: Final = ("GET", "HEAD")
"""Those whose redirects are followed; what changes something goes where it was sent to."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
MOST_REDIRECTS: Final = 20

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_HOST: Final = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+")
_UNREADABLE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_OWN_HEADERS: Final = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te")
_ANYWHERE: Final = ("accept", "accept-encoding", "accept-language", "user-agent")
_STATUS: Final = re.compile(r"[1-5](?:\d\d|xx)")
_PATH: Final = "/%:@!$&'()*+,;=~-._[]|"
_QUERY: Final = f"{_PATH}?"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Args:
        scheme: ``http`` or ``https``.
        host: In ASCII, an IPv6 address without brackets.
        port: Always said.
        path: Path and query, in ASCII.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What has to be equal for two targets to be one server."""
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        """The host as a request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, the query included."""
        return f"{self.scheme}://{self.host_header}{self.path}"

    @property
    def secrets(self) -> Sequence[str]:
        """What stands in the query under names that say that it is secret."""
        return secret_values(dict(parse_qsl(self.path.partition("?")[2])))

    def __str__(self) -> str:
        """For people: without the query, which may hold secrets."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent.

    Args:
        method: In capitals.
        target: Where it goes.
        headers: Names and values in ASCII.
        content: The body; None: it has none.
        expected: The statuses that are no failure, like ``404`` and ``2xx``.
        redirects: How many redirects may still be followed.
        patience: How long it may take in all, in microseconds.
    """

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...]
    content: bytes | None
    expected: tuple[str, ...]
    redirects: int
    patience: Micros

    def expects(self, status: int) -> bool:
        """Whether a status is no failure."""
        return str(status) in self.expected or f"{status // 100}xx" in self.expected

    def redirected(self, location: str) -> Request:
        """The request that a redirect asks for.

        To another server only those headers go along that give nothing away.

        Args:
            location: The new URL, maybe in relation to the old one.

        Raises:
            UsageError: It is no URL that can be requested, or leaves the encrypted way.
        """
        try:
            url = urljoin(self.target.url, location)
        except ValueError as error:
            raise UsageError(f"url cannot be read: {error}") from None
        target = target_of(url, None)
        if self.target.scheme == "https" and target.scheme == "http":
            raise UsageError("it leads from https to http, where everybody can read along")
        headers = self.headers
        if target.origin != self.target.origin:
            headers = tuple(pair for pair in headers if pair[0].lower() in _ANYWHERE)
        return replace(self, target=target, headers=headers, redirects=self.redirects - 1)


def request_of(config: Mapping[str, Json], idempotency_key: str) -> Request:
    """The request that a config asks for.

    Args:
        config: As it is checked against the handler's type hints; all references are resolved.
        idempotency_key: Goes along with what is no safe method, unless the config has its own.

    Raises:
        UsageError: Something in it is wrong; all of it is told.
    """
    problems = check(config, ())
    if problems:
        raise UsageError("; ".join(problems))
    given: dict[str, Any] = {**_DEFAULTS, **config}
    method = given["method"].upper()
    content, its_headers = _content(method, given["json"], given["body"])
    headers = {"User-Agent": "kallista", "Accept-Encoding": "identity", **its_headers}
    if method not in SAFE_METHODS:
        headers[IDEMPOTENCY_KEY] = idempotency_key
    return Request(
        method=method,
        target=target_of(given["url"], given["params"]),
        headers=_merged(headers, given["headers"] or {}),
        content=content,
        expected=tuple(str(status).lower() for status in _listed(given["expected_status"])),
        redirects=given["redirects"],
        patience=parse_duration(given["patience"]),
    )


def check(config: Mapping[str, Json], unresolved: Collection[str]) -> Sequence[str]:
    """What is wrong with a config beyond its types; no key of ``unresolved`` is looked at."""
    found: list[str] = []
    for keys, problems in _CHECKS:
        if not any(key in unresolved for key in keys):
            found += problems(*(config.get(key, _DEFAULTS.get(key)) for key in keys))
    return found


def target_of(url: str, params: Mapping[str, Json] | None) -> Target:
    """Where a URL points to.

    Args:
        url: With ``http://`` or ``https://``; what stands behind ``#`` is left out.
        params: What is added to its query.

    Raises:
        UsageError: It is no URL that can be requested; the message does not repeat its query.
    """
    if _UNREADABLE.search(url):
        raise UsageError("url holds spaces, control characters or backslashes; write them as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"url cannot be read: {error}") from None
    if parts.scheme not in _PORTS:
        raise UsageError(f"url must begin with http:// or https://, not {shown(parts.scheme)}")
    if parts.username is not None or parts.password is not None:
        raise UsageError("url holds a name or password, which logs would show; give it in headers")
    query = quote(parts.query, _QUERY)
    if params:
        query = "&".join(filter(None, (query, urlencode(list(_pairs(params))))))
    return Target(
        parts.scheme,
        _ascii_host(parts.hostname or ""),
        _PORTS[parts.scheme] if port is None else port,
        (quote(parts.path, _PATH) or "/") + (f"?{query}" if query else ""),
    )


def _ascii_host(host: str) -> str:
    try:
        name = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise UsageError(f"url names no host that can be asked for: {shown(host)}")
    return name.lower()


def _pairs(params: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        for item in _listed(value):
            if item is not None:
                yield name, str(item).lower() if isinstance(item, bool) else str(item)


def _content(method: str, json: Json, body: str | None) -> tuple[bytes | None, dict[str, str]]:
    if json is not None:
        return msgspec.json.encode(json), {"Content-Type": "application/json"}
    if body is not None:
        return body.encode(), {"Content-Type": "text/plain; charset=utf-8"}
    return (b"" if method in ("POST", "PUT", "PATCH") else None), {}


def _merged(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """All headers; where both have one, theirs counts, however it is written."""
    taken = {name.lower() for name in theirs}
    kept = [(name, value) for name, value in ours.items() if name.lower() not in taken]
    return (*kept, *((name, value.strip()) for name, value in theirs.items()))


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _url_problems(url: str, params: Mapping[str, Json] | None) -> Iterator[str]:
    try:
        target_of(url, None)
    except UsageError as problem:
        yield str(problem)
    for name, value in (params or {}).items():
        if any(
            isinstance(item, dict | list)
            for item in (value if isinstance(value, list) else [value])
        ):
            yield f"params.{name} must be a text, a number, a truth, null, or a list of them"


def _method_problems(method: str) -> Iterator[str]:
    if method.upper() not in METHODS:
        near = get_close_matches(method.upper(), METHODS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METHODS)}"
        yield f"method {shown(method)} cannot be sent; {hint}"


def _header_problems(headers: Mapping[str, str] | None) -> Iterator[str]:
    for name, value in (headers or {}).items():
        if not _HEADER_NAME.fullmatch(name):
            yield f"headers: {shown(name)} is no name of a header"
        elif name.lower() in _OWN_HEADERS:
            yield f"headers: {name} follows from url and body; leave it out"
        elif not _HEADER_VALUE.fullmatch(value):
            yield f"headers.{name} may hold printable ASCII only"


def _body_problems(method: str, json: Json, body: str | None) -> Iterator[str]:
    if json is not None and body is not None:
        yield "json and body are both given; give one of them"
    if (json is not None or body is not None) and method.upper() in SAFE_METHODS:
        yield f"a {method.upper()} carries no body; leave json and body out, or use params"


def _status_problems(expected: Json) -> Iterator[str]:
    listed = _listed(expected)
    if not listed:
        yield "expected_status is empty; name at least one status, like 2xx"
    for status in listed:
        if isinstance(status, bool) or not _STATUS.fullmatch(str(status).lower()):
            yield f"expected_status must be numbers like 404 or texts like 2xx, not {shown(status)}"


def _redirect_problems(redirects: int) -> Iterator[str]:
    if not 0 <= redirects <= MOST_REDIRECTS:
        yield f"redirects must be from 0 to {MOST_REDIRECTS}, not {redirects}"


def _patience_problems(patience: Json) -> Iterator[str]:
    try:
        if parse_duration(patience) == 0:
            yield "patience must be longer than 0"
    except UsageError as problem:
        yield f"patience: {problem}"


_DEFAULTS: Final[Mapping[str, Json]] = {
    "method": "GET",
    "params": None,
    "headers": None,
    "json": None,
    "body": None,
    "expected_status": "2xx",
    "redirects": 5,
    "patience": 600,
}

_CHECKS: Final[Sequence[tuple[tuple[str, ...], Callable[..., Iterator[str]]]]] = (
    (("url", "params"), _url_problems),
    (("method",), _method_problems),
    (("headers",), _header_problems),
    (("method", "json", "body"), _body_problems),
    (("expected_status",), _status_problems),
    (("redirects",), _redirect_problems),
    (("patience",), _patience_problems),
)
