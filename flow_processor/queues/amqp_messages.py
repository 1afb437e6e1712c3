"""Items as messages of a broker, and messages of anybody as items."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from datetime import datetime
from typing import Any

from flow_processor.queues.content import ContentRefused, json_value, yaml_value
from flow_processor.queues.item import ITEM_ID, PRIORITIES, Item, new_item_id

NAME = "octospool-name"
PUT_AT = "octospool-put-at"
"""Headers of our own messages: the item's name; when it was put, in milliseconds (the protocol's own has seconds)."""

PERSISTENT = 2
_YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def properties_of(item: Item) -> dict[str, Any]:
    """What a message says of its item, beside the value."""
    headers: dict[str, Any] = {PUT_AT: int(item.put_at * 1000)}
    if item.name is not None:
        headers[NAME] = item.name
    return {
        "content_type": "application/json",
        "delivery_mode": PERSISTENT,
        "message_id": item.id,
        "timestamp": int(item.put_at),
        "priority": item.priority,
        "application_headers": headers,
    }


def body_of(item: Item) -> bytes:
    """The value, as JSON."""
    return json.dumps(item.value, ensure_ascii=False, separators=(",", ":")).encode()


def raw_body(message: Any) -> bytes:
    """The body as it was sent. (The library makes a text of an empty one.)"""
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def id_of(message: Any) -> str | None:
    """The id of the message's item; None where the sender gave none. One that no item can have becomes its hash."""
    given = message.properties.get("message_id")
    if not given:
        return None
    return given if ITEM_ID.fullmatch(given) else f"m-{hashlib.sha256(given.encode()).hexdigest()[:40]}"


def named(message: Any, now: datetime) -> Any:
    """A copy of a message without an id, with one."""
    given = {"timestamp": int(now.timestamp()), **message.properties}
    given.update(message_id=new_item_id(now), delivery_mode=PERSISTENT)
    return type(message)(raw_body(message), **given)


def item_of(message: Any, *, queue: str, now: float, max_bytes: int) -> Item:
    """The item that a message holds. Raises ContentRefused: `invalid_json`, `invalid_yaml`, `item_too_large`."""
    body = raw_body(message)
    if len(body) > max_bytes:
        text = (
            f"it has {len(body)} bytes; the queue '{queue}' takes {max_bytes} (max_item_bytes in config.yml)"
        )
        raise ContentRefused(text, code="item_too_large")
    return told_of(message, queue=queue, now=now, value=_value(message, body))


def told_of(message: Any, *, queue: str, now: float, value: Any = None) -> Item:
    """The item as the message's properties tell of it; `now` is in seconds since 1970."""
    said = message.properties
    headers = message.headers or {}
    priority = said.get("priority") or 0
    name = headers.get(NAME)
    return Item(
        id=id_of(message) or "",
        queue=queue,
        value=value,
        put_at=_put_at(headers.get(PUT_AT), said.get("timestamp"), now),
        name=name if isinstance(name, str) else None,
        priority=min(priority, PRIORITIES[-1]),
    )


def _put_at(milliseconds: Any, timestamp: Any, now: float) -> float:
    if isinstance(milliseconds, int):
        return milliseconds / 1000
    seconds = timestamp.timestamp() if hasattr(timestamp, "timestamp") else timestamp
    return float(seconds) if isinstance(seconds, int | float) else now


def _value(message: Any, body: bytes) -> Any:
    """As the content type says. Without one: JSON if it is that, else text if it is that, else bytes."""
    content_type = message.properties.get("content_type") or ""
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if kind.endswith(("/json", "+json")):
        return json_value(body)
    if kind in _YAML or kind.endswith("+yaml"):
        return yaml_value(body)
    if not kind:
        with contextlib.suppress(ContentRefused):
            return json_value(body)
    if not kind or kind.startswith("text/"):
        latin = parameters.partition("charset=")[2].split(";")[0].strip(" \"'") in ("iso-8859-1", "latin1")
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode("latin-1" if latin else "utf-8")
    return {
        "base64": base64.b64encode(body).decode(),
        "size": len(body),
        "content_type": content_type or None,
    }
