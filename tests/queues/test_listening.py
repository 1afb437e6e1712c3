"""Items are taken although something refused when a service began to: what did not succeed is done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_processor.queues.backend import Intake
from flow_processor.queues.folder import FolderBackend
from flow_processor.service import Service
from tests.engine.world import until
from tests.queues.folder_world import FolderWorld, listening


class Refusing(FolderBackend):
    """Folders that cannot be used until they are told to."""

    refuses = True

    def start(self, intake: Intake) -> None:
        if self.refuses:
            raise OSError("no room")
        super().start(intake)


def test_what_breaks_at_the_begin_is_told_and_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_processor.service.queue_parts.FolderBackend", Refusing)
    world = FolderWorld(tmp_path)
    world.write("a.yml", listening("orders"))
    # As `start`, which waits until items are taken.
    world.service = Service(world.settings)
    world.service.start()
    try:
        problem = until(lambda: world.service.listening.problem, "it is told")
        assert "nothing is taken yet" in problem
        assert "no room" in problem
        (queues,) = [check for check in world.service.readiness().checks if check.name == "queues"]
        assert (queues.ok, problem in queues.message) == (False, True)
        world.drop("orders", "x.json", 1)
        monkeypatch.setattr(Refusing, "refuses", False)
        world.until_files("orders", "done", 1)
        until(lambda: world.service.listening.problem is None, "the problem is gone")
    finally:
        world.leave()
