"""Is it alive, and can it do its work?"""

from collections.abc import Callable
from typing import Any

from flow_processor.service import Service
from tests.engine.world import until


def test_it_is_alive(api: Any) -> None:
    answer = api.get("/healthz", token=False)
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_it_is_ready_and_says_why(api: Any) -> None:
    api.launch(path="echo.yml", wait=30)  # its worker answers, so there is one
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json["ready"]) == (200, True), answer.json
    assert {check["name"] for check in answer.json["checks"]} == {
        "accepting",
        "store",
        "data",
        "scheduler",
        "workers",
        "autostart",
        "webhooks",
        "files",
        "queues",
        "outbox",
        "runs",
    }


def test_runs_that_wait_are_counted_as_such(api: Any, service: Service) -> None:
    api.launch(path="long.yml")
    until(lambda: api.get("/api/runs?status=waiting").json["runs"], "it waits")
    until(lambda: service.engine.parked_count() == 1, "it has no worker")
    (workers,) = [check for check in api.get("/readyz").json["checks"] if check["name"] == "workers"]
    assert workers["message"] == "0 runs under way, 0 queued for a worker, 1 waiting without one"


def test_a_daemon_that_was_not_started_is_not_ready(api_with: Callable[..., Any]) -> None:
    answer = api_with().get("/readyz")
    assert (answer.status_code, answer.json["ready"]) == (503, False)
    failed = {check["name"] for check in answer.json["checks"] if not check["ok"]}
    assert "scheduler" in failed
    assert "store" not in failed
