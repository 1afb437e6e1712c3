"""Tokens of the API beside API_TOKEN: each has a name, a role, perhaps flows that it is limited to, and an end.

config.yml never holds such a token itself: either a variable of the environment does, or only its SHA-256 is known.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from flow_processor.settings.variables import MIN_TOKEN_LENGTH
from flow_processor.spec.base import Spec

TAKEN_NAMES = ("api", "cli", "python", "octospool")
"""In the history these stand for API_TOKEN, the command line, a Python program, the product itself."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Role(StrEnum):
    """What the holder of a token may do; each may what those before it may."""

    VIEWER = "viewer"
    """Read everything."""
    RUNNER = "runner"
    """Also launch flows, and cancel, tell, resume and retry runs."""
    AUTHOR = "author"
    """Also write flow files and schedules."""


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError(
            "must name a variable of the environment, like ${CI_TOKEN}; or give 'sha256' (octospool token makes one)"
        )
    return value


def _name(value: str) -> str:
    if value.lower() in TAKEN_NAMES:
        raise ValueError(
            "stands for somebody else in the history (API_TOKEN, the command line); take another name"
        )
    return value


def _end(value: str) -> str:
    _moment(value, ZoneInfo("UTC"))
    return value


def _moment(value: str, zone: ZoneInfo) -> datetime:
    """When a token ends: of a day, its end in the zone."""
    try:
        if len(value) == len("2026-11-21"):
            day = date.fromisoformat(value) + timedelta(days=1)
            return datetime.combine(day, time(), tzinfo=zone)
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a day like 2027-01-31, or a moment like 2027-01-31T18:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


class TokenSpec(Spec):
    """A token for somebody else than the operator, who has API_TOKEN."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", max_length=60), AfterValidator(_name)
    ]
    """Who calls with it: the history says so."""
    token: Annotated[str, AfterValidator(_variable)] | None = None
    """The variable of the environment that holds the token: `${CI_TOKEN}`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Instead: the SHA-256 of the token, as `octospool token` prints it; the token itself is then written nowhere."""
    role: Role
    """`viewer` reads; `runner` also launches flows, and cancels, tells, resumes and retries runs; `author` also writes
    flow files and schedules."""
    flows: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = ()
    """Only these flows may be launched, changed or scheduled with it: paths, in which `*` stands for anything. Left
    out: all. What may be read is not limited."""
    expires: Annotated[str, AfterValidator(_end)] | None = None
    """The last day on which it counts, or the moment at which it ends."""

    @model_validator(mode="after")
    def _one_source(self) -> TokenSpec:
        if (self.token is None) == (self.sha256 is None):
            raise ValueError("give either 'token' or 'sha256'")
        return self


@dataclass(frozen=True, kw_only=True)
class NamedToken:
    """A token that counts."""

    name: str
    digest: bytes
    """SHA-256 of the token."""
    role: Role
    flows: tuple[str, ...]
    """Patterns of the flows that may be acted on; none: all."""
    expires: datetime | None


def named_tokens(
    specs: Sequence[TokenSpec], environment: Mapping[str, str], zone: ZoneInfo
) -> tuple[NamedToken, ...]:
    """The tokens that config.yml names; without those that `token_problems` complains about."""
    found = []
    for spec in specs:
        digest = _digest(spec, environment)
        if digest is not None:
            end = None if spec.expires is None else _moment(spec.expires, zone)
            found.append(
                NamedToken(name=spec.name, digest=digest, role=spec.role, flows=spec.flows, expires=end)
            )
    return tuple(found)


def token_problems(
    specs: Sequence[TokenSpec], environment: Mapping[str, str], api_token: str
) -> Iterator[tuple[int, str]]:
    """(position, message) of what is wrong with tokens that are right as texts."""
    names = Counter(spec.name for spec in specs)
    digests = Counter(_digest(spec, environment) for spec in specs)
    operators = hashlib.sha256(api_token.encode()).digest()
    for index, spec in enumerate(specs):
        if names[spec.name] > 1:
            yield index, f"the name '{spec.name}' stands twice"
        digest = _digest(spec, environment)
        value = None if spec.token is None else environment.get(spec.token[2:-1], "").strip()
        if value == "":
            yield index, f"the variable {spec.token} is not set"
        elif value is not None and len(value) < MIN_TOKEN_LENGTH:
            yield index, f"the token in {spec.token} is shorter than {MIN_TOKEN_LENGTH} characters"
        elif digest == operators:
            yield index, "is API_TOKEN itself, which may do more; use another token"
        elif digests[digest] > 1:
            yield index, "is the same token as another one here; give each its own"


def _digest(spec: TokenSpec, environment: Mapping[str, str]) -> bytes | None:
    if spec.sha256 is not None:
        return bytes.fromhex(spec.sha256)
    value = environment.get((spec.token or "")[2:-1], "").strip()
    return hashlib.sha256(value.encode()).digest() if value else None
