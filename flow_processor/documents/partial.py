"""What is right of a document that is not right as a whole, so that it can be looked at further.

A person who repairs a file wants to hear of everything at once, also of what only a second look finds.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, ValidationError

from flow_processor.documents.model_walk import walk
from flow_processor.documents.refusal import Loc

_ROUNDS = 5
"""Taking out a wrong key may show the next one."""


def without_wrong_keys(model: type[BaseModel], data: Any, *, inside: Loc = ()) -> Any | None:
    """A copy of the data without the keys whose values are wrong, which `model` takes; None if that cannot be
    had by taking out keys. Only keys below `inside` go, and no item of a list: all places stay the same.
    """
    data = copy.deepcopy(data)
    for _ in range(_ROUNDS):
        try:
            model.model_validate(data)
            return data
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
        places: set[Any] = {_culprit(walk(model, data, one["loc"]).loc, one["type"], inside) for one in found}
        places.discard(
            None
        )  # what follows from the others, such as a list that is too short without its item
        if not places:
            return None
        for place in places:
            _take_out(data, place)
    return None


def _culprit(loc: Loc, kind: str, inside: Loc) -> Loc | None:
    """The key that has to go: the nearest one with no list between it and `inside`."""
    if loc[: len(inside)] != inside:
        return None
    below = loc[len(inside) : -1] if kind == "missing" else loc[len(inside) :]
    keys = below[: next((n for n, part in enumerate(below) if isinstance(part, int)), len(below))]
    return (*inside, *keys) if keys else None


def _take_out(data: Any, place: Loc) -> None:
    *outer, key = place
    for part in outer:
        data = data.get(part) if isinstance(data, dict) else data[int(part)]
    if isinstance(data, dict):
        data.pop(key, None)
