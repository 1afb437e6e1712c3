"""Anything in any order, over a real daemon, against a plain model of what each run may be.

Launch, cancel, delete, resume, retry, signal, edit; a restart, a kill of the daemon alone, of the daemon with its
workers. After each step no run is what it may not be; at the end every invariant of the data folder holds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import NUMBERS, PARALLEL, SUM, call, calls_by_run, sleep
from tests.acceptance.model import LIVE, Model, ModelRun
from tests.engine.counting_server import CountingServer

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="kill -9 and /proc are of Unix")

ENDS = {
    "quick": {"succeeded"},
    "sleeping": {"succeeded"},
    "posting": {"succeeded"},
    "failing": {"failed"},
    "edited": {"succeeded"},
    "waiting": set(),
}
"""How runs of each flow may end when nobody does anything to them. `waiting` alone holds a lock."""


def edited(version: int) -> str:
    """Says its version twice, so that a run that mixes two of them is seen."""
    say = "  - {{name: {name}, type: set_fact, set_fact: {{value: {version}}}}}\n"
    steps = say.format(name="first", version=version) + sleep(0.1) + say.format(name="last", version=version)
    return f"{PARALLEL}steps:\n{steps}"


class DaemonMachine(RuleBasedStateMachine):
    """Each example has a data folder of its own."""

    runs: Bundle[ModelRun] = Bundle("runs")
    looked_at: ClassVar[int] = 0
    """How many sequences were found to be right at their end."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.folder = Path(tempfile.mkdtemp(prefix="octospool-machine-"))
        self.server = CountingServer()
        self.server.think_seconds = 0.05
        self.daemon = DaemonProcess(self.folder / "data", max_workers=2)

    @initialize(target=runs)
    def start(self) -> MultipleResults[ModelRun]:
        """A run of each kind is there from the beginning. (Not in the constructor: what fails here is cleared up.)"""
        for kind, text in self.flows().items():
            self.daemon.write(f"{kind}.yml", text)
        self.daemon.start()
        return multiple(*(self.launch(kind) for kind in ENDS))

    def flows(self) -> dict[str, str]:
        """What can be launched."""
        bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no such luck\")'}}\n"
        wait = "  - {name: wait, type: wait, wait: {signal: go}}\n"
        return {
            "quick": f"{PARALLEL}steps:\n{NUMBERS}{SUM}",
            "sleeping": f"{PARALLEL}steps:\n{NUMBERS}{sleep(0.3)}{SUM}",
            "posting": f"{PARALLEL}steps:\n{NUMBERS}{call(self.server)}{SUM}",
            "held": f"{PARALLEL}steps:\n{call(self.server, folder='held')}{NUMBERS}",
            "failing": f"{PARALLEL}steps:\n{NUMBERS}{bad}",
            "waiting": f"steps:\n{NUMBERS}{wait}{SUM}",
            "edited": edited(1),
        }

    def ask(self, method: str, url: str, /, *allowed: int, **body: Any) -> Any:
        """One call, whose answer must have one of these statuses; its JSON with the status as `http`."""
        answer = self.daemon.call(method, url, **({"json": body} if body else {}))
        assert answer.status_code in allowed, f"{method} {url}: {answer.status_code} {answer.text}"
        found: Any = answer.json()
        return found | {"http": answer.status_code}

    def add(self, run_id: str, kind: str) -> ModelRun:
        """Note a run that was accepted."""
        run = ModelRun(run_id, kind, set(ENDS[kind]), self.model.version)
        self.model.runs[run_id] = run
        return run

    def look(self, run: ModelRun) -> dict[str, Any]:
        """The run as the daemon has it, which the model must allow."""
        found: dict[str, Any] = self.ask("GET", f"/api/runs/{run.run_id}", 200)
        status = found["status"]
        assert run.may_be(status), f"{run} is {status}: {found['error']}"
        run.seen = status
        return found

    # What people do.

    @rule(target=runs, kind=st.sampled_from(sorted(ENDS)))
    def launch_one(self, kind: str) -> ModelRun:
        """Of what a caller can launch."""
        return self.launch(kind)

    def launch(self, kind: str) -> ModelRun:
        """202; of the flow with a lock only while no other run of it is live."""
        others = [run for run in self.model.live() if run.kind == kind == "waiting"]
        found = self.ask("POST", "/api/flows/launch", 202, 409, path=f"{kind}.yml")
        if found["http"] == 409:
            assert found["code"] == "flow_running"
            holder = self.model.runs[found["run_id"]]
            assert holder.kind == kind == "waiting"
            return holder
        for run in others:
            self.look(run)
            assert run.seen not in LIVE, f"{run} has the lock, and {found['run_id']} runs too"
        return self.add(found["run_id"], kind)

    @rule(run=runs)
    def cancel(self, run: ModelRun) -> None:
        """It may end cancelled from now on; one that does nothing but wait must."""
        found = self.ask("POST", f"/api/runs/{run.run_id}/cancel", 202, 404, 409)
        if found["http"] == 202:
            run.ends.add("cancelled")
        else:
            assert found["code"] == ("run_not_found" if run.is_deleted else "run_has_ended")

    @rule(run=runs)
    def delete(self, run: ModelRun) -> None:
        """Only what has ended goes."""
        found = self.ask("DELETE", f"/api/runs/{run.run_id}", 200, 404, 409)
        if found["http"] == 409:
            assert found["code"] == "run_is_live"
            return
        assert (found["http"] == 404) is run.is_deleted
        assert run.is_deleted or run.ends, f"{run} was deleted, and cannot have ended"
        run.is_deleted = True
        self.ask("GET", f"/api/runs/{run.run_id}", 404)

    @rule(run=runs)
    def signal(self, run: ModelRun) -> None:
        """A run that waits for it goes on and succeeds; others take no notice."""
        found = self.ask("POST", f"/api/runs/{run.run_id}/signal", 202, 404, 409, name="go", data=7)
        if found["http"] == 202 and run.kind == "waiting":
            run.ends.add("succeeded")

    @rule(target=runs, run=runs)
    def retry(self, run: ModelRun) -> ModelRun:
        """A new run that may end as its flow does; only of what has ended with something to do again."""
        found = self.ask("POST", f"/api/runs/{run.run_id}/retry", 202, 404, 409, by="somebody")
        if found["http"] == 202:
            assert (found["retry_of"], found["attempt"] > 1) == (run.run_id, True)
            self.look(run)
            assert run.seen in ("failed", "cancelled"), f"{run} was tried again"
            again = self.add(found["run_id"], run.kind)
            again.version = run.version
            return again
        if found["http"] == 409:
            expected = {"run_is_live", "nothing_failed", "run_in_doubt"} | (
                {"flow_running"} if run.kind == "waiting" else set()
            )
            assert found["code"] in expected
        return run

    @rule()
    def edit(self) -> None:
        """Runs that are accepted from now on may see the new version; none sees two."""
        self.model.version += 1
        self.daemon.write("edited.yml", edited(self.model.version))

    # What the world does.

    @rule()
    def kill_the_daemon(self) -> None:
        """Its workers live on, so nothing is in doubt."""
        self.daemon.kill()
        self.daemon.start()

    @rule()
    def kill_all(self) -> None:
        """A power cut."""
        self.daemon.kill_with_workers()
        self.model.lose_everything()
        self.daemon.start()

    @rule()
    def restart(self) -> None:
        """As an upgrade does it."""
        assert self.daemon.terminate() == 0
        self.daemon.start()

    @rule(mode=st.sampled_from(["rerun", "skip", "value"]))
    def lose_a_call_and_resume(self, mode: str) -> None:
        """A power cut with a call under way: in doubt, until a person says what is to become of it."""
        run_id = self.daemon.launch("held.yml")
        self.server.wait_for_call(f"/held/{run_id}")
        self.kill_all()
        self.server.open_gate.set()
        assert self.daemon.until_ended(run_id)["status"] == "interrupted"
        self.ask("POST", f"/api/runs/{run_id}/resume", 400, by="somebody")
        told = {"mode": mode, "by": "somebody"} | ({"value": 7, "step": "call"} if mode == "value" else {})
        self.ask("POST", f"/api/runs/{run_id}/resume", 202, **told)
        run = self.daemon.until_ended(run_id)
        self.server.open_gate.clear()
        assert run["status"] == "succeeded", run["error"]
        assert run["data"].get("call") == 7 or mode != "value"
        assert self.server.calls[f"/held/{run_id}"] == (2 if mode == "rerun" else 1)
        self.ask("POST", f"/api/runs/{run_id}/resume", 409)

    # What must hold.

    @invariant()
    def no_run_is_what_it_may_not_be(self) -> None:
        """What has ended stays as it ended, and what was accepted is in history until somebody deletes it."""
        listed = {run["run_id"]: run for run in self.ask("GET", "/api/runs?limit=500", 200)["runs"]}
        for run in self.model.history():
            found = listed.pop(run.run_id)
            assert run.may_be(found["status"]), f"{run} is {found['status']}: {found['reason']}"
            run.seen = found["status"]
        assert {one["flow"] for one in listed.values()} <= {"held.yml"}, "a run that nobody has accepted"

    def teardown(self) -> None:
        """Let everything end that can, and look at what is left."""
        try:
            if sys.exc_info()[0] is None:  # else a step has failed, and that is what is to be told
                self.check_all()
        finally:
            self.server.close()
            self.daemon.end()
            shutil.rmtree(self.folder)

    def check_all(self) -> None:
        """The model, the flow data of runs that were edited under way, and the data folder."""
        self.until_all_have_ended()
        for run in self.model.history():
            found = self.look(run)
            if run.kind == "edited" and run.seen == "succeeded":
                assert found["data"]["first"] == found["data"]["last"] <= run.version
        may_wait = [run.run_id for run in self.model.never_ending()]
        assert len(self.model.live()) == len(may_wait)
        self.daemon.settle(waiting=may_wait)
        deleted = {run.run_id for run in self.model.runs.values() if run.is_deleted}
        posts = {key: times for key, times in calls_by_run(self.server).items() if key not in deleted}
        calls = {f"{kind}.yml": int(kind in ("posting", "held")) for kind in self.flows()}
        accepted = [*self.model.runs]
        invariants.check(
            self.daemon.data, accepted=accepted, deleted=deleted, waiting=may_wait, posts=posts, calls=calls
        )
        DaemonMachine.looked_at += 1

    def until_all_have_ended(self) -> None:
        """But those that nothing ends."""
        for run in self.model.live():
            if run.ends:
                self.daemon.until_ended(run.run_id)


def run_examples(count: int, steps: int, **more: Any) -> None:
    """So many sequences of so many steps each. Not shrunk: that would take hours."""
    before = DaemonMachine.looked_at
    chosen = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        **more,
    )
    run_state_machine_as_test(DaemonMachine, settings=chosen)
    assert DaemonMachine.looked_at - before >= count, "sequences were left before their end was looked at"


def test_whatever_happens_each_run_is_what_it_may_be() -> None:
    """The same few sequences each time; `make soak` has many others."""
    run_examples(2, 12, derandomize=True)


@pytest.mark.soak
def test_whatever_happens_for_a_long_time() -> None:
    """Other sequences each time, for about ten minutes."""
    run_examples(30, 25)
