"""Flows that change something through the fake QueryPie, and what must come of them."""

from __future__ import annotations

from typing import Any

from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.retry_doubts import Answer
from flow_processor.service.views import RunDetail
from tests.engine.world import World
from tests.querypie.fake import FakeQueryPie

ONE_EACH = {"submit": 1, "approve": 2, "execute": 1}
"""What takes effect in a lifecycle with two steps of approval."""


def flow(pie: FakeQueryPie, more: str = "") -> str:
    """A flow that changes something."""
    return f"""
steps:
  - name: change
    type: querypie
    querypie:
      base_url: {pie.url}
      secret: querypie
      login_id: ada
      connection: {{name: shop, database: orders}}
      request: {{query: "TRUNCATE t", title: Killed}}
      approval_delay_seconds: 0
      settle_seconds: 0.2
      poll_seconds: 0.2
      {more}
"""


def retried(world: World, run_id: str, mode: ResumeMode | None = None, value: Any = None) -> RunDetail:
    """The run that tries it again, once it has ended."""
    wish = RetryWish(answer=None if mode is None else Answer(mode, value=value))
    return world.wait(world.service.retry_run(run_id, wish, by="ann").run_id)
