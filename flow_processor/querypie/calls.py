"""The calls of the lifecycle. Those that change something look the state up before they do it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flow_processor.querypie import standing
from flow_processor.querypie.client import Client
from flow_processor.querypie.errors import (
    QueryPieAnswer,
    QueryPieApproval,
    QueryPieError,
    QueryPieExecution,
    QueryPieInDoubt,
    QueryPieRefused,
)
from flow_processor.querypie.selection import Found, list_of, text_of, user_of

_REMAINING = frozenset(
    {"APPROVAL_1", "APPROVAL_2", "APPROVAL_3", "APPROVAL_4", "EXECUTION", "REVIEW", "DONE"}
)
_LOOK_SECONDS = 1.0
"""Pause between two looks at a state that may still change."""


class Calls:
    """One method for each call. Raises QueryPieError."""

    def __init__(self, client: Client, *, settle_seconds: float):
        """`settle_seconds`: so long a change must have shown no effect before it counts as not taken."""
        self._client = client
        self._settle_seconds = settle_seconds

    def identify(self, login_id: str) -> Found:
        """The user with that login."""
        return user_of(self._client.get("users", "identify", query={"loginId": login_id}), login_id)

    def rules(self) -> list[Found]:
        """The approval rules for SQL requests, of all pages."""
        return self._client.pages("workflows", "approval-rules", query={"requestType": "SQL_EXECUTION"})

    def rule(self, uuid: str) -> Found:
        """A rule's details."""
        return _mapping(self._client.get("approval-rules", uuid), "an approval rule")

    def connections(self, user: str) -> list[Found]:
        """The connections that the user may reach."""
        found = self._client.get("workflows", "requests", "accessible-connections", query={"userUuid": user})
        if not isinstance(found, list):
            raise QueryPieAnswer("QueryPie answers no list of connections")
        return found

    def databases(self, connection: str, cluster: str, user: str) -> list[str]:
        """Names of the databases of a cluster."""
        path = ("dac", "connections", connection, "clusters", cluster, "database-names")
        answer = _mapping(self._client.get(*path, query={"userUuid": user}), "database names")
        if not isinstance(answer.get("databaseNames"), list):
            raise QueryPieAnswer("QueryPie answers no list of database names")
        return [name for name in list_of(answer, "databaseNames") if isinstance(name, str)]

    def submit(self, body: Found) -> str:
        """Submit a request; its UUID. Nothing tells whether QueryPie has one, so this is never sent again in doubt."""
        try:
            answer = self._client.post("workflows", "sql-request", body=body)
            return text_of(answer, "workflowUuid", what="the answer to the submission")
        except QueryPieError as error:
            if not (error.is_unclear or isinstance(error, QueryPieAnswer)):
                raise
            message = (
                f"nobody knows whether QueryPie took the request '{body['title']}': {error.message}. Look for it in "
                "QueryPie, by its comments; if it is there, go on with it by 'workflow_uuid', else submit again"
            )
            raise _in_doubt(message, error) from error

    def status(self, workflow: str) -> Found:
        """The details of a request."""
        return _mapping(self._client.get("workflows", "sql-request", workflow), "a request")

    def approve(self, workflow: str, user: str, comments: str, *, step: int) -> str | None:
        """Approve that step (from 1) in the user's name; the next step that QueryPie names, None if it had been
        approved before."""
        at = f"Approval failed at Step {step}"

        def is_done(detail: Found) -> bool:
            standing.check_open(detail, at=at)
            return standing.has_approved(detail, user, step)

        try:
            post = partial(
                self._post,
                ("workflows", workflow, "approve"),
                {"userUuid": user, "comments": comments},
                _remaining_in,
            )
            remaining: str | None = self._once(workflow, post, is_done, what="the approval")
            return remaining
        except (QueryPieApproval, QueryPieInDoubt):
            raise
        except QueryPieError as error:
            details = {**error.details, "cause": error.code}
            raise QueryPieApproval(f"{at}: {error.message}", details=details) from error

    def execute(self, workflow: str, user: str) -> bool:
        """Have the request executed; False if it had been before."""
        path = ("workflows", "sql-request", workflow, "execute")
        post = partial(self._post, path, {"userUuid": user}, _nothing_in)
        try:
            return bool(self._once(workflow, post, standing.has_been_executed, what="the execution"))
        except QueryPieInDoubt:
            raise
        except QueryPieError as error:
            details = {**error.details, "cause": error.code}
            message = f"the request cannot be executed: {error.message}"
            raise QueryPieExecution(message, details=details) from error

    def _once(
        self, workflow: str, post: Callable[[], Any], is_done: Callable[[Found], bool], *, what: str
    ) -> Any:
        """The answer of a POST that takes effect at most once; None where the request's state shows that it has.

        `is_done` reads that from the request's details, and raises what cannot be mended. A state that stays
        untouched for `settle_seconds` after an unclear POST means that it was not taken; then it is sent once more.
        """
        if is_done(self.status(workflow)):
            return None
        if self._client.voice.begun_before and self._settles(workflow, is_done):
            return None
        is_second = False
        while True:
            try:
                return post()
            except QueryPieError as error:
                if not error.is_unclear:
                    if isinstance(error, QueryPieRefused) and is_done(self.status(workflow)):
                        return None  # somebody was faster
                    if not is_second:
                        raise
                elif self._has_arrived(error, workflow, is_done, what=what):
                    return None
                if is_second:  # whatever is said of this one, the first may still take effect
                    message = f"nobody knows whether {what} took effect: {error.message}"
                    raise _in_doubt(message, error) from error
            is_second = True

    def _post(self, path: Sequence[str], body: Found, read: Callable[[Any], Any]) -> Any:
        """What `read` finds in the answer; an answer that it cannot read leaves it unclear what became of the POST."""
        answer = self._client.post(*path, body=body)
        try:
            return read(answer)
        except QueryPieAnswer as broken:
            broken.is_unclear = True
            raise

    def _has_arrived(
        self, unclear: QueryPieError, workflow: str, is_done: Callable[[Found], bool], *, what: str
    ) -> bool:
        self._client.voice.log(f"unclear: {unclear.message}; looking whether {what} took effect", "warning")
        try:
            return self._settles(workflow, is_done)
        except QueryPieApproval:
            raise
        except QueryPieError as error:
            message = f"nobody knows whether {what} took effect: {unclear.message}; then {error.message}"
            raise _in_doubt(message, error) from error

    def _settles(self, workflow: str, is_done: Callable[[Found], bool]) -> bool:
        """Does the state show within the time that it takes to settle that it was done?"""
        end = time.monotonic() + self._settle_seconds
        while True:
            if is_done(self.status(workflow)):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._client.voice.wait(min(_LOOK_SECONDS, left))


def _nothing_in(answer: Any) -> bool:
    """The answer to an execution is empty; a text is not QueryPie's, but of something that stands before it."""
    if answer is not None and answer != "" and not isinstance(answer, dict):
        raise QueryPieAnswer("QueryPie answers something else than nothing to the execution")
    return True


def _remaining_in(answer: Any) -> str:
    """The next step that the answer to an approval names."""
    remaining = text_of(answer, "remainingSteps", what="the answer to the approval")
    if remaining not in _REMAINING:
        raise QueryPieAnswer(f"QueryPie names the next step {remaining!r}, which is none that it has")
    return remaining


def _in_doubt(message: str, error: QueryPieError) -> QueryPieInDoubt:
    return QueryPieInDoubt(message, details={**error.details, "outcome": "unknown"})


def _mapping(found: Any, what: str) -> Found:
    if not isinstance(found, dict):
        raise QueryPieAnswer(f"QueryPie answers no mapping for {what}")
    return found
