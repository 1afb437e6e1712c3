"""The API over the real service with a data folder and workers of its own: without a network (`api`), and on
a port (`serve_on_a_port`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flow_processor.api.server import ApiServer
from flow_processor.service import Service
from flow_processor.settings import Settings
from tests.api.support import FLOWS, TOKEN, Api


def settings_in(data: Path, config: str = "", **environ: str) -> Settings:
    """Settings of a data folder; `config` is the text of its config.yml."""
    data.mkdir(exist_ok=True)
    (data / "config.yml").write_text(config, encoding="utf-8")
    return Settings.load({"DATA_PATH": str(data), "API_TOKEN": TOKEN, "API_PORT": "0", **environ}, base=data)


@contextmanager
def started_service(
    data: Path, flows: Mapping[str, str], config: str = "", **environ: str
) -> Iterator[Service]:
    """A started service over a data folder with these flow files (path → text) beside what is there."""
    for name, text in flows.items():
        path = data / "flows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    service = Service(settings_in(data, config, **environ))
    service.start()
    try:
        yield service
    finally:
        service.stop(0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A started service with the flows of `FLOWS`, one for all tests of a file."""
    with started_service(tmp_path_factory.mktemp("octospool") / "data", FLOWS) as service:
        yield service


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    """The app without a network. Runs that a test leaves behind are cancelled."""
    api = Api(service)
    yield api
    for run in api.get("/api/runs?status=queued,running,waiting&limit=500").json["runs"]:
        api.post(f"/api/runs/{run['run_id']}/cancel")
        api.get(f"/api/runs/{run['run_id']}?wait=30")


@pytest.fixture
def api_with(tmp_path: Path) -> Callable[..., Api]:
    """An API with other settings, over a service that was not started."""
    return lambda config="", **environ: Api(Service(settings_in(tmp_path / "data", config, **environ)))


@pytest.fixture
def certificate() -> dict[str, str]:
    """The variables of a daemon with a certificate for localhost."""
    folder = Path(__file__).parent / "certificate"
    return {"TLS_CERT": str(folder / "cert.pem"), "TLS_KEY": str(folder / "key.pem")}


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
