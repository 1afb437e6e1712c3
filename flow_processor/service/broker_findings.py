"""What `octospool doctor` finds at the message broker, where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flow_processor.errors import FlowNotFound, QueueUnavailable
from flow_processor.flow_files import FlowLibrary
from flow_processor.service.findings import Finding
from flow_processor.service.own_code import OwnCode, flow_library
from flow_processor.settings import Settings

_Listener = tuple[str, str]
"""(queue, flow)"""


def at_broker(settings: Settings, facts: list[str], *, in_use: bool) -> Iterator[Finding]:
    """Does the broker answer, has each flow that listens its queue there, and did items fail?"""
    if not settings.broker_url:
        return
    from flow_processor.queues.amqp_address import broker_address  # its package is an extra
    from flow_processor.queues.amqp_link import Link, speaking

    address = broker_address(settings.broker_url)
    try:
        link = Link(address, name="octospool doctor", heartbeat=False)
        try:
            with speaking(address):
                facts.append(f"the message broker {address} answers: {link.product}")
                channel, host = link.channel(), address.virtual_host
                yield from list(_in_queues(settings, channel, facts, virtual_host=host, in_use=in_use))
        finally:
            link.close()
    except QueueUnavailable as error:
        way_out = "until that is put right, queues stand still; what steps send waits in the store"
        yield Finding(error.code, f"{error.message}; {way_out}")


def _in_queues(
    settings: Settings, channel: Any, facts: list[str], *, virtual_host: str, in_use: bool
) -> Iterator[Finding]:
    from flow_processor.queues.amqp_known import KnownListeners
    from flow_processor.queues.amqp_link import depth
    from flow_processor.queues.amqp_names import failed_queue, listener_queue

    known = KnownListeners(settings.data_path / "broker.json")
    before = {(queue, flow) for queue in known.queues() for flow in known.flows(queue)}
    listening, left = _listeners(settings, before)
    for queue, flow in sorted(listening):
        name = listener_queue(queue, flow)
        if depth(channel, name) is not None:
            continue
        if not in_use and (queue, flow) not in before:
            facts.append(f"the next start of the daemon makes '{name}' at the broker: {flow} listens anew")
            continue
        who = "the daemon makes it again; GET /readyz says what hinders it" if in_use else "start the daemon"
        message = f"{flow} listens to '{queue}', but its queue '{name}' is not at the broker: it gets nothing; {who}"
        yield Finding("broker_queue_missing", message)
    for queue, flow in sorted(left):
        name = listener_queue(queue, flow)
        if (waiting := depth(channel, name)) is not None:
            message = (
                f"{flow} listens to '{queue}' no more, but its queue at the broker gets every item ({waiting} by now): "
                f"let it listen again, or delete it: rabbitmqctl -p '{virtual_host}' delete_queue '{name}'"
            )
            yield Finding("broker_queue_left", message)
    for queue in sorted({queue for queue, _flow in before | listening}):
        if failed := depth(channel, failed_queue(queue)):
            message = f"dead letters lie in the queue '{queue}' ({failed}); look, then retry or delete them"
            yield Finding("dead_letters", f"{message}: octospool queue failed {queue}")


def _listeners(settings: Settings, before: set[_Listener]) -> tuple[set[_Listener], set[_Listener]]:
    """Who listens now, and who of those before does no more."""
    code = OwnCode(settings)
    try:
        library = flow_library(settings, code=code.use)
        flows = library.listening().items()
        now = {(flow.spec.queue.name, path) for path, flow in flows if flow.spec.queue is not None}
        return now, {one for one in before - now if _listens_no_more(library, one[1])}
    finally:
        code.close()


def _listens_no_more(library: FlowLibrary, flow: str) -> bool:
    """A file that is wrong now keeps its right to what comes meanwhile."""
    try:
        return library.status(flow).valid
    except FlowNotFound:
        return True
