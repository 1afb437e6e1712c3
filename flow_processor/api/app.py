"""The API as a WSGI app over a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from flow_processor.api import (
    auth,
    code,
    docs,
    errors,
    flow_files,
    flow_stats,
    flows,
    headers,
    health,
    hooks,
    locks,
    queues,
    runs,
    schedules,
)
from flow_processor.api.handlers import SERVICE_KEY
from flow_processor.api.waiting import WAITING_ROOM_KEY, WaitingRoom

if TYPE_CHECKING:
    from flow_processor.service import Service

NOUNS = (
    flows.noun,
    flow_files.noun,
    flow_stats.noun,
    runs.noun,
    schedules.noun,
    queues.noun,
    locks.noun,
    code.noun,
    hooks.noun,
    health.noun,
)
"""All calls but those to the documentation."""


def create_app(service: Service) -> Flask:
    """The API over a service, which the caller starts and stops."""
    settings = service.settings
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.api.max_body
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the document in the order it was written in
    # OPTIONS is for preflights alone, which headers.py answers; any other is a 405.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # One address, one route: '//' is not cleaned up into something else behind the token check.
    app.url_map.merge_slashes = False
    app.extensions[SERVICE_KEY] = service
    app.extensions[WAITING_ROOM_KEY] = WaitingRoom(settings.api.threads // 2)
    headers.install(app, origins=settings.api.cors_origins)
    auth.protect(app, NOUNS, settings)
    errors.install(app)
    for noun in NOUNS:
        app.register_blueprint(noun.routes)
    app.register_blueprint(docs.docs_blueprint(NOUNS, protocols=settings.api_protocols))
    return app
