"""Calls about how flows have been doing."""

from __future__ import annotations

from flask import Response

from flow_processor import errors
from flow_processor.api.errors import error_answers
from flow_processor.api.handlers import Parameters, answer, handler, service
from flow_processor.api.launching import FlowFilePath
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission
from flow_processor.api.run_queries import Moment, Until
from flow_processor.service.flow_stats import FlowStats

noun = Noun("flow_stats", "/api/flows/files", "How flows have been doing.")


class StatsQuery(Parameters):
    """Which runs are counted."""

    since: Moment | None = None
    """Only runs accepted at or after this moment: ISO 8601, UTC if it names no zone."""
    until: Until | None = None
    """Only runs accepted before this moment."""


@noun.get(
    "/<path:path>/stats",
    needs=Permission.READ,
    responses={200: FlowStats, **error_answers(errors.FlowNotFound)},
)
@handler
def stats(path: FlowFilePath, query: StatsQuery) -> Response:
    """Tell how a flow has been doing: runs by status, durations, errors, the last runs and the next one."""
    return answer(service().flow_stats(path.path, since=query.since, until=query.until))
