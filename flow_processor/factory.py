"""The registry of step types, and the flow model that is built from it.

A step type is registered once, by `@step_type("name")` over its `run` function. The name is the value of
`type:` in a flow file and the key under which the step's own options stand.
"""

from __future__ import annotations

import functools
import operator
import sys
import threading
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, ValidationError, create_model
from pydantic._internal._config import ConfigWrapper
from pydantic._internal._fields import rebuild_model_fields
from pydantic._internal._mock_val_ser import set_model_mocks
from pydantic._internal._namespace_utils import NsResolver

from flow_processor.documents.described import field_description
from flow_processor.own_code.manifest import OwnStep
from flow_processor.spec.base import Spec
from flow_processor.spec.defaults import defaults_model
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec
from flow_processor.step import StepContext, StepResult

RunStep = Callable[[Any, StepContext], StepResult]


@dataclass(frozen=True)
class StepType:
    """A kind of step."""

    name: str
    """As in `type:`."""
    aliases: tuple[str, ...]
    """Other names that mean the same."""
    options: type[BaseModel]
    """The model of the step's own options."""
    run: RunStep
    """`run(options, context) -> StepResult`."""
    repeatable: Callable[[Any], bool]
    """Given the options: may an attempt whose outcome is unknown simply be run again?"""
    module: str
    """Where it is written; its docstring is the reference page."""
    retried: Callable[[Any], bool] = lambda options: True
    """Given the options: may a failed attempt be followed by another, which begins anew?"""
    is_final: Callable[[Any], bool] = lambda options: False
    """Given the options: once it is done, must no `retry` of a step around it begin it anew?"""


_registry: dict[str, StepType] = {}
_building = threading.Lock()
"""Two threads must not build the flow model at the same time: models are half made meanwhile."""


def step_type(
    name: str,
    *,
    aliases: tuple[str, ...] = (),
    repeatable: bool | Callable[[Any], bool],
    retried: bool | Callable[[Any], bool] = True,
) -> Callable[[Callable[..., StepResult]], Callable[..., StepResult]]:
    """Register the decorated `run(options: OptionsModel, context)` as the step type `name`.

    `repeatable` and `retried` are True, False, or a function of the options. Raises ValueError for a name that is
    taken.
    """

    def register(run: Callable[..., StepResult]) -> Callable[..., StepResult]:
        taken = {known for kind in _registry.values() for known in (kind.name, *kind.aliases)}
        if taken & {name, *aliases}:
            raise ValueError(f"step type {name!r} is registered twice")
        options = typing.get_type_hints(run)["options"]
        is_repeatable = repeatable if callable(repeatable) else _always(repeatable)
        is_retried = retried if callable(retried) else _always(retried)
        _registry[name] = StepType(name, aliases, options, run, is_repeatable, run.__module__, is_retried)
        _flow_model.cache_clear()
        _defaults_spec.cache_clear()
        return run

    return register


def _always(answer: bool) -> Callable[[Any], bool]:
    return lambda options: answer


def step_types() -> dict[str, StepType]:
    """All step types by name, in the order of their registration."""
    return dict(_registry)


def step_type_of(step: StepSpec) -> StepType:
    """The type of a validated step."""
    found: StepType = step.step_type
    return found


def flow_model(own: frozenset[OwnStep] = frozenset()) -> type[FlowSpec]:
    """FlowSpec with its steps narrowed to the registered types (a union that is told apart by `type`), and to
    types of the data folder's own."""
    with _building:
        return _flow_model(own)


