"""Following pydantic's error locations through model and data side by side.

pydantic's `loc` also holds the tag of a union and the labels of its branches: `("steps", 0, "rest", "rest",
"uri")`, `("when", "bool")`. A tag may equal a key's name, so only the model tells which is which.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flow_processor.documents.described import RefusedKeys, aliases, field_description
from flow_processor.documents.refusal import Loc


@dataclass
class Spot:
    """A place in a document, as a person sees it, and what the model knows about it."""

    loc: Loc
    """Keys and indexes only."""
    data: Any = None
    """The value there; None where there is none."""
    parent: Any = None
    """The mapping or list around it."""
    keys: list[str] = field(default_factory=list)
    """The keys that the mapping around it may have."""
    refused_keys: RefusedKeys | None = None
    """Keys of that mapping that a rule refuses."""
    keys_inside: dict[str, str] = field(default_factory=dict)
    """Keys of the mappings that stand beside it -> the key of that mapping."""
    keys_around: list[str] = field(default_factory=list)
    """Keys that the next mapping further out may have."""
    description: str = ""
    """Of the field, from its docstring."""
    takes_text: bool = False
    """A list stands here for which a single text may stand too."""
    union_at: Loc | None = None
    """Where the innermost union stands one of whose branches complains."""
    members: Sequence[type[BaseModel]] = ()
    """Of the tagged union that stands here."""
    tags: list[str] = field(default_factory=list)
    """The tags of these members."""


def walk(model: type[BaseModel], data: Any, error_loc: tuple[int | str, ...]) -> Spot:
    """The spot that an error's location means."""
    # Of a mapping whose key itself is wrong; the key is what was found.
    is_about_key = error_loc[-1:] == ("[key]",)
    if is_about_key:
        error_loc = error_loc[:-1]
    annotation: Any = model
    spot = Spot((), data)
    owner: type[BaseModel] | None = None
    outer: type[BaseModel] | None = None
    rest = list(error_loc)
    recursive: Any = None
    while True:
        if isinstance(annotation, typing.ForwardRef):
            # A member of a union that holds the union again (a step in a step) can only name it.
            annotation = recursive
        around = annotation
        annotation, tag_key, members = _resolve(annotation)
        if members and tag_key:
            recursive = recursive or around
            spot.members, spot.tags = members, [tag for member in members for tag in _tags(member, tag_key)]
            if not rest:
                break
            tag = rest.pop(0)
            annotation = next((member for member in members if tag in _tags(member, tag_key)), None)
            spot.members, spot.tags = (), []
            continue
        if not rest:
            break
        part = rest.pop(0)
        if members:  # branches without a tag: the next part is the branch's label
            spot.union_at = spot.loc
            annotation = None
            continue
        if not _steps_into(spot.data, part, is_last=not rest):
            continue
        outer, owner = (owner, annotation) if _is_model(annotation) else (outer, owner)
        known = _field_name(annotation, part) if _is_model(annotation) else None
        info = annotation.model_fields[known] if known else None
        name = _written_name(spot.data, part, info)
        spot.parent, spot.data, spot.loc = spot.data, _item(spot.data, name), (*spot.loc, name)
        spot.description = field_description(annotation, known) if known else ""
        spot.takes_text = info is not None and _is_list_or_text(info.annotation, info.metadata)
        annotation = _annotation_of(info) if info else _inner(annotation)
    _describe_keys(spot, owner, outer)
    if is_about_key:
        spot.data = spot.loc[-1]
    return spot


def coerced_texts(model: type[BaseModel], data: Any, value: BaseModel) -> list[tuple[Loc, str, Any]]:
    """Places where text or a boolean silently became a number, or text or a number a boolean:
    (place, what must stand there, what was found)."""
    return list(_coerced((), data, value))


