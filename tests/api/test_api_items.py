"""The elements of a loop, looked at one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flow_processor.service import Service

ORDERS = """
steps:
  - name: loop
    type: foreach
    foreach:
      items: "{{ range(1, 41) | list }}"
      on_item_error: continue
      max_parallel: 4
      collect: double
      steps:
        - {name: check, type: raise, when: item == 30, raise: {message: not this one, code: wrong_one}}
        - {name: double, type: set_fact, set_fact: {value: "{{ item * 2 }}"}}
"""


@pytest.fixture(scope="module")
def orders(service: Service) -> str:
    """The id of a run over forty elements, of which the thirtieth failed."""
    folder: Path = service.settings.flows_path
    (folder / "orders.yml").write_text(ORDERS, encoding="utf-8")
    run_id = service.launch("orders.yml").run_id
    assert service.wait_for_run(run_id, 30).status.is_terminal
    return run_id


def test_the_failed_one_of_many_is_found(api: Any, orders: str) -> None:
    run = api.get(f"/api/runs/{orders}?step_status=failed").json
    assert [(step["path"], step["error"]["code"]) for step in run["steps"]] == [
        ("loop[30]/check", "wrong_one")
    ]
    assert run["steps_total"] == 1
    assert run["steps_by_status"] == {"succeeded": 40, "skipped": 39, "failed": 1}


def test_one_element_is_shown_alone_and_with_its_results(api: Any, orders: str) -> None:
    run = api.get(f"/api/runs/{orders}?path=loop[3]/&results=true").json
    assert [(step["path"], step["result"]) for step in run["steps"]] == [
        ("loop[3]/check", None),
        ("loop[3]/double", 6),
    ]
    assert run["steps_by_status"] == {"succeeded": 1, "skipped": 1}
    without = api.get(f"/api/runs/{orders}?path=loop[3]/").json["steps"]
    assert [step["result"] for step in without] == [None, None]


def test_pages_count_what_fits(api: Any, orders: str) -> None:
    query = "path=loop[&step_status=skipped,failed&max_steps=15&steps_after=30"
    page = api.get(f"/api/runs/{orders}?{query}").json
    assert len(page["steps"]) == 10
    assert page["steps_total"] == 40


def test_a_status_that_is_none_is_refused(api: Any, orders: str) -> None:
    refused = api.get(f"/api/runs/{orders}?step_status=broken")
    assert refused.status_code == 400
    assert "step_status" in refused.json["error"]
