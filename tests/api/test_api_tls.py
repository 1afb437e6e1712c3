"""https: TLS on waitress's own connections, where one slow caller keeps nobody else waiting."""

import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from flow_processor.api.docs import FILES
from flow_processor.api.server import ApiServer
from flow_processor.errors import SettingsError
from tests.api.support import BEARER, OtherSettings

Serve = Callable[..., ApiServer]


@pytest.fixture
def serve_tls(
    service: Any, certificate: dict[str, str], serve_on_a_port: Callable[[Any], ApiServer]
) -> Serve:
    """Serve with the certificate for localhost, by default https only."""

    def start(protocol: str = "https") -> ApiServer:
        files = {"tls_cert": Path(certificate["TLS_CERT"]), "tls_key": Path(certificate["TLS_KEY"])}
        return serve_on_a_port(OtherSettings(service, api_protocol=protocol, **files))

    return start


@pytest.fixture
def session(certificate: dict[str, str]) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # REQUESTS_CA_BUNDLE would win over the line below
    session.verify = certificate["TLS_CERT"]
    session.headers.update(BEARER)
    return session


def port_of(server: ApiServer) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


def test_https_is_served_with_the_certificate(serve_tls: Serve, session: requests.Session) -> None:
    server = serve_tls()
    assert server.url.startswith("https://127.0.0.1:")
    for _ in range(3):
        answer = session.get(server.url + "/api/runs", timeout=20)
        assert answer.status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.url + "/healthz", timeout=20)


def test_large_answers_and_bodies_go_through_whole(serve_tls: Serve, session: requests.Session) -> None:
    """Many TLS records each way, larger than what sockets hold."""
    server = serve_tls()
    name = "swagger-ui-bundle.js"
    assert session.get(f"{server.url}/api/docs/{name}", timeout=20).content == FILES[name].read_bytes()
    text = "x" * 1_000_000
    answer = session.post(
        server.url + "/api/flows/launch", json={"path": "echo.yml", "data": text, "wait": 30}, timeout=60
    )
    assert answer.json()["data"]["out"] == text


def test_a_slow_reader_gets_everything(serve_tls: Serve, certificate: dict[str, str]) -> None:
    """Writes that would block are repeated until they go through."""
    server = serve_tls()
    context = ssl.create_default_context(cafile=certificate["TLS_CERT"])
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", port_of(server)))
    with context.wrap_socket(raw, server_hostname="localhost") as connection:
        lines = ["GET /api/docs/swagger-ui-bundle.js HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in BEARER.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b"".join(iter(lambda: connection.recv(10_000), b""))
    assert received.partition(b"\r\n\r\n")[2] == FILES["swagger-ui-bundle.js"].read_bytes()


def test_many_callers_at_once(serve_tls: Serve, session: requests.Session) -> None:
    server = serve_tls()

    def ask(_: int) -> int:
        return requests.get(server.url + "/healthz", verify=session.verify, timeout=60).status_code

    with ThreadPoolExecutor(16) as callers:
        assert set(callers.map(ask, range(64))) == {200}


@pytest.mark.parametrize("opening", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_slow_handshake_keeps_nobody_waiting(
    serve_tls: Serve, session: requests.Session, opening: bytes
) -> None:
    server = serve_tls()
    silent = [socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) for _ in range(20)]
    for connection in silent:
        connection.sendall(opening)
    assert session.get(server.url + "/healthz", timeout=5).status_code == 200
    for connection in silent:
        connection.close()


def test_a_body_too_large_is_refused_in_tls_too(serve_tls: Serve, session: requests.Session) -> None:
    answer = session.post(serve_tls().url + "/api/flows/launch", data=b"x" * 30_000_000, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_http_on_the_https_port_is_not_answered(serve_tls: Serve) -> None:
    server = serve_tls()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port_of(server)}/healthz", timeout=20)


@pytest.mark.parametrize("noise", [b"\x16" + b"\xff" * 100, b"\x80\x2e\x01\x00\x02", b"\0" * 50])
def test_noise_is_hung_up_on(serve_tls: Serve, session: requests.Session, noise: bytes) -> None:
    server = serve_tls()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) as connection:
        connection.sendall(noise)
        try:
            while connection.recv(1000):
                pass
        except ConnectionResetError:
            pass
    assert session.get(server.url + "/healthz", timeout=20).status_code == 200


def test_both_protocols_may_share_the_port(serve_tls: Serve, session: requests.Session) -> None:
    """`API_PROTOCOL=http,https`: the first byte of a connection tells which it is."""
    server = serve_tls("http,https")
    assert server.url.startswith("http://")
    for protocol in ("http", "https"):
        url = f"{protocol}://127.0.0.1:{port_of(server)}"
        assert session.get(url + "/healthz", timeout=20).status_code == 200
        servers = session.get(url + "/api/openapi.json", timeout=20).json()["servers"]
        assert {"url": url} in servers


def test_old_tls_is_refused(serve_tls: Serve) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", port_of(serve_tls())), timeout=20) as connection,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(connection, server_hostname="localhost")


def test_stopping_ends_tls_connections(serve_tls: Serve, session: requests.Session) -> None:
    server = serve_tls()
    session.get(server.url + "/healthz", timeout=20)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    stopping.join(20)
    assert not server.is_alive()
    with pytest.raises(requests.ConnectionError):
        session.get(server.url + "/healthz", timeout=20)


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_a_certificate_that_cannot_be_used_is_told(
    service: Any, certificate: dict[str, str], tmp_path: Path, broken: str
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate", encoding="utf-8")
    files = {"tls_cert": Path(certificate["TLS_CERT"]), "tls_key": Path(certificate["TLS_KEY"])}
    files[f"tls_{broken}"] = nonsense
    with pytest.raises(SettingsError, match="TLS_CERT, TLS_KEY"):
        ApiServer(OtherSettings(service, api_protocol="https", **files))
