"""What a test switches on in the fake QueryPie before it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.querypie.fake import FakeQueryPie
from tests.querypie.pieces import person, rule

Switch = Callable[[FakeQueryPie], None]


def sets(**values: Any) -> Switch:
    """Attributes of the server."""
    return lambda pie: vars(pie).update(values)


def users(status: str, *names: str) -> Switch:
    """How the user is identified."""
    return sets(users={"status": status, "users": [person(name) for name in names]})


def one_rule(*steps: tuple[str, list[str]], executors: tuple[str, ...] = ("elon",)) -> Switch:
    """The only approval rule."""
    return sets(rules=[rule("Default", list(steps), list(executors))])


def fault(operation: str, kind: str, **more: Any) -> Switch:
    """A fault of the next calls."""

    def plan(pie: FakeQueryPie) -> None:
        pie.fault(operation, kind, **more)

    return plan


def both(*switches: Switch) -> Switch:
    """All of them."""

    def switch(pie: FakeQueryPie) -> None:
        for one in switches:
            one(pie)

    return switch
