"""The redis step against a real Redis."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import servers
from pydantic import ValidationError

from flow_processor import factory
from flow_processor.errors import StepError
from flow_processor.step import Secret, StepResult
from tests.steps.fake_context import FakeContext

RunStep = Callable[..., StepResult]
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def ask(server: servers.Server, context: FakeContext, run_step: RunStep) -> Ask:
    """`ask("GET", "key")` -> the answer; `ask(commands=[…])` -> the answers. The database is empty before."""
    context.secrets["cache"] = Secret(
        "cache", "credential", {"username": "default", "password": server.password}
    )

    def call(*command: Any, **options: Any) -> Any:
        given = {"command": list(command)} if command else {}
        url = f"redis://127.0.0.1:{server.port}/1"
        return run_step(type="redis", redis={"url": url, "secret": "cache", **given, **options}).value

    call("FLUSHDB")
    return call


def refused(ask: Ask, *command: Any, **options: Any) -> StepError:
    """The step's error; nothing secret is in it."""
    with pytest.raises(StepError) as error:
        ask(*command, **options)
    assert servers.PASSWORD not in json.dumps(error.value.as_record())
    return error.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either 'command' or 'commands'"),
        ({"command": ["GET", "a"], "commands": [["GET", "a"]]}, "either 'command' or 'commands'"),
        ({"command": []}, "at least 1 item"),
        ({"command": [1]}, "the first element of a command is its name"),
        ({"command": ["auth", "x"]}, "AUTH is not available in a step; name a secret"),
        ({"commands": [["GET", "a"], ["MULTI"]]}, "use `commands` and `transaction: true`"),
        ({"command": ["SUBSCRIBE", "a"]}, "gives no answer that ends"),
        ({"command": ["GET", "a"], "url": "redis://:secret@host"}, "a password does not belong into a flow"),
        ({"command": ["GET", "a"], "url": None}, "'url' or 'secret' is missing"),
    ],
)
def test_what_is_refused_at_load(step: Ask, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        step(type="redis", redis={"url": "redis://host", **options})
    assert message in str(error.value)


def test_only_what_reads_is_sent_again_after_a_crash(step: Ask) -> None:
    for commands, expected in (
        ([["get", "a"], ["HGETALL", "b"]], True),
        ([["GET", "a"], ["SET", "a", 1]], False),
    ):
        spec = step(type="redis", redis={"url": "redis://host", "commands": commands})
        assert factory.step_type_of(spec).repeatable(spec.options) is expected


def test_answers_are_json(ask: Ask) -> None:
    assert ask("SET", "a", "ä\r\nGET b") == "OK"
    assert ask("GET", "a") == "ä\r\nGET b"
    assert ask("GET", "none") is None
    assert ask("INCRBY", "n", 5) == 5
    assert ask("HSET", "h", "x", 1.5, "y", True) == 2
    assert ask("HGETALL", "h") == {"x": "1.5", "y": "true"}
    assert ask("SADD", "s", "m") == 1
    assert ask("SMEMBERS", "s") == ["m"]
    assert ask("ZADD", "z", 1.5, "m") == 1
    assert ask("ZSCORE", "z", "m") == 1.5
    assert ask("PING") == "PONG"


def test_arguments_are_templates_and_never_commands(ask: Ask, context: FakeContext) -> None:
    context.data = {"key": "k\r\nFLUSHALL", "names": ["a", "b"], "order": {"id": 1}, "nothing": None}
    ask("RPUSH", "{{ key }}", "{{ names }}", "{{ order }}")
    assert ask("LRANGE", "{{ key }}", 0, -1) == ["a", "b", '{"id": 1}']
    assert refused(ask, "SET", "x", "{{ nothing }}").code == "redis_invalid_command"
    context.data = {"name": "AUTH"}
    assert refused(ask, "{{ name }}", "x").code == "redis_invalid_command"


def test_several_commands(ask: Ask) -> None:
    assert ask(commands=[["SET", "a", 1], ["INCR", "a"], ["GET", "a"]]) == ["OK", 2, "2"]
    assert ask(commands=[["INCR", "a"], ["GET", "a"]], transaction=True) == [3, "3"]
    error = refused(ask, commands=[["SET", "t", "x"], ["INCR", "t"], ["SET", "u", 1]])
    assert error.message == "command 2 (INCR): ERR value is not an integer or out of range"
    assert error.details["answers"] == ["OK", "ERR value is not an integer or out of range", "OK"]
    assert error.details["outcome"] == "unknown", "a retry would set it again"
    error = refused(ask, commands=[["SET", "a", 9], ["NONSENSE"]], transaction=True)
    assert "unknown command" in error.message
    assert "outcome" not in error.details
    assert ask("GET", "a") == "3", "a transaction with an unknown command is not begun"


def test_errors_carry_what_redis_says(ask: Ask) -> None:
    ask("LPUSH", "list", 1)
    error = refused(ask, "GET", "list")
    assert (error.code, error.details["code"]) == ("redis_failed", "WRONGTYPE")
    assert error.message.startswith("GET: WRONGTYPE Operation against a key")


def test_bytes_are_no_flow_data(ask: Ask) -> None:
    ask("SETBIT", "bits", 0, 1)
    error = refused(ask, "GET", "bits")
    assert (error.code, error.details) == ("redis_not_text", {}), "it may be asked again"
    assert refused(ask, "GETDEL", "bits").details == {"outcome": "unknown"}


def test_a_waiting_command_ends_with_the_run(ask: Ask, context: FakeContext, server: servers.Server) -> None:
    threading.Timer(0.2, context.stop.set).start()
    assert refused(ask, "BLPOP", "nobody", 0).code == "cancelled"
    context.stop.clear()
    context.seconds_left = 0
    assert refused(ask, "BLPOP", "nobody", 0).code == "step_timeout"
    context.seconds_left = None
    assert "cmd=blpop" not in ask("CLIENT", "LIST")


def test_logins_and_servers_that_are_away(ask: Ask, context: FakeContext, server: servers.Server) -> None:
    whole = f"redis://default:{server.password}@127.0.0.1:{server.port}"
    context.secrets["whole"] = Secret("whole", "token", {"token": whole})
    assert ask("PING", url=None, secret="whole") == "PONG"
    assert refused(ask, "GET", "a", secret=None).code == "redis_connection"
    context.secrets["cache"] = Secret(
        "cache", "credential", {"username": "default", "password": "canary-wrong"}
    )
    error = refused(ask, "PING")
    assert (error.code, "canary-wrong" in error.message) == ("redis_connection", False)
    assert "invalid username-password pair" in error.message
    assert refused(ask, "PING", url="redis://127.0.0.1:9", secret=None).code == "redis_connection"
    assert refused(ask, "PING", url="http://127.0.0.1:9", secret=None).code == "address_invalid"


def test_a_connection_that_breaks_leaves_the_outcome_open(run_step: RunStep) -> None:
    """The server takes the greeting and the command, and hangs up without an answer."""
    import socketserver

    class HangUp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                if line.startswith(b"INCR"):
                    return
                if line.upper().startswith((b"HELLO", b"CLIENT")):
                    self.wfile.write(
                        b"%1\r\n$5\r\nproto\r\n:3\r\n" if line.upper().startswith(b"HELLO") else b"+OK\r\n"
                    )
                    self.wfile.flush()

    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"redis://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(StepError) as error:
            run_step(type="redis", redis={"url": url, "command": ["INCR", "a"]})
        server.shutdown()
        thread.join()
    assert (error.value.code, error.value.details) == ("redis_unclear", {"outcome": "unknown"})
