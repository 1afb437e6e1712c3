"""When a flow runs by itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from flow_processor.spec.base import Spec


class Catchup(StrEnum):
    """What happens to slots that passed while nobody could start them."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except Exception as error:  # zoneinfo raises ValueError, KeyError or OSError by platform
        raise ValueError(f"unknown time zone '{value}'; use a name like Europe/Berlin or UTC") from error
    return value


TimeZoneName = Annotated[str, AfterValidator(_zone)]
"""A name of the IANA time zone database."""


class ScheduleSpec(Spec):
    """A rule that yields moments: either `cron` or `every_seconds`."""

    cron: str | None = None
    """Five fields (minute hour day month weekday), or six with seconds first; names like MON or JAN and
    @hourly, @daily, @weekly, @monthly, @yearly are understood. A fixed time fires once on days when clocks
    change."""
    every_seconds: Annotated[float, Field(ge=1, le=366 * 86_400)] | None = None
    """Seconds between two starts, counted from start to start."""
    timezone: TimeZoneName | None = None
    """The zone in which `cron` is read; default: TIMEZONE."""
    catchup: Catchup = Catchup.LATEST
    """After downtime or sleep: start `none` of the missed slots, the `latest`, or `all` (at most
    `catchup_max`)."""
    catchup_max: Annotated[int, Field(ge=1, le=1000)] = 100
    """With `catchup: all`: how many missed slots are started at most; the others are recorded as skipped."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the flow's `params`."""

    @model_validator(mode="after")
    def _one_rule(self) -> ScheduleSpec:
        if (self.cron is None) == (self.every_seconds is None):
            raise ValueError("give either 'cron' or 'every_seconds'")
        return self
