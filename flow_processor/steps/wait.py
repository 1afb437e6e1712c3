"""Wait for a moment, a signal from outside, or a person's answer.

```yaml
- name: opening_hours
  type: wait
  wait: {until: "2026-12-01T08:00"}

- name: paid
  type: wait
  wait:
    signal: {name: "paid-{{ __input__.order }}", expires_seconds: 86400, default: unpaid}

- name: go_ahead
  type: wait
  wait:
    approval:
      prompt: "Deploy {{ __input__.version }} to production?"
      form: {ticket: {type: str, required: true, description: The change's ticket}}
      expires_seconds: 3600
      default: reject
```

A run that does nothing but wait holds no worker, keeps its flow's lock, and survives restarts; what came while the
daemon was down ends the wait when it is back. Its time in workers' hands is what counts for the flow's
`timeout_seconds`; a `timeout_seconds` of the step itself goes on.

**`for_seconds`, `until`**: the result is null. A moment without a zone is one of TIMEZONE; one that has passed ends
the wait at once.

**`signal`**: `octospool runs signal RUN NAME --data …` or `POST /api/runs/RUN/signal`. A signal is taken once, by the
first wait with its name; one that comes early is kept for it. The result is `{name, data, by, at, expired}`.

**`approval`**: `octospool runs answer RUN ANSWER` or `POST /api/runs/RUN/signal` with the step's path as name. The
result is `{answer, form, by, at, expired}`: `form` has every field that the form has, `by` is who answered. What an
answer means is for the next steps to say: `when: go_ahead.answer == 'approve'`.

When nothing came within `expires_seconds` the `default` holds, `expired` is true and `by` is null. Without a default
the step fails (`signal_expired`, `approval_expired`), which `on_error_goto` catches, and `ignore_errors` by the text
that both messages have: `ignore_errors: expires_seconds`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from flow_processor.clock import from_epoch, to_text
from flow_processor.errors import StepError
from flow_processor.expressions.rendered import checked
from flow_processor.factory import step_type
from flow_processor.run_state import Signal
from flow_processor.spec.base import Pause, Seconds, Spec, Templated
from flow_processor.spec.params import ParamSpec
from flow_processor.step import JsonValue, StepContext, StepResult
from flow_processor.wait import Wait, WaitKind

MAX_PROMPT_CHARACTERS = 10_000
"""A longer prompt is cut, and says so."""

_KINDS = ("for_seconds", "until", "signal", "approval")


def _is_moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d"), AfterValidator(_is_moment)]
SignalName = Annotated[str, Field(min_length=1, max_length=200)]
Answer = Annotated[str, Field(min_length=1, max_length=100)]
_PAUSE: TypeAdapter[float] = TypeAdapter(Pause)
_MOMENT: TypeAdapter[str] = TypeAdapter(Moment)
_NAME: TypeAdapter[str] = TypeAdapter(Annotated[SignalName, Field(coerce_numbers_to_str=True)])


class SignalOptions(Spec):
    """A signal that is waited for."""

    name: SignalName
    """The signal's name; a template may be in it, so that the elements of a loop can wait for their own."""
    expires_seconds: Seconds | None = None
    """How long it is waited for, in seconds; default: for ever."""
    default: Any = None
    """What stands for the signal's data if it has not come by then; not given: the step fails."""

    @model_validator(mode="after")
    def _may_expire(self) -> SignalOptions:
        if "default" in self.model_fields_set and self.expires_seconds is None:
            raise ValueError("a 'default' needs 'expires_seconds'")
        return self


class ApprovalOptions(Spec):
    """A question to a person."""

    prompt: Annotated[str, Field(min_length=1)]
    """What the person is asked; a template."""
    answers: Annotated[tuple[Answer, ...], Field(min_length=1)] = ("approve", "reject")
    """What may be answered."""
    form: dict[Annotated[str, Field(min_length=1, max_length=100)], ParamSpec] = Field(default_factory=dict)
    """What else is asked for: name of the field and what its value must be."""
    expires_seconds: Seconds | None = None
    """How long the answer is waited for, in seconds; default: for ever."""
    default: Answer | None = None
    """The answer that holds if none has come by then; not given: the step fails."""

    @model_validator(mode="after")
    def _fits(self) -> ApprovalOptions:
        if len(set(self.answers)) < len(self.answers):
            raise ValueError("each of 'answers' must stand there once")
        if self.default is not None and self.default not in self.answers:
            raise ValueError(f"'default' must be one of the answers: {', '.join(self.answers)}")
        if self.default is not None and self.expires_seconds is None:
            raise ValueError("a 'default' needs 'expires_seconds'")
        return self


