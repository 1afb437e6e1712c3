"""Which flows something else starts: kept in memory, looked at anew where files change."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from flow_processor.errors import FlowNotFound, OctospoolError
from flow_processor.flow_files.folder import FlowFolder, Stamp
from flow_processor.flow_files.parsing import LoadedFlow

_KEY = re.compile(rb"""(?:^|[\s{,?"'])on["']?\s*:""", re.MULTILINE)
"""The key `on`, wherever it stands: that it is not the flow's own costs a look at the flow, and no more."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class OnBook:
    """The flows in force that something starts: a webhook, a queue. Not thread safe.

    Most flows have no `on`, and reading a file costs far less than loading it: only those that hold the key are loaded.
    """

    def __init__(
        self,
        folder: FlowFolder,
        *,
        in_force: Callable[[str], LoadedFlow],
        is_settling: Callable[[str], bool],
    ) -> None:
        self._folder = folder
        self._in_force = in_force
        self._is_settling = is_settling
        self._seen: dict[str, Stamp] = {}
        self._flows: dict[str, LoadedFlow] = {}
        self._open: set[str] = set()
        """Files to look at again although they do not change: settling ones, and wrong ones that may become right."""

    def flows(self, found: dict[str, Stamp]) -> Mapping[str, LoadedFlow]:
        """Flows with `on` as they are in force, by path; `found` are the files that are there now."""
        changed = {
            path for path in found.keys() | self._seen.keys() if found.get(path) != self._seen.get(path)
        }
        self._seen = found
        for path in sorted(changed | self._open):
            self._look(path)
        return self._flows

    def _look(self, path: str) -> None:
        self._open.discard(path)
        try:
            flow = self._in_force(path) if path in self._flows or self._has_the_key(path) else None
        except FlowNotFound:
            flow = None
        except OctospoolError:  # its own status tells what is wrong
            flow = None
            self._open.add(path)
        if flow is None or flow.spec.on is None:
            self._flows.pop(path, None)
        else:
            self._flows[path] = flow
        if flow is not None and self._is_settling(path):
            self._open.add(path)

    def _has_the_key(self, path: str) -> bool:
        raw = self._folder.read(path).raw
        return _KEY.search(raw) is not None or raw[:2] in _UTF16
