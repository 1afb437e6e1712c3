"""The flow data: the one mapping that the steps of a flow read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_processor.run_state import StepRecord, StepStatus


def fold_data(data: dict[str, Any], record: StepRecord) -> None:
    """Apply what one attempt of a step of the flow itself did to the flow data."""
    data["__errors__"].extend(record.errors)
    if record.status is StepStatus.SUCCEEDED and record.key is not None:
        data[record.key] = record.result


def first_data(
    *,
    run_id: str,
    flow: str,
    timestamp: str,
    api_url: str,
    payload: Any,
    params: dict[str, Any] | None,
    loop_index: int | None = None,
    item: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of a run's flow before its first step.

    `item` tells of the item of a queue that started it. `loop_index` counts the elements of a loop from 1, where the
    run is one. `timestamp` is YYYYMMDDHHMMSS in the configured zone; `api_url` is where the daemon's own API listens.
    """
    data: dict[str, Any] = {
        "__input__": payload,
        "__errors__": [],
        "__loop_index__": loop_index,
        "__timestamp__": timestamp,
        "__run_id__": run_id,
        "__job_id__": run_id,
        "__flow_path__": flow,
        "__api_url__": api_url,
        "__item__": None if item is None else dict(item),
    }
    if params is not None:
        data["params"] = params
    return data


def child_data(
    parent: Mapping[str, Any],
    *,
    flow: str,
    payload: Any,
    loop_index: int | None,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of a sub-flow before its first step; `loop_index` counts the items of a loop from 1. `params` are the
    values of its parameters, None where it declares none."""
    own: dict[str, Any] = {
        "__input__": payload,
        "__errors__": [],
        "__loop_index__": loop_index,
        "__flow_path__": flow,
    }
    shared = ("__timestamp__", "__run_id__", "__job_id__", "__api_url__")
    given = {} if params is None else {"params": dict(params)}
    return {**own, **{key: parent[key] for key in shared}, "__item__": parent.get("__item__"), **given}
