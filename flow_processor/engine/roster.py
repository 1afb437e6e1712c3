"""Where each run is that the engine has: what the engine's parts share, under one lock."""

from __future__ import annotations

import threading
from collections import defaultdict

from flow_processor.engine.assignment import Assignment
from flow_processor.engine.worker_process import WorkerProcess


class Roster:
    """Every attribute is read and written under `lock`.

    `changed` is notified when a run goes. `begun` is notified when one comes and nobody watches: to wake the watch for
    each run would cost as much as a tenth of the run does.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.begun = threading.Condition(self.lock)
        self.is_watched = False
        """True: the watch looks at the runs by itself after a tick."""
        self.assignments: dict[WorkerProcess, Assignment] = {}
        self.between: set[str] = set()
        """Runs that no worker has for a moment: one is gone and the next not chosen, or they are being parked."""
        self.unheard: defaultdict[str, set[str | None]] = defaultdict(set)
        """What was said to runs that their worker may not have heard: names of signals, None for a wish to end."""
        self.ending = 0
        """How many ends of runs are being committed."""
        self.is_stopping = False
        """True: no run is handed out any more."""
        self.is_closed = False
        """True: nothing that workers say is taken any more."""

    def forget(self, run_id: str, name: str) -> None:
        """A signal was not recorded after all, because the run has ended: nobody has to hear of it."""
        names = self.unheard.get(run_id, set())
        names.discard(name)
        if not names:
            self.unheard.pop(run_id, None)

    def find(self, run_id: str) -> tuple[WorkerProcess, Assignment] | None:
        """The worker that has the run; None also where it has said its last word about it."""
        for worker, assignment in self.assignments.items():
            if assignment.run.id == run_id and not assignment.is_over:
                return worker, assignment
        return None
