"""The task type ``http``, against real servers."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from http_servers import LOCAL, Asked, Names, answer, as_json, ask, handler, serving
from tasks_support import answered, invocation

from kallista import Kallista
from kallista.core.retry import parse_retry, retryable
from kallista.engine.executor import failure_of
from kallista.errors import UsageError
from kallista.tasks.http import HttpHandler
from kallista.tasks.http_errors import (
    HttpAnswerError,
    HttpBusyError,
    HttpConnectionError,
    HttpError,
    HttpRefusedError,
    HttpStatusError,
    HttpTemporaryError,
    HttpTimeoutError,
)
from kallista.tasks.reach import Reach
from kallista.testing import memory_app

pytestmark = pytest.mark.anyio


def problems(**config: Any) -> list[str]:
    """What is wrong with a config, as a definition's author is told."""
    unresolved = [key for key, value in config.items() if "${" in str(value)]
    return list(handler().problems(config, unresolved))


class TestRequests:
    async def test_a_get(self) -> None:
        """Query, host and headers arrive as they were given."""
        async with serving(as_json('{"ok": true}')) as server:
            result = await ask(
                server,
                "/a b?x=1".replace(" ", "%20"),
                params={"q": "ü&", "n": [1, 2], "yes": True, "no": None},
                headers={"X-Who": "me"},
            )
        assert result["json"] == {"ok": True}
        assert result["status"] == 200
        assert result["headers"]["content-type"] == "application/json"
        asked = server.only
        assert (asked.method, asked.path) == ("GET", "/a%20b?x=1&q=%C3%BC%26&n=1&n=2&yes=true")
        assert asked.headers["host"] == f"shop.test:{server.port}"
        assert asked.headers["x-who"] == "me"
        assert "idempotency-key" not in asked.headers

    @pytest.mark.parametrize("method", ["POST", "PUT", "patch", "DELETE"])
    async def test_what_changes_something_carries_the_key(self, method: str) -> None:
        """A server that knows the key does a thing once, however often an attempt is repeated."""
        made = handler()
        async with serving(as_json("1")) as server:
            url = f"http://shop.test:{server.port}/"
            for attempt in (1, 2):
                config: Any = {"url": url, "method": method, "json": {"n": 1}}
                await answered(made, config, attempt=attempt)
        first, second = server.asked
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.headers["idempotency-key"] == invocation(made, {}).idempotency_key
        assert json.loads(first.body) == {"n": 1}
        assert first.headers["content-type"] == "application/json"

    async def test_own_headers_win(self) -> None:
        """What a definition says of a header counts, in whatever letters it is written."""
        async with serving(answer()) as server:
            headers = {"idempotency-KEY": "mine", "content-type": "text/csv", "user-agent": "x"}
            await ask(server, method="POST", body="a;b", headers=headers)
        asked = server.only
        assert asked.headers["idempotency-key"] == "mine"
        assert asked.headers["content-type"] == "text/csv"
        assert asked.headers["user-agent"] == "x"
        assert asked.body == b"a;b"

    async def test_an_empty_post_has_a_length(self) -> None:
        """Servers that insist on a length get one."""
        async with serving(answer()) as server:
            await ask(server, method="POST")
        assert server.only.headers["content-length"] == "0"


