"""`octospool queue`: without a daemon it looks and puts by itself; with one, the daemon does it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flow_processor.api.server import ApiServer
from flow_processor.cli.exits import ExitCode
from flow_processor.service import Service
from flow_processor.settings import Settings
from tests.engine.world import until

Octospool = Callable[..., Result]
LISTENS = (
    "on: {queue: orders}\nsteps:\n  - {name: out, type: set_fact, set_fact: {value: '{{ __input__ }}'}}\n"
)
FAILS = "on: {queue: picky}\nsteps:\n  - {name: look, type: raise, raise: {message: it is blue}}\n"


@pytest.fixture
def flows(flow: Callable[[str, str], Path]) -> None:
    flow("takes.yml", LISTENS)
    flow("picky.yml", FAILS)


@pytest.fixture
def daemon(folder: Path, flows: None) -> Iterator[Service]:
    """A daemon in this process, on a port; the folder says that it has it."""
    service = Service(Settings.load({"DATA_PATH": str(folder), "API_PORT": "0"}))
    server = ApiServer(service)
    service.start(api_url=server.url)
    server.start()
    yield service
    server.stop()
    service.stop(0)


def as_json(result: Result) -> Any:
    """What the command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def shown(octospool: Octospool, name: str) -> Any:
    return as_json(octospool("queue", "show", name, "--json"))


def test_what_is_put_without_a_daemon_waits_for_one(folder: Path, flows: None, octospool: Octospool) -> None:
    put = octospool("queue", "put", "orders", '{"id": 7}', "8", "--priority", "5")
    assert put.exit_code == 0, put.output
    assert len(put.stdout.split()) == 2
    assert "no daemon runs here" in put.stderr
    assert len(list((folder / "spool" / "orders" / "new").iterdir())) == 2
    (orders,) = [one for one in as_json(octospool("queue", "--json"))["queues"] if one["queue"] == "orders"]
    assert (orders["depth"], orders["listeners"], orders["paused"]) == (2, ["takes.yml"], False)
    listed = octospool("queue", "ls").stdout
    assert listed.splitlines()[0] == octospool("queue").stdout.splitlines()[0]
    assert "takes.yml" in listed
    assert "2 of at most 100000" in octospool("queue", "show", "orders").stdout
    assert octospool("queue", "purge", "orders", "--state", "waiting", input="n\n").exit_code == 1
    assert shown(octospool, "orders")["depth"] == 2
    asked = octospool("queue", "purge", "orders", "--state", "waiting", input="y\n")
    assert "Delete the 2 items of 'orders' that are waiting?" in asked.stderr
    assert "deleted 2 items" in asked.stderr
    assert shown(octospool, "orders")["depth"] == 0


def test_items_come_from_arguments_files_and_pipes(
    folder: Path, flows: None, octospool: Octospool, tmp_path: Path
) -> None:
    (tmp_path / "order.json").write_text('{"a": "ü"}', encoding="utf-8")
    assert octospool("queue", "put", "orders", "@order.json").exit_code == 0
    assert octospool("queue", "put", "orders", "@-", input="[1, 2]").exit_code == 0
    each = octospool("queue", "put", "orders", "@-", "--each", "--key", "import", input="[1, 2, 3]")
    assert len(each.stdout.split()) == 3
    again = octospool(
        "queue", "put", "orders", "@-", "--each", "--key", "import", "--json", input="[1, 2, 3]"
    )
    assert as_json(again)["ids"] == each.stdout.split()
    assert shown(octospool, "orders")["depth"] == 5
    nothing = octospool("queue", "put", "orders", "[]", "--each")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "nothing was put" in nothing.stderr


def test_nobody_listens_to_a_name_with_a_slip(folder: Path, flows: None, octospool: Octospool) -> None:
    put = octospool("queue", "put", "oders", "1")
    assert put.exit_code == 0
    assert "no flow listens to 'oders' yet" in put.stderr
    assert "orders" in put.stderr


def test_with_a_daemon_items_start_runs_and_queues_are_paused(daemon: Service, octospool: Octospool) -> None:
    assert "by cli" in octospool("queue", "pause", "orders").stderr
    put = octospool("queue", "put", "orders", '{"id": 7}')
    assert "the queue is paused: octospool queue resume orders" in put.stderr
    item = put.stdout.strip()
    assert "paused by cli" in octospool("queue").stdout
    assert "queue orders goes on" in octospool("queue", "resume", "orders").stderr
    wanted = ("runs", "list", "--item", item, "--status", "succeeded", "--json")
    (run,) = until(lambda: as_json(octospool(*wanted))["runs"], "its run has ended")
    assert (run["flow"], run["by"]) == ("takes.yml", "orders")
    assert run["run_id"] in octospool("runs", "list", "--queue", "orders").stdout


def test_with_a_daemon_failed_items_are_decided_on(daemon: Service, octospool: Octospool) -> None:
    ids = octospool("queue", "put", "picky", "[1, 2, 3]", "--each").stdout.split()
    until(lambda: shown(octospool, "picky")["failed"] == 3, "all have failed")
    listed = octospool("queue", "failed", "picky").stdout
    assert all(item in listed for item in ids)
    assert "it is blue" in listed
    assert as_json(octospool("queue", "failed", "picky", ids[0]))["value"] == 1
    assert f"begun again: {ids[0]}" in octospool("queue", "retry", "picky", ids[0]).stderr
    until(lambda: len(daemon.runs(limit=9).runs) == 4, "it has a second run")
    until(lambda: shown(octospool, "picky")["failed"] == 3, "it has failed again")
    assert f"deleted: {ids[1]}" in octospool("queue", "delete", "picky", ids[1]).stderr
    assert octospool("queue", "retry", "picky", "--all").exit_code == 0
    until(lambda: len(daemon.runs(limit=9).runs) == 6, "both have another run")
    until(lambda: shown(octospool, "picky")["failed"] == 2, "both have failed")
    assert "deleted 2 items" in octospool("queue", "purge", "picky", "--state", "failed", "--yes").stderr
    assert "nothing has failed" in octospool("queue", "delete", "picky", "--all").stderr
    assert "nothing has failed" in octospool("queue", "failed", "picky").stderr


