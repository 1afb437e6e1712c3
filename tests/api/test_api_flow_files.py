"""Flow files over the API: written whole and only if right, against lost edits, with versions; they count at once."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flow_processor.errors import FlowChanged
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.service import Service
from flow_processor.service.flow_edits import Expected, FlowEdits
from flow_processor.store.flow_edits import Edit, EditKind, FlowEditStore
from tests.api.conftest import settings_in, started_service
from tests.api.support import FLOWS, Api

AUTHOR = "the-token-of-an-author"
CONFIG = f"""
api:
  edit_flows: true
  tokens:
    - {{name: ada, role: author, sha256: {hashlib.sha256(AUTHOR.encode()).hexdigest()}}}
"""
ADA = {"Authorization": f"Bearer {AUTHOR}"}


def says(value: int, more: str = "") -> str:
    """A flow whose run tells which version of it ran."""
    return f"# which version this is\n{more}steps:\n  - {{name: out, type: set_fact, set_fact: {{value: {value}}}}}\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A started service whose API may change flow files."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    (data / "callers").mkdir(parents=True)
    (data / "callers" / "sums.py").write_text(
        "from flow_processor import caller\n\n\n@caller\ndef add(a: int, b: int) -> int:\n    return a + b\n"
    )
    with started_service(data, FLOWS, CONFIG) as service:
        yield service


@pytest.fixture
def flows(service: Service) -> Path:
    """The flows folder."""
    return service.settings.flows_path


def put(api: Api, path: str, text: str | bytes, *, match: str | None = None, **options: Any) -> Any:
    headers = {"Content-Type": "text/yaml", **options.pop("headers", {})}
    if match is not None:
        headers["If-Match"] = match
    return api.call("PUT", f"/api/flows/files/{path}", data=text, headers=headers, **options)


def result_of(api: Api, path: str) -> Any:
    """What the flow's run says now."""
    run = api.post(f"/api/flows/files/{path}/launch", json={"wait": 30})
    assert (run.status_code, run.json["status"]) == (200, "succeeded"), run.json
    return run.json["data"]["out"]


def test_a_new_file_is_kept_as_sent_and_runs_at_once(api: Api, flows: Path) -> None:
    """In a folder that was not there; comments stay; with its ETag, as text too."""
    made = put(api, "new/folder/first.yml", says(1))
    assert (made.status_code, made.json["created"], made.json["changed"]) == (201, True, True)
    assert made.headers["Location"] == "/api/flows/files/new/folder/first.yml"
    assert (made.json["version"], made.json["warnings"], made.json["live_runs"]) == (1, [], [])
    assert (flows / "new/folder/first.yml").read_text() == says(1)
    shown = api.get("/api/flows/files/new/folder/first")
    assert (shown.json["text"], shown.json["valid"]) == (says(1), True)
    assert shown.headers["ETag"] == made.headers["ETag"] == f'"{shown.json["etag"]}"'
    for accepted in ("text/yaml", "application/yaml", "application/yaml, application/json;q=0.5"):
        bare = api.get("/api/flows/files/new/folder/first.yml", headers={"Accept": accepted})
        assert (bare.get_data(as_text=True), bare.headers["ETag"]) == (says(1), shown.headers["ETag"])
        assert bare.mimetype in accepted
    for accepted in ("*/*", "application/json", "text/html,*/*;q=0.8"):
        assert api.get("/api/flows/files/new/folder/first", headers={"Accept": accepted}).is_json
    assert result_of(api, "new/folder/first") == 1


