"""How long runs are kept: for all of them in config.yml, for those of one flow in its file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from flow_processor.spec.base import Spec

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)


def bytes_of(value: Any) -> Any:
    """The number of bytes that a text like `2 MiB` means; anything else is given back as it is."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[(match[2] or "").lower()] if match else value


def _checked_size(value: int | str | None) -> int | None:
    if isinstance(value, str) or (value is not None and value < 1024**2):
        raise ValueError("must be a size of at least 1 MiB, in bytes or like '2 GiB'")
    return value


Age = Annotated[float, Field(gt=0, le=36_500)] | Literal["forever"]
Size = Annotated[int | str | None, BeforeValidator(bytes_of), AfterValidator(_checked_size)]


class RetentionSpec(Spec):
    """How long runs that have ended are kept. A run that has not ended is never deleted."""

    max_age_days: Age | None = None
    """Days after its end; then a run is deleted. `forever`: its age is no reason."""
    max_runs: Annotated[int, Field(ge=1)] | None = None
    """So many of the newest runs stay, the older ones are deleted."""
    max_bytes: Size = None
    """The newest runs stay that take no more than this together (in the store and in result files), the older ones
    are deleted. In bytes or like `2 GiB`."""


class RetentionSettings(RetentionSpec):
    """How long the runs of all flows are kept. A flow's own `retention` comes on top; its `max_age_days` counts
    instead of this one."""

    max_age_days: Age = 90
    """Days after its end; then a run is deleted. `forever`: its age is no reason."""
