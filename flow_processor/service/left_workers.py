"""Workers of the daemon before: who still lives, and who died without a word."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

from flow_processor.engine.assignment import ABORT_GRACE_SECONDS
from flow_processor.locks import LockFile
from flow_processor.process_tree import kill_process, kill_strays
from flow_processor.store.runs import ParkedRun, RunRow

logger = logging.getLogger("octospool.service")


class LeftWorkers:
    """What the lock files of workers tell: a worker that leaves removes its file, and the kernel frees a dead one's."""

    def __init__(self, folder: Path) -> None:
        """Look at every lock file of `folder`, once."""
        self.living: dict[str, LockFile] = {}
        """Id of the worker -> its lock file."""
        self.dead: defaultdict[str, set[str]] = defaultdict(set)
        """Id of the run -> ids of the workers whose files name it."""
        self._named: defaultdict[str, list[LockFile]] = defaultdict(list)
        self._files: list[Path] = []
        for path in sorted(folder.glob("*.lock")):
            lock = LockFile(path)
            run_id = str(lock.content().get("run_id", ""))
            if lock.is_taken():
                self.living[path.stem] = lock
                self._named[run_id].append(lock)
            else:
                self.dead[run_id].add(path.stem)
                self._files.append(path)

    def having(self, run_id: str, *, dispatched_to: str | None) -> list[LockFile]:
        """Living workers that may have the run: those whose files name it, and the one it was last handed to.

        A file also names the run that its worker had last: waiting for one too many costs the moment in which an
        idle worker leaves, waiting for one too few would give the run to two.
        """
        found = list(self._named.get(run_id, ()))
        last = self.living.get(dispatched_to or "")
        if last is not None and last not in found:
            found.append(last)
        return found

    def forget_dead(self) -> None:
        """End what the dead have left behind and remove their files; only once what these tell is recorded."""
        kill_strays([path.stem for path in self._files])
        for path in self._files:
            path.unlink(missing_ok=True)


def forget_left(orphan: LockFile) -> None:
    """A worker that was waited for holds its lock no more. If its file is still there it died, or was killed: what it
    has left behind ends with it. Raises OSError."""
    if orphan.path.exists():
        kill_strays([orphan.path.stem])
        orphan.path.unlink(missing_ok=True)


def end_overdue(orphan: LockFile, run: RunRow | ParkedRun, *, asked_at: float | None, now: float) -> None:
    """Kill a worker whose run's time is over, or was cancelled a while ago: nobody else watches it.

    `asked_at`: when the run was cancelled, in seconds since 1970 like `now`.
    """
    content = orphan.content()
    is_overdue = now > content.get("must_end_by", now)
    is_asked = asked_at is not None and now > asked_at + ABORT_GRACE_SECONDS
    if content.get("run_id") == run.id and (is_overdue or is_asked) and orphan.is_taken():
        logger.warning(
            "the last daemon's worker is killed: its time is over", extra={"run": run.id, "flow": run.flow}
        )
        kill_process(int(content["pid"]))
