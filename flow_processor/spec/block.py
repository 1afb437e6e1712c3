"""What step types that hold lists of steps share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from flow_processor.spec.step import StepSpec


def _free(value: str) -> str:
    if value.startswith("__"):
        raise ValueError("names starting with '__' are the product's own")
    if value == "params":
        raise ValueError("'params' is the name of the flow's parameters")
    return value


BlockName = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_free)]
"""Names a branch, an axis, an element: letters, digits and `_`, as in an expression."""


def check_collect(collect: str | None, steps: Sequence[StepSpec]) -> None:
    """Raises ValueError if `collect` is no key that one of the steps writes."""
    keys = [step.key for step in steps]
    if collect is not None and collect not in keys:
        raise ValueError(
            f"'collect' names '{collect}', which no step inside writes; there are: {', '.join(keys)}"
        )
