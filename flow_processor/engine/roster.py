"""Where each run is that the engine has: what the engine's parts share, under one lock."""

from __future__ import annotations

import threading

from flow_processor.engine.assignment import Assignment
from flow_processor.engine.worker_process import WorkerProcess


class Roster:
    """Every attribute is read and written under `lock`. `changed` is notified when runs come and go."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.assignments: dict[WorkerProcess, Assignment] = {}
        self.between: set[str] = set()
        """Runs whose worker is gone and whose next one is not chosen yet."""
        self.ending = 0
        """How many ends of runs are being committed."""
        self.is_stopping = False
        """True: no run is handed out any more."""
        self.is_closed = False
        """True: nothing that workers say is taken any more."""

    def find(self, run_id: str) -> tuple[WorkerProcess, Assignment] | None:
        """The worker that has the run; None also where it has reported the run's end."""
        for worker, assignment in self.assignments.items():
            if assignment.run.id == run_id and not assignment.has_ended:
                return worker, assignment
        return None
