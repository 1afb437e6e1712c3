"""Webhooks: calls from outside that start flows. They carry no token of the API, but a proof of their own."""

from __future__ import annotations

from flask import Response, request
from pydantic import ConfigDict

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, error_answers
from flow_processor.api.handlers import Parameters, answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.service.webhooks import Received

noun = Noun("hooks", "/hooks", "Calls from outside that start flows.")


class HookPath(Parameters):
    """Which webhook."""

    name: str
    """Its name, as the flow file says it."""


class AnyQuery(Parameters):
    """Nothing: what a sender adds to the address is left alone."""

    model_config = ConfigDict(extra="ignore")


@noun.post(
    "/<name>",
    needs=None,
    description=(
        "The body is whatever the sender sends. Instead of the token a call has a signature of it, or a token of the "
        "hook's own, in the header that the flow file names. 202 once the run is safely recorded; 200 with the same "
        "run where this delivery came before. A hook that does not exist, a proof that is wrong, and a hook whose "
        "secret is missing are all 401; what else is wrong with a hook is told only to who has proven the call."
    ),
    responses={
        200: Received,
        202: Received,
        **error_answers(
            errors.FlowRunning,
            BodyTooLarge,
            errors.DeliveryTooLarge,
            errors.WebhookUnavailable,
            errors.ShuttingDown,
            errors.StoreUnavailable,
            errors.DiskFull,
        ),
    },
    more={
        "requestBody": {
            "description": "Whatever the sender sends; its Content-Type says how the flow sees it.",
            "content": {"application/json": {"schema": {}}, "*/*": {"schema": {}}},
        }
    },
)
@handler
def receive(path: HookPath, query: AnyQuery) -> Response:
    """Start the flow that has this webhook."""
    body, sender = request.get_data(cache=False), request.remote_addr or "an unknown address"
    received = service().receive_webhook(path.name, request.headers, body, sender=sender)
    return answer(received, 200 if received.repeated else 202)
