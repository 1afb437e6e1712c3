"""A started service for the tests of a file, worlds of their own for those that need one, and a server that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.counting_server import CountingServer
from tests.engine.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests of a file."""
    world = World(tmp_path_factory.mktemp("octospool") / "data", max_workers=4).start()
    yield world
    world.leave()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """`make_world(**settings)` starts one of its own for a test; again with the same folder, after a stop."""
    worlds: list[World] = []

    def make(**variables: Any) -> World:
        worlds.append(World(tmp_path / "data", **variables).start())
        return worlds[-1]

    yield make
    for world in reversed(worlds):
        world.leave()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is asked to end is killed soon: what hangs here is an expression that takes a whole core."""
    monkeypatch.setattr("flow_processor.engine.watch.ABORT_GRACE_SECONDS", 0.3)


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """Counts calls; those below /held/ are answered when the test says so."""
    server = CountingServer()
    yield server
    server.close()