@functools.lru_cache(maxsize=8)
def _flow_model(own: frozenset[OwnStep]) -> type[FlowSpec]:
    members = tuple(_step_model(kind) for kind in _registry.values())
    members += tuple(_own_step_model(one) for one in sorted(own))
    # `Any`: the union is made at run time, so no type checker can know it.
    union: Any = Annotated[functools.reduce(operator.or_, members), Field(discriminator="type")]
    for holder in _models_with_steps():
        _let_hold(holder, union)
    steps = FlowSpec.model_fields
    lists: dict[str, Any] = {
        name: (tuple[union, ...], steps[name])
        for name in ("on_success", "on_failure", "on_cancel", "finally_")
    }
    lists["steps"] = (
        tuple[union, ...],
        Field(min_length=1, description=field_description(FlowSpec, "steps")),
    )
    model = create_model("Flow", __base__=FlowSpec, __doc__=FlowSpec.__doc__, **lists)
    model.model_rebuild()  # here, while no other thread uses it
    return model


def _let_hold(holder: type[BaseModel], union: Any) -> None:
    """Put the union in the place of `AnyStep`, for only now it is known what that is.

    pydantic has only `model_rebuild` for this, which builds a validator with all types of steps for each holder;
    what is needed is the flow model's, which has the holders inside. It is also the greatest part of a worker's start.
    """
    holder.__pydantic_fields__ = dict(_first_fields.setdefault(holder, holder.__pydantic_fields__))
    holder.__pydantic_complete__ = False
    set_model_mocks(holder)  # what it may have built is of another union
    holder.__pydantic_fields__, _ = rebuild_model_fields(
        holder,
        config_wrapper=ConfigWrapper(holder.model_config, check=False),
        ns_resolver=NsResolver(parent_namespace={"AnyStep": union}),
        typevars_map={},
    )


_first_fields: dict[type[BaseModel], dict[str, Any]] = {}
"""Fields as they were written, before it was known what `AnyStep` is: another set of types means another one."""


def _models_with_steps() -> list[type[BaseModel]]:
    """The models of steps that hold steps."""
    return [
        model
        for kind in _registry.values()
        for model in vars(sys.modules[kind.module]).values()
        if isinstance(model, type)
        and issubclass(model, BaseModel)
        and model.__module__ == kind.module
        and any("AnyStep" in str(one) for one in vars(model).get("__annotations__", {}).values())
    ]


def defaults_spec() -> type[Spec]:
    """The spec of `defaults`: a part for all steps and one for each registered type."""
    with _building:
        _flow_model(frozenset())  # fills in what the options of some types hold
        return _defaults_spec()


@functools.cache
def _defaults_spec() -> type[Spec]:
    return defaults_model({(kind.name, *kind.aliases): kind.options for kind in _registry.values()})


def _default_options(kind: StepType) -> Any:
    """The options of a step that gives none; `...` (required) where it must give some."""
    if any(field.is_required() for field in kind.options.model_fields.values()):
        return ...
    try:
        return kind.options()
    except ValidationError:
        return ...


def _step_model(kind: StepType) -> type[StepSpec]:
    names = (kind.name, *kind.aliases)
    options_field: Any = Field(
        default=_default_options(kind),
        validation_alias=AliasChoices(*names) if kind.aliases else None,
        description=(kind.options.__doc__ or "").strip(),
    )
    fields: dict[str, Any] = {
        "type": (Literal[names], Field(description="The step's type.")),
        kind.name: (kind.options, options_field),
    }
    model = create_model(f"{kind.name}_step", __base__=StepSpec, __doc__=kind.options.__doc__, **fields)
    model.options_key = kind.name
    model.step_type = kind
    return model


def _own_step_model(own: OwnStep) -> type[StepSpec]:
    """Its options are looked at where its code may be loaded: by other processes."""

    def run(options: Any, context: StepContext) -> StepResult:
        return context.run_own(own.name, options)

    fields: dict[str, Any] = {
        "type": (Literal[own.name], Field(description="The step's type.")),
        own.name: (dict[str, Any], Field(default_factory=dict, description="Its options.")),
    }
    model = create_model(f"{own.name}_step", __base__=StepSpec, **fields)
    model.options_key = own.name
    model.is_own = True
    model.step_type = StepType(own.name, (), BaseModel, run, _always(own.repeatable), __name__)
    return model
