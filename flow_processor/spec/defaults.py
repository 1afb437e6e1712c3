"""What steps say where they do not say it themselves: `defaults:` of a flow, and data/defaults.yml."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field, RootModel, create_model

from flow_processor.documents.described import field_description
from flow_processor.spec.base import Spec
from flow_processor.spec.step import StepSpec

FOR_ALL = "all"
"""The part that counts for steps of every type."""
STEP_KEYS = ("retry", "timeout_seconds", "on_interrupt")
"""Keys of every step that may have a default."""


def defaults_model(types: Mapping[tuple[str, ...], type[BaseModel]]) -> type[Spec]:
    """The spec of `defaults`: a part for all steps, and one for each type, with that type's own options too.

    `types`: the names of each step type, its own one first -> the model of its options.
    """
    common: dict[str, Any] = {key: _optional(StepSpec, key) for key in STEP_KEYS}
    base = create_model("StepDefaults", __base__=Spec, __doc__="Defaults of steps of every type.", **common)
    parts: dict[str, Any] = {FOR_ALL: (base | None, Field(default=None, description="Of every step."))}
    for names, options in types.items():
        own = {} if issubclass(options, RootModel) else options.model_fields
        fields: dict[str, Any] = {
            name: _optional(options, name) for name, info in own.items() if not holds_steps(info.annotation)
        }
        said = f"Defaults of steps of the type {names[0]}."
        part = create_model(f"{names[0]}_defaults", __base__=base, __doc__=said, **fields)
        alias = AliasChoices(*names) if len(names) > 1 else None
        parts[names[0]] = (part | None, Field(default=None, validation_alias=alias, description=said))
    said = "What steps say where they do not say it themselves: for `all`, and for each type."
    return create_model("Defaults", __base__=Spec, __doc__=said, **parts)


def _optional(model: type[BaseModel], name: str) -> tuple[Any, Any]:
    """The model's field as one that may be left out, whatever it must be where it is given."""
    info = model.model_fields[name]
    annotation: Any = info.annotation
    for item in info.metadata:
        annotation = Annotated[annotation, item]
    field = Field(
        default=None, validation_alias=info.validation_alias, description=field_description(model, name)
    )
    return annotation | None if isinstance(annotation, type) else typing.Optional[annotation], field  # noqa: UP045


def holds_steps(annotation: Any) -> bool:
    """May a step stand in what is annotated so?"""
    if isinstance(annotation, typing.ForwardRef):
        return True  # `AnyStep`, which options name because they are written before it is known
    if typing.get_origin(annotation) is typing.Literal:
        return False
    if isinstance(annotation, type) and issubclass(annotation, StepSpec):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(holds_steps(info.annotation) for info in annotation.model_fields.values())
    return any(holds_steps(item) for item in typing.get_args(annotation) if item is not ...)
