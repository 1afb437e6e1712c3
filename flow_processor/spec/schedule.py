"""When a flow runs by itself."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from flow_processor.spec.base import Spec
from flow_processor.spec.moments import MomentText, has_zone, moment_of


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

Interval = Annotated[float, Field(ge=1, le=366 * 86_400)]
"""Seconds between two starts."""

KINDS: tuple[tuple[str, ...], ...] = (("cron",), ("every_seconds",), ("at",), ("interval", "repeat_count"))
"""The kinds of rules by the keys that make them."""

KINDS_TEXT = "'cron', 'every_seconds', 'at', or 'interval' with 'repeat_count'"


class ScheduleKeys(Spec):
    """What a rule may say; each key by itself."""

    cron: str | None = None
    """Five fields (minute hour day month weekday), or six with seconds first; names like MON or JAN and
    @hourly, @daily, @weekly, @monthly, @yearly are understood. A fixed time fires once on days when clocks
    change."""
    every_seconds: Interval | None = None
    """Seconds between two starts, counted from start to start; the first one comes at `starts_at`, else after so
    many seconds."""
    at: MomentText | None = None
    """One start, at this moment: a date and a time of day like `2026-12-24T18:00`. Without an offset from UTC it is
    read in `timezone`."""
    interval: Interval | None = None
    """With `repeat_count`: seconds between two starts. Without it there is one start."""
    repeat_count: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How many starts follow the first one, which comes at `starts_at`, else at the next full second: 2 makes
    three runs."""
    starts_at: MomentText | None = None
    """No start before this moment, written like `at`."""
    ends_at: MomentText | None = None
    """No start after this moment, written like `at`."""
    timezone: TimeZoneName | None = None
    """The zone in which `cron` and moments are read; default: TIMEZONE."""
    catchup: Annotated[Catchup, Field(strict=False)] = Catchup.LATEST
    """After downtime or sleep: start `none` of the missed slots, the `latest`, or `all` (at most
    `catchup_max`)."""
    catchup_max: Annotated[int, Field(ge=1, le=1000)] = 100
    """With `catchup: all`: how many missed slots are started at most; the others are recorded as skipped."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the flow's `params`."""


class ScheduleSpec(ScheduleKeys):
    """A rule that yields moments: `cron`, `every_seconds`, `at`, or `interval` with `repeat_count`."""

    @model_validator(mode="after")
    def _one_rule(self) -> ScheduleSpec:
        given = [kind for kind in KINDS if any(getattr(self, key) is not None for key in kind)]
        if len(given) != 1:
            said = "give" if not given else "give only one of"
            raise ValueError(f"{said} {KINDS_TEXT}")
        if self.interval is not None and self.repeat_count is None:
            raise ValueError(
                "'interval' needs 'repeat_count' (2 makes three runs); without an end it is 'every_seconds'"
            )
        return self

    @model_validator(mode="after")
    def _moments_exist(self) -> ScheduleSpec:
        """As far as it can be told without knowing TIMEZONE."""
        zone = ZoneInfo(self.timezone or "UTC")
        for text in self._moments:
            moment_of(text, zone)
        if self.timezone is not None or len({has_zone(text) for text in self._moments}) == 1:
            self.check_order(zone)
        return self

    def check_order(self, zone: ZoneInfo) -> None:
        """Raises ValueError where `ends_at` lies before `starts_at`, or `at` outside of them; `zone` is where they are
        read."""
        names = [name for name in ("starts_at", "at", "ends_at") if getattr(self, name) is not None]
        for early, late in itertools.pairwise(names):
            first, second = getattr(self, early), getattr(self, late)
            if moment_of(second, zone) < moment_of(first, zone):
                raise ValueError(f"{late} ({second}) lies before {early} ({first})")

    @property
    def _moments(self) -> list[str]:
        return [text for text in (self.starts_at, self.at, self.ends_at) if text is not None]

    @property
    def reads_zone(self) -> bool:
        """True: its moments are others in another time zone."""
        return self.cron is not None or not all(has_zone(text) for text in self._moments)

    @property
    def is_counted(self) -> bool:
        """True: a number of runs that is known from the start."""
        return self.repeat_count is not None
