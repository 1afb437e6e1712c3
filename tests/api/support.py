"""What the tests of the API share."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from flask import Flask

from flow_processor.api.app import create_app

TOKEN = "a-token-of-32-characters-for-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

FLOWS = {
    "echo.yml": "name: Echo\nsteps:\n  - {name: out, type: set_fact, set_fact: {value: '{{ __input__ }}'}}\n",
    "sub/echo.yml": "steps:\n  - {name: out, type: set_fact, set_fact: {value: 1}}\n",
    "long.yml": "steps:\n  - {name: rest, type: sleep, sleep: {seconds: 600}}\n",
    "sub/long.yml": "steps:\n  - {name: rest, type: sleep, sleep: {seconds: 600}}\n",
    "fails.yml": "steps:\n  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n",
    "talks.yml": "steps:\n"
    + "".join(f"  - {{name: say{n}, type: debug, debug: {{data_key: __input__}}}}\n" for n in range(3)),
    "daily.yml": "cron: 0 6 * * *\nsteps:\n  - {name: out, type: set_fact, set_fact: {value: 1}}\n",
    "broken.yml": "steps:\n  - {name: out, type: set_fact, set_fact: {valeu: 1}}\nstepz: []\n",
}
"""Flow files of the service under test."""


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


def basic(password: str) -> dict[str, str]:
    """What a browser sends when a person types the password."""
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


def every_route(app: Flask) -> Iterator[tuple[str, str]]:
    """(method, path) of all routes of the app, with `x` for path parameters, 1 for numbers."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD"}):
            yield method, re.sub(r"<[^>]+>", "x", re.sub(r"<int:[^>]+>", "1", rule.rule))


class OtherSettings:
    """A service as it is, but with other settings for its API."""

    def __init__(self, service: Any, **changes: Any):
        self._service = service
        self.settings = dataclasses.replace(service.settings, **changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)