def test_without_a_daemon_a_failed_item_is_in_line_again(
    folder: Path, flows: None, octospool: Octospool
) -> None:
    new = folder / "spool" / "picky" / "new"
    new.mkdir(parents=True)
    (new / "broken.json").write_text("{", encoding="utf-8")
    os.utime(new / "broken.json", (1, 1))
    service = Service(Settings.load({"DATA_PATH": str(folder)}))
    service.start()
    until(lambda: service.queues.one("picky").failed, "it was refused")
    service.stop(0)
    (refused,) = as_json(octospool("queue", "failed", "picky", "--json"))["items"]
    again = octospool("queue", "retry", "picky", "--all")
    assert again.stderr.splitlines() == [
        f"in line again: {refused['id']}",
        "no daemon runs here: the items begin once there is one (octospool serve)",
    ]
    assert shown(octospool, "picky")["depth"] == 1


def test_a_listener_whose_file_is_wrong_now_is_told(
    daemon: Service, flow: Callable[[str, str], Path], octospool: Octospool
) -> None:
    until(lambda: shown(octospool, "orders")["listeners"], "it listens")
    assert "wrong" not in octospool("queue", "show", "orders").stderr
    flow("takes.yml", LISTENS + "stepz: 1\n")
    (listener,) = shown(octospool, "orders")["listening"]
    assert listener["last_good_in_force"]
    said = octospool("queue", "show", "orders").stderr
    assert "takes.yml is wrong as it lies there" in said
    assert "octospool check takes.yml" in said


def test_a_run_shows_what_it_has_sent(
    daemon: Service, flow: Callable[[str, str], Path], octospool: Octospool
) -> None:
    step = "{{name: {0}, type: set_fact, set_fact: {{value: {1}}}, output: {2}}}"
    many, one = (
        step.format("many", "[1, 2]", "{queue: sent, type: multiple}"),
        step.format("one", "3", "sent"),
    )
    flow("sends.yml", f"steps:\n  - {many}\n  - {one}\n")
    ran = octospool("run", "sends")
    assert ran.exit_code == 0, ran.output
    (run,) = as_json(octospool("runs", "list", "--flow", "sends.yml", "--json"))["runs"]
    told = octospool("runs", "show", run["run_id"]).stdout.splitlines()
    assert told[-2:] == ["many: 2 items to the queue sent", "one: 1 item to the queue sent"]
    steps = as_json(octospool("runs", "show", run["run_id"], "--json"))["steps"]
    assert [step["sent"] for step in steps] == [{"queue": "sent", "items": 2}, {"queue": "sent", "items": 1}]


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("show", "oders"), "did you mean 'orders'?", ExitCode.NOT_FOUND),
        (("failed", "oders"), "did you mean 'orders'?", ExitCode.NOT_FOUND),
        (("pause", "oders"), "did you mean 'orders'?", ExitCode.NOT_FOUND),
        (("retry", "orders", "nothing"), "no failed item 'nothing'", ExitCode.NOT_FOUND),
        (("delete", "orders", "nothing"), "no failed item 'nothing'", ExitCode.NOT_FOUND),
        (("failed", "orders", "nothing"), "no failed item 'nothing'", ExitCode.NOT_FOUND),
        (("retry", "orders"), "give either ITEMs or --all", ExitCode.USAGE),
        (("retry", "orders", "x", "--all"), "give either ITEMs or --all", ExitCode.USAGE),
        (("put", "orders"), "Missing argument", ExitCode.USAGE),
        (("put", "orders", "hello"), """a text has quotes of its own: '"like this"'""", ExitCode.USAGE),
        (
            ("put", "orders", "1", "{2}", "3"),
            "Invalid value for VALUE 2 of 3: it is not JSON",
            ExitCode.USAGE,
        ),
        (("put", "orders", '{"a"'), "quote it as your shell asks", ExitCode.USAGE),
        (("put", "orders", "@missing.json"), "cannot read missing.json", ExitCode.USAGE),
        (("put", "orders", "1", "--each"), "must be a JSON list", ExitCode.USAGE),
        (("put", "orders", "1", "--priority", "10"), "0<=x<=9", ExitCode.USAGE),
        (("put", "or ders", "1"), "cannot be a queue's name", ExitCode.USAGE),
        (("put", "../orders", "1"), "'../orders' cannot be a queue's name: up to 100 of", ExitCode.USAGE),
        (("show", "../orders"), "cannot be a queue's name", ExitCode.USAGE),
        (("failed", "a b"), "cannot be a queue's name", ExitCode.USAGE),
        (("retry", "a b", "--all"), "cannot be a queue's name", ExitCode.USAGE),
        (("pause", "a\n"), "cannot be a queue's name", ExitCode.USAGE),
        (("purge", "", "--state", "done"), "the name of the queue is missing", ExitCode.USAGE),
        (("purge", "orders"), "Missing option '--state'", ExitCode.USAGE),
        (("purge", "orders", "--state", "all"), "'waiting', 'failed', 'done'", ExitCode.USAGE),
        (("purge", "orders", "--state", "waiting"), "Aborted", ExitCode.FAILED),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, flows: None, octospool: Octospool, words: tuple[str, ...], said: str, code: int
) -> None:
    result = octospool("queue", *words)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
