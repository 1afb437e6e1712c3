"""What is right of a flow file that says something wrong, for the checks of names, targets and expressions."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from flow_processor.documents import without_wrong_keys
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

_MAX_WRONG_STEPS = 100
"""Each takes about a millisecond; with more of them the file is probably no flow at all."""


def right_part(data: Any, model: type[FlowSpec]) -> FlowSpec | None:
    """The flow without its wrong keys; None if nothing of it can be used.

    Every step keeps its place and, if it can, its name: steps that cannot be had keep what all steps have in
    common, as steps that do nothing.
    """
    raw = data.get("steps") if isinstance(data, dict) else None
    if not isinstance(raw, list) or not raw:
        return None
    wrong = _wrong_steps(data, model)
    if len(wrong) > _MAX_WRONG_STEPS:
        return None
    steps = [_right_step(step, place, model) if place in wrong else step for place, step in enumerate(raw)]
    head = without_wrong_keys(model, {**data, "steps": [{"name": "none", "type": "exit"}]})
    try:
        return model.model_validate({**(head or {}), "steps": steps})
    except ValidationError:  # two keys that are only wrong together
        return None


def _wrong_steps(data: Any, model: type[FlowSpec]) -> set[Any]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return {one["loc"][1] for one in found if one["loc"][0:1] == ("steps",) and len(one["loc"]) > 1}
    return set()


def _right_step(raw: Any, place: int, model: type[FlowSpec]) -> Any:
    stand_in = {"name": f"(step {place + 1})"}
    if not isinstance(raw, dict):
        return stand_in | {"type": "exit"}
    common = {key: value for key, value in raw.items() if key in StepSpec.model_fields} | {"type": "exit"}
    for candidate in (raw, raw | stand_in, common, common | stand_in):
        found = without_wrong_keys(model, {"steps": [candidate]}, inside=("steps", 0))
        if found is not None:
            return found["steps"][0]
    return stand_in | {"type": "exit"}
