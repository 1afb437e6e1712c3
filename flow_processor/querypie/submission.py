"""The body of a request as it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from flow_processor.errors import StepError
from flow_processor.paths import inside, open_regular
from flow_processor.querypie.options import QueryPieOptions, SqlRequest
from flow_processor.querypie.selection import Found
from flow_processor.querypie.wanted import rendered
from flow_processor.step import StepContext

MAX_QUERY_BYTES = 4 * 1024 * 1024
_EXPIRES_AFTER = timedelta(days=7)


def submission(
    options: QueryPieOptions,
    context: StepContext,
    *,
    requester: str,
    rule: str,
    cluster: str,
    database: str,
    steps: Sequence[Found],
) -> Found:
    """The body, by the vendor's SubmitRequest. `steps`: `{assignees: [uuid], condition}` each.

    Raises StepError for options that come to nothing usable.
    """
    request = options.request
    if request is None:
        raise StepError("querypie.request is missing: there is nothing to submit", code="missing_key")
    target = (
        _day(context, "target_date", request.target_date) or context.now().astimezone(context.zone).date()
    )
    expires = _day(context, "expiration_date", request.expiration_date) or target + _EXPIRES_AFTER
    if expires < target:
        message = f"querypie.request.expiration_date {expires} is before target_date {target}"
        raise StepError(message, code="invalid_value")
    return {
        "requesterUuid": requester,
        "ruleUuid": rule,
        "clusterUuid": cluster,
        "databaseName": database,
        "content": _query(request, context),
        "title": rendered(context, "request.title", request.title),
        "comments": _comments(request, context),
        "targetDate": target.isoformat(),
        "expirationDate": expires.isoformat(),
        "urgent": _is_urgent(request, context),
        "useDmlQuery": options.use_dml_query,
        "approvalSteps": [
            {"assignees": list(step["assignees"]), "stepApproveCondition": step["condition"]}
            for step in steps
        ],
    }


def mark(context: StepContext) -> str:
    """The line by which people find the request in QueryPie: unlike that of every other run and step."""
    return f"[octospool run {context.run_id}, step {context.path}]"


def _comments(request: SqlRequest, context: StepContext) -> str:
    said = rendered(context, "request.comments", request.comments, may_be_empty=True) or ""
    if not request.mark_comments:
        return said
    return f"{said}\n{mark(context)}" if said else mark(context)


def _query(request: SqlRequest, context: StepContext) -> str:
    if request.query is not None:
        return request.query
    if request.data_key is not None:
        found = context.lookup(request.data_key)
        where = f"data_key '{request.data_key}'"
    else:
        where = f"file '{request.file}'"
        found = _from_file(request.file or "", context)
    if not isinstance(found, str) or not found.strip():
        raise StepError(f"querypie.request: there is no SQL text under {where}", code="invalid_value")
    return found


def _from_file(relative: str, context: StepContext) -> str:
    folder = context.folders.data
    path = inside(folder, relative, what="querypie.request.file", private=context.folders.private)
    try:
        with open_regular(path, "rb", below=folder) as file:
            data = file.read(MAX_QUERY_BYTES + 1)
        if len(data) > MAX_QUERY_BYTES:
            raise StepError(f"{relative!r} is larger than {MAX_QUERY_BYTES >> 20} MiB", code="file_too_large")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StepError(f"{relative!r} is no UTF-8 text", code="invalid_value") from error
    except OSError as error:
        message = f"querypie.request.file {relative!r} cannot be read: {error.strerror}"
        code = "file_not_found" if isinstance(error, FileNotFoundError) else "file_failed"
        raise StepError(message, code=code) from error


def _day(context: StepContext, key: str, given: str | None) -> date | None:
    text = rendered(context, f"request.{key}", given)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        message = f"querypie.request.{key} must be a day, YYYY-MM-DD, found {context.redacted(text)[:50]!r}"
        raise StepError(message, code="invalid_value") from error


def _is_urgent(request: SqlRequest, context: StepContext) -> bool:
    value = context.render(request.urgent)
    if not isinstance(value, bool):
        raise StepError(
            f"querypie.request.urgent must be true or false, found {value!r}", code="invalid_value"
        )
    return value
