"""A QueryPie on loopback. It holds each request, and each answer of its own, against the vendor's schema."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.querypie.details import current_step, detail
from tests.querypie.pieces import connection, person, refusal, rule, with_more
from tests.querypie.vendor import ROOT, answer_problems, operation_of, request_problems

TOKEN = "canary-querypie-token-5d1f"


@dataclass
class Fault:
    """What goes wrong with the next calls of an operation."""

    operation: str
    kind: str
    """status, reset_before, reset_after, slow, held_before, held_after, late, empty, text."""
    times: int = 1
    at: int | None = None
    """Only the call of that number (from 1) of the operation."""
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    says: str = "planned by the test"
    required: str | None = None
    """The key that the error names as required."""
    begun: threading.Event = field(default_factory=threading.Event)
    """Set once a held call is there (and taken, for held_after)."""
    let_go: threading.Event = field(default_factory=threading.Event)


class FakeQueryPie(ThreadingHTTPServer):
    """Set `rules`, `connections`, …, and `faults`; read `calls`, `taken` and `violations` (must stay empty)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mutex = threading.RLock()
        self.prefix = "Bearer "
        self.users = {"status": "FOUND", "users": [person("ada")]}
        self.rules = [rule("Default", [("ANY", ["elon", "grace"]), ("ANY", ["dba"])], ["elon"])]
        self.page_size = 50
        self.connections = [connection("shop", "MySQL"), connection("ledger", "PostgreSQL")]
        self.databases = ["orders", "information_schema"]
        self.final = "SUCCESS"
        """How executions end."""
        self.executing_looks = 0
        """So many looks at an executed request say EXECUTING."""
        self.before_execution = "NONE"
        """How the execution of an approved request stands: NONE or PENDING."""
        self.begins = True
        """False: an execution that was taken is not begun."""
        self.tells_executor = False
        """Of an execution that was taken say that its executor has EXECUTED it."""
        self.approving_looks = 0
        """So many looks at an approved request say IN_PROGRESS."""
        self.after_approvals = "EXECUTION"
        self.by_itself: str | None = None
        """What somebody else does to a submitted request: approve, reject."""
        self.looks_until = 0
        """So many looks before they do."""
        self.extra = False
        """Answer more fields than the schema has, however deep."""
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, dict[str, str], Any]] = []
        self.taken: Counter[str] = Counter()
        """Submissions, approvals (by user), executions that took effect."""
        self.violations: list[str] = []
        self.requests: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        """Stop it; held calls are let go."""
        for fault in self.faults:
            fault.let_go.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that is gone is none of its business."""

    def fault(self, operation: str, kind: str, **more: Any) -> Fault:
        """Plan one."""
        self.faults.append(Fault(operation, kind, **more))
        return self.faults[-1]

    def count(self, operation: str) -> int:
        """How often it was called."""
        return sum(name == operation for name, _, _ in self.calls)

    def next_fault(self, operation: str) -> Fault | None:
        """The fault of this call."""
        with self.mutex:
            for fault in self.faults:
                is_its_turn = fault.at is None or fault.at == self.count(operation)
                if fault.operation == operation and fault.times > 0 and is_its_turn:
                    fault.times -= 1
                    return fault
        return None

    # What it does.

    def answer(
        self, operation: str, names: dict[str, str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        """Status and body."""
        with self.mutex:
            found = getattr(self, f"_{operation}")(names, query, body)
        return found if isinstance(found, tuple) else (200, found)

    def _identify(self, names: Any, query: dict[str, str], body: Any) -> Any:
        return self.users

    def _rules(self, names: Any, query: dict[str, str], body: Any) -> Any:
        page, size = int(query.get("pageNumber", "0")), self.page_size
        there = [one for one in self.rules if one["requestType"] == query.get("requestType")]
        times = {"createdAt": "2026-11-09T10:53:49.000Z", "updatedAt": "2026-11-09T10:53:49.000Z"}
        shown = [
            {"uuid": one["uuid"], "name": one["name"], "requestType": one["requestType"], **times}
            for one in there
        ]
        total = -(-len(there) // size)
        paging = {"currentPage": page, "pageSize": size, "totalPages": total, "totalElements": len(there)}
        return {"list": shown[page * size : (page + 1) * size], "page": paging}

    def _rule(self, names: dict[str, str], query: Any, body: Any) -> Any:
        found = [one for one in self.rules if one["uuid"] == names["uuid"]]
        return found[0] if found else refusal(404, "NO_RULE", "no such rule")

    def _connections(self, names: Any, query: Any, body: Any) -> Any:
        return self.connections

    def _databases(self, names: Any, query: Any, body: Any) -> Any:
        return {"databaseNames": self.databases}

    def _submit(self, names: Any, query: Any, body: Any) -> Any:
        number = str(uuid.uuid4())
        self.taken["submit"] += 1
        self.requests[number] = {
            "body": body,
            "approvals": {},
            "rejected": None,
            "execution": "NONE",
            "executor": None,
            "looks": 0,
            "approving": self.approving_looks,
        }
        return {"workflowUuid": number}

    def _approve(self, names: dict[str, str], query: Any, body: Any) -> Any:
        request = self.requests.get(names["workflowUuid"])
        if request is None:
            return refusal(404, "NO_WORKFLOW", "no such request")
        if request["rejected"]:
            return refusal(400, "REJECTED", "the request was rejected")
        step = current_step(request)
        if step is None:
            return refusal(400, "APPROVED", "nothing is left to approve")
        user = body["userUuid"]
        if (
            user not in request["body"]["approvalSteps"][step]["assignees"]
            or (step, user) in request["approvals"]
        ):
            return refusal(400, "NOT_ASSIGNED", "this user has nothing to approve")
        request["approvals"][step, user] = body["comments"]
        self.taken["approve"] += 1
        step = current_step(request)
        return {"remainingSteps": self.after_approvals if step is None else f"APPROVAL_{step + 1}"}

    def _execute(self, names: dict[str, str], query: Any, body: Any) -> Any:
        request = self.requests.get(names["workflowUuid"])
        if request is None:
            return refusal(404, "NO_WORKFLOW", "no such request")
        if current_step(request) is not None or request["executor"] is not None:
            return refusal(400, "STATE", "the request cannot be executed now")
        self.taken["execute"] += 1
        request["execution"] = "EXECUTING" if self.begins else "NONE"
        request["executor"] = body["userUuid"]
        request["looks"] = 0
        return None

    def _status(self, names: dict[str, str], query: Any, body: Any) -> Any:
        request = self.requests.get(names["workflowRequestUuid"])
        if request is None:
            return refusal(404, "NO_WORKFLOW", "no such request")
        request["looks"] += 1
        if self.by_itself is not None and request["looks"] > self.looks_until:
            if self.by_itself == "reject":
                request["rejected"] = request["body"]["approvalSteps"][0]["assignees"][0]
            else:
                for number, step in enumerate(request["body"]["approvalSteps"]):
                    request["approvals"].update({(number, user): "fine" for user in step["assignees"]})
        if request["execution"] == "EXECUTING" and request["looks"] > self.executing_looks:
            request["execution"] = self.final
        return detail(self, names["workflowRequestUuid"], request)


class _Handler(BaseHTTPRequestHandler):
    server: FakeQueryPie
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._handle(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""

    def _handle(self, raw: bytes | None) -> None:
        server, parts = self.server, urlsplit(self.path)
        found = operation_of(self.command, parts.path.removeprefix(ROOT))
        if found is None or not parts.path.startswith(ROOT):
            server.violations.append(f"no such call: {self.command} {self.path}")
            return self._send(*refusal(404, "NO_CALL", "no such call"))
        name, names = found
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = None if raw is None else json.loads(raw)
        server.violations += request_problems(name, query, body)
        server.calls.append((name, query, body))
        if self.headers.get("Authorization") != f"{server.prefix}{TOKEN}":
            return self._answer(name, *refusal(401, "UNAUTHORIZED", "Invalid token"))
        fault = server.next_fault(name)
        if fault is None:
            return self._take(name, names, query, body)
        return self._go_wrong(fault, name, names, query, body)

    def _take(self, name: str, names: dict[str, str], query: dict[str, str], body: Any) -> None:
        self._answer(name, *self.server.answer(name, names, query, body))

    def _answer(self, name: str, status: int, answer: Any, *, headers: dict[str, str] | None = None) -> None:
        """Answer a document, which must be by the schema."""
        is_open = self.server.extra
        shown = with_more(answer) if is_open else answer
        self.server.violations += answer_problems(name, status, shown, is_open=is_open)
        self._send(status, shown, headers)

    def _go_wrong(
        self, fault: Fault, name: str, names: dict[str, str], query: dict[str, str], body: Any
    ) -> None:
        if fault.kind in ("reset_after", "held_after"):
            self.server.answer(name, names, query, body)
        if fault.kind.startswith("held") or fault.kind == "late":
            fault.begun.set()
            fault.let_go.wait(60)
        if fault.kind == "late":
            self.server.answer(name, names, query, body)
        if fault.kind.startswith(("reset", "held", "late")):
            self.close_connection = True
            self.connection.close()
            return
        if fault.kind == "slow":
            time.sleep(fault.seconds)
            self._take(name, names, query, body)
        elif fault.kind == "empty":
            self._send(200, None)
        elif fault.kind == "text":
            self._send(200, "<html>a proxy says hello</html>")
        elif fault.status < 400:
            self._answer(name, fault.status, None, headers=fault.headers)
        else:
            error = refusal(fault.status, "FAULT", fault.says, required=fault.required)
            self._answer(name, *error, headers=fault.headers)

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        kind = "application/json"
        if isinstance(answer, str):
            data, kind = answer.encode(), "text/html"
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)
