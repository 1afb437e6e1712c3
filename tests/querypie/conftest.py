"""A fake QueryPie for each test, and the step against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_processor import factory
from flow_processor.step import Secret
from tests.querypie.fake import TOKEN, FakeQueryPie
from tests.steps.conftest import FakeContext, validate_step


@pytest.fixture
def pie() -> Iterator[FakeQueryPie]:
    """Whatever a test did: every call and answer was by the vendor's schema."""
    server = FakeQueryPie()
    yield server
    server.close()
    assert server.violations == []


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    """A context with the token."""
    found = FakeContext(tmp_path)
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
def call(pie: FakeQueryPie, context: FakeContext) -> Callable[..., Any]:
    """`call(action=…, …)`: the result of the step."""

    def call(**more: Any) -> Any:
        spec = validate_step({"type": "querypie", "querypie": options_for(pie, **more)})
        return factory.step_type_of(spec).run(spec.options, context).value

    return call


@pytest.fixture
def run(call: Callable[..., Any]) -> Callable[..., Any]:
    """`run(…)`: the lifecycle of a request for `SELECT 1`."""

    def run(**more: Any) -> Any:
        request = {"query": "SELECT 1;", "title": "A test", "comments": "why", **more.pop("request", {})}
        connection = {"name": "shop", "type": "MySQL", "database": "orders"}
        return call(**{"login_id": "ada", "connection": connection, "request": request, **more})

    return run