def _coerced(loc: Loc, data: Any, value: Any) -> Iterator[tuple[Loc, str, Any]]:
    if isinstance(value, BaseModel):
        if isinstance(data, dict):
            fields = type(value).model_fields
            for name in value.model_fields_set:
                info = fields[name]
                key = _written_name(data, name, info)
                if key not in data:
                    continue
                item, result = data[key], getattr(value, name)
                if item is not result and not (isinstance(item, str) and _takes_text(info.annotation)):
                    yield from _coerced((*loc, key), item, result)
    elif type(value) in _NUMBERS:
        if type(data) is not type(value) and not _is_number_pair(data, value):
            yield loc, _NUMBERS[type(value)], data
    elif isinstance(data, list) and isinstance(value, list | tuple) and len(data) == len(value):
        for index, (item, result) in enumerate(zip(data, value, strict=True)):
            if item is not result:
                yield from _coerced((*loc, index), item, result)
    elif isinstance(data, dict) and isinstance(value, Mapping):
        for key, item in data.items():
            if key in value and item is not value[key]:
                yield from _coerced((*loc, key), item, value[key])


_NUMBERS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def _is_number_pair(data: Any, value: Any) -> bool:
    return type(value) is not bool and type(data) in (int, float)


def _takes_text(annotation: Any) -> bool:
    """Does the field take any text, as `when` does beside booleans?"""
    members = typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else ()
    return any(member is str or _bare(member) is tuple for member in members)


_UNIONS = (Union, types.UnionType)


def _resolve(annotation: Any) -> tuple[Any, str | None, Sequence[Any]]:
    """(annotation without wrapping and None, the union's tag key, the union's members)."""
    tag_key = None
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            first, *metadata = typing.get_args(annotation)
            for item in metadata:
                tag_key = getattr(item, "discriminator", None) or tag_key
            annotation = first
        elif origin in _UNIONS:
            members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
            if len(members) > 1:
                return annotation, tag_key if isinstance(tag_key, str) else None, members
            annotation = members[0]
        else:
            return annotation, None, ()


def _is_list_or_text(annotation: Any, metadata: Sequence[Any] = ()) -> bool:
    """Is it `Texts`, whose validator makes a list of a single text?"""
    if typing.get_origin(annotation) is Annotated:
        annotation, *metadata = typing.get_args(annotation)
    if any(str in typing.get_args(getattr(item, "json_schema_input_type", None)) for item in metadata):
        return True
    members = typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else ()
    return any(_is_list_or_text(member) for member in members)


def _annotation_of(info: FieldInfo) -> Any:
    if info.discriminator:
        return Annotated[info.annotation, info]
    return info.annotation


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return typing.get_origin(annotation) or annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tags(member: Any, tag_key: str) -> list[str]:
    annotation = member.model_fields[tag_key].annotation if _is_model(member) else None
    return (
        [str(tag) for tag in typing.get_args(annotation)] if typing.get_origin(annotation) is Literal else []
    )


def _steps_into(data: Any, part: int | str, *, is_last: bool) -> bool:
    """False for a part that is no key or index of the data but a branch's label."""
    if isinstance(data, dict):
        return isinstance(part, str) and (part in data or is_last or not part.endswith((")", "]")))
    if isinstance(data, list):
        return isinstance(part, int)
    return False


def _item(data: Any, part: int | str) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    return data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None


def _field_name(model: type[BaseModel], part: int | str) -> str | None:
    return next((name for name, info in model.model_fields.items() if part in (name, *aliases(info))), None)


def _written_name(data: Any, part: int | str, info: FieldInfo | None) -> Any:
    """The name under which the author wrote the field, where it has several."""
    if info is not None and isinstance(data, dict) and part not in data:
        return next((alias for alias in aliases(info) if alias in data), part)
    return part


def _inner(annotation: Any) -> Any:
    """What a list, tuple or mapping holds."""
    arguments = [item for item in typing.get_args(annotation) if item is not Ellipsis]
    return arguments[-1] if arguments else None


def _names(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _describe_keys(spot: Spot, owner: type[BaseModel] | None, outer: type[BaseModel] | None) -> None:
    if owner is None:
        return
    spot.keys = _names(owner)
    spot.refused_keys = getattr(owner, "refused_keys", None)
    spot.keys_around = _names(outer) if outer else []
    for name, info in owner.model_fields.items():
        inner = _resolve(info.annotation)[0]
        if _is_model(inner):
            for key in inner.model_fields:
                spot.keys_inside.setdefault(key, name)
