"""The daemon's log: one record a line, with run, flow and step, whatever a message holds."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_processor import logs

ABOUT = {"run": "20261121T074006123-k7x2m9qa", "flow": "a.yml", "step": "fetch"}


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    logs.release()


def lines(folder: Path) -> list[str]:
    return (folder / logs.LOG_FILE).read_text(encoding="utf-8").split("\n")[:-1]


def test_a_text_line_has_time_level_context_and_message(tmp_path: Path) -> None:
    logs.configure(tmp_path)
    logs.logger.info("went well", extra=ABOUT)
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
    about = "run=20261121T074006123-k7x2m9qa flow=a.yml step=fetch"
    assert re.fullmatch(f"{when} INFO  {about} went well", lines(tmp_path)[0])


def test_stderr_has_the_same_lines_unless_it_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(tmp_path)
    logs.logger.info("both")
    logs.configure(tmp_path, to_stderr=False)
    logs.logger.info("file only")
    assert capsys.readouterr().err.splitlines() == lines(tmp_path)[:1]
    assert len(lines(tmp_path)) == 2


def test_context_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    logs.configure(tmp_path)
    logs.logger.warning("%d slots", 3, extra={"flow": "a.yml", "run": None})
    assert lines(tmp_path)[0].endswith(" WARNING flow=a.yml 3 slots")


def test_json_has_the_same_facts_as_keys(tmp_path: Path) -> None:
    logs.configure(tmp_path, format="json", timezone="Europe/Berlin")
    logs.logger.error("no way: é", extra=ABOUT)
    entry = json.loads(lines(tmp_path)[0])
    assert datetime.fromisoformat(entry.pop("at")).utcoffset() is not None
    assert entry == {"level": "error", "logger": "octospool", **ABOUT, "message": "no way: é"}


def test_times_stand_in_the_configured_zone(tmp_path: Path) -> None:
    logs.configure(tmp_path, timezone="Asia/Kolkata")
    logs.logger.info("x")
    assert lines(tmp_path)[0][23:29] == "+05:30"


@pytest.mark.parametrize("style", ["text", "json"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(message=st.text(), step=st.text())
def test_one_record_is_one_line_whatever_it_holds(
    tmp_path: Path, style: str, message: str, step: str
) -> None:
    """No message can forge a second record, move the cursor, or cost its own line."""
    (tmp_path / logs.LOG_FILE).unlink(missing_ok=True)
    logs.configure(tmp_path, format=style)
    logs.logger.info("%s", message, extra={"step": step})
    logs.release()
    text = (tmp_path / logs.LOG_FILE).read_bytes().decode()
    assert len(text.splitlines()) == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text.replace("\r\n", "\n"))
    if style == "json":
        assert json.loads(text)["message"].encode(errors="replace") == message.encode(errors="replace")


def test_a_lone_surrogate_does_not_cost_the_line(tmp_path: Path) -> None:
    logs.configure(tmp_path)
    logs.logger.info("name \udc80 end")
    assert lines(tmp_path)[0].endswith(r"name \udc80 end")


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_cannot_forge_a_record(tmp_path: Path, style: str) -> None:
    logs.configure(tmp_path, format=style)
    try:
        raise ValueError("x\n2026-01-01T00:00:00.000+00:00 INFO  forged")
    except ValueError:
        logs.logger.exception("it broke")
    first, *rest = lines(tmp_path)
    assert "it broke" in first
    assert all(line.startswith("    | ") for line in rest)


def test_the_level_holds_back_what_is_below(tmp_path: Path) -> None:
    logs.configure(tmp_path, level="warning")
    logging.getLogger("octospool.engine").info("not this")
    logging.getLogger("octospool.engine").warning("this")
    assert [line.rsplit(" ", 1)[1] for line in lines(tmp_path)] == ["this"]


def test_configuring_twice_writes_each_line_once(tmp_path: Path) -> None:
    logs.configure(tmp_path)
    logs.configure(tmp_path)
    logs.logger.info("once")
    assert len(lines(tmp_path)) == 1


def test_the_web_servers_warnings_stand_in_the_same_file(tmp_path: Path) -> None:
    logs.configure(tmp_path)
    logging.getLogger("waitress").warning("queue depth is 3")
    assert "queue depth is 3" in lines(tmp_path)[0]


def test_the_file_is_put_aside_at_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 2_000)
    logs.configure(tmp_path)
    for _ in range(200):
        logs.logger.info("x" * 100)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [logs.LOG_FILE, *(f"{logs.LOG_FILE}.{n}" for n in range(1, logs.KEPT_FILES + 1))]


def test_a_thread_that_dies_says_so_in_the_log(tmp_path: Path) -> None:
    before = threading.excepthook
    logs.configure(tmp_path, to_stderr=False)

    def work() -> None:
        raise RuntimeError("a defect")

    thread = threading.Thread(target=work, name="some-work")
    thread.start()
    thread.join()
    first, *traceback = lines(tmp_path)
    assert first.endswith(" CRITICAL the thread 'some-work' has died; please report this")
    assert traceback[-1] == "    | RuntimeError: a defect"
    logs.release()
    assert threading.excepthook is before
