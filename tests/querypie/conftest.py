"""A fake QueryPie for each test, and the step against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flow_processor import factory
from flow_processor.step import Secret
from tests.engine.conftest import short_grace
from tests.engine.world import World
from tests.querypie.fake import TOKEN, FakeQueryPie
from tests.querypie.pieces import uid
from tests.steps.conftest import FakeContext, validate_step


@pytest.fixture
def pie() -> Iterator[FakeQueryPie]:
    """Whatever a test did: every call and answer was by the vendor's schema."""
    server = FakeQueryPie()
    yield server
    server.close()
    assert server.violations == []


__all__ = ["short_grace"]


class MovingContext(FakeContext):
    """Time passes while it pauses, but nobody waits for that."""

    passed = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.passed)

    def pause(self, seconds: float, *, since: float | None) -> None:
        self.passed += seconds


@pytest.fixture
def context(tmp_path: Path) -> MovingContext:
    """A context with the token."""
    found = MovingContext(tmp_path)
    found.secrets["querypie"] = Secret("querypie", "token", {"token": TOKEN})
    return found


def options_for(pie: FakeQueryPie, **more: Any) -> dict[str, Any]:
    """Options of a step that does its calls quickly."""
    return {
        "base_url": pie.url,
        "secret": "querypie",
        "retry": {"attempts": 2, "delay_seconds": 0.01},
        "settle_seconds": 0.05,
        "approval_delay_seconds": 0,
        "poll_seconds": 0.1,
        **more,
    }


@pytest.fixture
def call(pie: FakeQueryPie, context: MovingContext) -> Callable[..., Any]:
    """`call(action=…, …)`: the result of the step."""

    def call(**more: Any) -> Any:
        spec = validate_step({"type": "querypie", "querypie": options_for(pie, **more)})
        return factory.step_type_of(spec).run(spec.options, context).value

    return call


@pytest.fixture
def submit(call: Callable[..., Any]) -> Callable[..., Any]:
    """`submit([["elon"], ["dba"]])`: the UUID of a request, submitted alone, with these steps of approval."""

    def submit(steps: list[list[str]], **more: Any) -> Any:
        options = {
            "user_uuid": uid("ada"),
            "rule_uuid": uid("rule Default"),
            "cluster_uuid": uid("shop 1"),
            "database": "orders",
            "approval_steps": [{"assignees": [uid(name) for name in names]} for names in steps],
            "request": {"query": "SELECT 1", "title": "alone"},
        }
        return call(action="submit", **{**options, **more})["workflow_uuid"]

    return submit


@pytest.fixture
def run(call: Callable[..., Any]) -> Callable[..., Any]:
    """`run(…)`: the lifecycle of a request for `SELECT 1`."""

    def run(**more: Any) -> Any:
        request = {"query": "SELECT 1;", "title": "A test", "comments": "why", **more.pop("request", {})}
        connection = {"name": "shop", "type": "MySQL", "database": "orders"}
        return call(**{"login_id": "ada", "connection": connection, "request": request, **more})

    return run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that has the token."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    data.mkdir()
    secrets = f"- {{name: querypie, type: token, token: {TOKEN}}}\n"
    (data / "secrets.yml").write_text(secrets, encoding="utf-8")
    world = World(data, max_workers=4).start()
    yield world
    world.leave()
