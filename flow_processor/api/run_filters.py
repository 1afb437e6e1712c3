"""What callers say about which runs a list shows."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from flow_processor.api.handlers import Parameters
from flow_processor.api.run_queries import Moment, Statuses, Triggers, Until, above_the_lower, comma_texts
from flow_processor.documents import NotJson, to_json_value
from flow_processor.run import ParamValue, RunFilter
from flow_processor.spec.params import PARAM_NAME_PATTERN

Texts = Annotated[
    tuple[Annotated[str, Field(max_length=200)], ...],
    BeforeValidator(comma_texts),
    WithJsonSchema({"type": "string"}),
]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=500)]


def _object(value: Any) -> Any:
    try:
        return to_json_value(json.loads(value))
    except (ValueError, RecursionError, NotJson) as error:
        raise ValueError(f'must be a JSON object, such as {{"day": "2026-11-21"}}: {error}') from None


Params = Annotated[
    dict[Annotated[str, Field(pattern=PARAM_NAME_PATTERN)], ParamValue],
    BeforeValidator(_object),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]


class RunsQuery(Parameters):
    """Which runs."""

    flow: Name | None = None
    """Only runs of this flow: its path below the flows folder; `.yml` may be left out. Or of all flows of a folder
    (`sub/`), or whose path fits a pattern with `*` and `?`."""
    status: Statuses = ()
    """Only runs in one of these statuses, separated by commas."""
    trigger: Triggers = ()
    """Only runs that one of these caused, separated by commas."""
    by: Name | None = None
    """Only runs that this one caused: a caller's name, a webhook's, a schedule's id."""
    schedule: Name | None = None
    """Only runs that the schedule with this id started."""
    queue: Name | None = None
    """Only runs that items of this queue started."""
    item: Name | None = None
    """Only runs that the item with this id started: one for each listener and attempt."""
    parent: Name | None = None
    """Only runs that are part of this one: elements of a `flow_loop` with `spread`."""
    retry_of: Name | None = None
    """Only runs that try this one again."""
    since: Moment | None = None
    """Only runs accepted at or after this moment: ISO 8601, UTC if it names no zone."""
    until: Until | None = None
    """Only runs accepted before this moment."""
    started_since: Moment | None = None
    """Only runs that a worker began at or after this moment."""
    started_until: Until | None = None
    """Only runs that a worker began before this moment."""
    ended_since: Moment | None = None
    """Only runs that ended at or after this moment."""
    ended_until: Until | None = None
    """Only runs that ended before this moment."""
    longer_than: Seconds | None = None
    """Only runs that took longer than so many seconds, or take longer already."""
    shorter_than: Annotated[Seconds, AfterValidator(above_the_lower)] | None = None
    """Only runs that took less than so many seconds."""
    error: Texts = ()
    """Only runs that ended with an error of one of these codes, separated by commas."""
    error_text: Name | None = None
    """Only runs whose error's message holds this text; case does not matter (of a to z)."""
    params: Params = Field(default_factory=dict)
    """Only runs whose parameters have these values: a JSON object. A text also finds the number it spells."""
    order: Literal["newest", "oldest"] = "newest"
    """Which runs come first, by when they were accepted."""
    total: bool = False
    """True: tell also how many there are."""
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    """How many runs a page holds at most."""
    cursor: str | None = None
    """`next_cursor` of the page before."""

    @property
    def wanted(self) -> RunFilter:
        """The filter."""
        names = {field.name for field in fields(RunFilter)} & type(self).model_fields.keys()
        given = {name: getattr(self, name) for name in names}
        return RunFilter(**given, oldest_first=self.order == "oldest")
