"""Which runs that are part of others have done something that nobody may do twice unasked.

Their journals say so (`StepType.is_final`, `outcome` in errors). Where a run was cancelled its error says nothing of
that, and what was done may have been done by runs inside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from flow_processor.journal import from_wire
from flow_processor.run_state import fold
from flow_processor.store import Store


def has_done_a_part(store: Store, run_ids: Sequence[str]) -> bool:
    """Has one of these runs, or of those inside them, done, or begun, what must not be done twice?"""
    for run_id in store.children.maybe_final(store.children.with_inner(run_ids)):
        if any(step.final for step in fold(map(from_wire, store.journal.rows(run_id))).steps):
            return True
    return False