def _as_signal(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class WaitOptions(Spec):
    """Waits for a moment, a signal or a person; exactly one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    for_seconds: Templated[Pause] | None = None
    """A length of time, in seconds; at most a year."""
    until: Templated[Moment] | None = None
    """A moment: `2026-12-01T08:00` (in TIMEZONE), `2026-12-01T08:00:00+01:00`, `2026-12-01`."""
    signal: (
        Annotated[
            SignalOptions, BeforeValidator(_as_signal, json_schema_input_type=SignalName | SignalOptions)
        ]
        | None
    ) = None
    """A signal from outside: its name, or more about it."""
    approval: ApprovalOptions | None = None
    """A person's answer."""

    @model_validator(mode="after")
    def _one_kind(self) -> WaitOptions:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of {', '.join(_KINDS)}; found {found}")
        return self


@step_type("wait", repeatable=True)
def run(options: WaitOptions, context: StepContext) -> StepResult:
    """Wait, and tell what ended it."""
    wait = context.begun_wait
    if wait is None:
        wait = _begin(options, context)
        context.log(_announcement(wait))
    taken = context.wait_for(wait)
    result = _result(wait, taken)
    context.log(_farewell(wait, taken, result))
    return StepResult(result)


def _begin(options: WaitOptions, context: StepContext) -> Wait:
    now = context.now().timestamp()
    if options.signal is not None:
        return _signal_wait(options.signal, context, now)
    if options.approval is not None:
        return _approval_wait(options.approval, context, now)
    if options.until is not None:
        return Wait(WaitKind.MOMENT, until=_moment(context.render(options.until), context.zone))
    must = "a number of seconds from 0 to a year"
    seconds = checked(_PAUSE, context.render(options.for_seconds), where="wait.for_seconds", must=must)
    return Wait(WaitKind.SLEEP, until=now + seconds)


def _moment(value: JsonValue, zone: ZoneInfo) -> float:
    must = "a moment such as 2026-12-01T08:00 or 2026-12-01T08:00:00+01:00"
    moment = datetime.fromisoformat(checked(_MOMENT, value, where="wait.until", must=must))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.timestamp()


def _signal_wait(signal: SignalOptions, context: StepContext, now: float) -> Wait:
    must = "a text of 1 to 200 characters"
    return Wait(
        WaitKind.SIGNAL,
        until=None if signal.expires_seconds is None else now + signal.expires_seconds,
        signal=checked(_NAME, context.render(signal.name), where="wait.signal.name", must=must),
        has_default="default" in signal.model_fields_set,
        default=signal.default,
    )


def _approval_wait(approval: ApprovalOptions, context: StepContext, now: float) -> Wait:
    prompt = context.render(approval.prompt)
    text = context.redacted(prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False))
    if len(text) > MAX_PROMPT_CHARACTERS:
        text = f"{text[:MAX_PROMPT_CHARACTERS]}… (cut: {len(text)} characters)"
    return Wait(
        WaitKind.APPROVAL,
        until=None if approval.expires_seconds is None else now + approval.expires_seconds,
        signal=context.path,
        prompt=text,
        answers=approval.answers,
        form={name: spec.model_dump(mode="json") for name, spec in approval.form.items()},
        has_default=approval.default is not None,
        default=approval.default,
    )


def _announcement(wait: Wait) -> str:
    until = "" if wait.until is None else f" until {to_text(from_epoch(wait.until))}"
    if wait.kind is WaitKind.APPROVAL:
        return f"waits for an answer ({', '.join(wait.answers)}){until}: {wait.prompt}"
    return f"waits{until}" if wait.signal is None else f"waits for signal '{wait.signal}'{until}"


def _result(wait: Wait, taken: Signal | None) -> JsonValue:
    if wait.kind is WaitKind.SIGNAL:
        return _signal_result(wait, taken)
    return _approval_result(wait, taken) if wait.kind is WaitKind.APPROVAL else None


def _farewell(wait: Wait, taken: Signal | None, result: JsonValue) -> str:
    """How it ended, for the log; a wait that nobody ended, and that has no default, fails and says so itself."""
    if wait.signal is None:
        return "goes on: its moment has come"
    what = "nobody has answered" if wait.kind is WaitKind.APPROVAL else f"signal '{wait.signal}' has not come"
    if taken is None:
        return f"{what} by {_end_of(wait)}; the default holds: {json.dumps(wait.default, ensure_ascii=False)}"
    if wait.kind is WaitKind.APPROVAL and isinstance(result, dict):
        return f"answered by {taken.by}: {result['answer']}"
    return f"goes on: signal '{taken.name}' has come, sent by {taken.by}"


def _signal_result(wait: Wait, taken: Signal | None) -> JsonValue:
    if taken is not None:
        return {"name": taken.name, "data": taken.data, **_source(taken)}
    if not wait.has_default:
        message = f"signal '{wait.signal}' has not come by {_end_of(wait)} (expires_seconds)"
        raise StepError(message, code="signal_expired")
    return {"name": wait.signal, "data": wait.default, **_expiry(wait)}


def _approval_result(wait: Wait, taken: Signal | None) -> JsonValue:
    unfilled = {name: field.get("default") for name, field in wait.form.items()}
    if taken is not None:
        given = taken.data if isinstance(taken.data, dict) else {"answer": taken.data}
        answer, form = given.get("answer"), given.get("form") or {}
        if answer not in wait.answers or not isinstance(form, dict):
            message = f"{json.dumps(answer)} is no answer; these are: {', '.join(wait.answers)}"
            raise StepError(message, code="invalid_answer")
        return {"answer": answer, "form": {**unfilled, **form}, **_source(taken)}
    if not wait.has_default:
        message = f"nobody has answered by {_end_of(wait)} (expires_seconds): {wait.prompt}"
        raise StepError(message, code="approval_expired")
    return {"answer": wait.default, "form": unfilled, **_expiry(wait)}


def _source(taken: Signal) -> dict[str, JsonValue]:
    return {"by": taken.by, "at": to_text(from_epoch(taken.at)), "expired": False}


def _expiry(wait: Wait) -> dict[str, JsonValue]:
    return {"by": None, "at": _end_of(wait), "expired": True}


def _end_of(wait: Wait) -> str:
    return to_text(from_epoch(wait.until or 0.0))
