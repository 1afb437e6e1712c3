"""All tables of the store. Moments are seconds since 1970 (REAL, UTC); documents are JSON text."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    text,
)
from sqlalchemy import Integer as SomeInteger
from sqlalchemy import Text as SomeText

Text = SomeText().with_variant(SomeText(collation="C"), "postgresql")
"""In the order of its characters' numbers, as SQLite and Python have it: ids and paths are compared there too."""
Integer = SomeInteger().with_variant(BigInteger(), "postgresql")
"""Of 64 bits, as SQLite has it."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about the store itself: `schema_version`, and how often it was checked that it can be written."""

flow_versions = Table(
    "flow_versions",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("flows", Text, nullable=False),
)
"""Each flow text a run was ever started with: the flow and its sub-flows as `{path: text}`, by their hash."""

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("flow_hash", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("trigger_by", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("params", Text),
    Column("timeout_seconds", Float),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("error", Text),
    Column("schedule_id", Text),
    Column("slot", Float),
    Column("wake_at", Float),
    Column("retry_of", Text),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("bytes", Integer, nullable=False, server_default="0"),
    Column("parent", Text),
    Column("parent_path", Text),
    Column("parent_index", Integer),
    Column("item", Text),
    Column("daemon", Text),
    Index("runs_by_status", "status", "id"),
    Index("runs_by_flow", "flow", "status", "id"),
    Index("runs_by_trigger", "trigger", "status", "id"),
    Index("runs_by_version", "flow_hash"),
    Index(
        "runs_by_retry",
        "retry_of",
        sqlite_where=text("retry_of IS NOT NULL"),  # naming another dialect too would load it at each start
    ),
    Index(
        "runs_by_parent",
        "parent",
        "parent_path",
        "parent_index",
        unique=True,
        sqlite_where=text("parent IS NOT NULL"),
    ),
    Index("runs_by_item", "item", sqlite_where=text("item IS NOT NULL")),
)
"""Every run that was accepted. `status`, `started_at`, `ended_at`, `error` and `wake_at` repeat what the journal
says, so that lists need not fold it; they are written in one transaction with the journal row they repeat.
`attempt` counts the tries of one request: a run with `retry_of` tries that run again. `bytes` is about what the run
takes in the store and in files. A run with a `parent` is element `parent_index` of the step `parent_path` there:
unique, so that none is launched twice. `item` is what a run that an item started has as `__item__`, a mapping whose
text begins with its `id`; `daemon` is the daemon that has the run, where several share one store."""

removals = Table(
    "removals",
    metadata,
    Column("run_id", Text, primary_key=True),
)
"""Runs that were deleted and whose journal, log and files are still to go; that happens in small steps."""

journal = Table(
    "journal",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("data", Text),
    PrimaryKeyConstraint("run_id", "seq"),
)
"""What happened in each run, row by row; see `flow_processor.run.JournalRow`."""

logs = Table(
    "logs",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("level", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
)
"""The lines that steps wrote into their run's own log."""

schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("name", Text),
    Column("rule", Text),
    Column("input", Text),
    Column("timeout_seconds", Float),
    Column("active", Integer, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("added_by", Text),
    Column("added_at", Float, nullable=False),
    Column("anchor", Float),
    Column("last_slot", Float),
    Index("schedules_by_flow", "flow"),
)
"""Schedules. `rule` holds `{override, in_force, params, counted_from}`: the rule that config.yml or a call gives, and
the one that was last seen to count; `anchor` is since when it counts. `input` is what its runs get as `__input__`.
`revision` rises with each change by a call. A flow has any number of schedules of origin `api`, and one of the
others: the store's operations see to that."""

slots = Table(
    "slots",
    metadata,
    Column("schedule_id", Text, nullable=False),
    Column("slot", Float, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("run_id", Text),
    Column("reason", Text),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("schedule_id", "slot"),
)
"""Each moment of each schedule that was handled; the key makes a second start impossible."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("hook", Text, nullable=False),
    Column("mark", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
    PrimaryKeyConstraint("hook", "mark"),
    Index("deliveries_by_end", "expires_at"),
)
"""Calls of webhooks that became runs: `mark` tells one from another, so that the same call again starts nothing."""

flow_edits = Table(
    "flow_edits",
    metadata,
    Column("flow", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("by", Text),
    Column("restored", Integer),
    Column("content", LargeBinary, nullable=False),
    Column("is_settled", Integer, nullable=False),
    PrimaryKeyConstraint("flow", "number"),
    Index("flow_edits_unsettled", "flow", sqlite_where=text("is_settled = 0")),
)
"""Versions of flow files that were written over the API. `is_settled` is 0 until the file itself has been changed."""

items = Table(
    "items",
    metadata,
    Column("queue", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("flow", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("run_id", Text),
    Column("name", Text),
    Column("put_at", Float, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("next_at", Float),
    Column("error", Text),
    Column("ended_at", Float),
    Column("daemon", Text),
    PrimaryKeyConstraint("queue", "item", "flow"),
    Index("items_by_state", "queue", "state", "ended_at"),
    Index("items_by_run", "run_id", sqlite_where=text("run_id IS NOT NULL")),
    Index(
        "items_due",
        "queue",
        "flow",
        text("priority DESC"),
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
    ),
)
"""The ledger of items: one row for each item and each flow that it starts; the key makes a second start impossible.
`run_id` is the newest attempt's run, `next_at` when the next attempt is due, `error` why the newest one failed. A row
with an empty `flow` tells of an item that was refused before any flow had it. `daemon` took it, where several share
one store."""

outbox = Table(
    "outbox",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
    Index("outbox_by_queue", "queue", "at"),
)
"""Results of steps that are still to be put on a queue: row `seq` of the run's journal holds each."""

queue_states = Table(
    "queue_states",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("is_paused", Integer, nullable=False),
    Column("by", Text),
    Column("at", Float, nullable=False),
)
"""What people have told queues to do, and who."""

daemons = Table(
    "daemons",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("url", Text),
    Column("seen_at", Float, nullable=False),
)
"""Daemons that share this store, where each listens, and when it was last seen alive."""

flow_locks = Table(
    "flow_locks",
    metadata,
    Column("flow", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("daemon", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("flow", "run_id"),
)
"""Locks of flows where several daemons share one store; else lock files are all there is."""
