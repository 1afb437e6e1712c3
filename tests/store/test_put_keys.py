"""Keys of calls, and what flows have of a queue, on both databases."""

from __future__ import annotations

from flow_processor.store import Store
from flow_processor.store.item_counts import ListenerCounts, ended_count, listener_counts
from flow_processor.store.items import ItemRow, ItemState, ledger_rows, prune_items
from flow_processor.store.put_keys import forget_key, note_key


def test_a_key_stands_for_what_came_first_until_it_is_forgotten(database_url: str) -> None:
    store = Store(database_url)

    def note(content: str) -> tuple[bool, str]:
        return store.writer.run(lambda connection: note_key(connection, "q", "k", content=content, at=5.0))

    assert [note("one"), note("two"), note("one")] == [(True, "one"), (False, "one"), (False, "one")]
    assert ended_count(store.engine, "q", since=0.0) == 0, "no flow was done with anything"
    store.writer.run(lambda connection: forget_key(connection, "q", "k"))
    assert note("two") == (True, "two")
    assert store.writer.run(lambda connection: prune_items(connection, "q", before=6.0, limit=9)) == 1
    assert note("three") == (True, "three")
    store.close()


def test_what_waits_for_a_further_attempt_is_counted(database_url: str) -> None:
    store = Store(database_url)
    due, done = ItemState.DUE, ItemState.DONE
    states = [(due, 0, 1.0), (due, 1, 9.0), (due, 2, 7.0), (ItemState.RUNNING, 1, None), (done, 1, None)]
    rows = [
        ItemRow(queue="q", item=str(number), flow="a.yml", state=state, attempt=tries, put_at=0.0, next_at=at)
        for number, (state, tries, at) in enumerate(states)
    ]
    store.writer.submit(None, rows=ledger_rows(rows)).result(30)
    assert listener_counts(store.engine, "q") == {
        "a.yml": ListenerCounts(in_work=4, failed=0, again=2, next_at=7.0)
    }
    store.close()