class TestProblems:
    @pytest.mark.parametrize(
        ("config", "told"),
        [
            ({"url": "ftp://shop.test/"}, "must begin with http:// or https://"),
            ({"url": "shop.test"}, "must begin with http:// or https://"),
            ({"url": "https:///x"}, "names no host"),
            ({"url": "https://me:pw@shop.test/"}, "give it in headers"),
            ({"url": "https://shop.test:99999/"}, "cannot be read"),
            ({"url": "https://shop.test/a b"}, "write them as %20"),
            ({"url": "https://shop.test\\@evil.test/"}, "backslashes"),
            ({"url": "https://shop%2etest/"}, "names no host"),
            ({"url": "https://shop.test/", "method": "GTE"}, "did you mean GET?"),
            ({"url": "https://shop.test/", "method": "CONNECT"}, "cannot be sent"),
            ({"url": "https://shop.test/", "headers": {"Host": "x"}}, "follows from url"),
            ({"url": "https://shop.test/", "headers": {"a b": "x"}}, "no name of a header"),
            ({"url": "https://shop.test/", "headers": {"a": "x\r\nb: c"}}, "printable ASCII"),
            ({"url": "https://shop.test/", "json": 1}, "a GET carries no body"),
            ({"url": "https://s.test/", "method": "POST", "json": 1, "body": "x"}, "both given"),
            ({"url": "https://shop.test/", "expected_status": [700]}, "numbers like 404"),
            ({"url": "https://shop.test/", "expected_status": []}, "is empty"),
            ({"url": "https://shop.test/", "redirects": 99}, "from 0 to 20"),
            ({"url": "https://shop.test/", "patience": "soon"}, "patience: "),
            ({"url": "https://shop.test/", "patience": 0}, "longer than 0"),
            ({"url": "https://shop.test/", "params": {"a": {"b": 1}}}, "params.a must be"),
            ({"url": 5}, "url must"),
            ({}, "'url' is missing"),
        ],
    )
    def test_told_at_creation(self, config: Any, told: str) -> None:
        """A request that cannot be sent is refused when it is described, with what to change."""
        assert told in "; ".join(problems(**config))

    def test_fine(self) -> None:
        """What is right has no problem, and what is a reference is not looked at."""
        assert (
            problems(url="https://[2606:4700::1111]:8443/x?y=1#z", expected_status=[404, "2xx"])
            == []
        )
        assert problems(url="${inputs.url}", method="post", json="${inputs.body}") == []
        assert problems(url="https://bücher.test/", patience="1m30s") == []

    async def test_a_reference_is_checked_when_it_has_its_value(self) -> None:
        """What could not be looked at when the task was described is looked at when it runs."""
        with pytest.raises(UsageError, match="must begin with http"):
            await answered(handler(), {"url": "file:///etc/passwd"})


