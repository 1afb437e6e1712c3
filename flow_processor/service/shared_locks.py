"""The locks of flows where several daemons share a store: a row for each run that has one, beside the lock file.

Lock files are those of one data folder; the rows hold a flow's limit over all of them. A row goes when its run has
ended. Those of runs that a dead daemon left under way stay until it is back: its workers may still be at work.
"""

from __future__ import annotations

from flow_processor.clock import Clock, from_epoch
from flow_processor.locks import HeldLock
from flow_processor.locks.flow_locks import lock_name
from flow_processor.store import Connection, Store
from flow_processor.store.daemons import flow_holders, free_flow, lock_flow


class HeldElsewhere(Exception):
    """Another daemon's run holds the flow's lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"run {holder} of another daemon holds the lock")
        self.holder = holder
        """The id of that run."""


class SharedLocks:
    """Takes and frees the rows. Thread safe."""

    def __init__(self, store: Store, daemon: str, *, clock: Clock) -> None:
        self._store = store
        self._daemon = daemon
        self._clock = clock

    def claim(self, connection: Connection, flow: str, run_id: str, limit: int) -> None:
        """Take the flow's lock in the transaction that inserts the run. Raises HeldElsewhere."""
        holder = lock_flow(
            connection, flow, run_id, daemon=self._daemon, limit=limit, at=self._clock.now().timestamp()
        )
        if holder is not None:
            raise HeldElsewhere(holder)

    def take(self, flow: str, run_id: str, limit: int) -> str | None:
        """Take it for a run that is there: None when it has it, else the id of a holder. Raises StoreUnavailable."""
        try:
            self._store.writer.run(lambda connection: self.claim(connection, flow, run_id, limit))
        except HeldElsewhere as held:
            return held.holder
        return None

    def free(self, flow: str, run_id: str | None = None) -> None:
        """Give a run's lock back; None: take it from whoever has it."""
        self._store.writer.submit(
            lambda connection: free_flow(connection, flow, run_id), lazy=run_id is not None, keep=True
        )

    def of_others(self) -> list[HeldLock]:
        """The locks that runs of other daemons hold. Raises StoreUnavailable."""
        return [
            HeldLock(lock_name(flow), flow, from_epoch(at), run_id)
            for flow, run_id, daemon, at in flow_holders(self._store.engine)
            if daemon != self._daemon
        ]
