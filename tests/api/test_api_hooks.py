"""Webhooks: who may call, what the flow sees, and that no delivery starts two runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flow_processor.api.server import ApiServer
from flow_processor.service import Service
from tests.api.conftest import settings_in, started_service
from tests.api.support import Api
from tests.engine.world import until

KEY = "the-key-of-these-tests-only"
SECRETS = f"""
- {{name: key, type: token, token: {KEY}}}
- {{name: other, type: token, token: {KEY}-other}}
- {{name: empty, type: token, token: "${{NOTHING_IN_IT}}"}}
- {{name: unset, type: token, token: "${{NOT_SET_AT_ALL}}"}}
- {{name: login, type: credential, username: u, password: p}}
"""
REFUSED = (401, {"error": "Unauthorized", "code": "unauthorized"})
UNAVAILABLE = (503, "webhook_unavailable")
TWINS = {"twin": KEY, "half_twin": f"{KEY}-other"}
"""Hooks that several flows have, and the key of one of these."""


def hook(name: str, rest: str = "", *, secret: str | None = None, more: str = "", step: str = "") -> str:
    step = step or "{name: seen, type: set_fact, set_fact: {value: '{{ __input__ }}'}}"
    return f"on: {{webhook: {{name: {name}, secret: {secret or 'key'}{rest}}}}}\n{more}steps:\n  - {step}\n"


SLEEP = "{name: rest, type: sleep, sleep: {seconds: 600}}"
FLOWS = {
    "push.yml": hook("push", ", headers: [X-GitHub-Event, X-Missing], max_body: 1 KiB", more="PARALLEL"),
    "timed.yml": hook("timed", ", scheme: hmac-sha256-timestamp", more="PARALLEL"),
    "token.yml": hook("token", ", scheme: token, header: X-Gitlab-Token", more="PARALLEL"),
    "busy.yml": hook("busy", step=SLEEP),
    "queue.yml": hook("queue", more="concurrency: {on_conflict: queue}\n", step=SLEEP),
    "params.yml": hook("params", ", params: {level: long}", more="params: {level: str}\n"),
    "twin_a.yml": hook("twin"),
    "sub/twin_b.yml": hook("twin"),
    "half_a.yml": hook("half_twin", secret="empty"),
    "half_b.yml": hook("half_twin", secret="other"),
    "empty.yml": hook("empty", secret="empty"),
    "unset.yml": hook("unset", secret="unset"),
    "login.yml": hook("login", secret="login"),
    "nobody.yml": hook("nobody", secret="nobodys"),
    "never.yml": hook("never", ", wrong: 1"),
    "calls.yml": hook("calls", step="{name: c, type: flow, flow: {path: gone}}"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A started service with the flows above."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    data.mkdir()
    (data / "secrets.yml").write_text(SECRETS, encoding="utf-8")
    flows = {
        name: text.replace("PARALLEL", "concurrency: {on_conflict: parallel}\n")
        for name, text in FLOWS.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        # Tests call more often in a second than files are looked at for strangers.
        patch.setattr("flow_processor.service.webhooks.LOOKS_PER_SECOND", 1000)
        with started_service(data, flows, NOTHING_IN_IT="") as service:
            yield service


def hmac_of(body: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def signed(body: bytes, key: str = KEY) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={hmac_of(body, key)}"}


def timed(body: bytes, *, age: float = 0, key: str = KEY) -> dict[str, str]:
    at = str(int(time.time() - age))
    return {"X-Octospool-Signature": f"t={at},v1={hmac_of(at.encode() + b'.' + body, key)}"}


def call(
    api: Api, name: str, body: bytes = b"{}", headers: dict[str, str] | None = None, **options: Any
) -> Any:
    kind = {"Content-Type": options.pop("kind", "application/json")}
    sent = signed(body) if headers is None else headers
    return api.post(f"/hooks/{name}", token=False, data=body, headers={**kind, **sent}, **options)


def seen(api: Api, answer: Any) -> dict[str, Any]:
    """The `__input__` of the run that a call became."""
    assert answer.status_code == 202, answer.json
    run = api.get(f"/api/runs/{answer.json['run_id']}?wait=60").json
    assert run["status"] == "succeeded", run
    found: dict[str, Any] = run["data"]["__input__"]
    return found


def runs_of(api: Api, flow: str) -> int:
    return len(api.get(f"/api/runs?flow={flow}&limit=500").json["runs"])


def test_a_signed_call_starts_the_flow_with_body_and_chosen_headers(api: Api) -> None:
    body = json.dumps({"ref": "main", "n": 1}).encode()
    answer = call(api, "push", body, {**signed(body), "X-GitHub-Event": "push", "X-Other": "1"})
    found = seen(api, answer)
    assert found.pop("received_at")
    assert found == {
        "body": {"ref": "main", "n": 1},
        "body_type": "json",
        "headers": {"X-GitHub-Event": "push", "X-Missing": None},
    }
    assert answer.json == {"run_id": answer.json["run_id"], "repeated": False}
    run = api.get(f"/api/runs/{answer.json['run_id']}").json
    assert (run["trigger"], run["by"], run["flow"]) == ("webhook", "push", "push.yml")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"[1, null]", "application/vnd.x+json; charset=utf-8", ("json", [1, None])),
        (
            b"a=1&b=x+y&b=%C3%BC&c=",
            "application/x-www-form-urlencoded",
            ("form", {"a": "1", "b": ["x y", "ü"], "c": ""}),
        ),
        ("grün".encode(), "text/plain", ("text", "grün")),
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", ("text", "grün")),
        (b"\xff\x00\x01", "application/octet-stream", ("base64", base64.b64encode(b"\xff\x00\x01").decode())),
        ("grün".encode("utf-16"), "text/plain; charset=UTF-16", ("text", "grün")),
        (b"x", "text/plain; charset=no-such", ("base64", "eA==")),
        (b"x-", "text/plain; charset=punycode", ("base64", "eC0=")),
        (b"x", "text/plain; charset=unicode_escape", ("base64", "eA==")),
        (b"+2AA-", "text/plain; charset=utf-7", ("base64", "KzJBQS0=")),
        (b"", "application/json", ("none", None)),
    ],
)
def test_a_body_is_read_as_what_it_says(api: Api, body: bytes, kind: str, expected: tuple[str, Any]) -> None:
    found = seen(api, call(api, "push", body, {**signed(body), "X-GitHub-Delivery": kind}, kind=kind))
    assert (found["body_type"], found["body"]) == expected


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{'a': 1}", "application/json", "invalid_json"),
        (b"[NaN]", "application/json", "invalid_json"),
        (b"\xff", "application/json", "invalid_json"),
        (b"[" * 1000, "application/json", "invalid_json"),
        (b"a=%FF", "application/x-www-form-urlencoded", "invalid_form"),
        (b"&".join(b"%d=" % n for n in range(201)) * 5, "application/x-www-form-urlencoded", "invalid_form"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused_once_the_signature_was_right(
    api: Api, body: bytes, kind: str, code: str
) -> None:
    body = body[:1024] if kind.endswith("json") else body
    before = runs_of(api, "timed.yml")
    answer = call(api, "timed", body, timed(body), kind=kind)
    assert (answer.status_code, answer.json["code"]) == (400, code)
    assert call(api, "timed", body, timed(body, key="x"), kind=kind).status_code == 401
    assert runs_of(api, "timed.yml") == before


WRONG: dict[str, tuple[str, Callable[[bytes], dict[str, str]]]] = {
    "no signature": ("push", lambda body: {}),
    "another key": ("push", lambda body: signed(body, "x")),
    "another body": ("push", lambda body: signed(body + b" ")),
    "no prefix": ("push", lambda body: {"X-Hub-Signature-256": hmac_of(body)}),
    "sha1": ("push", lambda body: {"X-Hub-Signature": f"sha1={hmac_of(body)}"}),
    "empty": ("push", lambda body: {"X-Hub-Signature-256": "sha256="}),
    "no text": ("push", lambda body: {"X-Hub-Signature-256": "sha256=ü"}),
    "the wrong scheme": ("push", timed),
    "the key itself": ("push", lambda body: {"X-Gitlab-Token": KEY}),
    "the token of the API is no proof": ("push", lambda body: {"Authorization": f"Bearer {KEY}"}),
    "timed: without moment": ("timed", lambda body: {"X-Octospool-Signature": f"v1={hmac_of(body)}"}),
    "timed: moment not signed": (
        "timed",
        lambda body: {"X-Octospool-Signature": f"t={int(time.time())},v1={hmac_of(body)}"},
    ),
    "timed: without signature": (
        "timed",
        lambda body: {"X-Octospool-Signature": f"t={int(time.time())}"},
    ),
    "timed: milliseconds": (
        "timed",
        lambda body: {"X-Octospool-Signature": f"t={int(time.time())}000,v1={hmac_of(body)}"},
    ),
    "timed: too old": ("timed", lambda body: timed(body, age=400)),
    "timed: too far ahead": ("timed", lambda body: timed(body, age=-400)),
    "timed: signed as the body alone": ("timed", signed),
    "timed: short": ("timed", lambda body: {"X-Octospool-Signature": "t=9,v1=9"}),
    "timed: nonsense": ("timed", lambda body: {"X-Octospool-Signature": "t=9,9=v1"}),
    "token: wrong": ("token", lambda body: {"X-Gitlab-Token": KEY + "x"}),
    "token: missing": ("token", lambda body: {}),
    "token: in the header of others": ("token", lambda body: {"X-Webhook-Token": KEY}),
    "unknown hook": ("nothing", signed),
    "a flow's path is no hook": ("push.yml", signed),
}


@pytest.mark.parametrize("name", WRONG)
def test_who_proves_nothing_gets_the_same_answer_whatever_is_wrong(
    api: Api, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And one line in the log, without the body."""
    target, headers = WRONG[name]
    body = b'{"canary": "in-the-body"}'
    answer = call(api, target, body, headers(body))
    assert (answer.status_code, answer.json) == REFUSED
    lines = [record.getMessage() for record in caplog.records if record.name == "octospool.webhooks"]
    assert len(lines) == 1
    assert lines[0].startswith(f"webhook '{target}': refused: ")
    assert "canary" not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no signature", "the header X-Hub-Signature-256 is missing"),
        ("no prefix", "the header X-Hub-Signature-256 has no 'sha256=' in front"),
        ("empty", "the header X-Hub-Signature-256 is not 'sha256=' and 64 hex digits"),
        (
            "another key",
            "the header X-Hub-Signature-256 does not fit the body: another secret, or the body was changed",
        ),
        ("timed: without moment", "the header X-Octospool-Signature has no 't='"),
        ("timed: without signature", "the header X-Octospool-Signature has no 'v1='"),
        (
            "timed: milliseconds",
            "in the header X-Octospool-Signature 't' is no moment in seconds (13 digits: milliseconds?)",
        ),
        ("timed: short", "the header X-Octospool-Signature is not t=<unix seconds>,v1=<64 hex digits>"),
        ("timed: too old", "it was signed 40"),
        ("timed: too far ahead", "it was signed for "),
        ("token: wrong", "the header X-Gitlab-Token has another token"),
    ],
)
def test_the_log_tells_what_is_wrong_with_a_proof_and_whence_it_came(
    api: Api, name: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else does: the caller gets a bare 401."""
    target, headers = WRONG[name]
    call(api, target, b"1", {**headers(b"1"), "X-Forwarded-For": "192.0.2.7"})
    assert f"webhook '{target}': refused: {says}" in caplog.text
    assert "(from 127.0.0.1, X-Forwarded-For: 192.0.2.7)" in caplog.text


def test_the_document_of_the_api_tells_of_the_body(api: Api) -> None:
    call_of_hooks = api.get("/api/openapi.json").json["paths"]["/hooks/{name}"]["post"]
    assert "*/*" in call_of_hooks["requestBody"]["content"]


def test_only_post_and_only_one_name(api: Api) -> None:
    """Every other address needs the API's token, as everywhere; that of hooks is open, so it says what it takes, of a
    hook that there is and of one that there is not."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        for name in ("push", "nothing"):
            answer = api.call(method, f"/hooks/{name}", token=False, headers=signed(b""))
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    for path in ("/hooks", "/hooks/", "/hooks/push/", "/hooks/push/x", "/hooks//push"):
        assert api.post(path, token=False, headers=signed(b"")).status_code == 401


def test_what_a_sender_adds_to_the_address_is_left_alone(api: Api) -> None:
    body = b'{"query": 1}'
    answer = api.post("/hooks/push?source=x&x", token=False, data=body, headers=signed(body))
    assert answer.status_code == 202


def test_the_schemes_with_moment_and_with_token(api: Api) -> None:
    """A signed moment may be off in either direction; a second signature is for who changes the key."""
    for age in (250, -250):
        assert call(api, "timed", b"1", timed(b"1", age=age)).status_code == 202
    value = timed(b"2")["X-Octospool-Signature"]
    both = value.replace(",v1=", f",v1={'0' * 64}, v1=")
    assert call(api, "timed", b"2", {"X-Octospool-Signature": both}).status_code == 202
    assert call(api, "token", b"1", {"X-Gitlab-Token": KEY}).status_code == 202
    assert (
        call(api, "token", b"1", {"X-Gitlab-Token": KEY}).json["repeated"] is False
    )  # nothing tells them apart


@pytest.mark.parametrize(
    ("name", "first", "second", "is_same"),
    [
        ("push", {}, {}, True),
        ("push", {"X-GitHub-Delivery": "1"}, {"X-GitHub-Delivery": "1"}, True),
        ("push", {"X-GitHub-Delivery": "2"}, {"X-GitHub-Delivery": "3"}, False),
        ("timed", {}, {}, True),
        ("timed", {"X-Octospool-Delivery": "1"}, {"X-Octospool-Delivery": "2"}, True),
        ("token", {"Idempotency-Key": "1"}, {"Idempotency-Key": "1"}, True),
    ],
)
def test_the_same_delivery_again_gets_the_first_ones_run(
    api: Api, name: str, first: dict[str, str], second: dict[str, str], is_same: bool
) -> None:
    """A signed moment counts once, whatever name the delivery is given."""
    body = json.dumps([name, first, "again"]).encode()
    proof = {"push": signed, "timed": timed, "token": lambda _: {"X-Gitlab-Token": KEY}}[name](body)
    one = call(api, name, body, {**proof, **first})
    two = call(api, name, body, {**proof, **second})
    assert one.status_code == 202
    assert (two.status_code, two.json["repeated"]) == ((200, True) if is_same else (202, False))
    assert (two.json["run_id"] == one.json["run_id"]) is is_same


def test_a_retry_that_is_signed_anew_is_known_by_its_name(api: Api) -> None:
    name = {"X-Octospool-Delivery": "signed-anew"}
    one = call(api, "timed", b"9", {**timed(b"9", age=20), **name})
    two = call(api, "timed", b"9", {**timed(b"9"), **name})
    assert (two.status_code, two.json["run_id"]) == (200, one.json["run_id"])


@pytest.mark.parametrize("flow", ["push.yml", "timed.yml"])
def test_the_same_delivery_many_times_at_once_starts_one_run(api: Api, flow: str) -> None:
    """Also where only the signature tells that it is the same: each call of the second flow has another id."""
    before = runs_of(api, flow)
    body = b'"at once"'
    proof = timed(body) if flow == "timed.yml" else signed(body)

    def sent(number: int) -> Any:
        named = {"X-Octospool-Delivery": f"at once {number}"} if flow == "timed.yml" else {}
        return call(api, flow.removesuffix(".yml"), body, {**proof, **named})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(sent, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len({answer.json["run_id"] for answer in answers}) == 1
    assert runs_of(api, flow) == before + 1


def test_a_flow_that_is_running_refuses_and_the_delivery_is_not_taken_for_seen(api: Api) -> None:
    """By default; the sender tries again, and then it counts. Its own repetition is no conflict."""
    first = call(api, "busy", b"1").json["run_id"]
    assert call(api, "busy", b"1").json == {"run_id": first, "repeated": True}
    refused = call(api, "busy", b"2")
    assert (refused.status_code, refused.json["code"]) == (409, "flow_running")
    api.post(f"/api/runs/{first}/cancel")
    api.get(f"/api/runs/{first}?wait=60")
    assert call(api, "busy", b"2").status_code == 202


def test_a_flow_may_let_calls_wait(api: Api) -> None:
    """`on_conflict: queue`: no call of a sender that does not try again is lost."""
    one, two = call(api, "queue", b"1"), call(api, "queue", b"2")
    assert (one.status_code, two.status_code) == (202, 202)
    assert api.get(f"/api/runs/{two.json['run_id']}").json["status"] == "queued"


def test_a_body_may_be_as_large_as_the_flow_says(api: Api) -> None:
    """Who proves nothing is not even told that."""
    body = b'"' + b"x" * 1022 + b'"'
    assert call(api, "push", body).status_code == 202
    answer = call(api, "push", body + b" ")
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (
        413,
        "delivery_too_large",
        1024,
    )
    assert (call(api, "push", body + b" ", signed(b""))).status_code == 401
    assert call(api, "timed", b"x" * (1024 * 1024 + 1), {}).status_code == 413


def test_the_hook_gives_the_flow_its_params(api: Api) -> None:
    run_id = call(api, "params", b"1").json["run_id"]
    run = api.get(f"/api/runs/{run_id}?wait=60").json
    assert run["params"] == {"level": "long"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("twin", "several flows have it: sub/twin_b.yml, twin_a.yml"),
        ("half_twin", "several flows have it: half_a.yml, half_b.yml"),
        ("empty", "the secret 'empty' is empty"),
        ("unset", "needs the environment variable NOT_SET_AT_ALL"),
        ("login", "the secret 'login' is of another type than token"),
        ("nobody", "secret 'nobodys' not found"),
    ],
)
def test_a_hook_that_cannot_be_served_says_so_in_log_and_readiness(
    api: Api, name: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And to the caller only if he proves that he knows the secret of one of its flows. An empty key would let
    anybody sign."""
    for headers in ({}, signed(b"1", "x"), signed(b"1", "")):
        answer = call(api, name, b"1", headers)
        assert (answer.status_code, answer.json) == REFUSED
        (line,) = [one for one in caplog.records if one.name == "octospool.webhooks"]
        assert line.levelname == "WARNING"
        assert line.getMessage().startswith(f"webhook '{name}': refused: ")
        assert (says in line.getMessage()) is (name not in TWINS)
        caplog.clear()
    answer = call(api, name, b"1", signed(b"1", TWINS.get(name, KEY)))
    if name in TWINS:
        assert (answer.status_code, answer.json["code"]) == UNAVAILABLE
        assert "twin" not in answer.json["error"]
    else:
        assert (answer.status_code, answer.json) == REFUSED
    assert says in caplog.text
    check = next(one for one in api.get("/readyz").json["checks"] if one["name"] == "webhooks")
    assert check["ok"] is False
    assert f"webhook '{name}'" in check["message"]


def test_a_flow_that_cannot_run_is_told_to_who_proves_himself(api: Api) -> None:
    """It is right by itself; its sub-flow is missing."""
    answer = call(api, "calls", b"1")
    assert (answer.status_code, answer.json["code"]) == UNAVAILABLE
    assert call(api, "calls", b"1", signed(b"2")).status_code == 401


def test_a_flow_that_was_never_right_has_no_hook(api: Api) -> None:
    (problem,) = api.get("/api/flows/files/never.yml").json["problems"]
    assert problem["code"] == "unknown_key"
    answer = call(api, "never")
    assert (answer.status_code, answer.json) == REFUSED


def test_a_hook_goes_on_with_the_last_good_version_of_its_flow(api: Api, service: Service) -> None:
    path = service.settings.flows_path / "was_right.yml"
    path.write_text(hook("was-right", ", headers: [X-One]"), encoding="utf-8")
    assert list(seen(api, call(api, "was-right", b"1"))["headers"]) == ["X-One"]
    path.write_text(hook("was-right", ", headers: [X-Two], wrong: 1"), encoding="utf-8")
    until(lambda: api.get("/api/flows/files/was_right").json["problems"], "the problem is seen")
    assert list(seen(api, call(api, "was-right", b"2"))["headers"]) == ["X-One"]


def test_both_flows_of_one_hook_name_are_shown_with_the_problem_and_can_be_launched(api: Api) -> None:
    for path, other in (("twin_a.yml", "flows/sub/twin_b.yml"), ("sub/twin_b.yml", "flows/twin_a.yml")):
        (problem,) = api.get(f"/api/flows/files/{path}").json["problems"]
        assert (problem["code"], problem["key"], problem["line"]) == ("webhook_taken", "on.webhook.name", 1)
        assert other in problem["message"]
        assert api.launch(path=path).status_code == 202
    assert api.get("/api/flows/files/push").json["webhook"] == "push"


def test_edits_of_flow_files_count_at_once(api: Api, service: Service) -> None:
    """A new file, another name (once the change has settled), the end of the file."""
    path = service.settings.flows_path / "edited.yml"
    assert call(api, "first").status_code == 401
    path.write_text(hook("first"), encoding="utf-8")
    assert call(api, "first").status_code == 202
    path.write_text(hook("second"), encoding="utf-8")
    give_up = time.monotonic() + 60
    while call(api, "second", b"2").status_code == 401:
        assert time.monotonic() < give_up
    assert call(api, "first").status_code == 401
    path.unlink()
    while call(api, "second", b"3").status_code != 401:
        assert time.monotonic() < give_up


def test_what_was_seen_outlives_a_restart_and_is_forgotten_in_time(tmp_path: Path) -> None:
    """In the store, for `window_seconds`; then its row goes."""
    data = tmp_path / "data"
    (data / "flows").mkdir(parents=True)
    text = hook("a", ", window_seconds: 1", more="concurrency: {on_conflict: parallel}\n", step=SLEEP)
    (data / "flows" / "a.yml").write_text(
        text.replace("window_seconds: 1", "window_seconds: 300"), encoding="utf-8"
    )
    (data / "flows" / "b.yml").write_text(text.replace("name: a,", "name: b,"), encoding="utf-8")
    (data / "secrets.yml").write_text(SECRETS, encoding="utf-8")

    def started() -> tuple[Service, Api]:
        service = Service(settings_in(data, MAX_WORKERS="1", SPARE_WORKERS="0"))
        service.start(schedule=False)
        return service, Api(service)

    service, api = started()
    run_id = call(api, "a").json["run_id"]
    brief = call(api, "b").json["run_id"]
    service.stop(0)
    service, api = started()
    try:
        assert call(api, "a").json == {"run_id": run_id, "repeated": True}
        give_up = time.monotonic() + 60
        while (again := call(api, "b").json)["repeated"]:
            assert time.monotonic() < give_up
        assert again["run_id"] != brief
    finally:
        service.stop(0)


def test_a_started_flow_keeps_the_input_of_its_call(api: Api) -> None:
    """A retry has the same `__input__`."""
    run_id = call(api, "push", b'{"kept": true}').json["run_id"]
    api.get(f"/api/runs/{run_id}?wait=60")
    again = api.post(f"/api/runs/{run_id}/retry", json={"from": "seen"}).json["run_id"]
    run = api.get(f"/api/runs/{again}?wait=60").json
    assert run["data"]["__input__"]["body"] == {"kept": True}


PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_the_calls_that_the_page_shows_start_the_flow_that_it_shows(
    tmp_path: Path, serve_on_a_port: Callable[[Any], ApiServer]
) -> None:
    """With curl and openssl, as somebody types them."""
    flow, secret = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "data" / "flows").mkdir(parents=True)
    (tmp_path / "data" / "flows" / "push.yml").write_text(flow, encoding="utf-8")
    timed = flow.replace("name: push\n", "name: timed\n    scheme: hmac-sha256-timestamp\n", 1)
    (tmp_path / "data" / "flows" / "timed.yml").write_text(timed, encoding="utf-8")
    (tmp_path / "data" / "secrets.yml").write_text(secret, encoding="utf-8")
    service = Service(settings_in(tmp_path / "data", WEBHOOK_SECRET=KEY, SPARE_WORKERS="0"))
    service.start(schedule=False)
    try:
        url = serve_on_a_port(service).url
        commands = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
        assert len(commands) == 2
        for command, event in zip(commands, ("push", "None"), strict=True):
            environment = {"PATH": os.environ["PATH"], "URL": url, "WEBHOOK_SECRET": KEY}
            ran = subprocess.run(
                ["sh", "-ec", command.replace("curl ", "curl -sS --noproxy '*' ")],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            run = service.wait_for_run(json.loads(ran.stdout)["run_id"], 60)
            assert run.data is not None
            assert run.data["noted"] == f"{event} to refs/heads/main"
    finally:
        service.stop(0)


def test_strangers_who_call_very_often_do_not_fill_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """What they call is logged by so many lines a minute; that hides nothing of a hook that there is."""
    for number in range(70):
        assert call(api, f"stranger-{number}").status_code == 401
    refused = [line for line in caplog.messages if "refused: no flow has it" in line]
    assert len(refused) <= 60  # 30 lines a minute; the minute may end in between
    call(api, "timed", b"1")
    assert "webhook 'timed': refused" in caplog.text
    assert call(api, "push", b"{}", signed(b"{}")).status_code == 202
