"""The rest step against real servers on loopback."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loopback import Call, Reply, Server, json_reply, misbehaving, self_signed, serving
from pydantic import ValidationError

from flow_processor import factory
from flow_processor.errors import StepError
from flow_processor.step import Secret, StepResult
from tests.steps.fake_context import FakeContext

RunStep = Callable[..., StepResult]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def call(run_step: RunStep) -> Callable[..., Any]:
    """`call(uri, **options)` -> the step's result."""
    return lambda uri, **options: run_step(type="rest", rest={"uri": uri, **options}).value


@pytest.fixture
def refused(call: Callable[..., Any]) -> Callable[..., StepError]:
    """`refused(uri, **options)` -> the step's error."""

    def run(uri: str, **options: Any) -> StepError:
        with pytest.raises(StepError) as error:
            call(uri, **options)
        json.dumps(error.value.as_record())
        return error.value

    return run


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


# What is sent


def test_the_example_of_the_reference_page_is_a_step(step: Callable[..., Any]) -> None:
    import yaml

    import flow_processor.steps.rest as module

    [raw] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", module.__doc__ or "", re.DOTALL)[0])
    assert step(**raw).options.method == "GET"


def test_everything_is_templated_once_and_native_types_stay(
    server: Server, call: Callable[..., Any], context: FakeContext
) -> None:
    context.data = {"host": server.url, "n": 5, "tags": ["a", "b"], "sly": "{{ n }}"}
    server.routes["/x/5"] = lambda asked: json_reply({"ok": True})
    result = call(
        "{{ host }}/x/{{ n }}",
        method="post",
        headers={"X-N": "{{ n }}", "X-None": None},
        query={"tag": "{{ tags }}", "sly": "{{ sly }}"},
        body={"n": "{{ n }}", "tags": "{{ tags }}", "sly": "{{ sly }}"},
    )
    assert result == {"ok": True}
    [asked] = server.calls
    assert (asked.method, asked.path) == ("POST", "/x/5?tag=a&tag=b&sly=%7B%7B%20n%20%7D%7D")
    assert asked.headers["x-n"] == "5"
    assert "x-none" not in asked.headers
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {"n": 5, "tags": ["a", "b"], "sly": "{{ n }}"}


@pytest.mark.parametrize(
    ("uri", "query", "sent"),
    [
        ("/x", None, "/x"),
        ("/x?a=1", {"b": 2}, "/x?a=1&b=2"),
        ("/x?a=1&a=2#part", {"a": [3, 4]}, "/x?a=1&a=2&a=3&a=4"),
        ("/x?a=%20b", {"c": "ä &="}, "/x?a=%20b&c=%C3%A4%20%26%3D"),
        ("/x", {"yes": True, "none": None, "empty": "", "half": 0.5}, "/x?yes=true&empty=&half=0.5"),
        ("/x", "a=1&b=", "/x?a=1&b="),
        ("/x", "?a=1", "/x?a=1"),
        ("/x", "{{ q }}", "/x?start=%3E0&n=1"),
        ("/x?expand=names", {}, "/x?expand=names"),
    ],
)
def test_query_is_merged_into_the_uri(
    server: Server, call: Callable[..., Any], context: FakeContext, uri: str, query: Any, sent: str
) -> None:
    context.data = {"q": {"start": ">0", "n": 1}}
    server.routes["/x"] = lambda asked: Reply()
    call(server.url + uri, query=query)
    assert server.calls[0].path == sent


def test_data_key_beats_body_and_may_be_the_whole_data(
    server: Server, call: Callable[..., Any], context: FakeContext
) -> None:
    context.data = {"ticket": {"id": 7}, "list": [1]}
    server.routes["/x"] = lambda asked: Reply()
    call(server.url + "/x", method="PUT", body={"no": 1}, data_key="ticket")
    call(server.url + "/x", method="PUT", data_key=".")
    call(server.url + "/x", method="DELETE", data_key="list.0")
    assert [json.loads(asked.body) for asked in server.calls] == [{"id": 7}, context.data, 1]
    assert server.calls[2].method == "DELETE"


