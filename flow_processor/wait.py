"""What a step waits for, and how the journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class WaitKind(StrEnum):
    """What ends a wait."""

    SLEEP = "sleep"
    """A length of time has passed."""
    MOMENT = "moment"
    """A moment has come."""
    SIGNAL = "signal"
    """Somebody has sent a signal of its name."""
    APPROVAL = "approval"
    """A person has answered."""
    CHILDREN = "children"
    """The runs that are part of this one have ended."""


@dataclass(frozen=True, slots=True)
class Wait:
    """All that a wait depends on. The journal keeps it, so that it goes on as it began, whoever goes on with it."""

    kind: WaitKind
    until: float | None = None
    """When it ends by itself, in seconds since 1970; None: never."""
    signal: str | None = None
    """Name of the signal that ends it."""
    prompt: str | None = None
    """What the person is asked."""
    answers: tuple[str, ...] = ()
    """What the person may answer."""
    form: Mapping[str, Any] = field(default_factory=dict)
    """What else is asked for: field name -> ParamSpec as JSON values."""
    has_default: bool = False
    default: Any = None
    """What holds when `until` came first; without one that is an error."""

    def as_record(self) -> dict[str, Any]:
        """The wait as its `waiting` row keeps it: `kind`, and what else it has."""
        record: dict[str, Any] = {"kind": self.kind.value}
        for name in ("until", "signal", "prompt"):
            if getattr(self, name) is not None:
                record[name] = getattr(self, name)
        if self.answers:
            record["answers"] = list(self.answers)
        if self.form:
            record["form"] = dict(self.form)
        if self.has_default:
            record["default"] = self.default
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Wait:
        """The wait that a `waiting` row keeps."""
        return cls(
            kind=WaitKind(record["kind"]),
            until=record.get("until"),
            signal=record.get("signal"),
            prompt=record.get("prompt"),
            answers=tuple(record.get("answers", ())),
            form=record.get("form", {}),
            has_default="default" in record,
            default=record.get("default"),
        )
