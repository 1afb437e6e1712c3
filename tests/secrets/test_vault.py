"""Secrets that a (pretended) Vault keeps; it speaks real HTTP on loopback."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flow_processor.errors import StepError
from flow_processor.secrets import SecretStore


class TurnedClock:
    """A clock that stands still until a test turns it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


class PretendedVault(ThreadingHTTPServer):
    """Answers `body` with `status` to the right token; counts its calls."""

    daemon_threads = True
    status = 200
    body = b'{"data": {"data": {"username": "anna", "password": "hunter2"}, "metadata": {}}}'
    calls = 0


class Handler(BaseHTTPRequestHandler):
    """Vault's read of one secret."""

    server: PretendedVault

    def do_GET(self) -> None:
        self.server.calls += 1
        right = self.headers["X-Vault-Token"] == "s.root"
        body = self.server.body if right else b'{"errors": ["permission denied"]}'
        self.send_response(self.server.status if right else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def vault() -> Iterator[PretendedVault]:
    server = PretendedVault(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def store_of(tmp_path: Path, vault: PretendedVault, clock: TurnedClock, token: str | None) -> SecretStore:
    uri = f"http://127.0.0.1:{vault.server_port}/v1/kv/data/${{PLACE}}"
    entry = {"name": "db", "type": "hashicorp-vault", "uri": uri, "jq_expression": ".password"}
    (tmp_path / "secrets.yml").write_text(json.dumps([entry]))
    environ = {"PLACE": "db"}
    return SecretStore(
        tmp_path / "secrets.yml", environ, vault_token=token, vault_ttl_seconds=60, clock=clock
    )


def test_the_data_come_with_the_expression_unapplied(
    tmp_path: Path, vault: PretendedVault, clock: TurnedClock
) -> None:
    secret = store_of(tmp_path, vault, clock, "s.root").get("db")
    assert secret.type == "hashicorp-vault"
    assert secret.values == {
        "data": {"username": "anna", "password": "hunter2"},
        "jq_expression": ".password",
    }


def test_vault_is_asked_once_in_its_time(tmp_path: Path, vault: PretendedVault, clock: TurnedClock) -> None:
    store = store_of(tmp_path, vault, clock, "s.root")
    with ThreadPoolExecutor(8) as pool:
        assert len({str(secret.values) for secret in pool.map(store.get, ["db"] * 20)}) == 1
    assert vault.calls == 1
    clock.seconds = 59.0
    store.get("db")
    assert vault.calls == 1
    clock.seconds = 60.0
    store.get("db")
    assert vault.calls == 2


@pytest.mark.parametrize(
    ("token", "status", "body", "says"),
    [
        (None, 200, b"", "HASHICORP_VAULT_TOKEN is not set"),
        ("s.wrong", 200, b"", "403.*permission denied"),
        ("s.root", 404, b'{"errors": []}', "404"),
        ("s.root", 200, b"<html>", "no data"),
        ("s.root", 200, b'{"data": {"password": "v1"}}', "no data of a KV version 2"),
        ("s.root", 200, b'{"data": {"data": null}}', "deleted"),
    ],
)
def test_what_vault_does_not_give_is_unavailable(
    tmp_path: Path,
    vault: PretendedVault,
    clock: TurnedClock,
    token: str | None,
    status: int,
    body: bytes,
    says: str,
) -> None:
    vault.status, vault.body = status, body
    with pytest.raises(StepError, match=f"secret 'db': Vault: .*{says}") as refused:
        store_of(tmp_path, vault, clock, token).get("db")
    assert refused.value.code == "secret_unavailable"


def test_a_failure_is_not_kept(tmp_path: Path, vault: PretendedVault, clock: TurnedClock) -> None:
    store = store_of(tmp_path, vault, clock, "s.root")
    vault.status = 503
    with pytest.raises(StepError):
        store.get("db")
    vault.status = 200
    assert store.get("db").values["data"]["username"] == "anna"