class TestAnswers:
    @pytest.mark.parametrize(
        ("sent", "kind", "body"),
        [
            ("application/json", "json", b'{"a": [1, null]}'),
            ("application/problem+json; charset=utf-8", "json", b"[]"),
            ("application/json", "text", b"{broken"),
            ("application/json", "text", b""),
            ("application/json", "text", b"NaN"),
            ("application/json", "text", b'["half a character: \\udcff"]'),
            ("application/json", "text", b"[1e999]"),
            ("text/plain; charset=iso-8859-1", "text", "ü".encode("latin-1")),
            ("text/plain; charset=no-such", "bytes", b"x"),
            ("image/png", "bytes", b"\x89PNG\xff"),
            ("", "text", "ü".encode()),
        ],
    )
    async def test_bodies(self, sent: str, kind: str, body: bytes) -> None:
        """A body is kept as what its type says, and as it came where that does not fit."""
        async with serving(answer(body, headers={"Content-Type": sent})) as server:
            result = await ask(server)
        assert result.keys() == {"status", "headers", kind}

    @pytest.mark.parametrize("status", [404, 500, 204, 301])
    async def test_expected_statuses_are_results(self, status: int) -> None:
        """What a definition expects is no failure, and a redirect that is expected stays one."""
        body = b"" if status == 204 else b"gone"
        given = answer(body, status, {"Location": "/elsewhere"})
        async with serving(given) as server:
            result = await ask(server, expected_status=[200, "5xx", 404, 204, 301])
        assert result["status"] == status
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        ("status", "kind"), [(400, HttpStatusError), (404, HttpStatusError), (503, HttpBusyError)]
    )
    async def test_other_statuses_fail(self, status: int, kind: type[Exception]) -> None:
        """The message says who answered what, with the beginning of the body."""
        given = answer(b"no\n such " + b"x" * 5_000, status, {"Retry-After": "120"})
        async with serving(given) as server:
            with pytest.raises(kind, match="was answered") as caught:
                await ask(server, "/path?token=abc")
        message = str(caught.value)
        assert message.startswith(
            f"GET http://shop.test:{server.port}/path was answered {status}, and 2xx was expected;"
            " it asks to come again after '120': no such xxx"
        )
        assert len(message) < 1_000
        assert type(caught.value) is kind

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ({"Retry-After": "120"}, 120.0),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
            ({"Retry-After": "soon"}, None),
            ({}, None),
        ],
    )
    async def test_when_to_come_again(self, header: dict[str, str], seconds: float | None) -> None:
        """What the server asks for is what the engine waits for; a moment past is no time."""
        async with serving(answer(b"", 429, header)) as server:
            with pytest.raises(HttpBusyError) as caught:
                await ask(server)
        assert caught.value.retry_after == seconds

    async def test_a_large_body_is_not_read(self) -> None:
        """An answer that does not end fills neither memory nor store."""
        sent = 0

        async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 65_536)
                sent += 65_536
                await writer.drain()

        async with serving(endless) as server:
            url = f"http://shop.test:{server.port}/"
            with pytest.raises(HttpAnswerError, match=r"more than 10,000 bytes.*max_payload_bytes"):
                await answered(handler(), {"url": url}, max_result_bytes=10_000)
            await server.hung_up.wait()
        assert sent < 64 * 1024 * 1024

    async def test_a_packed_bomb_is_not_unpacked(self) -> None:
        """What unpacks to a thousand times its size is left packed beyond the limit."""
        bomb = gzip.compress(b"\0" * 40_000_000, 9)
        async with serving(answer(bomb, headers={"Content-Encoding": "gzip"})) as server:
            with pytest.raises(HttpAnswerError, match="bytes"):
                await ask(server)

    async def test_packed_answers(self) -> None:
        """A server that packs although it was not asked to is understood; broken packing fails."""
        text = b"hello " * 50_000
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
        packed = gzip.compress(text)
        async with serving(answer(packed, headers=headers)) as server:
            assert (await ask(server))["text"] == text.decode()
        for broken in (packed[:-200], b"no gzip"):
            async with serving(answer(broken, headers=headers)) as server:
                with pytest.raises(HttpAnswerError, match="cannot be read"):
                    await ask(server)

    async def test_a_slow_answer_ends_with_patience(self) -> None:
        """A server that trickles for ever does not hold a worker for ever."""

        async def trickle(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
            await asyncio.Event().wait()

        async with serving(trickle) as server:
            with pytest.raises(HttpTimeoutError, match=r"within 50ms \(patience\)"):
                await ask(server, patience="50ms")

    @pytest.mark.parametrize(
        "given", [b"", b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent"]
    )
    async def test_what_is_no_answer(self, given: bytes) -> None:
        """A server that hangs up or speaks something else is a connection that failed."""
        async with serving(given) as server:
            with pytest.raises(HttpConnectionError, match="could not be asked"):
                await ask(server)

    async def test_a_body_that_ends_too_early(self) -> None:
        """A body shorter than announced is no result."""
        async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as server:
            with pytest.raises(HttpConnectionError):
                await ask(server)


class TestReach:
    async def test_this_machine_is_closed(self) -> None:
        """Nothing of a worker's own network is reached unless its operator says so."""
        async with serving(answer()) as server:
            closed = HttpHandler(Reach)
            for host in ("localhost", LOCAL, "127.1", "[::ffff:127.0.0.1]"):
                with pytest.raises((HttpRefusedError, HttpConnectionError)):
                    await answered(closed, {"url": f"http://{host}:{server.port}/"})
        assert server.asked == []

    async def test_the_address_that_was_looked_at_is_connected_to(self) -> None:
        """A name that means another address a moment later cannot be used to get inside."""
        names = Names({"rebind.test": [[LOCAL], ["10.0.0.1"]]})
        async with serving(answer()) as server:
            url = f"http://rebind.test:{server.port}/"
            await answered(HttpHandler(lambda: Reach([LOCAL], names)), {"url": url})
            with pytest.raises(HttpRefusedError, match=r"10\.0\.0\.1"):
                await answered(HttpHandler(lambda: Reach([LOCAL], names)), {"url": url})
        assert names.asked == ["rebind.test", "rebind.test"]
        assert server.only.headers["host"] == f"rebind.test:{server.port}"

    async def test_the_next_address_is_tried(self) -> None:
        """A host one of whose addresses is down is still reached."""
        async with serving(answer()) as server:
            many = handler({"many.test": [["::1", LOCAL]]}, allowed=["::1", LOCAL])
            await answered(many, {"url": f"http://many.test:{server.port}/"})
        assert len(server.asked) == 1

    async def test_nobody_there(self) -> None:
        """A name that nobody knows and a port where nobody listens are failures that may pass."""
        async with serving(answer()) as server:
            port = server.port
        for host in ("nobody.test", "shop.test"):
            with pytest.raises(HttpConnectionError, match="could not be asked"):
                await answered(handler(), {"url": f"http://{host}:{port}/"})

    async def test_a_definition_cannot_open_anything(self) -> None:
        """There is no key by which who writes a definition allows what the operator did not."""
        assert "no key 'http_allow'" in problems(url="https://x.test/", http_allow=["::/0"])[0]
        async with memory_app() as app:
            id = await app.scheduler.schedule_task(
                "look", {"type": "http", "url": "http://127.0.0.1:1/"}
            )
            run = await app.scheduler.wait_task(id)
        assert run.errors[0].type.endswith("HttpRefusedError")


class TestRedirects:
    async def test_followed(self) -> None:
        """A GET goes where it is sent to; what is secret stays with the server it was meant for."""
        headers = {"Authorization": "Bearer abc", "X-Api-Key": "abc", "Accept": "text/csv"}
        async with serving(answer(b"there")) as there:
            away = f"http://other.test:{there.port}/c"
            async with serving(
                answer(status=302, headers={"Location": "b?x=1"}),
                answer(status=307, headers={"Location": away}),
            ) as here:
                result = await ask(here, "/a", headers=headers)
        assert result["text"] == "there"
        assert [asked.path for asked in here.asked] == ["/a", "/b?x=1"]
        assert here.asked[1].headers["authorization"] == "Bearer abc"
        assert there.only.headers["accept"] == "text/csv"
        assert there.only.headers.keys().isdisjoint(("authorization", "x-api-key"))

    @pytest.mark.parametrize(
        "away", ["http://inside.test/", "http://10.0.0.7/", "//inside.test/", "http://[::1]/"]
    )
    async def test_a_redirect_leads_nowhere_inside(self, away: str) -> None:
        """Each address on the way is looked at as if it had been asked for."""
        made = handler({"inside.test": "10.0.0.7", "10.0.0.7": "10.0.0.7", "::1": "::1"})
        async with serving(answer(status=302, headers={"Location": away})) as server:
            with pytest.raises(HttpRefusedError, match="http_allow"):
                await answered(made, {"url": f"http://shop.test:{server.port}/"})

    @pytest.mark.parametrize(
        "away", ["file:///etc/passwd", "http://a:b@shop.test/", "http://a b/", "http://[::"]
    )
    async def test_a_redirect_to_something_else(self, away: str) -> None:
        """Only what could have been asked for is followed."""
        async with serving(answer(status=302, headers={"Location": away})) as server:
            with pytest.raises(HttpRefusedError, match="redirects, but url"):
                await ask(server)

    async def test_an_unsafe_method_is_not_sent_on(self) -> None:
        """What changes something goes where it was sent to, and the message says where it led."""
        async with serving(answer(status=307, headers={"Location": "/there?t=1"})) as server:
            with pytest.raises(HttpStatusError, match="'/there', and a POST is not sent on"):
                await ask(server, method="POST", json={})
        assert len(server.asked) == 1

    @pytest.mark.parametrize("redirects", [0, 3])
    async def test_an_end(self, redirects: int) -> None:
        """Redirects in a circle end."""
        async with serving(answer(status=302, headers={"Location": "/"})) as server:
            with pytest.raises(HttpStatusError, match="one redirect too many"):
                await ask(server, redirects=redirects)
        assert len(server.asked) == redirects + 1


class TestTls:
    async def test_the_certificate_is_that_of_the_name(self) -> None:
        """Although the connection goes to an address, the certificate has to be the host's."""
        async with serving(answer(b"safe"), secure=True) as server:
            result = await answered(handler(), {"url": f"https://shop.test:{server.port}/"})
            assert result["text"] == "safe"
            for host in ("other.test", LOCAL):
                made = handler({LOCAL: LOCAL})
                with pytest.raises(HttpConnectionError, match="certificate"):
                    await answered(made, {"url": f"https://{host}:{server.port}/"})
        assert len(server.asked) == 1

    async def test_unknown_authorities_do_not_count(self) -> None:
        """A certificate that no authority has signed is none."""
        made = HttpHandler(lambda: Reach([LOCAL], Names({"shop.test": LOCAL})))
        async with serving(answer(), secure=True) as server:
            with pytest.raises(HttpConnectionError, match="certificate"):
                await answered(made, {"url": f"https://shop.test:{server.port}/"})

    async def test_no_way_back_to_plain(self) -> None:
        """A redirect does not leave the encrypted way."""
        given = answer(status=302, headers={"Location": "http://shop.test/"})
        async with serving(given, secure=True) as server:
            with pytest.raises(HttpRefusedError, match="from https to http"):
                await answered(handler(), {"url": f"https://shop.test:{server.port}/"})


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "passes"),
        [
            (HttpConnectionError, True),
            (HttpTimeoutError, True),
            (HttpBusyError, True),
            (HttpStatusError, False),
            (HttpAnswerError, False),
            (HttpRefusedError, False),
        ],
    )
    def test_a_policy_names_what_passes(self, error: type[HttpError], passes: bool) -> None:
        """One name in ``retry_on`` tries all that may pass again, and nothing else."""
        kinds = failure_of(error("x"), {}).kinds
        assert retryable(parse_retry({"retry_on": ["HttpTemporaryError"]}), kinds) == passes
        assert issubclass(error, HttpTemporaryError) == passes
        assert retryable(parse_retry({"retry_on": ["HttpError"]}), kinds)

    async def test_no_secret_is_told(self) -> None:
        """Neither headers nor a query turn up in what history keeps, though the server repeats."""

        async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
            body = f"{asked.path} {asked.headers}".encode()
            writer.write(answer(body, 500))

        async with serving(echo) as server:
            config: Any = {
                "url": f"http://shop.test:{server.port}/x?access_token=s3cr3t-three",
                "headers": {"Authorization": "Bearer s3cr3t-one"},
                "params": {"api_key": "s3cr3t-two"},
            }
            with pytest.raises(HttpBusyError) as caught:
                await answered(handler(), config)
        failure = failure_of(caught.value, config)
        assert "s3cr3t" not in f"{failure}"
        assert "***" in failure.message


