"""The intake where what is around it refuses: nothing takes up room for ever, nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from flow_processor.clock import SystemClock
from flow_processor.queues import lanes as lanes_module
from flow_processor.queues.backend import Offer
from flow_processor.queues.endings import Endings
from flow_processor.queues.intake import ItemIntake
from flow_processor.queues.item import Item, Reason
from flow_processor.queues.item_launch import ItemLaunch
from flow_processor.queues.lane import PACE_SECONDS, PREFETCH, Delivery, Lane
from flow_processor.run import RunStatus
from flow_processor.spec.flow import ConcurrencySpec, FlowSpec
from flow_processor.spec.on import OnSpec
from flow_processor.spec.queue import QueueSpec
from flow_processor.spec.queue_settings import KeepDone, QueueSettings
from flow_processor.store import Store
from flow_processor.store.items import ItemRow, ItemState, ledger_rows
from flow_processor.store.runs import RunRow
from tests.engine.world import until
from tests.store.stored import a_run

ITEM = Item(id="i", queue="orders", value=1, put_at=1.0)


class Broker:
    """A source that cannot keep what is given up until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_away = True

    def has_room(self, queue: str, flow: str) -> None: ...

    def has_ended(self, queue: str, item_id: str, flow: str) -> None: ...

    def may_try_again(self, item: Item, flow: str) -> str | None:
        return None

    def give_up(self, item: Item, reason: Reason) -> Future[None]:
        self.asked.append(item.id)
        answer: Future[None] = Future()
        if self.is_away:
            answer.set_exception(OSError("away"))
        else:
            answer.set_result(None)
        return answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def test_a_launch_that_breaks_leaves_room_for_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(launch: ItemLaunch) -> Future[RunRow | None]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(lanes_module, "BLOCKED_SECONDS", 0.0)
    broker = Broker()
    intake = ItemIntake(
        store,
        launch=breaks,
        source=lambda queue: broker,
        settings_of=lambda queue: QueueSettings(),
        clock=SystemClock(),
    )
    on = OnSpec(queue=QueueSpec(name="orders"))
    flow = FlowSpec.model_construct(on=on, concurrency=ConcurrencySpec())
    intake.listen({"a.yml": flow}, {"orders": ["a.yml"]})
    room = intake.room("orders", "a.yml")
    assert room > 0
    assert intake.offer(ITEM, "a.yml").result(10) is Offer.LATER
    assert intake.problems("orders") == ["a.yml: RuntimeError: a defect"]
    assert intake.room("orders", "a.yml") == room


def test_an_end_that_cannot_be_noted_yet_is_one_however_often_it_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_processor.queues.endings.RETRY_SECONDS", 0.0)
    broker = Broker()
    endings = Endings(
        store, lambda queue: broker, clock=SystemClock(), on_due=lambda lane, at: None, wake=lambda: None
    )
    run = a_run(status=RunStatus.FAILED)
    delivery = Delivery(Lane("orders", "a.yml"), ITEM, 1, run.id)
    for _ in range(3):
        endings.add(delivery, run)
        endings.flush()
    assert len(broker.asked) == 3, "asked once in each turn"
    broker.is_away = False
    endings.flush()
    endings.flush()
    assert len(broker.asked) == 4
    store.writer.run(lambda connection: None)  # what was noted is noted

    def is_told_anew() -> bool:
        endings.add(delivery, run)
        endings.flush()
        return len(broker.asked) == 5

    until(is_told_anew, "one that was noted can be told again")


def test_the_ledger_remembers_for_a_day_however_short_files_are_kept(store: Store) -> None:
    """What a broker delivers again, or a put repeats, comes soon: it must start nothing."""
    intake = ItemIntake(
        store,
        launch=lambda launch: Future(),
        source=lambda queue: Broker(),
        settings_of=lambda queue: QueueSettings(keep_done=KeepDone(days=0.001)),
        clock=SystemClock(),
    )
    now = SystemClock().now().timestamp()
    done = [
        ItemRow(
            queue="orders",
            item=item,
            flow="a.yml",
            state=ItemState.DONE,
            attempt=1,
            put_at=1.0,
            ended_at=now - ago,
        )
        for item, ago in (("young", 3600), ("old", 90_000))
    ]
    store.writer.submit(None, rows=ledger_rows(done)).result(10)
    intake._upkeep.look()
    assert list(store.items.of_items("orders", ["young", "old"])) == ["young"]


def test_an_attempt_that_becomes_due_while_others_are_looked_for_is_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is asked, then an attempt is noted, then the answer of before comes: it must not win."""
    intake = ItemIntake(
        store,
        launch=lambda launch: Future(),
        source=lambda queue: Broker(),
        settings_of=lambda queue: QueueSettings(),
        clock=SystemClock(),
    )
    lane = intake._lanes.of("orders", "a.yml")
    lane.is_listening, lane.next_due = True, 1.0

    def asked_too_early(queue: str, flow: str) -> None:
        intake._is_due(lane, 7e9)

    monkeypatch.setattr(store.items, "next_due", asked_too_early)
    intake._try_again()
    assert lane.next_due == 7e9


def test_what_is_in_work_follows_how_quickly_items_end() -> None:
    """Quick items keep the workers busy; of slow ones only a few are where no urgent one can overtake them."""
    lane = Lane("orders", "quick.yml")
    assert lane.room(None, now=10.0) == PREFETCH
    for number in range(100):
        lane.pace.note_end(10.0 + number * PACE_SECONDS / 100)
    assert lane.room(None, now=10.0 + PACE_SECONDS) == 100
    lane.in_work = 30
    assert lane.room(None, now=10.0 + PACE_SECONDS) == 70
    assert lane.room(5, now=10.0 + PACE_SECONDS) == 0, "what was said counts"
    assert lane.room(None, now=10.0 + 3 * PACE_SECONDS) == 0, "they are slow again"
    lane.in_work, lane.limit = 0, 2
    assert lane.room(None, now=10.0 + PACE_SECONDS) == 2