@pytest.mark.parametrize(
    ("headers", "body", "content_type", "sent"),
    [
        ({}, "plain ä", "text/plain; charset=utf-8", "plain ä".encode()),
        ({"content-type": "application/json"}, '{"a": 1}', "application/json", b'{"a": 1}'),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"a": [1, 2], "b": "ä"},
            None,
            b"a=1&a=2&b=%C3%A4",
        ),
        ({"Content-Type": "application/vnd.x+json"}, {"a": 1}, "application/vnd.x+json", b'{"a":1}'),
        ({}, [1, None, "ä"], "application/json", '[1,null,"ä"]'.encode()),
        ({}, 0, "application/json", b"0"),
        ({}, False, "application/json", b"false"),
        ({}, None, "", b""),
    ],
)
def test_bodies_are_sent_by_their_kind(
    server: Server,
    call: Callable[..., Any],
    headers: dict[str, str],
    body: Any,
    content_type: str | None,
    sent: bytes,
) -> None:
    server.routes["/x"] = lambda asked: Reply()
    call(server.url + "/x", method="POST", headers=headers, body=body)
    [asked] = server.calls
    assert asked.body == sent
    if content_type is not None:
        assert asked.headers.get("content-type", "") == content_type


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_is_sent(server: Server, call: Callable[..., Any], method: str) -> None:
    server.routes["/x"] = lambda asked: Reply()
    assert call(server.url + "/x", method=method) is None
    assert server.calls[0].method == method


@pytest.mark.parametrize(
    ("authentication", "values", "header", "sent"),
    [
        ({"type": "token"}, {"token": "t0k"}, "authorization", "Bearer t0k"),
        ({"type": "token", "bearer": True}, {"token": "t0k"}, "authorization", "Bearer t0k"),
        ({"type": "token", "bearer": False}, {"token": "t0k"}, "authorization", "t0k"),
        ({"type": "token", "bearer": "GenieKey"}, {"token": "t0k"}, "authorization", "GenieKey t0k"),
        (
            {"type": "basic"},
            {"username": "änna", "password": "p:w"},
            "authorization",
            "Basic " + base64.b64encode("änna:p:w".encode()).decode(),
        ),
        ({"type": "api_key"}, {"key": "X-Api-Key", "value": "v4l"}, "x-api-key", "v4l"),
    ],
)
def test_credentials_come_from_a_secret(
    server: Server,
    call: Callable[..., Any],
    context: FakeContext,
    authentication: dict[str, Any],
    values: dict[str, str],
    header: str,
    sent: str,
) -> None:
    context.secrets["s"] = Secret("s", "any", values)
    server.routes["/x"] = lambda asked: Reply()
    call(server.url + "/x", authentication={**authentication, "secret": "s"})
    assert server.calls[0].headers[header] == sent


def test_a_secret_of_another_kind_is_a_clear_error(
    context: FakeContext, refused: Callable[..., StepError]
) -> None:
    context.secrets["s"] = Secret("s", "token", {"token": "hunter2"})
    error = refused("http://127.0.0.1:9/", authentication={"type": "basic", "secret": "s"})
    assert error.code == "rest_authentication"
    assert error.message == "secret 's' (token) has no 'username'; it has: token"


