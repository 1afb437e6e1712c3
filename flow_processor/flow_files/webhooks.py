"""Which flows have a webhook: kept in memory, looked at anew where files change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flow_processor.documents import parse, problem_at
from flow_processor.errors import FlowNotFound, OctospoolError, Problem
from flow_processor.flow_files.folder import FlowFolder, Stamp
from flow_processor.flow_files.parsing import LoadedFlow

_WORD = b"webhook"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class WebhookBook:
    """The flows in force that have a webhook. Not thread safe.

    Most flows have none, and reading a file costs far less than loading it: only those that hold the word are loaded.
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
        """Flows with a webhook as they are in force, by path; `found` are the files that are there now."""
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
            flow = self._in_force(path) if path in self._flows or self._has_the_word(path) else None
        except FlowNotFound:
            flow = None
        except OctospoolError:  # its own status tells what is wrong
            flow = None
            self._open.add(path)
        if flow is None or flow.spec.webhook is None:
            self._flows.pop(path, None)
        else:
            self._flows[path] = flow
        if flow is not None and self._is_settling(path):
            self._open.add(path)

    def _has_the_word(self, path: str) -> bool:
        raw = self._folder.read(path).raw
        return _WORD in raw or raw[:2] in _UTF16


def taken_webhook(
    flow: LoadedFlow, others: Mapping[str, LoadedFlow], shown: Callable[[str], str]
) -> list[Problem]:
    """What is wrong where other flows have a webhook of the same name: none of them is called by it.

    `shown` tells how people name a file.
    """
    mine = flow.spec.webhook
    if mine is None:
        return []
    same = [
        path
        for path, other in sorted(others.items())
        if path != flow.path and other.spec.webhook is not None and other.spec.webhook.name == mine.name
    ]
    if not same:
        return []
    message = (
        f"{' and '.join(map(shown, same))} has a webhook '{mine.name}' too, so a call of it starts neither"
    )
    document = parse(flow.text, file=shown(flow.path))
    place = ("on", "webhook", "name")
    return [
        problem_at(
            document, place, "webhook_taken", message, hint="give one of them another name", of_value=True
        )
    ]
