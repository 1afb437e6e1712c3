"""The s3 step against a server of its own (moto's, as a process)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import servers
from loopback import misbehaving
from pydantic import ValidationError

from flow_processor.errors import StepError
from flow_processor.step import Secret, StepResult
from tests.steps.fake_context import FakeContext

RunStep = Callable[..., StepResult]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.s3(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def call(server: servers.Server, context: FakeContext, run_step: RunStep) -> Call:
    """`call("put", key=…, path=…)` -> the result, with the empty bucket `reports`."""
    url = f"http://127.0.0.1:{server.port}"
    requests.post(f"{url}/moto-api/reset", timeout=60)
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
    assert requests.put(f"{url}/reports", headers=signed, timeout=60).ok
    context.secrets["archive"] = Secret(
        "archive", "credential", {"username": "me", "password": servers.PASSWORD}
    )

    def run(action: str, **options: Any) -> Any:
        usual = {"endpoint": url, "bucket": "reports", "secret": "archive"}
        return run_step(type="s3", s3={"action": action, **usual, **options}).value

    return run


@pytest.fixture
def folder(context: FakeContext) -> Path:
    return context.folders.data


def refused(call: Call, action: str, **options: Any) -> StepError:
    with pytest.raises(StepError) as error:
        call(action, **options)
    assert servers.PASSWORD not in json.dumps(error.value.as_record())
    return error.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "get", "key": "a"}, "'path' is missing: action get needs it"),
        ({"action": "delete"}, "'key' is missing"),
        ({"action": "list", "key": "a"}, "'key' means nothing with action list"),
        ({"action": "exists", "key": "a", "to_key": "b"}, "'to_key' means nothing with action exists"),
        ({"action": "move", "key": "a"}, "'get', 'put', 'list', 'exists', 'copy' or 'delete'"),
        ({"action": "list", "endpoint": "s3.example"}, "must be http://host:port"),
        ({"action": "list", "endpoint": "http://s3.example/bucket"}, "without a path"),
        ({"action": "list", "endpoint": "http://me:secret@s3"}, "a password does not belong into a flow"),
        ({"action": "list", "bucket": ""}, "at least 1 character"),
    ],
)
def test_what_is_refused_at_load(step: Call, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        step(type="s3", s3={"bucket": "reports", **options})
    assert message in str(error.value)


def test_an_object_goes_in_and_comes_out(call: Call, folder: Path, context: FakeContext) -> None:
    context.data = {"day": "2026-11-21", "file": "big.bin"}
    content = bytes(range(256)) * 30_000
    (folder / "big.bin").write_bytes(content)
    stored = call("put", key="{{ day }}/ä b.bin", path="{{ file }}")
    assert (stored["bucket"], stored["key"], stored["bytes"]) == (
        "reports",
        "2026-11-21/ä b.bin",
        len(content),
    )
    (folder / "sub").mkdir()
    (folder / "sub" / "out.bin").write_text("old")
    fetched = call("get", key="2026-11-21/ä b.bin", path="sub/out.bin")
    assert (folder / "sub" / "out.bin").read_bytes() == content
    assert (fetched["bytes"], fetched["etag"], fetched["path"]) == (
        len(content),
        stored["etag"],
        "sub/out.bin",
    )


def test_list_exists_copy_delete(call: Call, folder: Path) -> None:
    (folder / "a.csv").write_text("a\n")
    for key in ("x/1.csv", "x/2.csv", "y.csv"):
        call("put", key=key, path="a.csv")
    listed = call("list", prefix="x/")
    assert [(entry["key"], entry["bytes"]) for entry in listed] == [("x/1.csv", 2), ("x/2.csv", 2)]
    assert listed[0]["modified"].startswith("20")
    assert len(call("list")) == 3
    error = refused(call, "list", max_keys=2)
    assert (error.code, error.details) == ("s3_too_many_keys", {"max_keys": 2})
    assert call("copy", key="y.csv", to_key="z.csv")["key"] == "z.csv"
    assert call("exists", key="z.csv") is True
    assert call("delete", key="z.csv") == {"bucket": "reports", "key": "z.csv"}
    assert call("exists", key="z.csv") is False
    call("delete", key="z.csv")


def test_errors_carry_what_the_server_says(call: Call, folder: Path) -> None:
    (folder / "old.csv").write_text("old")
    error = refused(call, "get", key="none", path="old.csv")
    assert (error.code, error.details) == ("s3_failed", {"code": "NoSuchKey", "status": 404})
    assert error.message.startswith("get reports/none: NoSuchKey: ")
    assert (folder / "old.csv").read_text() == "old"
    assert refused(call, "exists", key="a", bucket="nowhere").details["code"] == "NoSuchBucket"
    assert refused(call, "list", bucket="No Bucket!").code == "s3_invalid_name"
    error = refused(call, "exists", key="{{ 2026 }}")
    assert error.code == "s3_invalid_name"
    assert error.message == "s3.key must be a text, and is 2026; add `| string` to the template"
    assert refused(call, "list", endpoint="http://127.0.0.1:9").code == "s3_connection"


def test_files_stay_below_the_data_folder(call: Call, folder: Path, context: FakeContext) -> None:
    context.folders = type(context.folders)(folder, context.folders.templates, (folder / "secrets.yml",))
    (folder / "secrets.yml").write_text("x")
    assert refused(call, "put", key="a", path="secrets.yml").code == "path_refused"
    assert refused(call, "put", key="a", path="../x").code == "path_refused"
    assert refused(call, "put", key="a", path="none.csv").code == "s3_file"
    context.secrets["archive"] = Secret("archive", "token", {"token": servers.PASSWORD})
    assert refused(call, "list").code == "s3_authentication"


def test_it_ends_with_the_run(call: Call, folder: Path, context: FakeContext) -> None:
    (folder / "a.csv").write_text("a\n")
    call("put", key="a", path="a.csv")
    context.stop.set()
    assert refused(call, "put", key="b", path="a.csv").code == "cancelled"
    assert refused(call, "get", key="a", path="b.csv").code == "cancelled"
    assert not (folder / "b.csv").exists()
    context.stop.clear()
    context.seconds_left = 1
    with misbehaving(lambda connection, stop: stop.wait(60)) as url:  # type: ignore[arg-type, return-value]
        assert refused(call, "list", endpoint=url.partition("/x")[0]).code == "s3_connection"
