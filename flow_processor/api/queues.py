"""Calls about queues: how full they are, items put there, failed ones, pause and resume."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from flask import Response, request
from pydantic import Field

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, InvalidJson, error_answers
from flow_processor.api.handlers import Body, OptionalBody, Parameters, answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller
from flow_processor.api.run_queries import By
from flow_processor.errors import Forbidden, InvalidRequest
from flow_processor.queues.backend import Purged
from flow_processor.service.queue_verbs import check_queue_name
from flow_processor.service.queue_views import (
    FailedItemDetail,
    FailedItems,
    ItemDone,
    ItemsPurged,
    ItemsPut,
    QueueDetail,
    QueueView,
)
from flow_processor.service.views import View

noun = Noun("queues", "/api/queues", "Items that wait to start flows.")

MAX_ITEMS = 10_000
"""So many items one call may bring."""
MAX_KEY_LENGTH = 200
"""Characters of an `Idempotency-Key`."""

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A text of the caller's that stands for these items: the same call again with it, after a broken "
    "connection say, gives the same ids and starts nothing anew. Other items with it are refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
}
_RETRY_AFTER = {
    "429": {"headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}}
}


class QueuePath(Parameters):
    """Which queue."""

    name: str
    """Its name."""


class ItemPath(QueuePath):
    """Which failed item."""

    item_id: str
    """Its id, as `GET /api/queues/{name}/failed` shows it."""


class FailedQuery(Parameters):
    """Which failed items."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    """How many items a page holds."""
    cursor: str | None = None
    """`next_cursor` of the page before."""


class PurgeQuery(Parameters):
    """Which items are to go."""

    state: Purged
    """`waiting`: those that no flow has yet. `failed`: those that were given up. `done`: those that are kept to be
    looked at. There is no default, and no word for all of them."""


class WhoBody(OptionalBody):
    """Who does it."""

    by: By = "api"
    """Who says so, for the log, and for whoever looks at a paused queue."""


class ItemsBody(Body):
    """What to put on the queue: `item`, or `items`."""

    item: Any = None
    """One item: any JSON value, also a list. It becomes the `__input__` of the runs that it starts."""
    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Several, each an item of its own: all of them are put there, or none."""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    """9 comes first, 0 last."""

    @property
    def values(self) -> list[Any]:
        """What each item holds. Raises InvalidRequest."""
        if len({"item", "items"} & self.model_fields_set) != 1:
            raise InvalidRequest("body: give either 'item' (any JSON value) or 'items' (a list of them)")
        return [self.item] if self.items is None else self.items


class Queues(View):
    """All queues."""

    queues: list[QueueView]
    """Those that flows listen to and those that are there, by name."""


@noun.get("", needs=Permission.READ, responses={200: Queues, **error_answers(errors.StoreUnavailable)})
@handler
def queues() -> Response:
    """List the queues: how many items wait, are in work, have failed; who listens; what is wrong."""
    return answer(Queues.model_construct(queues=service().queues.all()))


@noun.get(
    "/<name>",
    needs=Permission.READ,
    responses={200: QueueDetail, **error_answers(errors.QueueNotFound, errors.StoreUnavailable)},
)
@handler
def queue(path: QueuePath) -> Response:
    """Show one queue, with its limits and each of its listeners."""
    return answer(service().queues.one(path.name))


@noun.post(
    "/<name>",
    needs=Permission.RUN,
    description="202 once they are safely kept. A queue to which no flow listens takes them too: `listeners` is empty "
    "then, and they wait. 429 `queue_full` where too many wait already: nothing was put there.",
    responses={
        202: ItemsPut,
        **error_answers(
            InvalidJson,
            BodyTooLarge,
            errors.ItemTooLarge,
            errors.IdempotencyConflict,
            errors.QueueFull,
            errors.QueueUnavailable,
            errors.StoreUnavailable,
            errors.DiskFull,
            errors.ShuttingDown,
        ),
    },
    more={"parameters": [_KEY], "responses": _RETRY_AFTER},
)
@handler
def put(path: QueuePath, body: ItemsBody) -> Response:
    """Put an item on a queue, or several: each starts every flow that listens, once."""
    check_queue_name(path.name)
    _check_listeners(path)
    made = service().queues.put(path.name, body.values, priority=body.priority, key=_key())
    return answer(made, 202, headers={"Location": f"/api/queues/{quote(path.name)}"})


