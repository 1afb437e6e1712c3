"""Queues at RabbitMQ: a real broker, real runs."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flow_processor.cli.app import octospool as command
from flow_processor.errors import IdempotencyConflict, ItemNotFound, QueueUnavailable
from flow_processor.queues.backend import Purged
from flow_processor.run import RunStatus
from tests.engine.world import World, until
from tests.queues.broker import PASSWORD, Broker
from tests.queues.broker_world import FAILS, SEEN, BrokerWorld, inputs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[BrokerWorld]:
    world = BrokerWorld(tmp_path_factory.mktemp("amqp") / "data", broker).start()
    yield world
    world.leave()


def test_each_listener_gets_each_item_once(world: BrokerWorld) -> None:
    world.listen("orders", "first.yml")
    world.listen("orders", "second.yml")
    ids = world.put("orders", {"n": 1}, {"n": 2}, None, "text", [1, 2.5])
    for flow in ("first.yml", "second.yml"):
        runs = world.ended("orders", 5, flow)
        items = [run.data["__item__"] for run in runs if run.data]
        found = dict(zip((item["id"] for item in items), inputs(runs), strict=True))
        assert [found[item] for item in ids] == [{"n": 1}, {"n": 2}, None, "text", [1, 2.5]]
        assert {(item["queue"], item["attempt"]) for item in items} == {("orders", 1)}
    world.until_quiet("orders", ["first.yml", "second.yml"])


def test_an_id_again_starts_nothing(world: BrokerWorld) -> None:
    world.listen("repeats", "repeats.yml")
    first = world.put("repeats", 1, key="the same")
    assert world.put("repeats", 1, key="the same") == first
    world.send("repeats", *[(b"2", {"message_id": "m1"})] * 3)
    assert sorted(inputs(world.ended("repeats", 2))) == [1, 2]
    world.until_quiet("repeats", ["repeats.yml"])
    assert len(world.runs("repeats")) == 2


def test_what_is_put_while_nobody_listens_waits_for_the_first(world: BrokerWorld) -> None:
    ids = world.put("early", 1, 2)
    world.send("early", (b"3", {}))
    until(lambda: world.service.queues.one("early").depth == 3, "they are counted")
    world.listen("early", "early.yml")
    runs = world.ended("early", 3)
    assert sorted(inputs(runs)) == [1, 2, 3]
    assert {run.data["__item__"]["id"] for run in runs if run.data} >= set(ids)


FORMATS: list[tuple[bytes, dict[str, Any], Any]] = [
    (b'{"a": [1]}', {"content_type": "application/json"}, {"a": [1]}),
    (b"a: [1]\n", {"content_type": "application/yaml"}, {"a": [1]}),
    ("grün".encode(), {"content_type": "text/plain"}, "grün"),
    ("grün".encode("latin-1"), {"content_type": "text/plain; charset=iso-8859-1"}, "grün"),
    (b"7", {}, 7),
    (b"no json", {}, "no json"),
    (b"", {"content_type": "text/plain"}, ""),
    (b"\xff\x00", {}, {"base64": base64.b64encode(b"\xff\x00").decode(), "size": 2, "content_type": None}),
    (
        b"abc",
        {"content_type": "application/octet-stream"},
        {"base64": "YWJj", "size": 3, "content_type": "application/octet-stream"},
    ),
    (b"zipped", {"content_type": "text/plain", "content_encoding": "utf-8"}, "zipped"),
]
"""Body, properties -> what a flow gets."""


def test_messages_of_other_programs_are_items(world: BrokerWorld) -> None:
    world.listen("foreign", "foreign.yml")
    sent = [(body, {**said, "message_id": f"m{n}"}) for n, (body, said, _) in enumerate(FORMATS)]
    world.send("foreign", *sent)
    runs = world.ended("foreign", len(FORMATS))
    inputs(runs)
    found = {run.data["__item__"]["id"]: run.data["__input__"] for run in runs if run.data}
    assert found == {f"m{n}": value for n, (_, _, value) in enumerate(FORMATS)}


def test_a_message_with_a_time_and_a_strange_id_keeps_both(world: BrokerWorld) -> None:
    world.listen("strange", "strange.yml")
    said = {"message_id": "../../etc", "timestamp": 1_700_000_000, "content_type": "text/plain"}
    world.send("strange", (b"1", said), (b"1", said))
    (run,) = world.ended("strange", 1)
    assert run.data is not None
    item = run.data["__item__"]
    assert item["time"] == "2023-11-14T22:13:20.000Z"
    assert item["id"].startswith("m-")


def test_a_message_without_an_id_gets_one_before_it_starts_anything(world: BrokerWorld) -> None:
    world.listen("nameless", "nameless.yml")
    world.send("nameless", *[(b'"same"', {"content_type": "application/json"})] * 3)
    runs = world.ended("nameless", 3)
    assert len({run.data["__item__"]["id"] for run in runs if run.data}) == 3


@pytest.mark.parametrize(
    ("body", "properties", "code"),
    [
        (b"{", {"content_type": "application/json"}, "invalid_json"),
        (b"a: [", {"content_type": "text/yaml"}, "invalid_yaml"),
        (b"x" * (1024**2 + 1), {"content_type": "text/plain"}, "item_too_large"),
    ],
)
def test_a_message_that_no_flow_can_have_is_a_dead_letter(
    world: BrokerWorld, body: bytes, properties: dict[str, Any], code: str
) -> None:
    queue = code.replace("_", "-")
    world.listen(queue, f"{queue}.yml")
    world.send(queue, (body, {**properties, "message_id": "bad"}), (b"1", {}))
    assert inputs(world.ended(queue, 1)) == [1]
    (failed,) = until(lambda: world.service.queues.failed(queue).items, "a dead letter")
    assert (failed.id, failed.reasons[0].code, failed.attempts) == ("bad", code, 0)
    shown = world.service.queues.failed_item(queue, "bad")
    assert (shown.value, shown.has_value, shown.text) == (None, False, body.decode()[:10_000])


def test_a_failing_item_is_tried_again_and_then_a_dead_letter(world: BrokerWorld) -> None:
    world.listen("failing", "failing.yml", rest=", attempts: 2, backoff_seconds: 0", steps=FAILS)
    (item_id,) = world.put("failing", {"n": 1})
    runs = world.ended("failing", 2)
    assert [run.status for run in runs] == [RunStatus.FAILED] * 2
    (failed,) = until(lambda: world.service.queues.failed("failing").items, "a dead letter")
    assert (failed.id, failed.attempts, failed.reasons[0].flow) == (item_id, 2, "failing.yml")
    assert failed.reasons[0].run_id == runs[-1].run_id
    assert "not this one" in failed.reasons[0].message
    assert world.service.queues.failed_item("failing", item_id).value == {"n": 1}

    world.write("failing.yml", f"on: {{queue: failing}}\n{SEEN}")
    until(
        lambda: world.service.library.launchable("failing.yml").spec.steps[0].name == "seen", "it is mended"
    )
    world.service.queues.retry("failing", item_id, by="ann")
    until(lambda: len(world.runs("failing")) == 3, "a third run")
    assert world.wait(world.runs("failing")[2]).status is RunStatus.SUCCEEDED
    assert not world.service.queues.failed("failing").items
    with pytest.raises(ItemNotFound):
        world.service.queues.retry("failing", item_id, by="ann")


def test_a_refused_message_is_mended_by_deleting_it(world: BrokerWorld) -> None:
    world.listen("deleting", "deleting.yml")
    world.send(
        "deleting", *[(b"{", {"content_type": "application/json", "message_id": f"x{n}"}) for n in range(3)]
    )
    until(lambda: len(world.service.queues.failed("deleting").items) == 3, "dead letters")
    world.service.queues.delete("deleting", "x1", by="ann")
    assert [item.id for item in world.service.queues.failed("deleting").items] == ["x0", "x2"]
    world.service.queues.retry("deleting", "x2", by="ann")  # it is as bad as before
    until(lambda: len(world.service.queues.failed("deleting").items) == 2, "it is refused again")
    assert world.service.queue_backend.purge("deleting", Purged.FAILED) == 2


def test_a_paused_queue_stands_still_and_can_be_emptied(world: BrokerWorld) -> None:
    world.listen("paused", "paused.yml")
    world.service.queues.set_paused("paused", True, by="ann")
    world.put("paused", 1, 2, 3)
    until(lambda: world.broker.depth("octospool.paused:paused.yml") == 3, "they wait at the broker")
    assert world.service.queue_backend.purge("paused", Purged.WAITING) == 3
    world.put("paused", 4)
    world.service.queues.set_paused("paused", False, by="ann")
    assert inputs(world.ended("paused", 1)) == [4]


def test_a_queue_that_nobody_needs_is_named_no_more(world: BrokerWorld) -> None:
    queues = world.service.queues
    queues.put("slip", [1], key="k")
    with pytest.raises(IdempotencyConflict):
        queues.put("slip", [2], key="k")
    until(lambda: queues.one("slip").depth == 1, "it waits")
    assert queues.purge("slip", Purged.WAITING, by="ann").purged == 1
    assert "slip" not in {one.queue for one in queues.all()}


def test_higher_priorities_come_first(world: BrokerWorld) -> None:
    world.listen("urgent", "urgent.yml", more="concurrency: {limit: 1, on_conflict: queue}\n")
    world.service.queues.set_paused("urgent", True, by="ann")
    for priority in (0, 9, 5):
        world.put("urgent", priority, priority=priority)
    world.send("urgent", (b"200", {"priority": 200, "message_id": "m1"}))
    until(lambda: world.broker.depth("octospool.urgent:urgent.yml") == 4, "they wait at the broker")
    world.service.queues.set_paused("urgent", False, by="ann")
    # One begins after the other has ended; accepted are several in one millisecond.
    runs = sorted(world.ended("urgent", 4), key=lambda run: str(run.started_at))
    assert inputs(runs) == [9, 200, 5, 0]


def test_a_flow_that_listens_no_more_is_told_and_its_queue_stays(world: BrokerWorld) -> None:
    world.listen("left", "stays.yml")
    world.listen("left", "leaves.yml")
    world.write("leaves.yml", SEEN)
    (problem,) = until(lambda: world.service.queue_backend.problems("left"), "it is told")
    assert "'leaves.yml' listens to the queue 'left' no more" in problem
    assert "rabbitmqctl delete_queue 'octospool.left:leaves.yml'" in problem
    world.put("left", 1)
    until(lambda: world.broker.depth("octospool.left:leaves.yml") == 1, "its copy waits for it")
    world.listen("left", "leaves.yml")
    assert inputs(world.ended("left", 1, "leaves.yml")) == [1]
    assert not world.service.queue_backend.problems("left")


def test_a_queue_that_somebody_deletes_is_made_again(world: BrokerWorld) -> None:
    world.listen("deleted", "deleted.yml")
    world.put("deleted", 1)
    world.ended("deleted", 1)  # it consumes: refused that, it would look again after half a minute
    with world.broker.channel() as channel:
        channel.queue_delete("octospool.deleted:deleted.yml")
        channel.queue_delete("octospool.deleted.waiting")
        channel.exchange_delete("octospool.deleted")
    until(lambda: world.has_queue("octospool.deleted:deleted.yml"), "it is made again")
    world.put("deleted", 2)
    assert inputs(world.ended("deleted", 2)) == [1, 2]


def test_a_queue_made_otherwise_by_somebody_hinders_no_other(world: BrokerWorld) -> None:
    with world.broker.channel() as channel:
        channel.queue_declare("octospool.other:other.yml", durable=True, auto_delete=False)
    world.write("other.yml", f"on: {{queue: other}}\n{SEEN}")
    until(lambda: world.service.queue_backend.problems("other"), "it is told")
    until(lambda: "other" in (world.data / "broker.json").read_text(), "all listeners were looked at")
    (problem,) = world.service.queue_backend.problems("other")
    assert "inequivalent arg" in problem
    world.listen("native", "native.yml")
    world.put("native", 1)
    assert inputs(world.ended("native", 1)) == [1]


def test_over_tls_and_never_with_a_certificate_that_is_not_trusted(tmp_path: Path, broker: Broker) -> None:
    trusting = BrokerWorld(tmp_path / "a", broker, broker_url=broker.tls_url).start()
    trusting.listen("tls", "tls.yml")
    trusting.put("tls", 1)
    assert inputs(trusting.ended("tls", 1)) == [1]
    trusting.leave()
    careful = World(tmp_path / "b", broker_url=broker.tls_url.split("?")[0]).start()
    with pytest.raises(QueueUnavailable, match=r"its certificate is not trusted .*ca_file=FILE"):
        careful.service.queues.put("tls", [1])
    careful.leave()


def test_what_keeps_it_from_the_broker_is_told_without_the_password(
    tmp_path: Path, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wrong = broker.url.replace(PASSWORD, "canary-wrong")
    world = BrokerWorld(tmp_path / "data", broker, broker_url=wrong).start()
    world.write("a.yml", f"on: {{queue: locked}}\n{SEEN}")
    (problem,) = until(
        lambda: [p for p in world.service.queue_backend.problems("locked") if "refused" in p], "told"
    )
    assert "user 'shop' and the password are refused; set them right in BROKER_URL" in problem
    with pytest.raises(QueueUnavailable) as refused:
        world.put("locked", 1)
    said = caplog.text + problem + json.dumps(refused.value.as_dict()) + repr(world.settings)
    assert "canary" not in said.replace("canary-of-the-daemon-token", "")
    world.leave()


def test_the_doctor_looks_at_the_broker(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"

    def doctor() -> tuple[dict[str, str], str]:
        """Code -> message of what is found, and what is told beside that."""
        result = CliRunner().invoke(command, ["doctor", "--json"], prog_name="octospool")
        answer = json.loads(result.stdout)
        assert answer["well"] is (result.exit_code == 0)
        return {found["code"]: found["message"] for found in answer["found"]}, "\n".join(answer["facts"])

    world = BrokerWorld(data, broker)
    monkeypatch.setenv("DATA_PATH", str(data))
    monkeypatch.setenv("BROKER_URL", broker.url)
    world.write("ill.yml", f"on: {{queue: ill}}\n{FAILS}")
    found, facts = doctor()
    assert found == {}
    assert "answers: RabbitMQ" in facts
    assert "the next start of the daemon makes 'octospool.ill:ill.yml'" in facts
    world.start()
    try:
        world.listen("ill", "ill.yml", steps=FAILS)
        world.listen("ill", "gone.yml")
        world.put("ill", 1)
        until(lambda: world.service.queues.one("ill").failed, "it has failed")
    finally:
        world.leave()
    (data / "flows" / "gone.yml").unlink()
    with broker.channel() as channel:
        channel.queue_delete("octospool.ill:ill.yml")
    found, _ = doctor()
    assert set(found) == {"broker_queue_missing", "broker_queue_left", "dead_letters"}
    assert "'octospool.ill:ill.yml' is not at the broker" in found["broker_queue_missing"]
    assert "rabbitmqctl -p '/' delete_queue 'octospool.ill:gone.yml'" in found["broker_queue_left"]
    assert "octospool queue failed ill" in found["dead_letters"]
    monkeypatch.setenv("BROKER_URL", "amqp://octospool:secret@127.0.0.1:1/")
    found, _ = doctor()
    assert set(found) == {"queue_unavailable"}
    assert "nobody listens there" in found["queue_unavailable"]
    assert "secret" not in str(found)
