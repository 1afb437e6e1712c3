"""The API over a service: the app without a network (`api`), and on a port (`serve_on_a_port`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flow_processor import errors
from flow_processor.api import ApiServer, create_app
from flow_processor.run import RunStatus, Trigger
from flow_processor.service.views import (
    AddedFlow,
    Check,
    FlowFileView,
    LockView,
    LogLine,
    LogPage,
    Readiness,
    RunDetail,
    RunPage,
    RunSummary,
)
from flow_processor.settings import Settings
from tests.api.support import BEARER, TOKEN

NOW = datetime(2026, 11, 21, 7, 40, 6, 123000, UTC)


class FakeService:
    """A service whose runs end when the test says so. It knows flow1.yml, sub/flow2.yml and broken.yml."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.ready = True
        self.defect: Exception | None = None
        self.added: dict[str, AddedFlow] = {}
        self.held: dict[str, LockView] = {}
        self.lines: dict[str, list[LogLine]] = {}
        self._runs: dict[str, RunDetail] = {}
        self._changed = threading.Condition()

    def launch(
        self,
        path: str,
        *,
        data: Any = None,
        params: Mapping[str, Any] | None = None,
        trigger: Trigger = Trigger.API,
        by: str = "api",
    ) -> RunSummary:
        """A queued run; the flow is held until it ends."""
        if self.defect is not None:
            raise self.defect
        self.calls.append(
            ("launch", {"path": path, "data": data, "params": params, "trigger": trigger, "by": by})
        )
        self._check(path)
        if path in self.held:
            raise errors.FlowRunning(
                f"{path} is running", details={"run_id": self.held[path].run_id, "flow": path}
            )
        run_id = f"20261121T074006{len(self._runs):03d}-aaaaaaaa"
        self.held[path] = LockView(
            filename=path.replace(".yml", ".lock"), flow=path, timestamp=NOW, run_id=run_id
        )
        run = detail(run_id, path, trigger)
        self._runs[run_id] = run
        return summary(run)

    def end(self, run_id: str, status: RunStatus = RunStatus.SUCCEEDED) -> None:
        """The run ends, and those who wait for it see it."""
        with self._changed:
            run = self._runs[run_id]
            self._runs[run_id] = run.model_copy(
                update={"status": status, "ended_at": NOW, "data": {"out": 1}}
            )
            self.held.pop(run.flow, None)
            self._changed.notify_all()

    def log(self, run_id: str, text: str) -> None:
        """The run writes a line to its log."""
        with self._changed:
            lines = self.lines.setdefault(run_id, [])
            lines.append(LogLine(cursor=len(lines) + 1, at=NOW, level="info", step="a", message=text))
            self._changed.notify_all()

    def wait_for_run(self, run_id: str, seconds: float) -> RunDetail:
        """The run when it has ended, or as it is after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.run(run_id).status.is_terminal, timeout=seconds)
            return self.run(run_id)

    def run(self, run_id: str, *, max_steps: int = 1000) -> RunDetail:
        """The run as it is."""
        if run_id not in self._runs:
            raise errors.RunNotFound(f"there is no run {run_id}")
        return self._runs[run_id]

    def runs(self, **filters: Any) -> RunPage:
        """All runs; the filters are written down."""
        self.calls.append(("runs", filters))
        return RunPage(runs=[summary(run) for run in self._runs.values()], next_cursor=None)

    def run_logs(self, run_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0) -> LogPage:
        """Lines after the cursor; waits for one."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.run(run_id).status.is_terminal or len(self.lines.get(run_id, [])) > after,
                timeout=wait_seconds,
            )
            lines = self.lines.get(run_id, [])[after : after + limit]
            complete = self.run(run_id).status.is_terminal
            return LogPage(lines=lines, next_cursor=after + len(lines), complete=complete)

    def cancel_run(self, run_id: str, *, by: str) -> RunSummary:
        """The run ends at once."""
        if self.run(run_id).status.is_terminal:
            raise errors.RunHasEnded(f"{run_id} has ended")
        self.end(run_id, RunStatus.CANCELLED)
        return summary(self.run(run_id))

    def delete_run(self, run_id: str) -> None:
        """Forget an ended run."""
        if not self.run(run_id).status.is_terminal:
            raise errors.RunIsLive(f"{run_id} is live")
        del self._runs[run_id]

    def delete_runs(self, *, older_than_days: float | None, status: tuple[RunStatus, ...]) -> int:
        """Forget ended runs; the filters are written down."""
        if older_than_days is None and not status:
            raise errors.InvalidRequest("say which runs: older_than_days, status or both")
        self.calls.append(("delete_runs", {"older_than_days": older_than_days, "status": status}))
        return 3

    def add_flow(self, path: str) -> AddedFlow:
        """Put a flow into the scheduler."""
        self._check(path)
        if any(flow.path == path for flow in self.added.values()):
            raise errors.FlowAlreadyAdded(f"{path} is added already")
        flow = AddedFlow(
            flow_id=f"flow-{len(self.added)}",
            path=path,
            origin="api",
            cron="0 6 * * *",
            every_seconds=None,
            timezone="UTC",
            next_run=NOW,
            last_run=None,
            last_run_id=None,
            running=False,
            problem=None,
        )
        self.added[flow.flow_id] = flow
        return flow

    def added_flows(self) -> list[AddedFlow]:
        """The flows of the scheduler."""
        return list(self.added.values())

    def remove_flow(self, flow_id: str) -> None:
        """Take a flow out of the scheduler."""
        if self.added.pop(flow_id, None) is None:
            raise errors.ScheduleNotFound(f"no flow was added as {flow_id}")

    def locks(self) -> list[LockView]:
        """The locks that are held."""
        return list(self.held.values())

    def remove_lock(self, name: str) -> LockView:
        """Let go of one lock."""
        for flow in list(self.held):
            if name in (flow, flow.removesuffix(".yml")):
                return self.held.pop(flow)
        raise errors.LockNotFound(f"no lock is held for {name}")

    def remove_locks(self) -> list[LockView]:
        """Let go of all locks."""
        held, self.held = list(self.held.values()), {}
        return held

    def flow_files(self) -> list[FlowFileView]:
        """One broken file."""
        problem = {"code": "unknown_key", "file": "broken.yml", "line": 3, "column": 5, "key": "stepz"}
        return [
            FlowFileView(
                path="broken.yml",
                valid=False,
                name=None,
                description=None,
                cron=None,
                every_seconds=None,
                problems=[problem],
                last_good_in_force=False,
            )
        ]

    def readiness(self) -> Readiness:
        """Ready, unless the test says otherwise."""
        return Readiness(
            ready=self.ready, checks=[Check(name="store", ok=self.ready, message="as the test says")]
        )

    def _check(self, path: str) -> None:
        if path == "broken.yml":
            problem = errors.Problem(
                "unknown_key", path, 3, 5, "stepz", "unknown key", "did you mean 'steps'?"
            )
            raise errors.SpecError([problem])
        if path not in ("flow1.yml", "sub/flow2.yml"):
            raise errors.FlowNotFound(f"there is no flow {path}")