@noun.get(
    "/<name>/failed",
    needs=Permission.READ,
    responses={200: FailedItems, **error_answers(errors.QueueNotFound, errors.QueueUnavailable)},
)
@handler
def failed(path: QueuePath, query: FailedQuery) -> Response:
    """List the failed items: why, after how many attempts, and the last run of each flow that gave them up."""
    return answer(service().queues.failed(path.name, limit=query.limit, cursor=query.cursor))


_ITEM_ERRORS = (errors.QueueNotFound, errors.ItemNotFound, errors.QueueUnavailable, errors.StoreUnavailable)


@noun.get(
    "/<name>/failed/<item_id>",
    needs=Permission.READ,
    responses={200: FailedItemDetail, **error_answers(*_ITEM_ERRORS)},
)
@handler
def failed_item(path: ItemPath) -> Response:
    """Show one failed item with what it holds."""
    return answer(service().queues.failed_item(path.name, path.item_id))


@noun.post(
    "/<name>/failed/<item_id>/retry",
    needs=Permission.RUN,
    responses={202: ItemDone, **error_answers(InvalidJson, *_ITEM_ERRORS, errors.ItemInWork)},
)
@handler
def retry(path: ItemPath, body: WhoBody) -> Response:
    """Begin again with a failed item, for the flows that have given it up; all attempts are before it again."""
    _check_listeners(path)
    return answer(service().queues.retry(path.name, path.item_id, by=caller().by(body.by)), 202)


@noun.delete(
    "/<name>/failed/<item_id>",
    needs=Permission.RUN,
    responses={200: ItemDone, **error_answers(*_ITEM_ERRORS, errors.ItemInWork)},
)
@handler
def delete(path: ItemPath) -> Response:
    """Delete a failed item. Its runs stay in the history."""
    _check_listeners(path)
    return answer(service().queues.delete(path.name, path.item_id, by=caller().by("api")))


@noun.delete(
    "/<name>/items",
    needs=Permission.OPERATE,
    responses={200: ItemsPurged, **error_answers(*_ITEM_ERRORS)},
)
@handler
def purge(path: QueuePath, query: PurgeQuery) -> Response:
    """Delete all items of a queue that wait, have failed, or are done. What is in work is never touched."""
    return answer(service().queues.purge(path.name, query.state, by=caller().by("api")))


_PAUSE_ANSWERS: dict[int, Any] = {
    200: QueueDetail,
    **error_answers(InvalidJson, errors.QueueNotFound, errors.StoreUnavailable, errors.DiskFull),
}


@noun.post("/<name>/pause", needs=Permission.RUN, responses=_PAUSE_ANSWERS)
@handler
def pause(path: QueuePath, body: WhoBody) -> Response:
    """Let no more items of a queue begin, also after a restart. What is in work goes on; items are still taken."""
    _check_listeners(path)
    return answer(service().queues.set_paused(path.name, True, by=caller().by(body.by)))


@noun.post("/<name>/resume", needs=Permission.RUN, responses=_PAUSE_ANSWERS)
@handler
def resume(path: QueuePath, body: WhoBody) -> Response:
    """Let the items of a queue begin again."""
    _check_listeners(path)
    return answer(service().queues.set_paused(path.name, False, by=caller().by(body.by)))


def _check_listeners(path: QueuePath) -> None:
    """Raises Forbidden where the caller may not act on every flow that gets the queue's items."""
    if not caller().flows:
        return
    listeners = service().queues.entitled(path.name)
    if not listeners:  # any flow may listen tomorrow
        message = (
            f"the token '{caller().name}' is for some flows only ({', '.join(caller().flows)}), "
            f"and none of them listens to the queue '{path.name[:100]}'"
        )
        raise Forbidden(message, details={"queue": path.name[:100], "flows": list(caller().flows)})
    for flow in listeners:
        caller().check_flow(flow)


def _key() -> str | None:
    """The caller's `Idempotency-Key`. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key.strip()) <= MAX_KEY_LENGTH:
        raise InvalidRequest(f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} characters")
    return key.strip()
