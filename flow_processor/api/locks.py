"""Calls about locks: who holds which flow, and letting go by hand."""

from __future__ import annotations

from flask import Response

from flow_processor import errors
from flow_processor.api.errors import error_answers
from flow_processor.api.handlers import Parameters, answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission
from flow_processor.service.views import LockView, View

noun = Noun("locks", "/api/locks", "Never two runs of a flow at once: the locks that see to it.")


class LockPath(Parameters):
    """Which lock."""

    flow_name: str
    """The flow: `flow1`, `flow1.yml` or `sub/flow1.yml` (a `/` may be written as `%2F`)."""


class Locks(View):
    """Locks that are held, or were until this call."""

    locks: list[LockView]
    """One for each flow."""


@noun.get("", needs=Permission.READ, responses={200: Locks, **error_answers()})
@handler
def locks() -> Response:
    """List the locks that are held."""
    return answer(Locks.model_construct(locks=service().locks()))


@noun.delete("", needs=Permission.OPERATE, responses={200: Locks, **error_answers()})
@handler
def remove_all() -> Response:
    """Remove every lock and tell which. Their runs go on; others of the same flows may start beside them."""
    return answer(Locks.model_construct(locks=service().remove_locks()))


@noun.delete(
    "/<path:flow_name>",
    needs=Permission.OPERATE,
    responses={200: LockView, **error_answers(errors.LockNotFound)},
)
@handler
def remove(path: LockPath) -> Response:
    """Remove the lock of one flow and tell what it said. Its run goes on; another may start beside it."""
    return answer(service().remove_lock(path.flow_name))
