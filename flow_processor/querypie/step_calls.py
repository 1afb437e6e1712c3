"""The calls of a step, as its options and what surrounds it have them."""

from __future__ import annotations

from collections.abc import Callable

from flow_processor.errors import StepCancelled, StepError, StepTimeout
from flow_processor.paths import inside
from flow_processor.querypie.access import Access, Voice, token_of
from flow_processor.querypie.calls import Calls
from flow_processor.querypie.client import Client
from flow_processor.querypie.options import QueryPieOptions
from flow_processor.querypie.wanted import rendered
from flow_processor.spec.step import RetrySpec
from flow_processor.step import JsonValue, StepContext


def calls_of(
    options: QueryPieOptions,
    context: StepContext,
    once: Callable[[Callable[[bool], JsonValue]], JsonValue],
) -> Calls:
    """`once`: see `Voice`. Raises StepError for options and secrets that come to nothing usable."""
    access = Access(
        base_url=rendered(context, "base_url", options.base_url) or "",
        token=token_of(context.secret(options.secret)),
        auth_prefix=options.auth_prefix,
        timeout_seconds=options.timeout_seconds,
        verify=_verify(options, context),
        retry=options.retry or RetrySpec(),
        show_response=options.show_response,
    )
    voice = Voice(
        log=lambda message, level: context.log(message, level=level),
        wait=lambda seconds: _wait(context, seconds),
        remaining=context.remaining_seconds,
        redacted=context.redacted,
        run_id=context.run_id,
        begun_before=context.begun_before,
        once=once,
    )
    return Calls(Client(access, voice), settle_seconds=options.settle_seconds)


def _wait(context: StepContext, seconds: float) -> None:
    """Short, and in this worker: a step that may run only once must not be left in the middle."""
    left = context.remaining_seconds()
    is_too_long = left is not None and left <= seconds
    if context.stop.wait(left if is_too_long else seconds):
        raise StepCancelled("the run ended while QueryPie was waited for")
    if is_too_long:
        raise StepTimeout(f"step '{context.step_name}' did not end within its time limit")


def _verify(options: QueryPieOptions, context: StepContext) -> bool | str:
    if isinstance(options.verify, bool):
        if not options.verify:
            context.log("the server's certificate is not checked (verify: false)", level="warning")
        return options.verify
    path = inside(
        context.folders.data, options.verify, what="querypie.verify", private=context.folders.private
    )
    if not path.is_file():
        raise StepError(f"verify: there is no file {options.verify!r}", code="rest_tls")
    return str(path)