async def test_retried_until_it_works(tmp_path: Path) -> None:
    """A task of this type in a real app: a busy server is asked again, with the same key."""
    config = {"http_allow": [LOCAL], "logs_dir": str(tmp_path / "logs")}
    url = f"sqlite:///{(tmp_path / 'k.db').as_posix()}"
    answers = (answer(b"", 503), as_json('{"id": 7}', 201))
    async with serving(*answers) as server, Kallista(url, config=config) as app:
        run = await app.workflow_manager.run_workflow(
            "order",
            [
                {
                    "id": "order",
                    "type": "http",
                    "url": f"http://127.0.0.1:{server.port}/orders",
                    "method": "POST",
                    "json": {"item": "tea"},
                    "timeout": "30s",
                    "retry": {"max_attempts": 3, "retry_on": "HttpTemporaryError"},
                }
            ],
        )
    assert run.status == "COMPLETED", run.errors
    assert run.results["order"]["json"] == {"id": 7}
    first, second = server.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    """A program without requests, care and retention pays for none of them."""
    unwanted = [
        "httpcore",
        "kallista.tasks.asking",
        "kallista.engine.care",
        "kallista.engine.retention",
    ]
    program = f"""
import sys
from kallista import Kallista

with Kallista.sync() as app:
    app.workflow_manager.run_workflow("w", [{{"type": "sleep", "seconds": 0}}])
print([name for name in {unwanted} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_usual_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are checked, by default and by authorities that the operator names."""
    from http_servers import TLS

    from kallista.tasks.sending import usual_tls

    usual_tls.cache_clear()
    usual = usual_tls()
    usual_tls.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "authority.pem"))
    own = usual_tls()
    usual_tls.cache_clear()
    for context in (usual, own):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(own.get_ca_certs()) == 1
