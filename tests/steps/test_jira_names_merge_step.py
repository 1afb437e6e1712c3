"""The step jira_names_merge, rule by rule."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from flow_processor.errors import StepError
from flow_processor.step import StepResult

RunStep = Callable[..., StepResult]

NAMES = {
    "summary": "Summary",
    "customfield_1": "Story Points.X-y",
    "customfield_2": "Summary",
    "customfield_3": "",
    "customfield_4": "Sprint",
    "customfield_5": None,
    "customfield_6": "   ",
}


def merge(context: Any, run_step: RunStep, fields: dict[str, Any], **options: Any) -> dict[str, Any]:
    context.data = {"answer": {"names": NAMES, "issues": [{"key": "A-1", "fields": fields}]}}
    kind = options.pop("type", "jira_names_merge")
    issues = run_step(type=kind, **{kind: {"data_key": "answer", **options}}).value
    assert [issue["key"] for issue in issues] == ["A-1"]
    return issues[0]["fields"]


@pytest.mark.parametrize(
    ("fields", "merged"),
    [
        # null and [] go, from any field; everything else that is empty stays.
        ({"summary": None, "labels": [], "customfield_1": None, "customfield_9": []}, {}),
        ({"a": "", "b": 0, "c": False, "d": {}}, {"a": "", "b": 0, "c": False, "d": {}}),
        # Custom fields move to their label.
        ({"customfield_1": 5}, {"story_points_x_y": 5}),
        ({"customfield_1": 0}, {"story_points_x_y": 0}),
        # Over a field of that name, wherever it stands.
        ({"customfield_2": "custom", "summary": "plain"}, {"summary": "custom"}),
        ({"summary": "plain", "customfield_2": "custom"}, {"summary": "custom"}),
        ({"summary": "plain", "customfield_2": None}, {"summary": "plain"}),
        # Without a label they stay.
        (
            {"customfield_3": 1, "customfield_5": 2, "customfield_6": 3, "customfield_9": 4},
            {"customfield_3": 1, "customfield_5": 2, "customfield_6": 3, "customfield_9": 4},
        ),
        # Other fields keep their names, though they have labels too.
        ({"summary": "plain"}, {"summary": "plain"}),
    ],
)
def test_fields(context: Any, run_step: RunStep, fields: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge(context, run_step, fields) == merged


def test_the_source_is_not_touched(context: Any, run_step: RunStep) -> None:
    fields = {"customfield_1": {"a": [1]}, "summary": None}
    before = copy.deepcopy(fields)
    merge(context, run_step, fields)
    assert fields == before


def test_it_is_also_known_as_jira_fields(context: Any, run_step: RunStep) -> None:
    assert merge(context, run_step, {"customfield_1": 5}, type="jira_fields") == {"story_points_x_y": 5}


def test_the_list_may_have_another_key(context: Any, run_step: RunStep) -> None:
    context.data = {"answer": {"names": NAMES, "values": [{"fields": {"customfield_1": 5}}]}}
    step = {"data_key": "answer", "list_key": "values"}
    assert run_step(type="jira_names_merge", jira_names_merge=step).value == [
        {"fields": {"story_points_x_y": 5}}
    ]


def test_what_has_no_fields_stays_as_it_is(context: Any, run_step: RunStep) -> None:
    context.data = {"names": NAMES, "issues": [{"key": "A-1"}, {"fields": None}, "odd"]}
    assert run_step(type="jira_names_merge").value == [{"key": "A-1"}, {"fields": None}, "odd"]


def test_no_issues_give_an_empty_list(context: Any, run_step: RunStep) -> None:
    context.data = {"answer": {"names": {}, "issues": []}}
    assert run_step(type="jira_names_merge", jira_names_merge={"data_key": "answer"}).value == []


@pytest.mark.parametrize("answer", [{"issues": []}, {"issues": [], "names": None}, [], "text", None])
def test_without_names_it_says_how_to_query(context: Any, run_step: RunStep, answer: Any) -> None:
    context.data = {"answer": answer}
    with pytest.raises(StepError, match="expand=names") as caught:
        run_step(type="jira_names_merge", jira_names_merge={"data_key": "answer"})
    assert caught.value.code == "jira_names_missing"


@pytest.mark.parametrize("issues", [None, {"a": 1}, "text"])
def test_without_a_list_it_names_the_key(context: Any, run_step: RunStep, issues: Any) -> None:
    context.data = {"answer": {"names": {}, "issues": issues}}
    with pytest.raises(StepError, match="there is no list 'issues' in 'answer'") as caught:
        run_step(type="jira_names_merge", jira_names_merge={"data_key": "answer"})
    assert caught.value.code == "not_a_list"
