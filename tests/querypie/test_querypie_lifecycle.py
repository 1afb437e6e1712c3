"""The lifecycle against a QueryPie that keeps to the vendor's schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.querypie.fake import FakeQueryPie
from tests.querypie.pieces import person, rule, uid
from tests.querypie.vendor import answer_problems, request_problems
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
        "Execution assignees from rule: elon",
        "Using rule-defined executor: elon",
        "Execution completed successfully by elon!",
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
        "send",
        "approve_2",
        "send",
        "execute",
        "send",
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


def test_other_choices(pie: FakeQueryPie, context: FakeContext, run: Run) -> None:
    pie.rules = [rule("Default", [("ANY", ["elon"])], ["elon", "dba"])]
    result = run(
        connection={"name": "books", "type": "PostgreSQL", "database": "none", "fallback_to_first": True},
        cluster="ledger2:3306",
        executor="dba",
        auth_prefix="Bearer ",
    )
    assert (result["connection"]["name"], result["cluster"]["host"]) == ("ledger", "ledger2")
    assert (result["database"], result["executor"]["name"]) == ("orders", "dba")
    missed = (
        "the preferred connection 'books' (PostgreSQL) is not among those of the user; another one is taken"
    )
    assert ("warning", missed) in context.lines


def test_the_token_may_go_without_a_word_before_it(pie: FakeQueryPie, call: Run) -> None:
    pie.prefix = ""
    assert call(action="identify", login_id="ada", auth_prefix="")["name"] == "ada"


def test_people_may_approve_instead(pie: FakeQueryPie, run: Run) -> None:
    pie.by_itself, pie.looks_until = "approve", 3
    result = run(use_rule_based_approval=False)
    assert (result["approvals"], result["execution_status"]) == ([], "SUCCESS")
    assert result["times"]["approved"] is not None
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


def test_what_the_server_answers_may_be_shown_without_the_token(
    pie: FakeQueryPie, context: FakeContext, run: Run
) -> None:
    run(show_response=True)
    said = "\n".join(line for _, line in context.lines)
    assert 'GET /users/identify answers 200: {"status": "FOUND"' in said
    assert "canary" not in said


@pytest.mark.parametrize("approves", [True, False])
def test_who_waits_is_not_put_off_by_an_outage(
    pie: FakeQueryPie, context: FakeContext, run: Run, approves: bool
) -> None:
    """For people, and for the end of the execution: it is told, and looked at again."""
    pie.by_itself = None if approves else "approve"
    pie.executing_looks = 1
    first = 4 if approves else 1
    for number in range(first, first + 7):
        pie.fault("status", "status", status=502, at=number)
    assert run(use_rule_based_approval=approves)["execution_status"] == "SUCCESS"
    told = [
        line for level, line in context.lines if level == "warning" and "looked at again in 0.1 s" in line
    ]
    assert len(told) == 2
    assert pie.taken["execute"] == 1


def test_the_fake_holds_all_against_the_schema() -> None:
    """Also what is nested, and dates."""
    steps = [{"assignees": ["elon"], "stepApproveCondition": "SOME", "more": 1}]
    body = {"approvalSteps": steps, "extra": 1}
    problems = "\n".join(request_problems("submit", {"page": "1"}, body))
    for part in (
        "unknown query page",
        "'extra' was",
        "'more' was",
        "'SOME'",
        "'elon' is not a 'uuid'",
        "'title' is a",
    ):
        assert part in problems
    rules = {"list": [{"uuid": uid("x"), "name": "x", "createdAt": "yesterday", "updatedAt": "2026-11-09"}]}
    problems = "\n".join(answer_problems("rules", 200, rules))
    for part in (
        "'yesterday' is not a 'date-time'",
        "'2026-11-09' is not",
        "'page' is a",
        "'requestType' is a",
    ):
        assert part in problems
    assert answer_problems("rules", 503, {"error": {"code": 7}})
    assert answer_problems("execute", 200, {})
