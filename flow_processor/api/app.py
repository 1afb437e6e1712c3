"""The API as a WSGI app over a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from flow_processor.api import auth, docs, errors, flows, headers, health, locks, runs
from flow_processor.api.handlers import SERVICE_KEY
from flow_processor.api.waiting import WAITING_ROOM_KEY, WaitingRoom
from flow_processor.version import VERSION

if TYPE_CHECKING:
    from flow_processor.service import Service

_DESCRIPTION = (
    "Launch flows, schedule them, look at their runs. Every call needs `Authorization: Bearer <token>` "
    "(API_TOKEN), but `/healthz`. Every error is `{error, code, …}`; codes are stable."
)


def create_app(service: Service) -> OpenAPI:
    """The API over a service, which the caller starts and stops."""
    settings = service.settings
    app = OpenAPI(
        __name__,
        info=Info(title="Octospool", version=VERSION, description=_DESCRIPTION),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        # Only its schema is wanted here: handlers validate for themselves and answer in this shape.
        validation_error_model=errors.ErrorAnswer,
        validation_error_status=400,
        doc_ui=False,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.api.max_body
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the document in the order it was written in
    # OPTIONS is for preflights alone, which headers.py answers; any other is a 405.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # One address, one route: '//' is not cleaned up into something else behind the token check.
    app.url_map.merge_slashes = False
    app.extensions[SERVICE_KEY] = service
    app.extensions[WAITING_ROOM_KEY] = WaitingRoom(settings.api.threads // 2)
    headers.install(app, origins=settings.api.cors_origins)
    auth.protect(
        app,
        token=settings.api_token,
        host=settings.api_host,
        allowed_hosts=settings.api.allowed_hosts,
    )
    errors.install(app)
    for module in (flows, runs, locks, health):
        app.register_api(module.blueprint)
    app.register_blueprint(docs.docs_blueprint(app, protocols=settings.api_protocols))
    return app
