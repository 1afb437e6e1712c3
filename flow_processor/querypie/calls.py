"""The calls of the lifecycle. Those that change something look the state up before they do it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flow_processor.errors import StepError
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
        """`settle_seconds`: so long the request's state is looked at for signs of a POST that may have arrived."""
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
        if self._client.voice.begun_before:
            error = QueryPieError("the submission had been begun before, and was cut off")
            raise self._submission_in_doubt(body, error)
        try:
            answer = self._client.post("workflows", "sql-request", body=body)
            return text_of(answer, "workflowUuid", what="the answer to the submission")
        except QueryPieError as error:
            if not (error.is_unclear or isinstance(error, QueryPieAnswer)):
                raise
            raise self._submission_in_doubt(body, error) from error

    def _submission_in_doubt(self, body: Found, error: QueryPieError) -> QueryPieInDoubt:
        message = (
            f"nobody knows whether QueryPie took the request '{body['title']}': {error.message}. Look for it there, "
            f"by its comments, then say so: octospool runs retry {self._client.voice.run_id} --mode value "
            '--value \'{"workflow_uuid": "…"}\' (it is there) or --mode rerun (it is not)'
        )
        return _in_doubt(message, error.details)

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

        post = partial(
            self._post,
            ("workflows", workflow, "approve"),
            {"userUuid": user, "comments": comments},
            _remaining_in,
        )

        def failed(error: QueryPieError) -> QueryPieError:
            return QueryPieApproval(f"{at}: {error.message}", details={**error.details, "cause": error.code})

        remaining: str | None = self._at_most_once(
            workflow, post, is_done, what="the approval", failed=failed
        )
        return remaining

    def execute(self, workflow: str, user: str) -> bool:
        """Have the request executed; False if it had been before."""
        path = ("workflows", "sql-request", workflow, "execute")
        post = partial(self._post, path, {"userUuid": user}, _nothing_in)

        def failed(error: QueryPieError) -> QueryPieError:
            message = f"the request cannot be executed: {error.message}"
            return QueryPieExecution(message, details={**error.details, "cause": error.code})

        done = standing.has_been_executed
        return bool(self._at_most_once(workflow, post, done, what="the execution", failed=failed))

    def _at_most_once(
        self,
        workflow: str,
        post: Callable[[], Any],
        is_done: Callable[[Found], bool],
        *,
        what: str,
        failed: Callable[[QueryPieError], QueryPieError],
    ) -> Any:
        """The answer of a POST; None where the request's state shows that it has taken effect before.

        `is_done` reads that from the request's details, and raises what cannot be mended. A POST that may have arrived
        is never followed by another: what the state does not show of it is in doubt. `failed` says it as an error of
        approvals or executions.
        """

        def send(was_begun: bool) -> Any:
            try:
                if was_begun:
                    cut = QueryPieError("it had been begun before, and was cut off")
                    return self._look_for(cut, workflow, is_done, what=what)
                return self._send(post, workflow, is_done, what=what)
            except (QueryPieApproval, QueryPieInDoubt):
                raise
            except QueryPieError as error:
                raise failed(error) from error

        try:
            if is_done(self.status(workflow)):
                return None
        except QueryPieApproval:
            raise
        except QueryPieError as error:
            raise failed(error) from error
        return self._client.voice.once(send)

    def _send(
        self, post: Callable[[], Any], workflow: str, is_done: Callable[[Found], bool], *, what: str
    ) -> Any:
        try:
            return post()
        except QueryPieError as error:
            if error.is_unclear:
                return self._look_for(error, workflow, is_done, what=what)
            if isinstance(error, QueryPieRefused) and is_done(self.status(workflow)):
                return None  # somebody was faster
            raise

    def _look_for(
        self, unclear: QueryPieError, workflow: str, is_done: Callable[[Found], bool], *, what: str
    ) -> None:
        """Return once the state shows that it took effect. Raises QueryPieInDoubt if it does not within the time."""
        in_doubt = f"nobody knows whether {what} took effect: {unclear.message}"
        ways_out = (
            f"Look in QueryPie, then say so: octospool runs retry {self._client.voice.run_id} "
            "--mode skip (it took effect) or --mode rerun (it did not)"
        )
        self._client.voice.log(f"unclear: {unclear.message}; looking whether {what} took effect", "warning")
        try:
            has_arrived = self._settles(workflow, is_done)
        except QueryPieApproval:
            raise
        except QueryPieError as error:
            message = f"{in_doubt}; then {error.message}. {ways_out}"
            raise _in_doubt(message, {**unclear.details, **error.details}) from error
        except StepError as error:  # the run was to end meanwhile
            error.details.setdefault("outcome", "unknown")
            raise
        if not has_arrived:
            seen = f"its state has shown no sign of it for {self._settle_seconds:g} s"
            raise _in_doubt(f"{in_doubt}; {seen}. {ways_out}", unclear.details) from unclear

    def _post(self, path: Sequence[str], body: Found, read: Callable[[Any], Any]) -> Any:
        """What `read` finds in the answer; an answer that it cannot read leaves it unclear what became of the POST."""
        answer = self._client.post(*path, body=body)
        try:
            return read(answer)
        except QueryPieAnswer as broken:
            broken.is_unclear = True
            raise

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


def _in_doubt(message: str, details: Found) -> QueryPieInDoubt:
    return QueryPieInDoubt(message, details={**details, "outcome": "unknown"})


def _mapping(found: Any, what: str) -> Found:
    if not isinstance(found, dict):
        raise QueryPieAnswer(f"QueryPie answers no mapping for {what}")
    return found
