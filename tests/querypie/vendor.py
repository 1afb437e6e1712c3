"""The vendor's schema: which calls there are, and what requests and answers must look like."""

from __future__ import annotations

import json
import re
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


@cache
def _validator(text: str) -> jsonschema.Draft202012Validator:
    schema = {**json.loads(text), "components": SCHEMA["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def _problems(what: str, schema: Any, value: Any) -> list[str]:
    errors = _validator(json.dumps(schema)).iter_errors(value)
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
        properties = SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        found += [f"{name}: unknown field {key}" for key in body if key not in properties]
    return found


def answer_problems(name: str, status: int, answer: Any) -> list[str]:
    """What is wrong with an answer."""
    response = _spec_of(name)["responses"].get(str(status), {})
    content = response.get("content", {}).get("application/json")
    if content is None:
        return [] if answer is None else [f"answer of {name}: {status} should have no body"]
    return _problems(f"answer of {name}", content["schema"], answer)
