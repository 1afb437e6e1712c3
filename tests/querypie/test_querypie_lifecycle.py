"""The lifecycle against a QueryPie that keeps to the vendor's schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow_processor.errors import StepError
from tests.ports import free_port
from tests.querypie.fake import FakeQueryPie
from tests.querypie.pieces import person, rule, uid
from tests.steps.conftest import FakeContext

Run = Callable[..., Any]


def test_a_request_is_submitted_approved_and_executed(
    pie: FakeQueryPie, context: FakeContext, run: Run
) -> None:
    context.data["day"] = "2026-12-01"
    pie.executing_looks = 2
    result = run(
        request={"target_date": "{{ day }}", "expiration_date": "2026-12-08", "urgent": True},
        step_comments={"step_1": "first {{ day }}", "default": "others"},
        use_dml_query=True,
    )
    assert (result["user"]["uuid"], result["rule"]["name"]) == (person("ada")["uuid"], "Default")
    assert (result["connection"]["name"], result["cluster"]["host"], result["database"]) == (
        "shop",
        "shop1",
        "orders",
    )
    assert result["workflow_uuid"] in pie.requests
    approved = [(one["step"], one["by"], one["remaining"]) for one in result["approvals"]]
    assert approved == [(1, "elon", "APPROVAL_2"), (2, "dba", "EXECUTION")]
    assert (result["executor"]["name"], result["execution_status"]) == ("elon", "SUCCESS")
    assert set(result["times"]) == {"submitted", "approved", "executed", "ended"}
    body = next(body for name, _, body in pie.calls if name == "submit")
    assert (body["content"], body["targetDate"], body["urgent"], body["useDmlQuery"]) == (
        "SELECT 1;",
        "2026-12-01",
        True,
        True,
    )
    assert body["comments"] == "why\n[octospool run run-of-a-test, step step]"
    (request,) = pie.requests.values()
    assert list(request["approvals"].values()) == ["first 2026-12-01", "others"]
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}
    said = "\n".join(line for _, line in context.lines)
    for part in (
        "User UUID",
        "Selected Connection: shop (MySQL)",
        "Selected Database: orders",
        "Step 2 completed by dba",
    ):
        assert part in said
    assert context.nested == [
        "identify",
        "rules",
        "rule",
        "connections",
        "databases",
        "submit",
        "approve_1",
        "approve_2",
        "execute",
        "executed",
    ]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("condition", ["ANY", "ALL"])
def test_each_step_of_the_rule_is_approved(pie: FakeQueryPie, run: Run, steps: int, condition: str) -> None:
    """One of two where ANY will do, both where ALL must."""
    pie.rules = [rule("Default", [(condition, ["elon", "grace"])] * steps, ["elon"])]
    result = run()
    assert pie.taken["approve"] == len(result["approvals"]) == steps * (1 if condition == "ANY" else 2)
    assert pie.taken["execute"] == 1


def test_all_pages_of_rules_are_read(pie: FakeQueryPie, run: Run, call: Run) -> None:
    pie.rules = [rule(f"R{number}", [("ANY", ["elon"])], ["dba"]) for number in range(5)]
    pie.page_size = 2
    assert run(rule="R4")["rule"]["name"] == "R4"
    assert pie.count("rules") == 3
    assert [one["name"] for one in call(action="rules")] == ["R0", "R1", "R2", "R3", "R4"]


def test_unknown_fields_are_no_matter(pie: FakeQueryPie, run: Run) -> None:
    pie.extra = True
    assert run()["execution_status"] == "SUCCESS"


def test_other_choices(pie: FakeQueryPie, run: Run) -> None:
    pie.rules = [rule("Default", [("ANY", ["elon"])], ["elon", "dba"])]
    result = run(
        connection={"type": "PostgreSQL", "database": "none", "fallback_to_first": True},
        cluster="ledger2:3306",
        executor="dba",
        auth_prefix="Bearer ",
    )
    assert (result["connection"]["name"], result["cluster"]["host"]) == ("ledger", "ledger2")
    assert (result["database"], result["executor"]["name"]) == ("orders", "dba")


def test_the_token_may_go_without_a_word_before_it(pie: FakeQueryPie, call: Run) -> None:
    pie.prefix = ""
    assert call(action="identify", login_id="ada", auth_prefix="")["name"] == "ada"


def test_people_may_approve_instead(pie: FakeQueryPie, run: Run) -> None:
    pie.by_itself, pie.looks_until = "approve", 3
    result = run(use_rule_based_approval=False)
    assert (result["approvals"], result["execution_status"]) == ([], "SUCCESS")
    assert pie.taken == {"submit": 1, "execute": 1}


def test_the_sql_comes_from_a_file_or_from_data_as_it_stands(
    pie: FakeQueryPie, context: FakeContext, run: Run, call: Run
) -> None:
    context.data["sql"] = "SELECT '{{ 7*7 }}';"
    (context.folders.data / "change.sql").write_text("SELECT '{{ x }}';", encoding="utf-8")
    for source, expected in (
        ({"data_key": "sql"}, "SELECT '{{ 7*7 }}';"),
        ({"file": "change.sql"}, "SELECT '{{ x }}';"),
    ):
        connection = {"name": "shop", "database": "orders"}
        call(login_id="ada", connection=connection, request={"title": "t", "mark_comments": False, **source})
        body = [body for name, _, body in pie.calls if name == "submit"][-1]
        assert (body["content"], body["comments"]) == (expected, "")


def test_a_request_that_is_there_is_gone_on_with(pie: FakeQueryPie, run: Run, call: Run) -> None:
    first = run()
    again = call(workflow_uuid=first["workflow_uuid"])
    assert (again["workflow_uuid"], again["execution_status"]) == (first["workflow_uuid"], "SUCCESS")
    assert again["database"] == "orders"
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}


def test_each_call_can_be_made_alone(pie: FakeQueryPie, call: Run) -> None:
    user = call(action="identify", login_id="ada")["uuid"]
    rules = call(action="rules")
    found = call(action="rule", rule_uuid=rules[0]["uuid"])
    assert [step["stepApproveCondition"] for step in found["approvalSteps"]] == ["ANY", "ANY"]
    (shop, _) = call(action="connections", user_uuid=user)
    cluster = shop["clusters"][0]["uuid"]
    names = call(action="databases", user_uuid=user, connection_uuid=shop["uuid"], cluster_uuid=cluster)
    assert names == ["orders", "information_schema"]
    submitted = call(
        action="submit",
        user_uuid=user,
        rule_uuid=found["uuid"],
        cluster_uuid=cluster,
        database="orders",
        approval_steps=[{"assignees": [uid("elon")], "condition": "ANY"}],
        request={"query": "SELECT 1", "title": "alone"},
    )
    workflow = submitted["workflow_uuid"]
    assert call(action="approve", workflow_uuid=workflow, user_uuid=uid("elon"))["remaining"] == "EXECUTION"
    assert call(action="approve", workflow_uuid=workflow, user_uuid=uid("elon"))["remaining"] is None
    assert call(action="execute", workflow_uuid=workflow, user_uuid=uid("elon"))["executed_before"] is False
    assert call(action="execute", workflow_uuid=workflow, user_uuid=uid("elon"))["executed_before"] is True
    assert call(action="status", workflow_uuid=workflow)["executionStatus"] == "SUCCESS"
    assert pie.taken == {"submit": 1, "approve": 1, "execute": 1}


def no_assignees(pie: FakeQueryPie) -> None:
    pie.rules = [rule("Default", [("ANY", ["elon"]), ("ANY", [])], ["elon"])]


def no_executor(pie: FakeQueryPie) -> None:
    pie.rules = [rule("Default", [("ANY", ["elon"])], [])]


def users(status: str, *names: str) -> Callable[[FakeQueryPie], None]:
    def switch(pie: FakeQueryPie) -> None:
        pie.users = {"status": status, "users": [person(name) for name in names]}

    return switch


def sets(**values: Any) -> Callable[[FakeQueryPie], None]:
    def switch(pie: FakeQueryPie) -> None:
        vars(pie).update(values)

    return switch


def fault(operation: str, kind: str, **more: Any) -> Callable[[FakeQueryPie], None]:
    return lambda pie: void(pie.fault(operation, kind, **more))


def void(_: Any) -> None:
    """No result."""


FAILURES = [
    (users("NOT_FOUND"), {}, "querypie_user_not_found", "no user with login 'ada'", 0),
    (users("DUPLICATES_FOUND", "ada", "grace"), {}, "querypie_user_ambiguous", "grace@example.com", 0),
    (sets(rules=[]), {}, "querypie_no_rule", "no approval rule", 0),
    (sets(), {"rule": "Strict"}, "querypie_no_rule", "there are: Default", 0),
    (no_assignees, {}, "querypie_no_assignees", "No assignees found for step 2", 0),
    (no_executor, {}, "querypie_no_executor", "No executor available", 0),
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
    (fault("submit", "status", status=500), {}, "querypie_in_doubt", "nobody knows whether", 0),
    (fault("submit", "reset_before"), {}, "querypie_in_doubt", "nobody knows whether", 0),
    (fault("submit", "reset_after"), {}, "querypie_in_doubt", "'A test'", 1),
    (fault("submit", "empty"), {}, "querypie_in_doubt", "nobody knows whether", 0),
    (
        fault("submit", "slow", seconds=1.0),
        {"timeout_seconds": 0.3},
        "querypie_in_doubt",
        "no whole answer",
        None,
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
    (sets(final="FAILURE"), {}, "querypie_execution_failed", "ended as FAILURE", 1),
    (sets(final="EXPIRED"), {}, "querypie_execution_failed", "ended as EXPIRED", 1),
    (sets(final="CANCELED"), {}, "querypie_execution_failed", "ended as CANCELED", 1),
]


@pytest.mark.parametrize(("switch", "more", "code", "said", "submitted"), FAILURES)
def test_what_goes_wrong_says_so(
    pie: FakeQueryPie,
    run: Run,
    switch: Callable[[FakeQueryPie], None],
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


MENDED = [
    fault("identify", "status", status=503, times=2),
    fault("rules", "status", status=429, headers={"Retry-After": "0"}),
    fault("databases", "reset_before"),
    fault("status", "status", status=502, times=2),
    fault("submit", "status", status=429, headers={"Retry-After": "0"}),
    fault("submit", "status", status=503, headers={"Retry-After": "0"}),
    fault("approve", "reset_before"),
    fault("approve", "reset_after"),
    fault("approve", "status", status=500),
    fault("approve", "empty"),
    fault("execute", "reset_before"),
    fault("execute", "reset_after"),
    fault("execute", "status", status=502),
    fault("execute", "status", status=429, headers={"Retry-After": "0"}),
]


@pytest.mark.parametrize("switch", MENDED)
def test_what_passes_does_no_harm(
    pie: FakeQueryPie, run: Run, switch: Callable[[FakeQueryPie], None]
) -> None:
    """Each of the three takes effect exactly once, whatever became of a call."""
    switch(pie)
    assert run()["execution_status"] == "SUCCESS"
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}


def test_a_slow_server_is_not_asked_twice_to_execute(pie: FakeQueryPie, run: Run) -> None:
    """It had taken the call when the time for the answer was up."""
    pie.fault("execute", "slow", seconds=0.6)
    assert run(timeout_seconds=0.3, settle_seconds=30)["execution_status"] == "SUCCESS"
    assert (pie.taken["execute"], pie.count("execute")) == (1, 1)


def test_what_the_server_answers_may_be_shown_without_the_token(
    pie: FakeQueryPie, context: FakeContext, run: Run
) -> None:
    run(show_response=True)
    said = "\n".join(line for _, line in context.lines)
    assert 'GET /users/identify answers 200: {"status": "FOUND"' in said
    assert "canary" not in said


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


def test_a_server_that_is_not_there_has_taken_nothing(
    pie: FakeQueryPie, context: FakeContext, call: Run
) -> None:
    """So the submission is tried again, and is not in doubt."""
    submission = {
        "user_uuid": uid("ada"),
        "rule_uuid": uid("rule"),
        "cluster_uuid": uid("cluster"),
        "database": "orders",
        "approval_steps": [{"assignees": [uid("elon")]}],
        "request": {"query": "SELECT 1", "title": "t"},
    }
    with pytest.raises(StepError) as caught:
        call(action="submit", base_url=f"http://127.0.0.1:{free_port()}", **submission)
    assert caught.value.code == "querypie_unavailable"
    assert len([line for _, line in context.lines if "tried again" in line]) == 2


def test_an_approval_alone_is_for_one_step(pie: FakeQueryPie, run: Run, call: Run) -> None:
    """Who approves two steps does so in two calls, also where the answer to the first is lost."""
    steps = [{"assignees": [uid("elon")]}, {"assignees": [uid("elon")]}]
    workflow = call(
        action="submit",
        user_uuid=uid("ada"),
        rule_uuid=uid("rule"),
        cluster_uuid=uid("cluster"),
        database="orders",
        approval_steps=steps,
        request={"query": "SELECT 1", "title": "t"},
    )["workflow_uuid"]
    pie.fault("approve", "reset_after")
    approve = {"action": "approve", "workflow_uuid": workflow, "user_uuid": uid("elon")}
    first = call(**approve)
    assert (first["step"], first["remaining"], pie.taken["approve"]) == (1, None, 1)
    second = call(**approve)
    assert (second["step"], second["remaining"], pie.taken["approve"]) == (2, "EXECUTION", 2)
