"""Flows that have a webhook of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flow_processor.documents import parse, problem_at
from flow_processor.errors import Problem
from flow_processor.flow_files.parsing import LoadedFlow


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
