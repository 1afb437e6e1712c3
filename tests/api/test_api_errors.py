"""One table from error class to status; a defect tells its id and nothing else."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from flow_processor import errors
from flow_processor.api.errors import error_answers, status_of
from flow_processor.settings import Settings
from tests.api.support import TOKEN, Api


def api_that_raises(error: Exception) -> Api:
    """The API over a service whose launch fails."""

    def launch(*_arguments: Any, **_named: Any) -> None:
        raise error

    settings = Settings.load({"API_TOKEN": TOKEN}, overrides={})
    return Api(SimpleNamespace(settings=settings, launch=launch))


def subclasses(base: type[errors.OctospoolError]) -> list[type[errors.OctospoolError]]:
    return [one for child in base.__subclasses__() for one in (child, *subclasses(child))]


def test_every_error_a_caller_can_cause_is_4xx() -> None:
    """What has no line of its own in the table, nor has its base, is our fault: 500."""
    callers_fault = (
        errors.InvalidRequest,
        errors.Unauthorized,
        errors.NotFound,
        errors.Conflict,
        errors.SpecError,
    )
    for error in subclasses(errors.OctospoolError):
        if issubclass(error, callers_fault):
            assert 400 <= status_of(error) < 500, error
        elif issubclass(error, errors.StepError):
            assert status_of(error) == 500, error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidRequest("x"), 400, "invalid_request"),
        (errors.InvalidRequest("x", code="path_refused"), 400, "path_refused"),
        (errors.FlowNotFound("x"), 404, "flow_not_found"),
        (errors.FlowRunning("x", details={"run_id": "r"}), 409, "flow_running"),
        (errors.SpecError([]), 422, "flow_invalid"),
        (errors.StoreUnavailable("x"), 503, "store_unavailable"),
        (errors.ShuttingDown("x"), 503, "shutting_down"),
        (errors.DiskFull("x"), 507, "disk_full"),
        (errors.OctospoolError("x", code="lock_invalid"), 500, "lock_invalid"),
    ],
)
def test_an_error_of_the_service_is_answered_by_the_table(
    error: errors.OctospoolError, status: int, code: str
) -> None:
    answer = api_that_raises(error).launch(path="echo.yml")
    assert (answer.status_code, answer.json) == (status, error.as_dict())
    assert answer.json["code"] == code


@pytest.mark.parametrize(
    "defect", [ZeroDivisionError("secret path /root"), KeyError("secret"), OSError(5, "secret")]
)
def test_a_defect_answers_500_with_an_id_that_stands_in_the_log(
    defect: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="octospool.api"):
        answer = api_that_raises(defect).launch(path="echo.yml")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.get_data(as_text=True)
    assert answer.json["id"] in answer.json["error"]
    record = caplog.records[-1]
    assert answer.json["id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is defect


def test_the_documented_answers_name_the_codes() -> None:
    answers: dict[Any, Any] = dict(error_answers(errors.FlowRunning, errors.RunIsLive))
    assert list(answers) == [400, 401, 403, 409, 500]
    assert "`flow_running`" in answers[409]["description"]
    assert "`run_is_live`" in answers[409]["description"]
