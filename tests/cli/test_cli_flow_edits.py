"""`octospool flows put`, `versions`, `restore`, and `octospool token`: over a daemon, and without one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flow_processor.api.server import ApiServer
from flow_processor.service import Service
from flow_processor.settings import Settings

Octospool = Callable[..., Result]


def says(value: int) -> str:
    return f"# kept\nsteps:\n  - {{name: out, type: set_fact, set_fact: {{value: {value}}}}}\n"


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Service]]:
    """Serve the folder from this process; `edit_flows` as config.yml says it."""
    started: list[tuple[Service, ApiServer]] = []

    def begin(*, edit_flows: bool) -> Service:
        (folder / "config.yml").write_text(f"api: {{edit_flows: {json.dumps(edit_flows)}}}\n")
        service = Service(Settings.load({"DATA_PATH": str(folder), "API_PORT": "0"}))
        server = ApiServer(service)
        service.start(api_url=server.url)
        server.start()
        started.append((service, server))
        return service

    yield begin
    for service, server in started:
        server.stop()
        service.stop(0)


@pytest.mark.parametrize("is_served", [True, False])
def test_a_flow_is_put_looked_at_and_brought_back(
    folder: Path, octospool: Octospool, serve: Callable[..., Service], is_served: bool
) -> None:
    """Whole, if it is right; overwritten only where that is said; the versions tell who and when."""
    if is_served:
        serve(edit_flows=True)
    new = folder.parent / "new.yml"
    new.write_text(says(1))
    made = octospool("flows", "put", "sub/a.yml", str(new))
    assert (made.exit_code, made.stderr) == (0, "sub/a.yml: new, version 1\n")
    assert (folder / "flows/sub/a.yml").read_text() == says(1)
    again = octospool("flows", "put", "sub/a.yml", "-", input=says(2))
    assert (again.exit_code, "there is a flow 'sub/a.yml' already" in again.stderr) == (1, True)
    wrong = octospool("flows", "put", "sub/a.yml", "-", "--replace", input="steps: []\nstepz: 1\n")
    assert (wrong.exit_code, "flows/sub/a.yml:2:1: stepz" in wrong.stderr) == (2, True)
    tried = octospool("flows", "put", "sub/a.yml", "-", "--dry", input=says(2))
    assert (tried.exit_code, "nothing was written" in tried.stderr) == (0, True)
    assert (folder / "flows/sub/a.yml").read_text() == says(1)
    assert octospool("flows", "put", "sub/a", "-", "--replace", input=says(2)).exit_code == 0
    back = octospool("flows", "restore", "sub/a", "1", "--json")
    assert (back.exit_code, json.loads(back.stdout)["version"]) == (0, 3)
    assert (folder / "flows/sub/a.yml").read_text() == says(1)
    listed = [line.split()[:3] for line in octospool("flows", "versions", "sub/a").stdout.splitlines()[1:]]
    assert [words[0] for words in listed] == ["3", "2", "1"]
    assert listed[0] == ["3", "(now)", "restored"]
    assert octospool("flows", "versions", "sub/a", "2").stdout == says(2)
    assert octospool("flows", "versions", "sub/a", "9").exit_code == 3


def test_a_daemon_that_is_not_told_to_changes_no_flows(
    folder: Path, octospool: Octospool, serve: Callable[..., Service]
) -> None:
    serve(edit_flows=False)
    refused = octospool("flows", "put", "a.yml", "-", input=says(1))
    assert (refused.exit_code, "edit_flows: true" in refused.stderr) == (77, True)
    assert not (folder / "flows/a.yml").exists()


def test_a_token_is_made_and_stored_nowhere(folder: Path, octospool: Octospool) -> None:
    """The lines that it prints are right in config.yml."""
    made = octospool("token")
    token = made.stdout.strip()
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = [line for line in made.stderr.splitlines() if line.startswith("  ")]
    (folder / "config.yml").write_text("\n".join(line[2:] for line in lines).replace("NAME", "ci"))
    settings = Settings.load({"DATA_PATH": str(folder)})
    assert [(one.name, one.digest.hex()) for one in settings.named_tokens] == [("ci", digest)]
    assert len(token) >= 43
    other: dict[str, Any] = json.loads(octospool("token", "--json").stdout)
    assert other["token"] != token
    assert other["sha256"] == hashlib.sha256(other["token"].encode()).hexdigest()