def test_a_change_counts_at_once_and_needs_the_etag(api: Api, flows: Path) -> None:
    """Launched in the very next call, again and again: nothing waits for the file to settle, as it would if somebody
    had changed one by hand that has stood there for a while."""
    (flows / "change.yml").write_text(says(0))
    os.utime(flows / "change.yml", (1, 1))
    etag = api.get("/api/flows/files/change").headers["ETag"]
    for value in range(1, 4):
        assert result_of(api, "change") == value - 1
        changed = put(api, "change.yml", says(value), match=etag)
        assert (changed.status_code, changed.json["created"]) == (200, False)
        etag = changed.headers["ETag"]
        assert result_of(api, "change") == value
    missing = put(api, "change.yml", says(9))
    assert (missing.status_code, missing.json["code"]) == (428, "precondition_required")
    assert missing.json["etag"] == etag.strip('"')
    assert result_of(api, "change.yml") == 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"somethingelse"'}, 412),
        ({"If-Match": "W/{etag}"}, 412),
        ({"If-Match": '"a", {etag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": "{etag}"}, 400),
        ({}, 428),
    ],
)
def test_preconditions_of_a_file_that_is_there(api: Api, headers: dict[str, str], status: int) -> None:
    put(api, "there.yml", says(1), match="*")
    put(api, "there.yml", says(1), headers={"If-None-Match": "*"})
    etag = api.get("/api/flows/files/there").headers["ETag"]
    sent = {name: value.replace("{etag}", etag) for name, value in headers.items()}
    answer = put(api, "there.yml", says(2), headers=sent)
    assert answer.status_code == status
    assert api.get("/api/flows/files/there").json["text"] == (says(2) if status == 200 else says(1))


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-Match": '"x"'}, 412), ({"If-Match": "*"}, 412), ({"If-None-Match": "*"}, 201)],
)
def test_preconditions_of_a_file_that_is_not_there(api: Api, headers: dict[str, str], status: int) -> None:
    answer = put(api, "not-there.yml", says(1), headers=headers)
    assert answer.status_code == status
    assert api.get("/api/flows/files/not-there").status_code == (200 if status == 201 else 404)
    api.delete("/api/flows/files/not-there")


def test_an_edit_by_hand_in_between_is_not_lost(api: Api, flows: Path) -> None:
    etag = put(api, "by-hand.yml", says(1)).headers["ETag"]
    (flows / "by-hand.yml").write_text(says(2))
    lost = put(api, "by-hand.yml", says(3), match=etag)
    assert (lost.status_code, lost.json["code"]) == (412, "flow_changed")
    assert (flows / "by-hand.yml").read_text() == says(2)
    assert api.delete("/api/flows/files/by-hand", headers={"If-Match": etag}).status_code == 412
    over = put(api, "by-hand.yml", says(3), match=api.get("/api/flows/files/by-hand").headers["ETag"])
    assert over.status_code == 200
    kept = api.get("/api/flows/files/by-hand/versions").json["versions"]
    assert [(one["kind"], one["by"]) for one in kept] == [
        ("written", "api"),
        ("found", None),
        ("written", "api"),
    ]
    assert api.get("/api/flows/files/by-hand/versions/2").json["text"] == says(2)


@pytest.mark.parametrize("verb", ["write", "delete"])
def test_an_edit_by_hand_at_the_last_moment_is_not_lost(service: Service, flows: Path, verb: str) -> None:
    """Saved while the version is being recorded: the file stays as it was saved, and the version goes."""
    file = flows / f"last-moment-{verb}.yml"
    file.write_text(says(1))
    store = FlowEditStore(service.store.writer, service.store.engine)

    def recorded() -> FlowEditStore:
        file.write_text(says(2))
        return store

    edits = FlowEdits(
        service.library, recorded, check=lambda flow: None, changed=lambda path: None, clock=service.clock
    )
    change = {
        "write": lambda: edits.write(
            file.name, says(3).encode(), Expected(is_there=True), by="ada", dry=False
        ),
        "delete": lambda: edits.delete(file.name, Expected(), by="ada"),
    }
    with pytest.raises(FlowChanged):
        change[verb]()
    assert file.read_text() == says(2)
    assert [one.kind for one in store.versions(file.name)] == [EditKind.FOUND]
    assert store.unsettled() == []


