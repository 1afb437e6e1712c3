"""What the service answers about changes of flow files."""

from __future__ import annotations

from typing import Any

from flow_processor.service.schedule_views import ScheduleView
from flow_processor.service.views import Moment, View
from flow_processor.store.flow_edits import EditKind


class FlowFileEdited(View):
    """What became of a flow file that was written or deleted."""

    path: str
    """The file below the flows folder."""
    created: bool
    """True: there was none before."""
    changed: bool
    """False: it said the same already, or this was only a trial (`dry`)."""
    etag: str | None
    """What tells this content from others, for `If-Match`; null: the file is deleted."""
    version: int | None
    """The number under which its content is kept; null if nothing was changed."""
    warnings: list[dict[str, Any]]
    """What the flow names that is not there yet (templates, secrets), and what is wrong with defaults.yml (its last
    good version counts): like `problems`, but no reason to refuse."""
    schedules: list[ScheduleView]
    """The flow's schedules as they are now (the first 500). Those of a deleted flow stay, with a `problem`."""
    live_runs: list[str]
    """Runs of the flow that have not ended: they go on as they were launched."""


class FlowVersionView(View):
    """One version of a flow file."""

    version: int
    """Its number: from 1, higher is newer."""
    kind: EditKind
    """`written` or `restored` by a call, `deleted` (what the file said then), `found`: written by hand, and kept when a
    call was about to change it."""
    at: Moment
    """When; of a version that was found, when its file was last changed."""
    by: str | None
    """Whose call it was: a token's name, or `api`; null for what was found."""
    restored: int | None
    """The version whose content it has again."""
    etag: str
    """What tells its content from others."""
    bytes: int
    """Its size."""
    current: bool
    """True: the file says just this now; of versions that say the same, the newest."""


class FlowVersionDetail(FlowVersionView):
    """One version of a flow file, with its text."""

    path: str
    """The file below the flows folder."""
    text: str
    """What it said."""


class FlowVersions(View):
    """The versions of a flow file that are kept."""

    path: str
    """The file below the flows folder."""
    versions: list[FlowVersionView]
    """Newest first; of a file that was never changed over the API there is none."""
