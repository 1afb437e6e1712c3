"""The OpenAPI document, made from the handlers, and a page to try it out, without anything from outside."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import flask_openapi3_swagger
from flask import Blueprint, Response, abort, jsonify, request, send_file

from flow_processor.api.errors import ErrorAnswer
from flow_processor.api.nouns import Noun, openapi_document
from flow_processor.version import VERSION

_DESCRIPTION = (
    "Launch flows, schedule them, look at their runs. Every call needs `Authorization: Bearer <token>` "
    "(API_TOKEN), but `/healthz`. Every error is `{error, code, …}`; codes are stable."
)

_OWN = Path(__file__).parent / "static"
_SWAGGER = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"

FILES = {
    "docs.js": _OWN / "docs.js",
    "swagger-ui.css": _SWAGGER / "css" / "swagger-ui.css",
    "swagger-ui-bundle.js": _SWAGGER / "js" / "swagger-ui-bundle.js",
    "swagger.svg": _SWAGGER / "images" / "swagger.svg",
}
"""All that the page may load, by the name in its address. Nothing else of the disk is reachable."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets style attributes and shows data: images; scripts come from this daemon only."""


def docs_blueprint(nouns: Sequence[Noun], *, protocols: Sequence[str]) -> Blueprint:
    """The documentation of all these calls; `protocols` (http, https) make the document's servers."""
    blueprint = Blueprint("docs", __name__, url_prefix="/api")
    lock = threading.Lock()

    @cache
    def document() -> dict[str, Any]:
        return openapi_document(
            nouns, title="Octospool", version=VERSION, description=_DESCRIPTION, error=ErrorAnswer
        )

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        with lock:  # it is made at the first call; two first calls need not make it twice
            made = document()
        servers = [{"url": f"{protocol}://{request.host}"} for protocol in protocols]
        return jsonify({**made, "servers": servers})

    @blueprint.get("/docs")
    def page() -> Response:
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return Response((_OWN / "docs.html").read_bytes(), headers=headers, mimetype="text/html")

    @blueprint.get("/docs/<name>")
    def file(name: str) -> Response:
        if name not in FILES:
            abort(404)
        # Asked for anew each time (answered by 304): after an upgrade no page may run on an old script.
        return send_file(FILES[name], max_age=0)

    return blueprint