def test_of_many_writers_at_once_one_wins(api: Api, flows: Path) -> None:
    """Each of them has seen the same version; the others are told, and their texts are nowhere."""
    etag = put(api, "race.yml", says(0)).headers["ETag"]
    start = threading.Barrier(8)
    answers: dict[int, Any] = {}

    def write(value: int) -> None:
        start.wait()
        answers[value] = put(api, "race.yml", says(value), match=etag)

    threads = [threading.Thread(target=write, args=(value,)) for value in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [200] + [412] * 7
    winner = next(value for value, answer in answers.items() if answer.status_code == 200)
    assert (flows / "race.yml").read_text() == says(winner)
    assert len(api.get("/api/flows/files/race/versions").json["versions"]) == 2


def test_of_many_files_at_once_one_gets_a_webhooks_name(api: Api, flows: Path) -> None:
    """Each is right by itself, and each was while it was checked."""
    start = threading.Barrier(6)
    answers: dict[int, Any] = {}

    def write(number: int) -> None:
        start.wait()
        text = says(number, "on: {webhook: {name: wanted, secret: s}}\n")
        answers[number] = put(api, f"wants-hook-{number}.yml", text)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [201] + [422] * 5
    losers = [answer.json for answer in answers.values() if answer.status_code == 422]
    assert {problem["code"] for answer in losers for problem in answer["problems"]} == {"webhook_taken"}
    assert len(list(flows.glob("wants-hook-*.yml"))) == 1


def test_one_text_is_checked_at_a_time(service: Service) -> None:
    """However many are sent, runs keep a core: while one is being checked the others wait."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def check(flow: LoadedFlow) -> None:
        begun.release()
        assert go_on.wait(60)

    store = FlowEditStore(service.store.writer, service.store.engine)
    edits = FlowEdits(
        service.library, lambda: store, check=check, changed=lambda path: None, clock=service.clock
    )

    def write(name: str) -> None:
        edits.write(name, says(1).encode(), Expected(), by="ada", dry=True)

    threads = [threading.Thread(target=write, args=(f"one-of-{number}.yml",)) for number in range(3)]
    for thread in threads:
        thread.start()
    assert begun.acquire(timeout=60)
    assert not begun.acquire(timeout=0.3)
    go_on.set()
    for thread in threads:
        thread.join()
    assert all(begun.acquire(timeout=60) for _ in range(2))


@pytest.mark.parametrize("name", ["a#b.yml", "a?b.yml", "a%41.yml", "ä b.yml"])
def test_the_location_of_a_new_file_leads_to_it(api: Api, name: str) -> None:
    made = put(api, quote(f"odd/{name}"), says(1))
    assert (made.status_code, made.json["path"]) == (201, f"odd/{name}")
    assert api.get(made.headers["Location"]).json["path"] == f"odd/{name}"


def test_flows_that_are_named_as_a_verb(api: Api) -> None:
    """With their suffix they are no verb."""
    for name in ("named/versions.yml", "named/versions/1.yml", "named/launch.yml"):
        assert put(api, name, says(1)).status_code == 201
        assert api.get(f"/api/flows/files/{name}").json["path"] == name


def test_a_file_that_is_too_large_to_be_kept_stays_as_it_is(api: Api, flows: Path) -> None:
    """It was written by hand. Of what a call replaces nothing may be lost."""
    assert put(api, "large.yml", says(1)).status_code == 201
    text = says(2) + "# x\n" * 300_000
    (flows / "large.yml").write_text(text)
    for answer in (
        put(api, "large.yml", says(3), match="*"),
        put(api, "large.yml?dry=true", says(3)),
        api.delete("/api/flows/files/large.yml"),
        api.post("/api/flows/files/large.yml/versions/1/restore"),
        api.get("/api/flows/files/large.yml", headers={"Accept": "text/yaml"}),
    ):
        assert (answer.status_code, answer.json["problems"][0]["code"]) == (422, "yaml_limit")
    assert (flows / "large.yml").read_text() == text
    kept = api.get("/api/flows/files/large/versions").json["versions"]
    assert [(one["version"], one["current"]) for one in kept] == [(1, False)]


def test_of_versions_that_say_the_same_the_newest_is_current(api: Api) -> None:
    for value in (1, 2, 1):
        put(api, "again.yml", says(value), match="*" if value == 2 else None)
        put(api, "again.yml", says(value), match="*")
    kept = api.get("/api/flows/files/again/versions").json["versions"]
    assert [(one["version"], one["current"]) for one in kept] == [(3, True), (2, False), (1, False)]
    assert [api.get(f"/api/flows/files/again/versions/{n}").json["current"] for n in (1, 3)] == [False, True]


@pytest.mark.parametrize("path", ["refused/flow.txt", "refused/flow.yml~", "refused/folder/"])
def test_a_refused_path_is_named_as_it_was_sent(api: Api, path: str) -> None:
    refused = put(api, path, says(1))
    assert (refused.status_code, refused.json["code"]) == (400, "path_refused")
    assert f"'{path}'" in refused.json["error"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (
            "steps:\n  - {name: a, type: set_fact, set_fact: {valeu: 1}}\n  - {name: b, type: no}\nstepz: []\n",
            ["unknown_key", "unknown_step_type", "unknown_key"],
        ),
        ("steps: [\n", ["yaml_invalid"]),
        (b"\xff\xfe\x00", ["yaml_invalid"]),
        ("a: 1\na: 2\n", ["duplicate_key"]),
        ("", ["invalid_value"]),
        ("steps:\n  - {name: a, type: flow, flow: {path: nowhere}}\n", ["sub_flow_missing"]),
        ("steps:\n  - {name: a, type: flow, flow: {path: wrong}}\n", ["flow_cycle"]),
        ("steps:\n  - {name: a, type: jq, jq: {expression: '.a ]'}}\n", ["jq_compile_error"]),
        ("steps:\n  - {name: a, type: python, python: {call: nobody}}\n", ["own_code_missing"]),
        (
            "on: {webhook: {name: taken, secret: s}}\nsteps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n",
            ["webhook_taken"],
        ),
    ],
)
def test_what_is_wrong_is_not_written(api: Api, flows: Path, text: str | bytes, codes: list[str]) -> None:
    """Every problem is told, with its place, as `octospool check` tells it; also for a trial."""
    (flows / "hook.yml").write_text(says(1, "on: {webhook: {name: taken, secret: s}}\n"))
    for query in ("", "?dry=true"):
        answer = put(api, f"wrong.yml{query}", text)
        assert answer.status_code == 422, answer.json
        assert [problem["code"] for problem in answer.json["problems"]] == codes
        assert {problem["file"] for problem in answer.json["problems"]} == {"flows/wrong.yml"}
    assert not (flows / "wrong.yml").exists()
    assert api.get("/api/flows/files/wrong/versions").status_code == 404


def test_a_right_text_may_still_want_what_is_not_there(api: Api) -> None:
    """Templates and secrets may come later: told, not refused."""
    text = (
        "steps:\n  - {name: a, type: jinja, jinja: {path: no.html}}\n"
        "  - {name: b, type: rest, rest: {uri: 'http://127.0.0.1:1/', authentication: {type: token, secret: none}}}\n"
    )
    answer = put(api, "wants.yml", text)
    assert answer.status_code == 201
    found = [(one["code"], one["line"], one["file"]) for one in answer.json["warnings"]]
    assert found == [("template_not_found", 2, "flows/wants.yml"), ("secret_not_found", 3, "flows/wants.yml")]


def test_defaults_count_and_what_is_wrong_with_them_is_told(api: Api, service: Service) -> None:
    """A default that does not fit the text is its problem; a broken defaults.yml is a warning."""
    defaults = service.settings.defaults_file
    text = "steps:\n  - {name: a, type: rest, rest: {uri: 'http://127.0.0.1:1/'}}\n"
    defaults.write_text("rest: {timeout_seconds: 5}\n")
    os.utime(defaults, (1, 1))
    assert put(api, "defaulted.yml?dry=true", text).json["warnings"] == []
    defaults.write_text("rest: {timeout_secnds: 5}\n")
    (warning,) = put(api, "defaulted.yml?dry=true", text).json["warnings"]
    assert (warning["file"], warning["code"]) == ("defaults.yml", "unknown_key")
    defaults.unlink()


def test_a_trial_writes_nothing(api: Api, flows: Path) -> None:
    """It says what would be said; it needs no ETag, and honours one."""
    tried = put(api, "trial.yml?dry=true", says(1))
    assert (tried.status_code, tried.json["created"], tried.json["changed"]) == (200, True, False)
    assert tried.json["version"] is None
    assert not (flows / "trial.yml").exists()
    put(api, "trial.yml", says(1))
    assert put(api, "trial.yml?dry=true", says(2)).status_code == 200
    assert put(api, "trial.yml?dry=true", says(2), match='"x"').status_code == 412
    assert (flows / "trial.yml").read_text() == says(1)


def test_the_same_text_again_is_no_version(api: Api) -> None:
    etag = put(api, "same.yml", says(1)).headers["ETag"]
    again = put(api, "same.yml", says(1), match=etag)
    assert (again.status_code, again.json["changed"], again.json["version"]) == (200, False, None)
    assert len(api.get("/api/flows/files/same/versions").json["versions"]) == 1


def test_json_becomes_yaml(api: Api, flows: Path) -> None:
    """With the keys in their order; texts that look like something else stay texts."""
    flow = {
        "name": "on",
        "description": "two\nlines",
        "steps": [{"name": "out", "type": "set_fact", "set_fact": {"value": "0123"}}],
    }
    made = api.call("PUT", "/api/flows/files/json.yml", json=flow)
    assert made.status_code == 201
    text = (flows / "json.yml").read_text()
    assert text.startswith("name: 'on'\n")
    assert result_of(api, "json") == "0123"
    for body, said in (
        ('{"steps": [], "steps": []}', "stands twice"),
        ('{"steps": NaN}', "NaN"),
        ("{", "not JSON"),
        ('{"name": "\\ud800"}', "surrogate"),
    ):
        headers = {"Content-Type": "application/json", "If-Match": "*"}
        refused = api.call("PUT", "/api/flows/files/json.yml", data=body, headers=headers)
        assert (refused.status_code, refused.json["code"]) == (400, "invalid_json")
        assert said in refused.json["error"]
    headers = {"Content-Type": "application/json", "If-Match": "*"}
    assert api.call("PUT", "/api/flows/files/json.yml", data="[1]", headers=headers).status_code == 422
    assert (flows / "json.yml").read_text() == text


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/yaml", 201),
        ("text/yaml; charset=utf-8", 201),
        ("application/x-yaml", 201),
        (None, 201),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_what_kind_of_body_is_taken(api: Api, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = api.call("PUT", "/api/flows/files/kind.yml", data=says(1), headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert answer.json["code"] == "unsupported_media_type"
        assert "application/yaml" in answer.json["error"]
    api.delete("/api/flows/files/kind.yml")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.yml",
        "sub/../../outside.yml",
        "..%2Foutside.yml",
        "%2Fetc%2Foutside.yml",
        "C:%5Coutside.yml",
        ".hidden.yml",
        ".hidden/flow.yml",
        "sub/.hidden.yml",
        "flow.yml~",
        "~flow.yml",
        "%23flow.yml%23",
        "flow~.yml",
        "flow.txt",
        "flow.yml.bak",
        "flow.YML",
        "v1.2",
        " flow.yml",
        "flow%00.yml",
        "flow%0A.yml",
        "link.yml",
        "linked/flow.yml",
        "inner-link.yml",
        "echo.yml/flow.yml",
        "folder.yml",
        f"{'x' * 300}.yml",
    ],
)
def test_paths_that_no_flow_file_may_have(api: Api, flows: Path, tmp_path: Path, path: str) -> None:
    """Nothing is written, deleted or recorded, inside or outside."""
    if not (flows / "folder.yml").exists():
        (flows / "folder.yml").mkdir()
    for name, target in (
        ("link.yml", tmp_path / "outside.yml"),
        ("linked", tmp_path),
        ("inner-link.yml", "echo.yml"),
    ):
        (flows / name).unlink(missing_ok=True)
        (flows / name).symlink_to(target)
    before = {
        one: one.stat().st_mtime_ns for one in [*flows.rglob("*"), *tmp_path.rglob("*")] if one.exists()
    }
    answer = put(api, path, says(1), match="*" if path.startswith(("inner", "folder")) else None)
    assert answer.status_code in (400, 404), answer.json
    assert answer.json["code"] in ("path_refused", "flow_not_found", "route_not_found", "invalid_request"), (
        answer.json
    )
    gone = api.delete(f"/api/flows/files/{path}")
    assert gone.status_code in (400, 404), gone.json
    after = {one: one.stat().st_mtime_ns for one in [*flows.rglob("*"), *tmp_path.rglob("*")] if one.exists()}
    assert after == before
    for name in ("link.yml", "linked", "inner-link.yml"):
        (flows / name).unlink()


def test_a_file_keeps_its_mode(api: Api, flows: Path) -> None:
    put(api, "mode.yml", says(1))
    (flows / "mode.yml").chmod(0o640)
    put(api, "mode.yml", says(2), match="*")
    assert stat.S_IMODE((flows / "mode.yml").stat().st_mode) == 0o640
    assert not [one.name for one in flows.rglob(".*")]


def test_versions_are_kept_and_brought_back(api: Api, flows: Path) -> None:
    """The last ten, with who and when; also of a file that was deleted."""
    (flows / "kept.yml").write_text(says(0))
    for value in range(1, 12):
        put(api, "kept.yml", says(value), match="*", token=False, headers=ADA)
    kept = api.get("/api/flows/files/kept/versions").json["versions"]
    assert [one["version"] for one in kept] == list(range(12, 2, -1))
    assert {(one["by"], one["kind"]) for one in kept} == {("ada", "written")}
    assert [one["current"] for one in kept] == [True] + [False] * 9
    assert api.get("/api/flows/files/kept/versions/2").json["code"] == "version_not_found"
    back = api.post("/api/flows/files/kept/versions/5/restore")
    assert (back.status_code, back.json["version"], back.json["created"]) == (200, 13, False)
    assert result_of(api, "kept") == 4
    newest = api.get("/api/flows/files/kept/versions").json["versions"][0]
    assert (newest["kind"], newest["restored"], newest["by"]) == ("restored", 5, "api")
    assert newest["etag"] == api.get("/api/flows/files/kept/versions/5").json["etag"] == back.json["etag"]
    gone = api.delete("/api/flows/files/kept.yml")
    assert (gone.status_code, gone.json["etag"], gone.json["version"]) == (200, None, 14)
    assert api.launch(path="kept").status_code == 404
    assert api.delete("/api/flows/files/kept.yml").status_code == 404
    assert api.get("/api/flows/files/kept/versions").json["versions"][0]["kind"] == "deleted"
    again = api.post("/api/flows/files/kept/versions/14/restore")
    assert (again.status_code, again.json["created"]) == (201, True)
    assert (flows / "kept.yml").read_text() == says(4)


def test_a_version_that_is_wrong_by_now_is_not_brought_back(api: Api) -> None:
    put(api, "child.yml", says(1))
    put(api, "parent.yml", "steps:\n  - {name: out, type: flow, flow: {path: child}}\n")
    put(api, "parent.yml", says(2), match="*")
    api.delete("/api/flows/files/child.yml")
    refused = api.post("/api/flows/files/parent/versions/1/restore")
    assert (refused.status_code, refused.json["problems"][0]["code"]) == (422, "sub_flow_missing")
    assert result_of(api, "parent") == 2
    stale = api.post("/api/flows/files/parent/versions/1/restore", headers={"If-Match": '"x"'})
    assert stale.status_code == 412


def test_a_live_run_goes_on_when_its_flow_is_changed_and_deleted(api: Api) -> None:
    long = "steps:\n  - {name: rest, type: sleep, sleep: {seconds: 600}}\n"
    put(api, "alive.yml", long)
    run = api.launch(path="alive").json["run_id"]
    assert put(api, "alive.yml", says(1), match="*").json["live_runs"] == [run]
    assert api.delete("/api/flows/files/alive").json["live_runs"] == [run]
    assert api.get(f"/api/runs/{run}").json["status"] in ("queued", "running", "waiting")


def test_schedules_see_a_change_at_once(api: Api) -> None:
    """The answer shows them as they are now: with the new rule, without one, and with a problem."""
    put(api, "due.yml", says(1, "cron: 0 6 1 1 *\n"))
    api.post("/api/flows/add", json={"path": "due"})
    (shown,) = put(api, "due.yml", says(1, "cron: 0 7 2 2 *\n"), match="*").json["schedules"]
    assert (shown["cron"], shown["problem"]) == ("0 7 2 2 *", None)
    assert shown["next_run"][4:16] == "-02-02T07:00"
    (shown,) = api.delete("/api/flows/files/due").json["schedules"]
    assert shown["next_run"] is None
    assert "due.yml" in shown["problem"]
    (shown,) = put(api, "due.yml", says(1, "cron: 0 8 3 3 *\n")).json["schedules"]
    assert (shown["cron"], shown["problem"]) == ("0 8 3 3 *", None)
    api.delete(f"/api/flows/{shown['schedule_id']}")


def test_what_a_crash_left_unsettled_is_settled_at_the_next_start(tmp_path: Path) -> None:
    """A version was recorded and the daemon died: before the file was changed, or after it."""
    first = Service(settings_in(tmp_path / "data", CONFIG))
    folder = first.settings.flows_path
    folder.mkdir(parents=True)
    store = FlowEditStore(first.store.writer, first.store.engine)
    for name, is_written in (
        ("before.yml", False),
        ("after.yml", True),
        ("gone.yml", True),
        ("stays.yml", False),
    ):
        is_deletion = name in ("gone.yml", "stays.yml")
        old, new = says(1).encode(), says(2).encode()
        (folder / name).write_bytes(new if is_written else old)
        if is_deletion and is_written:
            (folder / name).unlink()
        kind = EditKind.DELETED if is_deletion else EditKind.WRITTEN
        edit = Edit(flow=name, kind=kind, at=2.0, by="ada", content=old if is_deletion else new)
        store.begin(edit, found=Edit(flow=name, kind=EditKind.FOUND, at=1.0, by=None, content=old))
    first.store.close()
    second = Service(settings_in(tmp_path / "data", CONFIG))
    second.start(schedule=False)
    kinds = {
        name: [one.kind.value for one in second.flow_versions(name).versions]
        for name in ("before.yml", "after.yml", "gone.yml", "stays.yml")
    }
    second.stop(0)
    assert kinds == {
        "before.yml": ["found"],
        "after.yml": ["written", "found"],
        "gone.yml": ["deleted", "found"],
        "stays.yml": ["found"],
    }


def test_api_token_changes_flow_files_only_where_config_says_so(api_with: Any) -> None:
    api = api_with()
    for answer in (
        put(api, "a.yml", says(1)),
        put(api, "a.yml?dry=true", says(1)),
        api.delete("/api/flows/files/a.yml"),
        api.post("/api/flows/files/a.yml/versions/1/restore"),
    ):
        assert (answer.status_code, answer.json["code"], answer.json["needs"]) == (403, "forbidden", "author")
        assert "edit_flows: true" in answer.json["error"]
