"""Calls about schedules: add, list, look ahead, change, switch on and off."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response
from pydantic import ConfigDict, Field

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, InvalidJson, error_answers
from flow_processor.api.handlers import Parameters, answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller, check_path
from flow_processor.service.schedule_views import ScheduleDetail, SchedulePage, SchedulePreview
from flow_processor.service.views import View
from flow_processor.spec.schedule import Catchup, ScheduleKeys

noun = Noun("schedules", "/api/schedules", "When flows run by themselves.")

FlowPath = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _RuleBody(ScheduleKeys):
    """The keys of a rule as a body has them: no silent conversions."""

    model_config = ConfigDict(strict=True)

    def rule(self) -> dict[str, Any]:
        """The keys that were given."""
        return {key: getattr(self, key) for key in ScheduleKeys.model_fields if key in self.model_fields_set}


class ScheduleBody(_RuleBody):
    """A new schedule: which flow, and one of `cron`, `every_seconds`, `at`, `repeat_count` (with `interval`)."""

    flow: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""
    name: Name | None = None
    """What people call it."""
    data: Any = None
    """The `__input__` of its runs: any JSON value of at most 65,536 characters."""
    active: bool = True
    """False: it does not fire until it is activated."""


class ScheduleChange(_RuleBody):
    """What is to be another: only the keys that are given change, and null takes a key out. Other moments count from
    now. A key of another kind of rule takes the place of the old kind."""

    name: Name | None = None
    """What people call it."""
    data: Any = None
    """The `__input__` of its runs."""
    catchup: Annotated[Catchup | None, Field(strict=False)] = None  # type: ignore[assignment]  # null: the default
    """What becomes of slots that were missed; null: `latest`."""
    catchup_max: Annotated[int, Field(ge=1, le=1000)] | None = None  # type: ignore[assignment]
    """With `catchup: all`: how many of them are started at most; null: 100."""
    params: dict[str, Any] | None = None  # type: ignore[assignment]
    """Values for the flow's `params`, all of them; null: none."""
    active: bool | None = None
    """Switch it on or off too, as `activate` and `deactivate` do."""


class PreviewBody(_RuleBody):
    """A rule, and perhaps the flow that it is for."""

    flow: FlowPath | None = None
    """The flow file below the flows folder: its params are checked too."""


class SchedulesQuery(Parameters):
    """Which schedules."""

    flow: FlowPath | None = None
    """Only those of this flow: its path below the flows folder; `.yml` may be left out."""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    """How many schedules a page holds."""
    cursor: str | None = None
    """`next_cursor` of the page before."""


class NextQuery(Parameters):
    """How far to look ahead."""

    next: Annotated[int, Field(ge=0, le=500)] = 10
    """How many slots to tell at most."""


class SchedulePath(Parameters):
    """Which schedule."""

    schedule_id: str
    """Its id, as `GET /api/schedules` shows it."""


class ScheduleRemoved(View):
    """A schedule that has just been removed."""

    status: str = "removed"
    """Always `removed`."""
    schedule_id: str
    """The id it had."""


_BODY_ERRORS = (InvalidJson, errors.Forbidden, BodyTooLarge, errors.FlowNotFound, errors.SpecError)
_CHANGE_ERRORS = (errors.ScheduleNotFound, errors.ScheduleFromFile, errors.StoreUnavailable, errors.DiskFull)


@noun.post(
    "",
    needs=Permission.SCHEDULE,
    description="201 once it is safely recorded. 400 `invalid_schedule` says what is wrong with the rule, "
    "`schedule_in_past` that it would never fire, `params_invalid` that the flow does not take these values.",
    responses={
        201: ScheduleDetail,
        **error_answers(*_BODY_ERRORS, errors.StoreUnavailable, errors.DiskFull),
    },
)
@handler
def add(body: ScheduleBody) -> Response:
    """Add a schedule. A flow may have any number of them."""
    check_path(body.flow)
    made = service().schedules.add(
        body.flow,
        body.rule(),
        name=body.name,
        data=body.data,
        active=body.active,
        by=caller().by("api"),
    )
    return answer(made, 201, headers={"Location": f"/api/schedules/{made.schedule_id}"})


@noun.post(
    "/preview",
    needs=Permission.READ,
    responses={200: SchedulePreview, **error_answers(*_BODY_ERRORS)},
)
@handler
def preview(query: NextQuery, body: PreviewBody) -> Response:
    """Tell when a rule would start a flow if it began now. Nothing is saved."""
    return answer(service().schedules.preview(body.rule(), flow=body.flow, number=query.next))


@noun.get("", needs=Permission.READ, responses={200: SchedulePage, **error_answers(errors.FlowNotFound)})
@handler
def schedules(query: SchedulesQuery) -> Response:
    """List the schedules of every origin, in the order in which they were added."""
    return answer(service().schedules.page(flow=query.flow, limit=query.limit, cursor=query.cursor))


@noun.get(
    "/<schedule_id>",
    needs=Permission.READ,
    responses={200: ScheduleDetail, **error_answers(errors.ScheduleNotFound)},
)
@handler
def schedule(path: SchedulePath, query: NextQuery) -> Response:
    """Show a schedule with its next slots."""
    return answer(service().schedules.one(path.schedule_id, number=query.next))


@noun.patch(
    "/<schedule_id>",
    needs=Permission.SCHEDULE,
    responses={
        200: ScheduleDetail,
        **error_answers(*_BODY_ERRORS, errors.ScheduleFinished, *_CHANGE_ERRORS),
    },
)
@handler
def change(path: SchedulePath, body: ScheduleChange) -> Response:
    """Change a schedule: all that is given, or nothing. Once this answers, what it was before fires no more."""
    _check_flow(path)
    given: dict[str, Any] = {
        key: getattr(body, key) for key in ("name", "data") if key in body.model_fields_set
    }
    return answer(service().schedules.change(path.schedule_id, body.rule(), given, active=body.active))


@noun.delete(
    "/<schedule_id>",
    needs=Permission.SCHEDULE,
    responses={200: ScheduleRemoved, **error_answers(errors.Forbidden, *_CHANGE_ERRORS)},
)
@handler
def remove(path: SchedulePath) -> Response:
    """Remove a schedule; it never fires again. A run under way goes on."""
    _check_flow(path)
    service().schedules.remove(path.schedule_id)
    return answer(ScheduleRemoved(schedule_id=path.schedule_id))


@noun.post(
    "/<schedule_id>/activate",
    needs=Permission.SCHEDULE,
    responses={
        200: ScheduleDetail,
        **error_answers(*_BODY_ERRORS[1:], errors.ScheduleFinished, *_CHANGE_ERRORS),
    },
)
@handler
def activate(path: SchedulePath) -> Response:
    """Switch a schedule on. Moments up to now are not made up for."""
    _check_flow(path)
    return answer(service().schedules.activate(path.schedule_id))


@noun.post(
    "/<schedule_id>/deactivate",
    needs=Permission.SCHEDULE,
    responses={200: ScheduleDetail, **error_answers(errors.Forbidden, *_CHANGE_ERRORS)},
)
@handler
def deactivate(path: SchedulePath) -> Response:
    """Switch a schedule off: once this answers it never fires. A run under way goes on."""
    _check_flow(path)
    return answer(service().schedules.deactivate(path.schedule_id))


def _check_flow(path: SchedulePath) -> None:
    caller().check_flow(service().schedules.flow_of(path.schedule_id))
