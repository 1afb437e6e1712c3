"""What the tests of the API share."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from flask import Flask

TOKEN = "a-token-of-32-characters-for-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def basic(password: str) -> dict[str, str]:
    """What a browser sends when a person types the password."""
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


def every_route(app: Flask) -> Iterator[tuple[str, str]]:
    """(method, path) of all routes of the app, with `x` for path parameters."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD"}):
            yield method, re.sub(r"<[^>]+>", "x", rule.rule)
