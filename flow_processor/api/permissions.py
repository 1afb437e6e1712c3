"""What calls need and what tokens allow: each call names its permission, each role has some.

Who writes a flow writes a program: API_TOKEN, which may do everything else, edits flow files only where
`api.edit_flows` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from flask import g

from flow_processor.api.handlers import service
from flow_processor.errors import Forbidden
from flow_processor.settings import NamedToken, Role

OPERATOR = "operator"
"""What the holder of API_TOKEN is called among the roles."""


class Permission(StrEnum):
    """What a call may need."""

    READ = "read"
    """Look at anything."""
    RUN = "run"
    """Launch flows; cancel, tell, resume and retry runs."""
    SCHEDULE = "schedule"
    """Add, change and remove schedules."""
    EDIT = "edit"
    """Write and delete flow files."""
    OPERATE = "operate"
    """Take locks away, delete history."""


_RUNNER = frozenset({Permission.READ, Permission.RUN})
GRANTED: dict[str, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.RUNNER: _RUNNER,
    Role.AUTHOR: _RUNNER | {Permission.SCHEDULE, Permission.EDIT},
    OPERATOR: frozenset(Permission) - {Permission.EDIT},
}
"""What each role may do, the least first."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose token came with a call."""

    name: str | None
    """None: API_TOKEN."""
    role: str
    """A Role, or OPERATOR."""
    permissions: frozenset[Permission]
    flows: tuple[str, ...] = ()
    """Patterns of the flows that may be acted on; none: all."""

    @classmethod
    def operator(cls, *, edits_flows: bool) -> Caller:
        """Who has API_TOKEN."""
        also = {Permission.EDIT} if edits_flows else set()
        return cls(name=None, role=OPERATOR, permissions=GRANTED[OPERATOR] | also)

    @classmethod
    def of(cls, token: NamedToken) -> Caller:
        """Who has a token of config.yml."""
        return cls(name=token.name, role=token.role, permissions=GRANTED[token.role], flows=token.flows)

    def check(self, needed: Permission) -> None:
        """Raises Forbidden where the token does not allow it."""
        if needed in self.permissions:
            return
        least = next(role for role, granted in GRANTED.items() if needed in granted)
        if self.name is None:
            message = (
                "API_TOKEN may not change flow files: who writes flows writes programs. Set 'api: {edit_flows: true}' "
                "in config.yml, or use a token with the role 'author'"
            )
        elif least == OPERATOR:
            message = f"this call needs API_TOKEN; the token '{self.name}' has the role '{self.role}'"
        else:
            message = (
                f"this call needs the role '{least}'; the token '{self.name}' has the role '{self.role}'"
            )
        raise Forbidden(message, details={"needs": str(least), "role": str(self.role)})

    def check_flow(self, flow: str) -> None:
        """Raises Forbidden where the token may not act on this flow; `flow` is its path in its one spelling."""
        if self.flows and not any(fnmatchcase(flow, pattern) for pattern in _patterns(self.flows)):
            message = (
                f"the token '{self.name}' is for other flows ({', '.join(self.flows)}), not for '{flow}'"
            )
            raise Forbidden(message, details={"flow": flow, "flows": list(self.flows)})

    def by(self, given: str) -> str:
        """Who did it, for the history: the token's name, and whom it says it acts for; for API_TOKEN what is given."""
        if self.name is None:
            return given
        return self.name if given in ("api", "cli") else f"{given} ({self.name})"


def _patterns(given: Iterable[str]) -> Iterable[str]:
    """`.yml` may be left out."""
    for pattern in given:
        yield pattern
        yield f"{pattern}.yml"
        yield f"{pattern}.yaml"


def caller() -> Caller:
    """Who makes the current call."""
    found: Caller = g.caller
    return found


def check_path(path: str) -> None:
    """Raises Forbidden where the caller may not act on the flow of this path, InvalidRequest."""
    if caller().flows:
        caller().check_flow(service().flow_name(path))


def check_run(run_id: str) -> None:
    """Raises Forbidden where the caller may not act on the run's flow, RunNotFound."""
    if caller().flows:
        caller().check_flow(service().run_summary(run_id).flow)
