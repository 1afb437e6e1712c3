"""The Python API: a flow run from a program gives a result, with or without a data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import flow_processor
from flow_processor import Flow, errors
from flow_processor.locks import DataFolderLock
from flow_processor.settings import Settings

ROOT = Path(__file__).parents[1]
LONG = 60.0
GREET = """
steps:
  - {name: greeting, type: jinja, jinja: {path: greeting.j2}}
  - {name: broken, type: jq, jq: {expression: 'error("no")'}, ignore_errors: "no"}
"""


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flow with a template beside it, and no data folder."""
    monkeypatch.delenv("DATA_PATH", raising=False)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/greeting.j2").write_text("Hello, {{ __input__.name }}!")
    path = tmp_path / "hello.yml"
    path.write_text(GREET)
    return path


def test_a_result_tells_everything(hello: Path) -> None:
    result = Flow.load(hello).run(data={"name": "Ada"})
    assert (result.status, result.error) == ("succeeded", None)
    assert result.data["greeting"] == "Hello, Ada!"
    assert result.data["__run_id__"] == result.run_id
    assert [(one["step"], one["ignored"]) for one in result.errors] == [("broken", "no")]
    assert [(step.path, step.status.value) for step in result.steps] == [
        ("greeting", "succeeded"),
        ("broken", "ignored"),
    ]


def test_a_failed_run_is_a_result_and_no_exception(hello: Path) -> None:
    result = Flow.load(hello).run(data=None)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.step == "greeting"


def test_without_a_data_folder_nothing_is_left(
    hello: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = sorted(hello.parent.rglob("*"))
    Flow.load(hello).run(data={"name": "Ada"})
    assert sorted(hello.parent.rglob("*")) == before
    assert list(temporary.iterdir()) == []


@pytest.fixture
def data_folder(hello: Path) -> Path:
    """The same flow in a data folder."""
    data = hello.parent / "data"
    (data / "flows/sub").mkdir(parents=True)
    hello.rename(data / "flows/sub/hello.yml")
    (hello.parent / "templates").rename(data / "templates")
    return data


@pytest.mark.parametrize("name", ["sub/hello.yml", "sub/hello", "{flows}/sub/hello.yml"])
def test_a_flow_of_a_data_folder_is_found_by_its_name_and_by_its_file(data_folder: Path, name: str) -> None:
    flow = Flow.load(name.format(flows=data_folder / "flows"), data_folder=data_folder)
    assert flow.path == "sub/hello.yml"


def test_with_a_data_folder_history_knows_the_run(data_folder: Path) -> None:
    from flow_processor.service import Service

    result = Flow.load("sub/hello", data_folder=data_folder).run(data={"name": "Ada"})
    assert result.status == "succeeded"
    service = Service(Settings.load(os.environ, overrides={"data_path": data_folder}))
    try:
        assert service.run(result.run_id).data == result.data
    finally:
        service.stop()


def test_a_data_folder_that_somebody_has_is_refused(data_folder: Path) -> None:
    flow = Flow.load("sub/hello", data_folder=data_folder)
    holder = DataFolderLock(data_folder)
    holder.acquire("serve", detail={"url": "http://127.0.0.1:9"})
    try:
        with pytest.raises(errors.DataFolderInUse, match=r"127\.0\.0\.1:9"):
            flow.run()
    finally:
        holder.release()


def test_loading_tells_what_is_wrong_before_anything_runs(hello: Path) -> None:
    hello.write_text("steps: [{name: a, type: jqq}]")
    with pytest.raises(errors.SpecError, match="did you mean 'jq'"):
        Flow.load(hello)


@pytest.mark.parametrize("name", ["missing.yml", "no/such/folder/a.yml"])
def test_a_flow_that_is_not_there(hello: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(hello.parent)
    with pytest.raises(errors.FlowNotFound):
        Flow.load(name)


def test_importing_does_nothing_and_loads_nothing() -> None:
    code = (
        "import sys, threading, flow_processor;"
        "heavy = {'pydantic', 'yaml', 'sqlalchemy', 'flask', 'jq', 'jinja2', 'requests', 'click', 'logging'};"
        "print(sorted(heavy & set(sys.modules)), threading.active_count(), flow_processor.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"[] 1 {flow_processor.VERSION}\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(flow_processor, name) is not None for name in flow_processor.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        flow_processor.nonsense  # noqa: B018


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")
def test_ctrl_c_cancels_the_run_and_is_raised(data_folder: Path) -> None:
    """The program learns of it, and the flow could still clean up."""
    (data_folder / "flows/slow.yml").write_text(
        "finally_step: bye\n"
        "steps:\n"
        "  - {name: begun, type: file, file: {path: begun.txt, mode: write, type: text, data_key: __run_id__}}\n"
        "  - {name: nap, type: sleep, sleep: {seconds: 60}}\n"
        "  - {name: bye, type: file, file: {path: bye.txt, mode: write, type: text, data_key: __run_id__}}\n"
    )
    code = (
        # Who starts the tests in the background of a shell has them ignore it.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from flow_processor import Flow\n"
        "flow = Flow.load('slow', data_folder='data')\n"
        "try:\n    flow.run()\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=data_folder.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        deadline = time.monotonic() + LONG
        while not (data_folder / "begun.txt").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=LONG)
    assert said == "interrupted\n"
    assert (data_folder / "bye.txt").exists()
