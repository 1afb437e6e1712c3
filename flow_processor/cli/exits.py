"""Exit codes: what a script can tell from a command's end."""

from __future__ import annotations

from enum import IntEnum

from flow_processor import errors
from flow_processor.run import RunStatus


class ExitCode(IntEnum):
    """Frozen like the error codes; `octospool run --help` lists them."""

    OK = 0
    """Done; a run succeeded or exited."""
    FAILED = 1
    """The run failed, or `check` found problems."""
    USAGE = 2
    """The command line, the settings or the flow file is wrong."""
    NOT_FOUND = 3
    """No such flow, run or lock."""
    FLOW_RUNNING = 4
    """The flow's lock is held by another run, so nothing was started."""
    CANCELLED = 5
    """The run was cancelled."""
    INTERRUPTED = 6
    """The run was interrupted, and somebody has to decide how it goes on."""
    UNAVAILABLE = 69
    """The daemon or the store does not answer. 69 and 75 as in sysexits.h."""
    BUSY = 75
    """Another process has the data folder."""
    UNAUTHORIZED = 77
    """The daemon refuses the token, or the token does not allow this."""
    LEFT = 130
    """Left by a second Ctrl-C; the run goes on without this command."""


_BY_STATUS = {
    RunStatus.SUCCEEDED: ExitCode.OK,
    RunStatus.EXITED: ExitCode.OK,
    RunStatus.FAILED: ExitCode.FAILED,
    RunStatus.CANCELLED: ExitCode.CANCELLED,
    RunStatus.INTERRUPTED: ExitCode.INTERRUPTED,
    RunStatus.SKIPPED: ExitCode.FLOW_RUNNING,
}

_BY_ERROR: tuple[tuple[type[errors.OctospoolError], ExitCode], ...] = (
    (errors.FlowRunning, ExitCode.FLOW_RUNNING),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.InvalidRequest, ExitCode.USAGE),
    (errors.SpecError, ExitCode.USAGE),
    (errors.SettingsError, ExitCode.USAGE),
    (errors.PathRefused, ExitCode.USAGE),
    (errors.Unauthorized, ExitCode.UNAUTHORIZED),
    (errors.Forbidden, ExitCode.UNAUTHORIZED),
    (errors.DataFolderInUse, ExitCode.BUSY),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
)
"""The first that fits; FAILED where none does."""


def of_status(status: RunStatus) -> ExitCode:
    """The exit code for a run's terminal status."""
    return _BY_STATUS[status]


def of_error(error: errors.OctospoolError) -> ExitCode:
    """The exit code for an error that ended a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.FAILED)
