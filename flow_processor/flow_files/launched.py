"""The flows of a run, from the texts that it took along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flow_processor.flow_files.defaults import defaults_in
from flow_processor.flow_files.parsing import parse_flow
from flow_processor.own_code.manifest import flow_texts, manifest_of
from flow_processor.spec.flow import FlowSpec


def launched_flow(texts: Mapping[str, str], path: str) -> FlowSpec:
    """The flow `path` of a run's texts, with the own code and the defaults that stand beside it.

    Raises KeyError, SpecError.
    """
    own, defaults = manifest_of(texts).names, defaults_in(texts)
    return parse_flow(texts[path], path, checked=True, own=own, defaults=defaults)


def launched_flows(texts: Mapping[str, str]) -> Iterator[tuple[str, FlowSpec]]:
    """All flows of a run's texts by their paths. Raises SpecError."""
    for path in flow_texts(texts):
        yield path, launched_flow(texts, path)
