"""Flows as they were when runs were launched."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from flow_processor.errors import FlowLost, SpecError
from flow_processor.flow_files import Bundle, placed_steps
from flow_processor.flow_files.launched import launched_flow, launched_flows
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec
from flow_processor.store import Store

KEPT_VERSIONS = 64
"""Versions that are kept in memory: after a crash many runs of few flows come back."""


class LaunchedFlows:
    """Reads the texts that the store keeps of each version of a flow. Thread safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], Bundle] = OrderedDict()
        self._guard = threading.Lock()

    def bundle(self, path: str, version: str) -> Bundle:
        """The flow `path` with its sub-flows in that version (the `flow_hash` of a run). Raises FlowLost."""
        with self._guard:
            found = self._known.get((path, version))
            if found is not None:
                self._known.move_to_end((path, version))
                return found
        texts = self._store.runs.flow_texts(version)
        try:
            spec = launched_flow(texts, path)
        except (KeyError, SpecError) as error:
            message = (
                f"the flow {path} as it was at launch cannot be read any more ({error}); launch it again"
            )
            raise FlowLost(message, details={"flow": path}) from error
        bundle = Bundle(path, spec, texts, version, frozenset(texts))
        with self._guard:
            self._known[path, version] = bundle
            if len(self._known) > KEPT_VERSIONS:
                self._known.popitem(last=False)
        return bundle


def flows_of(bundle: Bundle) -> Iterator[FlowSpec]:
    """The flow and its sub-flows."""
    return (spec for _path, spec in launched_flows(bundle.flows))


def steps_of(bundle: Bundle) -> Iterator[StepSpec]:
    """Every step of the flow and of its sub-flows."""
    for spec in flows_of(bundle):
        for _loc, step in placed_steps(spec):
            yield step
