"""What a run may be, in plain words: the model against which a real daemon is held."""

from __future__ import annotations

from dataclasses import dataclass, field

LIVE = frozenset({"queued", "running", "waiting"})


@dataclass
class ModelRun:
    """One accepted run."""

    run_id: str
    kind: str
    """What its flow does: see `tests.acceptance.test_state_machine`."""
    ends: set[str]
    """The statuses in which it may end; empty while nothing but a signal or a cancel can end it."""
    version: int
    """The version of the edited flow at its launch."""
    seen: str = "queued"
    """Its last status that was seen."""
    is_deleted: bool = False

    def may_be(self, status: str) -> bool:
        """May it have that status now?"""
        if self.seen not in LIVE:
            return status == self.seen
        return status in LIVE | self.ends


@dataclass
class Model:
    """All runs that were accepted."""

    runs: dict[str, ModelRun] = field(default_factory=dict)
    version: int = 1
    """The version of the edited flow."""

    def history(self) -> list[ModelRun]:
        """Runs that must be in history."""
        return [run for run in self.runs.values() if not run.is_deleted]

    def live(self) -> list[ModelRun]:
        """Runs that were live when they were last looked at."""
        return [run for run in self.history() if run.seen in LIVE]

    def never_ending(self) -> list[ModelRun]:
        """Runs that wait for something that nobody has sent."""
        return [run for run in self.live() if not run.ends]

    def lose_everything(self) -> None:
        """Daemon and workers die: a call under way is in doubt."""
        for run in self.live():
            if run.kind == "posting":
                run.ends.add("interrupted")
