"""Steps in doubt: what must not silently run twice was under way when its worker died.

They are looked at before anything of the run goes on. A failure or an exit beside such a step may mean that it is
never come to again, and then nobody would be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_processor.engine.outputs import to_send
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.signals import Interrupted
from flow_processor.journal import Event
from flow_processor.run_state import StepRecord, StepStatus

NAMED_IN_DOUBT = 3
"""So many steps in doubt are named; the others are counted."""


def check_doubts(journal: RunJournal) -> None:
    """Raises Interrupted if a person has yet to say what came of a step."""
    if doubtful := journal.before.in_doubt():
        raise in_doubt(doubtful, run_id=journal.run_id)


def in_doubt(records: Sequence[StepRecord], *, run_id: str) -> Interrupted:
    """What ends the run until a person has decided on these attempts."""
    named = ", ".join(f"'{record.path}'" for record in records[:NAMED_IN_DOUBT])
    more = len(records) - NAMED_IN_DOUBT
    one_by_one = "; one by one with --step PATH" if len(records) > 1 else ""
    message = (
        f"in doubt: {named}{f' and {more} more' if more > 0 else ''}: under way when the worker died, so nobody "
        f"knows whether it took effect. Look, then say so: octospool runs resume {run_id} "
        f"--mode rerun|skip|value{one_by_one} (if repeating is always safe, say on_interrupt: rerun in the step)"
    )
    return Interrupted(records[0].path, message)


def settle_decided(journal: RunJournal) -> None:
    """Write down what a person has said of steps that were in doubt, so that it holds whatever becomes of the run."""
    for record in journal.before.under_way():
        if record.decision is not None:
            _settle(journal, record, record.decision)


def _settle(journal: RunJournal, record: StepRecord, decision: dict[str, Any]) -> None:
    outcome: dict[str, Any] = {"started_at": record.started_at}
    if decision["mode"] == "skip":
        said, event, record.status = "decided to go on without it", Event.SKIPPED, StepStatus.SKIPPED
    else:
        said, event, record.status = "gave its result", Event.SUCCEEDED, StepStatus.SUCCEEDED
        # Redacted like any result: a run that goes on from here once more must see the same.
        record.result = journal.redacted({"result": decision["value"]})["result"]
        outcome = {**to_send(record.output, record.result), "result": record.result, **outcome}
        if record.key is not None:
            outcome["key"] = record.key
    journal.log(record.path, "warning", f"not run again: a person {said}")
    journal.append(record.path, record.attempt, event, outcome)
