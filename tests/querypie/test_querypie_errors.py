"""What goes wrong before, between and after the calls that change something, each with its own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow_processor.errors import StepError
from flow_processor.step import Secret
from tests.querypie.fake import FakeQueryPie
from tests.querypie.switches import Switch, both, fault, one_rule, sets, users
from tests.steps.conftest import FakeContext

Run = Callable[..., Any]


FAILURES = [
    (users("NOT_FOUND"), {}, "querypie_user_not_found", "no user with login 'ada'", 0),
    (users("DUPLICATES_FOUND", "ada", "grace"), {}, "querypie_user_ambiguous", "grace@example.com", 0),
    (sets(rules=[]), {}, "querypie_no_rule", "no approval rule", 0),
    (sets(), {"rule": "Strict"}, "querypie_no_rule", "there are: Default", 0),
    (
        one_rule(("ANY", ["elon"]), ("ANY", [])),
        {},
        "querypie_no_assignees",
        "No assignees found for step 2",
        0,
    ),
    (one_rule(("ANY", ["elon"]), executors=()), {}, "querypie_no_executor", "No executor available", 0),
    (sets(), {"executor": "nobody"}, "querypie_no_executor", "there are: elon", 0),
    (
        sets(),
        {"connection": {"name": "shopp"}},
        "querypie_no_connection",
        "No suitable connection found: preferred 'shopp'; there are: shop (MySQL), ledger (PostgreSQL)",
        0,
    ),
    (
        sets(),
        {"connection": {"name": "shop", "database": "x"}},
        "querypie_no_database",
        "there are: orders",
        0,
    ),
    (sets(), {"cluster": "elsewhere"}, "querypie_no_cluster", "shop1:3306", 0),
    (sets(prefix="Token "), {}, "querypie_unauthorized", "401 UNAUTHORIZED: Invalid token", 0),
    (fault("rule", "status", status=403), {}, "querypie_forbidden", "403 FAULT: planned", 0),
    (fault("rule", "status", status=404), {}, "querypie_not_found", "404 FAULT: planned", 0),
    (fault("rules", "status", status=500, times=9), {}, "querypie_unavailable", "500 FAULT: planned", 0),
    (fault("rules", "reset_before", times=9), {}, "querypie_unavailable", "GET /workflows/approval-rules", 0),
    (
        fault("rules", "slow", seconds=1.0, times=9),
        {"timeout_seconds": 0.2, "retry": {"attempts": 1, "delay_seconds": 0}},
        "querypie_unavailable",
        "no whole answer",
        0,
    ),
    (
        fault("rules", "status", status=500, times=1),
        {"retry": {"attempts": 5, "on": "429"}},
        "querypie_unavailable",
        "500 FAULT",
        0,
    ),
    (
        fault("rules", "status", status=429, headers={"Retry-After": "86400"}),
        {},
        "querypie_unavailable",
        "takes no more calls",
        0,
    ),
    (fault("connections", "empty"), {}, "querypie_answer", "no list of connections", 0),
    (fault("identify", "text"), {}, "querypie_answer", "status None", 0),
    (fault("submit", "status", status=400), {}, "querypie_refused", "400 FAULT: planned", 0),
    (
        fault("submit", "status", status=400, required="ledger"),
        {},
        "querypie_refused",
        "planned by the test (required: ledger)",
        0,
    ),
    (
        fault("rules", "status", status=302, headers={"Location": "/login"}),
        {},
        "querypie_refused",
        "base_url",
        0,
    ),
    (fault("approve", "status", status=403), {}, "querypie_approval_failed", "Approval failed at Step 1", 1),
    (sets(by_itself="reject"), {}, "querypie_approval_failed", "REJECTED by elon: not today", 1),
    (
        sets(by_itself="reject", looks_until=2),
        {"use_rule_based_approval": False},
        "querypie_approval_failed",
        "REJECTED",
        1,
    ),
    (sets(after_approvals="REVIEW"), {}, "querypie_execution_failed", "REVIEW as the request's next step", 1),
    (sets(after_approvals="DONE"), {}, "querypie_execution_failed", "DONE as the request's next step", 1),
    (fault("execute", "status", status=400), {}, "querypie_execution_failed", "400 FAULT: planned", 1),
    (
        sets(begins=False),
        {"poll_seconds": 10},
        "querypie_execution_failed",
        "for 30 s: its status is still NONE",
        1,
    ),
    (
        sets(begins=False, before_execution="PENDING"),
        {"timeout_seconds": 7, "poll_seconds": 2},
        "querypie_execution_failed",
        "for 7 s: its status is still PENDING",
        1,
    ),
    (
        both(sets(approving_looks=99), fault("approve", "reset_after", at=2)),
        {"timeout_seconds": 2, "poll_seconds": 0.5},
        "querypie_approval_failed",
        "every step was approved, and the request is still IN_PROGRESS",
        1,
    ),
    (sets(final="FAILURE"), {}, "querypie_execution_failed", "ended as FAILURE", 1),
    (sets(final="EXPIRED"), {}, "querypie_execution_failed", "ended as EXPIRED", 1),
    (sets(final="CANCELED"), {}, "querypie_execution_failed", "ended as CANCELED", 1),
]


@pytest.mark.parametrize(("switch", "more", "code", "said", "submitted"), FAILURES)
def test_what_goes_wrong_says_so(
    pie: FakeQueryPie,
    run: Run,
    switch: Switch,
    more: dict[str, Any],
    code: str,
    said: str,
    submitted: int | None,
) -> None:
    """With a code of its own, the vendor's words inside, and no POST more than needed."""
    switch(pie)
    with pytest.raises(StepError) as caught:
        run(**more)
    assert (caught.value.code, said in caught.value.message) == (code, True), caught.value.message
    assert pie.count("submit") <= 1
    assert submitted is None or pie.taken["submit"] == submitted


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({"query": "x", "target_date": "tomorrow"}, "invalid_value", "target_date must be a day"),
        (
            {"query": "x", "target_date": "2026-12-02", "expiration_date": "2026-12-01"},
            "invalid_value",
            "before target_date",
        ),
        ({"query": "x", "title": "{{ nothing }}"}, "invalid_value", "querypie.request.title must be a text"),
        ({"query": "x", "urgent": "{{ 'soon' }}"}, "invalid_value", "urgent must be true or false"),
        ({"file": "nowhere.sql"}, "file_not_found", "nowhere.sql"),
        ({"data_key": "nothing"}, "invalid_value", "no SQL text under data_key 'nothing'"),
    ],
)
def test_a_request_that_comes_to_nothing_is_not_submitted(
    pie: FakeQueryPie, context: FakeContext, call: Run, request_: dict[str, Any], code: str, said: str
) -> None:
    context.data["nothing"] = None
    connection = {"name": "shop", "database": "orders"}
    with pytest.raises(StepError) as caught:
        call(login_id="ada", connection=connection, request={"title": "t", **request_})
    assert (caught.value.code, said in caught.value.message) == (code, True), caught.value.message
    assert pie.count("submit") == 0


def test_what_the_vendor_says_is_kept_and_cut(pie: FakeQueryPie, call: Run) -> None:
    """A page of a proxy in an error is no reason for a history of megabytes."""
    pie.fault("rules", "status", status=400, says="long " * 10_000, required="requestType")
    with pytest.raises(StepError) as caught:
        call(action="rules")
    details = caught.value.details
    assert (details["status"], details["vendor_code"]) == (400, "FAULT")
    assert (details["vendor_path"], details["vendor_required_key"]) == ("told by the server", "requestType")
    assert len(details["vendor_message"]) < 1_100
    assert len(caught.value.message) < 1_400


@pytest.mark.parametrize("token", ["abc", "  a  ", "   "])
def test_a_token_that_cannot_be_redacted_is_refused(
    pie: FakeQueryPie, context: FakeContext, call: Run, token: str
) -> None:
    context.secrets["querypie"] = Secret("querypie", "token", {"token": token})
    with pytest.raises(StepError, match="cannot be kept out of logs") as caught:
        call(action="rules")
    assert (caught.value.code, pie.calls) == ("secret_too_short", [])
