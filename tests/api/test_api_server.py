"""The API on a port: limits that hold before a call reaches the app, waiting calls, starting and stopping."""

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from flow_processor.api.server import ApiServer
from flow_processor.errors import SettingsError
from flow_processor.settings import ApiSettings
from tests.api.support import BEARER, OtherSettings

HUNDRED_MB = 100_000_000


@pytest.fixture
def server(service: Any, serve_on_a_port: Callable[[Any], ApiServer]) -> ApiServer:
    return serve_on_a_port(service)


@pytest.fixture
def long_run(api: Any) -> str:
    """A run that does not end by itself."""
    run_id: str = api.launch(path="long.yml").json["run_id"]
    return run_id


def address(server: ApiServer) -> tuple[str, int]:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def say(server: ApiServer, text: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes as they are; status, headers and JSON of what comes back until the connection closes."""
    with socket.create_connection(address(server), timeout=20) as connection:
        connection.sendall(text)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, dict(answer.headers), json.loads(answer.read())


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"


def test_it_answers_calls_and_does_not_say_what_it_is_made_of(server: ApiServer) -> None:
    answer = requests.get(server.url + "/healthz", timeout=20)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["Server"] == "octospool"


def test_a_connection_serves_many_calls(server: ApiServer) -> None:
    connection = http.client.HTTPConnection(*address(server), timeout=20)
    for _ in range(3):
        connection.request("GET", "/api/runs", headers=BEARER)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (200, None)
        answer.read()
    connection.close()


def test_a_slash_in_a_flow_name_arrives_with_and_without_percent(api: Any, server: ApiServer) -> None:
    """The test client of Flask decodes for itself; here the bytes go over the wire."""
    for spelling in ("sub/long.yml", "sub%2Flong.yml"):
        api.launch(path="sub/long.yml")
        removed = requests.delete(f"{server.url}/api/locks/{spelling}", headers=BEARER, timeout=20)
        assert (removed.status_code, removed.json()["flow"]) == (200, "sub/long.yml")


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_of_100_mb_is_refused_before_it_is_read(server: ApiServer, form: str) -> None:
    """With its size told beforehand, and without."""
    piece = b"x" * 1_000_000
    body: Any = b"x" * HUNDRED_MB if form == "length" else iter([piece] * 100)
    answer = requests.post(server.url + "/api/flows/launch", data=body, headers=BEARER, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.json()["limit"] == 1024 * 1024
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_caller_that_sends_first_and_reads_later_sees_why_too(server: ApiServer) -> None:
    """A plain close would reset the connection, and the answer would be lost on its way."""
    connection = http.client.HTTPConnection(*address(server), timeout=20)
    connection.request("POST", "/api/flows/launch", body=b"x" * 30_000_000, headers=BEARER)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()


def test_a_refused_caller_cannot_send_for_ever(server: ApiServer) -> None:
    with socket.create_connection(address(server), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|[Pp]ipe|abort"):
            any(connection.sendall(b"x" * 65536) for _ in itertools.repeat(None))


def test_a_body_just_within_the_limit_is_read(server: ApiServer) -> None:
    text = b'{"x":"' + b"x" * (1024 * 1024 - 8) + b'"}'
    assert len(text) == 1024 * 1024
    answer = requests.post(server.url + "/api/flows/launch", data=text, headers=BEARER, timeout=20)
    assert answer.json()["code"] == "invalid_request"
    answer = requests.post(server.url + "/api/flows/launch", data=text + b" ", headers=BEARER, timeout=20)
    assert answer.json()["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_http_is_refused_in_json(server: ApiServer, text: bytes, status: int) -> None:
    found, headers, body = say(server, text)
    assert (found, body["code"], headers["Content-Type"]) == (status, "bad_http_request", "application/json")


def test_the_address_cannot_smuggle_a_host_past_the_check(server: ApiServer) -> None:
    """An absolute address (RFC 9112, 3.2.2) does not stand in for the Host header."""
    text = b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    status, _, body = say(server, text)
    assert (status, body["code"]) == (403, "host_refused")


@pytest.fixture
def four_threads(service: Any, serve_on_a_port: Callable[[Any], ApiServer]) -> ApiServer:
    return serve_on_a_port(OtherSettings(service, api=ApiSettings(threads=4)))


def test_waiting_calls_never_block_the_others(four_threads: ApiServer, long_run: str) -> None:
    """Of four threads two may wait; whoever finds no place is answered at once, and so is everybody else."""
    url = f"{four_threads.url}/api/runs/{long_run}"
    waits = [f"{url}?wait=20", f"{url}/logs?wait=20&after=1000000"] * 6

    def ask(address: str) -> float:
        began = time.monotonic()
        assert requests.get(address, headers=BEARER, timeout=60).status_code == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(len(waits)) as callers:
        asked = [callers.submit(ask, wait) for wait in waits]
        until(lambda: sum(one.done() for one in asked) == len(waits) - 2)
        assert ask(four_threads.url + "/healthz") < 5
        requests.post(f"{url}/cancel", headers=BEARER, timeout=20)
        times = sorted(one.result(30) for one in asked)
    assert times[-1] < 20
    assert times[-3] < 10


def has_a_free_place(server: ApiServer, run_id: str) -> bool:
    """Does a call that wants to wait really wait?"""
    began = time.monotonic()
    requests.get(f"{server.url}/api/runs/{run_id}?wait=0.4", headers=BEARER, timeout=20)
    return time.monotonic() - began >= 0.4


@contextmanager
def parked(server: ApiServer, run_id: str) -> Iterator[socket.socket]:
    """A connection whose call waits, in the server's only place."""
    with socket.create_connection(address(server), timeout=20) as connection:
        lines = [f"GET /api/runs/{run_id}?wait=300 HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in BEARER.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        until(lambda: not has_a_free_place(server, run_id))
        yield connection


def test_a_caller_that_hangs_up_frees_its_place(
    service: Any, serve_on_a_port: Callable[[Any], ApiServer], long_run: str
) -> None:
    server = serve_on_a_port(OtherSettings(service, api=ApiSettings(threads=2)))
    assert has_a_free_place(server, long_run)
    with parked(server, long_run):
        pass
    until(lambda: has_a_free_place(server, long_run))


def test_stopping_answers_those_who_wait_and_frees_the_port(service: Any, long_run: str) -> None:
    server = ApiServer(OtherSettings(service, api=ApiSettings(threads=2)))
    server.start()
    with parked(server, long_run) as connection:
        server.stop()
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.read())["ended_at"] is None
    assert not server.is_alive()
    socket.create_server(address(server)).close()


def test_stopping_twice_or_before_the_start_is_harmless(service: Any) -> None:
    server = ApiServer(service)
    server.stop()
    server.stop()
    assert not server.is_alive()


def test_a_port_that_is_taken_is_told(service: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"API_PORT: cannot listen on 127.0.0.1:{port}") as error:
            ApiServer(OtherSettings(service, api_port=port))
    assert error.value.code == "port_taken"
    assert "attempting" not in error.value.message


def test_an_address_of_another_machine_is_the_hosts_fault(service: Any) -> None:
    """192.0.2.1 is for documentation; no machine has it."""
    with pytest.raises(SettingsError, match=r"API_HOST: '192\.0\.2\.1' is not an address of this machine"):
        ApiServer(OtherSettings(service, api_host="192.0.2.1"))


def test_a_host_that_is_none_is_told(service: Any) -> None:
    with pytest.raises(SettingsError, match="API_HOST"):
        ApiServer(OtherSettings(service, api_host="no.such.host.invalid"))


def test_localhost_is_served_on_all_its_addresses(
    service: Any, serve_on_a_port: Callable[[Any], ApiServer]
) -> None:
    server = serve_on_a_port(OtherSettings(service, api_host="localhost"))
    _, port = address(server)
    for *_, place in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        socket.create_connection(place[:2], timeout=20).close()
    assert requests.get(f"http://localhost:{port}/healthz", timeout=20).status_code == 200
