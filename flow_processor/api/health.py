"""Is the daemon alive, and can it do its work?"""

from __future__ import annotations

from flask import Response

from flow_processor.api.errors import error_answers
from flow_processor.api.handlers import answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission
from flow_processor.service.views import Readiness, View

noun = Noun("health", "", "For supervisors and load balancers.")


class Alive(View):
    """The daemon answers."""

    status: str = "ok"
    """Always `ok`."""


@noun.get("/healthz", needs=None, responses={200: Alive, **error_answers()})
@handler
def healthz() -> Response:
    """Say that the daemon is alive. The only call that needs no token."""
    return answer(Alive())


@noun.get("/readyz", needs=Permission.READ, responses={200: Readiness, 503: Readiness, **error_answers()})
@handler
def readyz() -> Response:
    """Say whether the daemon can do its work: new runs taken, store writable, scheduler ticking, workers answering."""
    readiness = service().readiness()
    return answer(readiness, 200 if readiness.ready else 503)
