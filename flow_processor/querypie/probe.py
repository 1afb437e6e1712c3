"""What a step would choose: the calls that only read, and the choices among their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow_processor.querypie.calls import Calls
from flow_processor.querypie.errors import QueryPieSelection
from flow_processor.querypie.options import ConnectionChoice
from flow_processor.querypie.selection import (
    Found,
    approval_steps_of,
    cluster_of,
    connection_of,
    database_of,
    executor_of,
    missed_connection,
    rule_of,
    text_of,
)


class Probe:
    """Collects what was found, what would be chosen, and every choice that fails."""

    def __init__(self, calls: Calls):
        self._calls = calls
        self.found: Found = {"problems": [], "warnings": []}

    def run(
        self,
        *,
        login_id: str | None,
        rule: str | None,
        connection: ConnectionChoice,
        cluster: str | None,
        executor: str | None,
    ) -> Found:
        """`{user, rules, rule, approvals, executor, connections, connection, cluster, databases, database, problems,
        warnings}`,
        as far as it comes. Without a login nothing is told of connections. Raises QueryPieError for calls that fail."""
        self._of_rule(rule, executor)
        user = None if login_id is None else self._choose("user", lambda: self._calls.identify(login_id))
        if user is not None:
            self._of_connection(text_of(user, "uuid", what="the user"), connection, cluster)
        return self.found

    def _of_rule(self, name: str | None, executor: str | None) -> None:
        rules = self._calls.rules()
        self.found["rules"] = [one.get("name") for one in rules]
        chosen = self._choose("rule", lambda: rule_of(rules, name))
        if chosen is None:
            return
        rule = self._calls.rule(text_of(chosen, "uuid", what="an approval rule"))
        self.found["rule"] = {"uuid": rule.get("uuid"), "name": rule.get("name")}
        self._choose("approvals", lambda: approval_steps_of(rule))
        self._choose("executor", lambda: executor_of(rule, executor))

    def _of_connection(self, user: str, wanted: ConnectionChoice, cluster: str | None) -> None:
        connections = self._calls.connections(user)
        self.found["connections"] = [f"{one.get('name')} ({one.get('type')})" for one in connections]
        connection = self._choose("connection", lambda: connection_of(connections, wanted))
        if connection is None:
            return
        if (missed := missed_connection(connection, wanted)) is not None:
            self.found["warnings"].append(f"{missed}; another one is taken")
        chosen = self._choose("cluster", lambda: cluster_of(connection, cluster))
        if chosen is None:
            return
        uuids = text_of(connection, "uuid", what="a connection"), text_of(chosen, "uuid", what="a cluster")
        names = self.found["databases"] = self._calls.databases(*uuids, user)
        self._choose("database", lambda: database_of(names, wanted))

    def _choose(self, what: str, choose: Callable[[], Any]) -> Any:
        try:
            self.found[what] = choose()
        except QueryPieSelection as error:
            self.found["problems"].append({"code": error.code, "message": error.message})
            return None
        return self.found[what]