# What comes back


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'{"a": [1, 2.5, null, "\\u00e4"]}', {"a": [1, 2.5, None, "ä"]}),
        ("application/problem+json; charset=utf-8", b"[]", []),
        ("application/json", b"12345678901234567890", 12345678901234567890),
        ("text/plain", "ä".encode(), "ä"),
        ("text/html; charset=iso-8859-1", "ä".encode("latin-1"), "ä"),
        ("text/html", "ä".encode("latin-1"), "ä"),
        ("text/plain; charset=nonsense", b"x", "x"),
        ("text/plain", b"\xef\xbb\xbfx", "x"),
        ("", b"x", "x"),
        ("text/plain", b"{{ 7*7 }}", "{{ 7*7 }}"),
        ("application/json", b"", None),
        ("text/plain", b"", None),
    ],
)
def test_the_body_becomes_data(
    server: Server, call: Callable[..., Any], content_type: str, body: bytes, value: Any
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    server.routes["/x"] = lambda asked: Reply(200, body, headers)
    assert call(server.url + "/x") == value


def test_204_is_null(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/x"] = lambda asked: Reply(204)
    assert call(server.url + "/x", method="DELETE") is None


def test_full_gives_status_headers_and_body(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/x"] = lambda asked: Reply(201, b"[1]", {"Content-Type": "application/json", "X-Id": "7"})
    value = call(server.url + "/x", method="POST", response="full")
    assert (value["status"], value["body"]) == (201, [1])
    assert value["headers"]["x-id"] == "7"
    assert type(value["headers"]) is dict


def test_packed_answers_are_unpacked(server: Server, call: Callable[..., Any]) -> None:
    packed = gzip.compress(b'{"a": 1}')
    server.routes["/x"] = lambda asked: Reply(
        200, packed, {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert call(server.url + "/x") == {"a": 1}


@pytest.mark.parametrize(
    ("expect", "status", "succeeds"),
    [
        (None, 200, True),
        (None, 299, True),
        (None, 404, False),
        ([200, 404], 404, True),
        ([200, 404], 201, False),
        (404, 404, True),
        ("4xx", 410, True),
        (["2xx", "4xx"], 500, False),
        ([302], 302, True),
    ],
)
def test_expect_lists_what_succeeds(
    server: Server, run_step: RunStep, expect: Any, status: int, succeeds: bool
) -> None:
    server.routes["/x"] = lambda asked: Reply(status, b"here", {"Location": "/elsewhere"})
    rest = {"uri": server.url + "/x", **({} if expect is None else {"expect": expect})}
    if succeeds:
        assert run_step(type="rest", rest=rest).value == "here"
    else:
        with pytest.raises(StepError, match=f"REST request failed: {status} here"):
            run_step(type="rest", rest=rest)
    assert len(server.calls) == 1


def test_an_unexpected_status_tells_everything_it_knows(
    server: Server, refused: Callable[..., StepError]
) -> None:
    server.routes["/x"] = lambda asked: Reply(
        400,
        b'{"reason": "no sch\xc3\xb6n"}',
        {"Content-Type": "application/json", "X-Request": "r1", "Set-Cookie": "session=hunter2"},
    )
    error = refused(server.url + "/x")
    assert error.code == "rest_status"
    assert error.message == 'REST request failed: 400 {"reason": "no schön"}'
    assert error.details["status"] == 400
    assert error.details["headers"]["x-request"] == "r1"
    assert error.details["body"] == {"reason": "no schön"}
    assert "hunter2" not in str(error.as_record())


def test_the_body_of_an_error_is_bounded(server: Server, refused: Callable[..., StepError]) -> None:
    server.routes["/x"] = lambda asked: json_reply({"long": "x" * 1_000_000}, status=500)
    error = refused(server.url + "/x")
    assert len(error.message) < 2_100
    assert len(json.dumps(error.details)) < 40_000


def test_an_error_without_a_body_has_a_short_message(
    server: Server, refused: Callable[..., StepError]
) -> None:
    server.routes["/x"] = lambda asked: Reply(503)
    assert refused(server.url + "/x").message == "REST request failed: 503"


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"a": 1', b"NaN", b'{"a": Infinity}', b'"\\ud800"', b"[" * 100_000]
)
def test_what_says_json_and_is_none_is_an_error(
    server: Server, refused: Callable[..., StepError], body: bytes
) -> None:
    server.routes["/x"] = lambda asked: Reply(200, body, {"Content-Type": "application/json"})
    error = refused(server.url + "/x")
    assert error.code == "rest_invalid_json"
    assert error.details["body"] == body[:200].decode()


def test_what_is_no_text_is_an_error(server: Server, refused: Callable[..., StepError]) -> None:
    server.routes["/x"] = lambda asked: Reply(200, b"\x89PNG\xff\xfe", {"Content-Type": "image/png"})
    assert refused(server.url + "/x").code == "rest_not_text"


# Limits


def drip(head: bytes, part: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Sends `head`, then `part` every 20 ms until the test is over."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        while not stop.wait(0.02):
            connection.sendall(part)

    return behave


DRIPS = {
    "nothing": (b"", b""),
    "the status line": (b"HTTP/1.1 2", b"0"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
    "the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "a body without length": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a chunk's head": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
}


@pytest.mark.parametrize("where", DRIPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_trickling_server_is_left_when_the_time_is_up(
    refused: Callable[..., StepError], tls: tuple[ssl.SSLContext, Path], where: str, scheme: str
) -> None:
    with misbehaving(drip(*DRIPS[where]), tls[0] if scheme == "https" else None) as uri:
        begin = time.monotonic()
        error = refused(uri, timeout_seconds=0.3, verify=False)
        took = time.monotonic() - begin
    assert error.code == "rest_timeout", error
    assert "within 0.3 s" in error.message
    assert "hunter2" not in error.message
    assert took < 1.0


def test_the_steps_own_time_limit_counts_as_well(
    refused: Callable[..., StepError], context: FakeContext
) -> None:
    context.seconds_left = 0.2
    with misbehaving(drip(b"", b"")) as uri:
        begin = time.monotonic()
        assert refused(uri).code == "rest_timeout"
    assert time.monotonic() - begin < 1.0


def test_a_redirect_chain_has_one_time_limit(server: Server, refused: Callable[..., StepError]) -> None:
    waits = threading.Event()

    def slow(asked: Call) -> Reply:
        waits.wait(0.15)
        return Reply(302, headers={"Location": "/x"})

    server.routes["/x"] = slow
    begin = time.monotonic()
    assert refused(server.url + "/x", timeout_seconds=0.4).code == "rest_timeout"
    assert time.monotonic() - begin < 1.0


@pytest.mark.parametrize("known", [True, False])
def test_a_large_answer_is_refused(refused: Callable[..., StepError], known: bool) -> None:
    """With a Content-Length at once, without one as soon as it has grown too large."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        length = b"Content-Length: 100000000\r\n" if known else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 100_000)

    with misbehaving(behave) as uri:
        error = refused(uri, max_response_bytes=1_000_000)
    assert error.code == "rest_response_too_large"
    assert "1,000,000 bytes" in error.message


def test_an_answer_of_just_the_size_is_taken(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/x"] = lambda asked: Reply(200, b"x" * 1000)
    assert call(server.url + "/x", max_response_bytes=1000) == "x" * 1000


def test_a_gzip_bomb_is_refused_in_little_memory(server: Server, refused: Callable[..., StepError]) -> None:
    import tracemalloc

    bomb = gzip.compress(b"\0" * 60_000_000, 9)
    server.routes["/x"] = lambda asked: Reply(200, bomb, {"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        error = refused(server.url + "/x", max_response_bytes=2_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.code == "rest_response_too_large"
    assert peak < 16_000_000


def test_nothing_listens(refused: Callable[..., StepError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refused(f"http://anna:hunter2@127.0.0.1:{port}/x?token=hunter2")
    assert error.code == "rest_connection"
    assert error.message == f"cannot talk to http://127.0.0.1:{port}/x: Connection refused"


def reset(connection: socket.socket, stop: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut_short(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def no_http(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")


def bad_gzip(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")


def bad_chunks(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


def many_headers(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n")


def nothing(connection: socket.socket, stop: threading.Event) -> None:
    pass


@pytest.mark.parametrize("behave", [reset, cut_short, no_http, bad_gzip, bad_chunks, many_headers, nothing])
def test_broken_answers_are_connection_errors(
    refused: Callable[..., StepError], behave: Callable[[socket.socket, threading.Event], None]
) -> None:
    with misbehaving(behave) as uri:
        error = refused(uri)
    assert error.code == "rest_connection"
    assert "hunter2" not in str(error.as_record())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_failed_call_is_never_repeated_by_itself(refused: Callable[..., StepError], method: str) -> None:
    asked = []

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        asked.append(method)

    with misbehaving(behave) as uri:
        refused(uri, method=method)
    assert asked == [method]


# Redirects


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (302, "GET", "GET"),
    ],
)
def test_redirects_are_followed_by_the_rules_of_http(
    server: Server, call: Callable[..., Any], status: int, method: str, then: str
) -> None:
    server.routes["/a/x"] = lambda asked: Reply(status, headers={"Location": "../b?c=1"})
    server.routes["/b"] = lambda asked: Reply()
    options = {} if method in ("GET", "HEAD") else {"body": {"n": 1}}
    call(server.url + "/a/x", method=method, headers={"X-Mine": "1"}, **options)
    last = server.calls[-1]
    assert (last.method, last.path) == (then, "/b?c=1")
    assert last.body == (b'{"n":1}' if then in ("POST", "PUT") else b"")
    assert last.headers["x-mine"] == "1"


def test_a_redirect_loop_ends(server: Server, refused: Callable[..., StepError]) -> None:
    server.routes["/x"] = lambda asked: Reply(302, headers={"Location": "/x?a=1"})
    error = refused(server.url + "/x")
    assert error.code == "rest_too_many_redirects"
    assert len(server.calls) == 11


def test_credentials_are_dropped_at_another_origin(
    server: Server, call: Callable[..., Any], context: FakeContext
) -> None:
    """Another port is another origin (RFC 6454)."""
    context.secrets["s"] = Secret("s", "api-key", {"key": "X-Api-Key", "value": "hunter2"})
    with serving() as other:
        other.routes["/y"] = lambda asked: Reply()
        server.routes["/x"] = lambda asked: Reply(
            307, headers={"Location": other.url + "/y", "Set-Cookie": "session=hunter2"}
        )
        call(
            server.url.replace("//", "//anna:hunter2@") + "/x",
            headers={"Cookie": "a=hunter2", "Private-Token": "hunter2", "Accept": "text/x"},
            authentication={"type": "api_key", "secret": "s"},
        )
        [first], [second] = server.calls, other.calls
    assert first.headers["x-api-key"] == "hunter2"
    assert first.headers["authorization"].startswith("Basic ")
    assert second.headers["accept"] == "text/x"
    assert "hunter2" not in str(second.headers)
    assert "authorization" not in second.headers


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "http://a:b/"]
)
def test_a_redirect_to_something_else_is_refused(
    server: Server, refused: Callable[..., StepError], location: str
) -> None:
    server.routes["/x"] = lambda asked: Reply(302, headers={"Location": location})
    assert refused(server.url + "/x").code == "rest_invalid_uri"


# TLS


def test_a_self_signed_certificate_is_refused(
    tls: tuple[ssl.SSLContext, Path], refused: Callable[..., StepError]
) -> None:
    with serving(tls[0]) as server:
        error = refused(server.url + "/x")
    assert error.code == "rest_tls"
    assert "self-signed certificate" in error.message


def test_a_certificate_below_the_data_folder_can_be_trusted(
    tls: tuple[ssl.SSLContext, Path], call: Callable[..., Any], context: FakeContext
) -> None:
    (context.folders.data / "ca.pem").write_bytes(tls[1].read_bytes())
    with serving(tls[0]) as server:
        server.routes["/x"] = lambda asked: Reply(200, b"in private")
        assert call(server.url + "/x", verify="ca.pem") == "in private"


CA_FILES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


@pytest.mark.parametrize("name", CA_FILES)
def test_the_environment_may_name_the_certificates_to_trust(
    tls: tuple[ssl.SSLContext, Path], call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in CA_FILES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(tls[1]))
    with serving(tls[0]) as server:
        server.routes["/x"] = lambda asked: Reply(200, b"ok")
        assert call(server.url + "/x") == "ok"


def test_a_certificate_for_another_host_is_refused(
    tls: tuple[ssl.SSLContext, Path], refused: Callable[..., StepError], context: FakeContext
) -> None:
    (context.folders.data / "ca.pem").write_bytes(tls[1].read_bytes())
    with serving(tls[0]) as server:
        error = refused(server.url.replace("127.0.0.1", "localhost") + "/x", verify="ca.pem")
    assert error.code == "rest_tls"


def test_verify_false_takes_any_certificate_and_says_so(
    tls: tuple[ssl.SSLContext, Path], call: Callable[..., Any], context: FakeContext
) -> None:
    with serving(tls[0]) as server:
        server.routes["/x"] = lambda asked: Reply(200, b"ok")
        assert call(server.url + "/x", verify=False) == "ok"
    assert [level for level, _ in context.lines] == ["warning"]


@pytest.mark.parametrize(("verify", "code"), [("../ca.pem", "path_refused"), ("none.pem", "rest_tls")])
def test_a_certificate_file_stays_in_the_data_folder(
    refused: Callable[..., StepError], verify: str, code: str
) -> None:
    assert refused("https://127.0.0.1:9/", verify=verify).code == code


def test_plain_http_at_a_tls_port_is_an_error(
    tls: tuple[ssl.SSLContext, Path], server: Server, refused: Callable[..., StepError]
) -> None:
    assert refused(server.url.replace("http:", "https:") + "/x").code == "rest_tls"


# Sessions


def test_connections_are_kept_and_cookies_are_not(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/x"] = lambda asked: Reply(200, b"ok", {"Set-Cookie": "session=hunter2; Path=/"})
    for _ in range(5):
        call(server.url + "/x")
    assert server.connections == 1
    assert all("cookie" not in asked.headers for asked in server.calls)


def test_cookies_live_within_a_redirect_chain(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/login"] = lambda asked: Reply(
        302, headers={"Set-Cookie": "session=s1; Path=/", "Location": "/home"}
    )
    server.routes["/home"] = lambda asked: Reply(200, asked.headers.get("cookie", "none").encode())
    assert call(server.url + "/login") == "session=s1"


def test_threads_do_not_share_sessions(server: Server, call: Callable[..., Any]) -> None:
    server.routes["/x"] = lambda asked: json_reply(asked.path)
    with ThreadPoolExecutor(16) as pool:
        paths = [f"/x?n={number}" for number in range(200)]
        assert list(pool.map(lambda path: call(server.url + path), paths)) == paths
    assert server.connections <= 16


def test_netrc_gives_no_credentials(
    server: Server, call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login anna password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.routes["/x"] = lambda asked: Reply()
    call(server.url + "/x")
    assert "authorization" not in server.calls[0].headers


def test_a_proxy_of_the_environment_is_used(
    server: Server, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    server.routes["http://target.example/x"] = lambda asked: Reply(200, b"by proxy")
    assert call("http://target.example/x") == "by proxy"


def test_requests_is_imported_only_when_something_is_called() -> None:
    import subprocess

    code = (
        "import sys, flow_processor.steps.rest; print('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"uri": "{{ 'ftp://x/' }}"}, "rest_invalid_uri"),
        ({"uri": "{{ 7 }}"}, "rest_invalid_uri"),
        ({"uri": "{{ 'http://' }}"}, "rest_invalid_uri"),
        ({"uri": "http://127.0.0.1:99999/"}, "rest_invalid_uri"),
        ({"uri": "http://[::1/"}, "rest_invalid_uri"),
        ({"uri": "http://[::1/", "query": {"a": 1}}, "rest_invalid_uri"),
        ({"uri": "http://" + "a" * 70 + ".example/"}, "rest_invalid_uri"),
        ({"uri": "http://127.0.0.1:9/", "headers": {"X": "a\r\nY: b"}}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "headers": {"X\r\nY": "b"}}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "headers": {"X": "€"}}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "headers": {"X": [1]}}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "headers": "{{ [1] }}"}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "query": {"a": {"b": 1}}}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "query": "{{ 7 }}"}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "method": "POST", "body": "\ud800"}, "rest_invalid_request"),
        ({"uri": "http://127.0.0.1:9/", "data_key": "nope"}, "data_key_missing"),
        (
            {"uri": "http://127.0.0.1:9/", "authentication": {"type": "token", "secret": "x"}},
            "secret_not_found",
        ),
    ],
)
def test_wrong_requests_are_not_sent(run_step: RunStep, options: dict[str, Any], code: str) -> None:
    with pytest.raises(StepError) as error:
        run_step(type="rest", rest=options)
    assert error.value.code == code, error.value


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uri": "example.com"},
        {"uri": ""},
        {"uri": "http://x", "method": "BREW"},
        {"uri": "http://x", "expect": []},
        {"uri": "http://x", "expect": [99]},
        {"uri": "http://x", "expect": ["2x"]},
        {"uri": "http://x", "timeout_seconds": 0},
        {"uri": "http://x", "response": "all"},
        {"uri": "http://x", "method": "HEAD", "body": {}},
        {"uri": "http://x", "authentication": {"type": "digest", "secret": "s"}},
        {"uri": "http://x", "authentication": {"type": "basic"}},
        {"uri": "http://x", "urii": "x"},
    ],
)
def test_wrong_options_are_refused_when_the_flow_is_loaded(
    step: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        step(type="rest", rest=options)


@pytest.mark.parametrize(
    ("method", "repeatable"),
    [("GET", True), ("HEAD", True), ("OPTIONS", True), ("POST", False), ("PUT", False), ("DELETE", False)],
)
def test_only_reading_is_repeatable(step: Callable[..., Any], method: str, repeatable: bool) -> None:
    spec = step(type="rest", rest={"uri": "http://x", "method": method})
    assert factory.step_type_of(spec).repeatable(spec.options) is repeatable


def test_retry_may_stand_in_the_options(step: Callable[..., Any]) -> None:
    spec = step(type="rest", rest={"uri": "http://x", "retry": {"attempts": 3}})
    assert spec.options.retry.attempts == 3
