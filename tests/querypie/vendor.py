"""The vendor's schema: which calls there are, and what requests and answers must look like."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = json.loads(
    (Path(__file__).parent / "data" / "querypie-openapi-extract.json").read_text(encoding="utf-8")
)
OPERATIONS = {
    "identify": ("GET", "/users/identify"),
    "rules": ("GET", "/workflows/approval-rules"),
    "rule": ("GET", "/approval-rules/{uuid}"),
    "connections": ("GET", "/workflows/requests/accessible-connections"),
    "databases": ("GET", "/dac/connections/{uuid}/clusters/{clusterUuid}/database-names"),
    "submit": ("POST", "/workflows/sql-request"),
    "status": ("GET", "/workflows/sql-request/{workflowRequestUuid}"),
    "execute": ("POST", "/workflows/sql-request/{workflowUuid}/execute"),
    "approve": ("POST", "/workflows/{workflowUuid}/approve"),
}
ROOT = "/api/external/v2"


def operation_of(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Name of the call, and what stands in its path; None for one that there is none of."""
    for name, (wanted, pattern) in OPERATIONS.items():
        match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), path)
        if wanted == method and match is not None:
            return name, match.groupdict()
    return None


def _spec_of(name: str) -> dict[str, Any]:
    method, path = OPERATIONS[name]
    found: dict[str, Any] = SCHEMA["paths"][ROOT + path][method.lower()]
    return found


FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    """A day, a time and a zone."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name, however deep."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        found["additionalProperties"] = False
    return found


@cache
def _validator(text: str, *, is_open: bool) -> jsonschema.Draft202012Validator:
    schema = {**json.loads(text), "components": SCHEMA["components"]}
    return jsonschema.Draft202012Validator(schema if is_open else _closed(schema), format_checker=FORMATS)


def _problems(what: str, schema: Any, value: Any, *, is_open: bool = False) -> list[str]:
    errors = _validator(json.dumps(schema), is_open=is_open).iter_errors(value)
    return [f"{what}: {error.message} at {list(error.absolute_path)}" for error in errors]


def request_problems(name: str, query: dict[str, str], body: Any) -> list[str]:
    """What is wrong with a request."""
    spec = _spec_of(name)
    known = {one["name"]: one for one in spec.get("parameters", []) if one["in"] == "query"}
    found = [f"{name}: unknown query {key}" for key in query if key not in known]
    missing = [key for key, one in known.items() if one.get("required") and not query.get(key)]
    found += [f"{name}: query {key} is missing" for key in missing]
    if "requestBody" in spec:
        schema = spec["requestBody"]["content"]["application/json"]["schema"]
        found += _problems(f"request of {name}", schema, body)
    elif body is not None:
        found.append(f"{name}: takes no body")
    return found


def answer_problems(name: str, status: int, answer: Any, *, is_open: bool = False) -> list[str]:
    """What is wrong with an answer; with `is_open` unknown fields are not.

    Of statuses that the schema does not have (429, 5xx) errors are documents like those of 400.
    """
    responses = _spec_of(name)["responses"]
    response = responses.get(str(status)) or (responses["400"] if status >= 400 else {})
    content = response.get("content", {}).get("application/json")
    if content is None:
        return [] if answer is None else [f"answer of {name}: {status} should have no body"]
    return _problems(f"answer of {name}", content["schema"], answer, is_open=is_open)
