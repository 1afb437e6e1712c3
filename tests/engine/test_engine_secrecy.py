"""Secret values appear nowhere: not in journal, log, errors, results, nor in any file of the data folder."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code

TOKEN = "canary/Token+7f3a=9"
PASSWORD = "canary:Pass word&4b"
BASIC = base64.b64encode(f"keeper:{PASSWORD}".encode()).decode()

SECRETS = f"""
- {{name: tickets, type: token, token: "{TOKEN}"}}
- {{name: keeper, type: credential, username: keeper, password: "{PASSWORD}"}}
- {{name: shop_db, type: token, token: "postgresql://me:{quote(PASSWORD, safe="")}@127.0.0.1:9/shop"}}
- {{name: environment, type: token, token: "${{CANARY_VARIABLE}}"}}
- {{name: key, type: token, token: "-----BEGIN KEY-----\\ncanary-line-one\\ncanary-line-two\\n"}}
- {{name: missing, type: token, token: "${{NOT_SET_ANYWHERE}}"}}
"""

FORMS = [
    form
    for value in (TOKEN, PASSWORD, "canary-of-the-environment")
    for form in (value, quote(value, safe=""), quote(value), base64.b64encode(value.encode()).decode())
] + [BASIC]


@pytest.fixture(scope="module")
def secretive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with secrets."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    world = World(data, canary_variable="canary-of-the-environment")
    data.mkdir()
    (data / "secrets.yml").write_text(SECRETS, encoding="utf-8")
    world.start()
    yield world
    world.stop()


@pytest.fixture
def call(server: CountingServer) -> Callable[..., str]:
    """A step that sends a secret to a server that tells it back."""

    def make(secret: str, kind: str = "token", path: str = "/x", more: str = "") -> str:
        authentication = f"{{type: {kind}, secret: {secret}}}"
        return (
            f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', authentication: {authentication}}}"
            f"{more}}}\n"
        )

    return make


def appearances(world: World) -> list[str]:
    """Files of the data folder that hold a secret in some form."""
    found = []
    for file in sorted(world.data.rglob("*")):
        if file.is_file() and file.name != "secrets.yml":
            content = file.read_bytes()
            found += [f"{file.name}: {form}" for form in FORMS if form.encode() in content]
    return found


@pytest.mark.parametrize(
    ("secret", "kind", "sent"),
    [
        ("tickets", "token", f"Bearer {TOKEN}"),
        ("keeper", "basic", f"Basic {BASIC}"),
        ("environment", "token", "Bearer canary-of-the-environment"),
    ],
)
def test_a_secret_that_is_told_back_is_shown_nowhere(
    secretive: World,
    server: CountingServer,
    call: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    secret: str,
    kind: str,
    sent: str,
) -> None:
    """The server got the real one; result, log, error and files have stars."""
    caplog.set_level(logging.DEBUG)
    server.statuses["/x"] = [200, 403]
    flow = "steps:\n" + call(secret, kind) + "  - {name: look, type: debug, debug: {data_key: '.'}}\n"
    flow += "  - {name: copy, type: set_fact, set_fact: {value: 'told: {{ call.authorization }}'}}\n"
    flow += call(secret, kind).replace("name: call", "name: refused")
    run = secretive.run(flow)
    assert server.authorizations == [sent, sent]
    assert run.status is RunStatus.FAILED
    assert run.data is not None
    assert "***" in run.data["call"]["authorization"]
    assert "***" in run.data["copy"]
    assert sent not in run.model_dump_json()
    logged = secretive.service.run_logs(run.run_id).model_dump_json()
    assert "***" in logged
    assert not [form for form in FORMS if form in logged + run.model_dump_json() + caplog.text]
    assert appearances(secretive) == []


@pytest.mark.parametrize(
    ("secret", "code", "said"),
    [("nobody", "secret_not_found", "tickets"), ("missing", "secret_unavailable", "NOT_SET_ANYWHERE")],
)
def test_a_secret_that_cannot_be_had_is_an_error_that_says_why(
    secretive: World, server: CountingServer, call: Callable[..., str], secret: str, code: str, said: str
) -> None:
    """Nothing is sent then."""
    run = secretive.run("steps:\n" + call(secret))
    assert run.error is not None
    assert said in run.error.message
    assert error_code(run) == code
    assert server.calls["/x"] == 0


def test_programs_that_print_a_secret(secretive: World) -> None:
    """Line by line, where the message is cut, and in the middle of a very long line."""
    flow = """
    steps:
      - name: lines
        type: shell
        shell: {secret_env: {KEY: key}, output: lines, script: 'echo "$KEY"; echo "$KEY" >&2'}
      - name: long
        type: shell
        shell:
          secret_env: {TOKEN: tickets}
          script: |
            head -c 131060 /dev/zero | tr '\\0' x
            printf %s "$TOKEN"
            head -c 65530 /dev/zero | tr '\\0' x
            printf '%s\\ndone' "$TOKEN"
      - name: fails
        type: shell
        shell:
          secret_env: {TOKEN: tickets}
          script: |
            head -c 290 /dev/zero | tr '\\0' x >&2
            echo "$TOKEN" >&2
            exit 3
    """
    run = secretive.run(flow)
    assert run.data is not None
    assert run.error is not None
    assert run.data["lines"] == ["-----BEGIN KEY-----", "***", "***", ""]
    assert run.data["long"].replace("x", "") == "******\ndone"
    assert run.error.message.endswith("xxx***")
    logged = secretive.service.run_logs(run.run_id).model_dump_json()
    assert "done" in logged
    shown = logged + run.model_dump_json()
    assert not [part for part in ("canary-line", TOKEN[:5]) if part in shown]
    assert appearances(secretive) == []


def test_a_secret_that_comes_back_is_covered_before_it_is_data(
    secretive: World, server: CountingServer, call: Callable[..., str]
) -> None:
    """So no step can write it anywhere, and after a restart the flow sees what it saw before."""
    flow = "steps:\n" + call("tickets")
    flow += "  - {name: keep, type: file, file: {path: output/told.json, mode: write, type: json, data_key: call}}\n"
    secretive.succeed(flow)
    assert "***" in (secretive.data / "output" / "told.json").read_text()
    assert appearances(secretive) == []


def test_a_secret_stays_covered_when_the_run_goes_on_in_another_worker(
    secretive: World, call: Callable[..., str]
) -> None:
    """What was sent out before a wait may come back after it; then another worker has the run, or another run it."""
    (secretive.data / "come_back.txt").write_text(f"you said {TOKEN}", encoding="utf-8")
    wait = "  - {name: nap, type: sleep, sleep: {seconds: 2.5}}\n"
    read = "  - {name: back, type: file, file: {path: come_back.txt, mode: read, type: text}}\n"
    run = secretive.run("steps:\n" + call("tickets") + wait + read)
    assert run.data is not None
    assert run.data["back"] == "you said ***"
    again = secretive.service.retry_run(run.run_id, RetryWish(from_step="back"), by="a test")
    assert (secretive.wait(again.run_id).data or {})["back"] == "you said ***"


def test_the_daemons_own_secrets_are_not_in_a_workers_environment(secretive: World, tmp_path: Path) -> None:
    """Neither its token nor a variable that only secrets.yml may use."""
    run_id = secretive.launch("steps:\n  - {name: wait, type: sleep, sleep: {seconds: 20}}\n")
    secretive.until_begun(run_id, "wait")
    environment = Path(f"/proc/{secretive.worker_pid(run_id)}/environ")
    if environment.exists():  # Linux
        content = environment.read_bytes()
        assert b"PATH=" in content
        assert b"canary" not in content
        assert b"API_TOKEN" not in content
        assert b"CANARY_VARIABLE" not in content
        assert b"canary" not in environment.with_name("cmdline").read_bytes()
    secretive.service.cancel_run(run_id, by="a test")
    secretive.wait(run_id)


def test_passwords_of_other_servers(secretive: World) -> None:
    """Steps that log in at databases, caches, buckets and mail servers: away, or not what they say."""
    before = appearances(secretive)  # another test writes a secret into a file on purpose
    away = "127.0.0.1:9"
    mail = "host: 127.0.0.1, port: 9, secret: keeper, from: a@b.c, to: a@b.c, text: x"
    options = {
        "database": "secret: shop_db, query: SELECT 1",
        "redis": f"url: 'redis://{away}', secret: keeper, command: [GET, a]",
        "s3": f"endpoint: 'http://{away}', secret: keeper, action: list, bucket: reports",
        "email": mail,
    }
    steps = [
        f"  - {{name: {kind}, type: {kind}, {kind}: {{{text}}}, ignore_errors: '.*'}}"
        for kind, text in options.items()
    ]
    run = secretive.run("steps:\n" + "\n".join(steps) + "\n")
    assert run.data is not None
    codes = {error["step"]: error["code"] for error in run.data["__errors__"]}
    assert codes == {kind: f"{kind}_connection" for kind in options}
    assert appearances(secretive) == before
