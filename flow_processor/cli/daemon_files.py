"""The running daemon's calls about changing flow files, with the verbs of the service."""

from __future__ import annotations

from urllib.parse import quote

from flow_processor.cli.daemon_link import DaemonLink
from flow_processor.service.edit_views import FlowFileEdited, FlowVersionDetail, FlowVersions
from flow_processor.service.flow_edits import Expected


class FlowFileCalls:
    """Part of `Daemon`."""

    def __init__(self, link: DaemonLink):
        self._link = link

    def write_flow_file(
        self,
        path: str,
        content: bytes,
        expected: Expected,
        *,
        by: str = "cli",  # the daemon tells this by the token
        dry: bool = False,
    ) -> FlowFileEdited:
        """Write a flow file if it is right."""
        headers = {"Content-Type": "application/yaml", **_headers(expected)}
        query = {"dry": "true"} if dry else None
        answer = self._link.call("PUT", _address(path), data=content, headers=headers, query=query)
        return FlowFileEdited.model_validate(answer)

    def restore_flow_file(
        self, path: str, version: int, expected: Expected, *, by: str = "cli"
    ) -> FlowFileEdited:
        """Write an earlier version again."""
        address = f"{_address(path)}/versions/{version}/restore"
        return FlowFileEdited.model_validate(self._link.call("POST", address, headers=_headers(expected)))

    def flow_versions(self, path: str) -> FlowVersions:
        """The kept versions of a flow file, newest first."""
        return FlowVersions.model_validate(self._link.call("GET", f"{_address(path)}/versions"))

    def flow_version(self, path: str, version: int) -> FlowVersionDetail:
        """One of them, with its text."""
        return FlowVersionDetail.model_validate(
            self._link.call("GET", f"{_address(path)}/versions/{version}")
        )


def _address(path: str) -> str:
    return f"/api/flows/files/{quote(path)}"


def _headers(expected: Expected) -> dict[str, str]:
    if expected.is_absent:
        return {"If-None-Match": "*"}
    if expected.etags is not None:
        return {"If-Match": ", ".join(f'"{etag}"' for etag in sorted(expected.etags))}
    return {"If-Match": "*"} if expected.is_there else {}
