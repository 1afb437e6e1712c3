"""The items that results of steps become, as the journal has these results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flow_processor.queues.item import Item
from flow_processor.result_files import ResultFiles
from flow_processor.spec.output import OutputSpec, OutputType
from flow_processor.store.outbox import Note, Success

NAME_CHARACTERS = 200
"""A longer name of an item is cut: paths of steps inside steps can be long."""

_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An item on its way to its queue."""

    item: Item
    size: int
    """About how many bytes it has."""


def items_of(note: Note, success: Success, results: ResultFiles) -> Iterator[Outgoing]:
    """The items of a result, one after the other: a large list is never there as a whole.

    Their ids say where they come from, so they are the same whenever they are made. Raises ResultLost, and ValueError
    for a row that cannot be understood.
    """
    data = json.loads(success.data)
    output = OutputSpec.model_validate(data["output"])
    is_list = output.type is OutputType.MULTIPLE
    for index, (value, size) in enumerate(
        _values(data, len(success.data), note, results, is_list=is_list), 1
    ):
        where = f"{success.flow} {success.path}{f'[{index}]' if is_list else ''}"
        item = Item(
            id=f"{note.run_id}-{note.seq}-{index:06}",
            queue=note.queue,
            value=value,
            put_at=note.at,
            name=where[:NAME_CHARACTERS],
            priority=output.priority,
        )
        yield Outgoing(item, size)


def _values(
    data: dict[str, Any], size: int, note: Note, results: ResultFiles, *, is_list: bool
) -> Iterator[tuple[Any, int]]:
    """Each value with about its size; `size` is that of all the data."""
    if "result_file" in data:
        text = results.text(note.run_id, data["result_file"])
        yield from _elements(text) if is_list else [(json.loads(text), len(text))]
    elif is_list:
        found = data["result"]
        yield from ((value, size // len(found)) for value in found)
    else:
        yield data["result"], size


def _elements(text: str) -> Iterator[tuple[Any, int]]:
    """The elements of a list, as JSON text without blanks. Parsed one by one: all at once would hold up every thread
    of the daemon for as long as that takes."""
    begin, last = 1, len(text) - 1
    while begin < last:
        value, end = _decode(text, begin)
        yield value, end - begin
        begin = end + 1
