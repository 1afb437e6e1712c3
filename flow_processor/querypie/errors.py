"""How a call of QueryPie, or a request in it, comes to nothing."""

from __future__ import annotations

from flow_processor.errors import StepError


class QueryPieError(StepError):
    """QueryPie gave no answer that the flow can use."""

    code = "querypie_failed"
    may_repeat = False
    """May the same call simply be sent again?"""
    retry_after: float | None = None
    """Seconds after which the server wants to be asked again."""
    is_unclear = False
    """Was something sent that may have taken effect, though nobody knows?"""


class QueryPieUnauthorized(QueryPieError):
    """QueryPie does not take the token."""

    code = "querypie_unauthorized"


class QueryPieForbidden(QueryPieError):
    """QueryPie does not allow the call to the token."""

    code = "querypie_forbidden"


class QueryPieNotFound(QueryPieError):
    """QueryPie does not know what the call names."""

    code = "querypie_not_found"


class QueryPieRefused(QueryPieError):
    """QueryPie does not do what the call asks for."""

    code = "querypie_refused"


class QueryPieUnavailable(QueryPieError):
    """QueryPie is away or overloaded, also after further tries."""

    code = "querypie_unavailable"


class QueryPieAnswer(QueryPieError):
    """QueryPie answers something else than its schema says."""

    code = "querypie_answer"


class QueryPieInDoubt(QueryPieError):
    """A request was sent, and nobody knows whether it took effect."""

    code = "querypie_in_doubt"


class QueryPieSelection(QueryPieError):
    """QueryPie has no user, rule, connection, database or person that fits."""

    code = "querypie_selection"


class QueryPieApproval(QueryPieError):
    """The request was not approved."""

    code = "querypie_approval_failed"


class QueryPieExecution(QueryPieError):
    """The request was not executed, or its execution failed."""

    code = "querypie_execution_failed"
