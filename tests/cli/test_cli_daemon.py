"""The daemon over HTTP: its error answers become the service's errors again; nothing is sent twice."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flow_processor import errors
from flow_processor.cli.daemon import Daemon

Answer = tuple[int, Any]


class Stub:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = (200, {})
        self.asked: list[tuple[str, str, Any]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stub.asked.append((self.command, self.path, json.loads(body) if body else None))
                stub.authorization = self.headers.get("Authorization")
                status, answer = stub.answer
                text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.authorization: str | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def daemon(stub: Stub) -> Iterator[Daemon]:
    daemon = Daemon(f"http://127.0.0.1:{stub.server.server_address[1]}/", "secret-token")
    yield daemon
    daemon.close()


def test_every_call_carries_the_token(stub: Stub, daemon: Daemon) -> None:
    stub.answer = (200, {"locks": []})
    assert daemon.locks() == []
    assert stub.authorization == "Bearer secret-token"


def test_proxies_of_the_environment_are_not_asked(
    stub: Stub, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon is on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    stub.answer = (200, {"locks": []})
    assert daemon.locks() == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"error": "no flow x", "code": "flow_not_found"}, errors.NotFound),
        (409, {"error": "is running", "code": "flow_running", "run_id": "r"}, errors.FlowRunning),
        (409, {"error": "has ended", "code": "run_has_ended"}, errors.Conflict),
        (
            400,
            {"error": "no path", "code": "invalid_request", "problems": [{"key": "x"}]},
            errors.InvalidRequest,
        ),
        (503, {"error": "stopping", "code": "shutting_down"}, errors.Unavailable),
        (507, {"error": "full", "code": "disk_full"}, errors.DiskFull),
        (500, {"error": "defect", "code": "internal_error"}, errors.OctospoolError),
    ],
)
def test_an_error_answer_is_the_services_error(
    stub: Stub, daemon: Daemon, status: int, body: dict[str, Any], kind: type[errors.OctospoolError]
) -> None:
    stub.answer = (status, body)
    with pytest.raises(kind) as caught:
        daemon.run("r")
    assert (caught.value.message, caught.value.code) == (body["error"], body["code"])
    assert caught.value.details == {k: v for k, v in body.items() if k not in ("error", "code")}


def test_problems_of_a_flow_file_keep_their_places(stub: Stub, daemon: Daemon) -> None:
    problem = errors.Problem(
        "unknown_key", "a.yml", 3, 5, "steps[0].jqq", "unknown key", "did you mean 'jq'?"
    )
    stub.answer = (422, {"error": "…", "code": "flow_invalid", "problems": [vars(problem)]})
    with pytest.raises(errors.SpecError) as caught:
        daemon.launch("a.yml")
    assert caught.value.problems == (problem,)


def test_a_refused_token_is_told_with_what_to_do(stub: Stub, daemon: Daemon) -> None:
    stub.answer = (401, {"error": "Unauthorized", "code": "unauthorized"})
    with pytest.raises(errors.Unauthorized, match="API_TOKEN"):
        daemon.locks()


def test_a_launch_is_sent_once_even_if_nobody_answers(stub: Stub, daemon: Daemon) -> None:
    stub.answer = (200, b"")
    with pytest.raises(errors.Unavailable):
        daemon.launch("a.yml", data={"n": 1}, params={"p": "x"})
    assert stub.asked == [
        (
            "POST",
            "/api/flows/launch",
            {"path": "a.yml", "data": {"n": 1}, "trigger": "cli", "params": {"p": "x"}},
        )
    ]


def test_a_name_cannot_leave_its_place_in_the_address(stub: Stub, daemon: Daemon) -> None:
    stub.answer = (404, {"error": "x", "code": "lock_not_found"})
    with pytest.raises(errors.NotFound):
        daemon.remove_lock("../flows?a=b#c")
    assert stub.asked[0][1] == "/api/locks/..%2Fflows%3Fa%3Db%23c"


def test_a_daemon_that_is_away_is_told_with_its_address() -> None:
    daemon = Daemon("http://127.0.0.1:9", "t")
    with pytest.raises(errors.Unavailable, match=r"http://127.0.0.1:9 does not answer.*refused"):
        daemon.wait_until_up(0)
    daemon.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """`certificates(name)` makes a self-signed certificate for some host that is not ours."""
    folder = tmp_path_factory.mktemp("tls")

    def make(name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        subject = ["-subj", "/CN=elsewhere.example", "-days", "2"]
        made = ["-keyout", str(key), "-out", str(certificate)]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *made]
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    return make


def test_exactly_the_configured_certificate_is_accepted(
    stub: Stub, certificates: Callable[[str], tuple[Path, Path]]
) -> None:
    """Whatever name it was made for; another one is refused, though it is no worse."""
    import ssl

    own, key = certificates("own")
    other, _ = certificates("other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)
    stub.answer = (200, {"locks": []})
    url = f"https://127.0.0.1:{stub.server.server_address[1]}"

    trusting = Daemon(url, "t", certificate=own)
    assert trusting.locks() == []
    trusting.close()
    wary = Daemon(url, "t", certificate=other)
    with pytest.raises(errors.Unavailable):
        wary.locks()
    wary.close()
    assert len(stub.asked) == 1