def detail(run_id: str, flow: str, trigger: Trigger) -> RunDetail:
    return RunDetail(
        run_id=run_id,
        flow=flow,
        status=RunStatus.QUEUED,
        trigger=trigger,
        created_at=NOW,
        started_at=None,
        ended_at=None,
        duration_seconds=None,
        reason=None,
        flow_hash="0" * 64,
        error=None,
        steps=[],
        steps_total=0,
        data=None,
    )


def summary(run: RunDetail) -> RunSummary:
    return RunSummary(**{name: getattr(run, name) for name in RunSummary.model_fields})


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a data folder of its own; `config` is the text of its config.yml."""

    def make(config: str = "", **environ: str) -> Settings:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        (data / "config.yml").write_text(config, encoding="utf-8")
        return Settings.load(
            {"DATA_PATH": str(data), "API_TOKEN": TOKEN, "API_PORT": "0", **environ}, base=tmp_path
        )

    return make


@pytest.fixture
def certificate() -> dict[str, str]:
    """The variables of a daemon with a certificate for localhost."""
    folder = Path(__file__).parent / "certificate"
    return {"TLS_CERT": str(folder / "cert.pem"), "TLS_KEY": str(folder / "key.pem")}


@pytest.fixture
def service(make_settings: Callable[..., Settings]) -> FakeService:
    return FakeService(make_settings())


class Api:
    """The app without a network; every call carries the token."""

    def __init__(self, service: Any):
        self.app = create_app(service)
        self._client = self.app.test_client()

    def call(self, method: str, path: str, *, token: bool = True, **options: Any) -> Any:
        """The answer of one call."""
        headers = {**(BEARER if token else {}), **options.pop("headers", {})}
        if path.startswith("//"):  # the test client would take what follows for a host
            options["environ_overrides"], path = {"PATH_INFO": path}, "/"
        return self._client.open(path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        """GET it."""
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        """POST it."""
        return self.call("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        """DELETE it."""
        return self.call("DELETE", path, **options)

    def launch(self, **body: Any) -> Any:
        """Launch a flow."""
        return self.post("/api/flows/launch", json=body)


@pytest.fixture
def api(service: FakeService) -> Api:
    return Api(service)


@pytest.fixture
def api_with(make_settings: Callable[..., Settings]) -> Callable[..., Api]:
    """An API with other settings."""
    return lambda config="", **environ: Api(FakeService(make_settings(config, **environ)))


@pytest.fixture
def serve_on_a_port() -> Iterator[Callable[[Any], ApiServer]]:
    """Serve a service on a free port until the test ends."""
    servers: list[ApiServer] = []

    def start(service: Any) -> ApiServer:
        server = ApiServer(service)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
