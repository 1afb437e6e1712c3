"""The running daemon's calls about schedules, with the verbs of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flow_processor.cli.daemon_link import DaemonLink
from flow_processor.service.schedule_views import ScheduleDetail, SchedulePage, SchedulePreview


class ScheduleCalls:
    """`Daemon.schedules`."""

    def __init__(self, link: DaemonLink):
        self._link = link

    def page(self, *, flow: str | None = None, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """A page of the schedules of all flows, or of one."""
        query = {"flow": flow, "limit": limit, "cursor": cursor}
        return SchedulePage.model_validate(self._link.call("GET", "/api/schedules", query=query))

    def one(self, schedule_id: str, *, number: int = 10) -> ScheduleDetail:
        """One schedule with its next `number` slots."""
        return self._detail("GET", _address(schedule_id), query={"next": number})

    def preview(
        self, keys: Mapping[str, Any], *, flow: str | None = None, number: int = 10
    ) -> SchedulePreview:
        """When a rule would start a flow if it began now."""
        body = {**keys, "flow": flow}
        answer = self._link.call("POST", "/api/schedules/preview", json=body, query={"next": number})
        return SchedulePreview.model_validate(answer)

    def add(
        self,
        flow: str,
        keys: Mapping[str, Any],
        *,
        name: str | None = None,
        data: Any = None,
        active: bool = True,
        by: str = "cli",  # the daemon tells this by the token
    ) -> ScheduleDetail:
        """A new schedule of a flow. Never sent twice."""
        body = {**keys, "flow": flow, "name": name, "data": data, "active": active}
        return self._detail("POST", "/api/schedules", json=body)

    def change(self, schedule_id: str, keys: Mapping[str, Any], given: Mapping[str, Any]) -> ScheduleDetail:
        """Change some keys of its rule, its name, its data."""
        return self._detail("PATCH", _address(schedule_id), json={**keys, **given})

    def activate(self, schedule_id: str) -> ScheduleDetail:
        """Switch it on."""
        return self._detail("POST", f"{_address(schedule_id)}/activate")

    def deactivate(self, schedule_id: str) -> ScheduleDetail:
        """Switch it off."""
        return self._detail("POST", f"{_address(schedule_id)}/deactivate")

    def remove(self, schedule_id: str) -> None:
        """Take it out."""
        self._link.call("DELETE", _address(schedule_id))

    def _detail(self, method: str, address: str, **options: Any) -> ScheduleDetail:
        return ScheduleDetail.model_validate(self._link.call(method, address, **options))


def _address(schedule_id: str) -> str:
    return f"/api/schedules/{quote(schedule_id, safe='')}"
