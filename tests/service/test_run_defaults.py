"""A run keeps the defaults that it started with; the next one, and a retry with the current flow, take those of now."""

from __future__ import annotations

from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from tests.engine.world import World, outline, until

FLOW = """
steps:
  - {name: go, type: wait, wait: {signal: go}}
  - {name: bad, type: jq, jq: {expression: 'error("no")'}}
"""
SUB = "steps:\n  - {name: sub, type: flow, flow: {path: failing.yml}}\n"
FAILING = "steps:\n  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"


def write_defaults(world: World, attempts: int) -> None:
    """data/defaults.yml with so many further tries, written by rename as the product's own writes are."""
    file = world.data / "new.yml"
    file.write_text(f"jq: {{retry: {{attempts: {attempts}, delay_seconds: 0}}}}\n")
    file.replace(world.data / "defaults.yml")


def tries(world: World, run_id: str) -> int:
    """How many attempts the failing step had."""
    run = world.wait(run_id)
    assert run.status is RunStatus.FAILED
    return len([path for path, *_ in outline(run) if path.endswith("bad")])


def test_a_run_under_way_keeps_its_defaults_and_a_retry_may_take_others(world: World) -> None:
    write_defaults(world, 1)
    world.write("waits.yml", FLOW)
    world.write("failing.yml", FAILING)
    run_id = world.launch("waits.yml")
    until(lambda: world.service.run(run_id).waiting, "it waits")
    write_defaults(world, 2)

    def is_taken_over() -> bool:
        found = world.service.library.launchable("waits.yml").spec.steps[1]
        return found.retry is not None and found.retry.attempts == 2

    until(is_taken_over, "the edit is in force")
    world.service.signal_run(run_id, "go", by="test")
    assert tries(world, run_id) == 2
    kept = world.service.retry_run(run_id, RetryWish(), by="test").run_id
    assert tries(world, kept) == 2
    current = world.service.retry_run(run_id, RetryWish(use_current_flow=True), by="test").run_id
    assert tries(world, current) == 3
    assert tries(world, world.launch(SUB)) == 3
