"""Sends commands to a Redis server.

```yaml
- name: counted
  type: redis
  redis:
    url: redis://cache.example:6379/0
    secret: cache
    command: [HINCRBY, "flow:{{ __flow_path__ }}", runs, 1]
```

A command is a list: its name, then its arguments. An argument may be a text or a number (booleans become `true` and
`false`); a mapping is sent as JSON text, and a list stands for as many arguments: `[RPUSH, names, "{{ names }}"]`.
Arguments are templates; they are sent as they are, so nothing in them can become another command.

The result is the server's answer as JSON: text, number, list, mapping (HGETALL), null. With `commands` it is the list
of all answers; with `transaction: true` they are carried out together (MULTI, EXEC). An answer that is no UTF-8 text
is an error, for flow data holds text.

If a command of several is refused, those before and after it are carried out (in a transaction, too: Redis takes
nothing back); the details of the error have all `answers`. What Redis says stands in the message: `WRONGTYPE …`. Once
a command that may have changed something was carried out, `retry` does not apply.

`secret` names user name and password for `url`, or the whole address (`url` or `token`: `rediss://user:password@host`);
`rediss://` is Redis over TLS. Not available: AUTH, SELECT (the address says both), SUBSCRIBE, MONITOR, and MULTI (see
`transaction`).

Needs the package redis (`pip install redis`). When the run is cancelled or the step's time is over, the connection is
closed: a waiting command (BLPOP) ends in the server. After a crash, commands that only read are sent again, others only
with `on_interrupt: rerun`. If the connection breaks after one was sent, the error is `redis_unclear`: whether it was
carried out is not known, and `retry` does not apply.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from flow_processor.connections import (
    Address,
    address_of,
    check_address,
    ended_with,
    import_package,
    unknown_outcome,
)
from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

_Connection = Any
"""One of the package's connections; most of its methods are without types."""
_CONNECT_SECONDS = 15.0
_READS = frozenset(
    {
        *("PING", "ECHO", "TIME", "INFO", "DBSIZE", "EXISTS", "TYPE", "TTL", "PTTL", "KEYS", "SCAN"),
        *("GET", "MGET", "STRLEN", "GETRANGE", "GETBIT", "BITCOUNT", "PFCOUNT"),
        *("HGET", "HMGET", "HGETALL", "HKEYS", "HVALS", "HLEN", "HEXISTS", "HSCAN", "HSTRLEN"),
        *("LLEN", "LINDEX", "LRANGE", "LPOS", "XLEN", "XRANGE", "XREVRANGE", "XREAD"),
        *("SCARD", "SISMEMBER", "SMISMEMBER", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "SSCAN"),
        *("ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZRANK", "ZREVRANK", "ZSCORE", "ZSCAN"),
    }
)
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "FCALL"})
_REFUSED = {
    **dict.fromkeys(("AUTH", "HELLO"), "name a secret: `secret: NAME`"),
    "SELECT": "the number of the database stands in the url: redis://host:6379/1",
    **dict.fromkeys(
        ("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"), "use `commands` and `transaction: true`"
    ),
    **dict.fromkeys(
        ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"), "it gives no answer that ends"
    ),
    **dict.fromkeys(("QUIT", "RESET"), "each step has a connection of its own"),
}

_Command = Annotated[list[JsonValue], Field(min_length=1)]


class RedisError(StepError):
    """The server did not do what the commands say."""

    code = "redis_failed"


def _problem(command: list[JsonValue]) -> str | None:
    name = command[0]
    if not isinstance(name, str) or not name.strip():
        return "the first element of a command is its name, a text"
    way_out = _REFUSED.get(name.strip().upper())
    return None if way_out is None else f"{name.upper()} is not available in a step; {way_out}"


class RedisOptions(Spec):
    """Sends commands to a Redis server."""

    url: Annotated[str | None, AfterValidator(check_address)] = None
    """The server: `redis://host:6379/0`, or `rediss://` for TLS; without a password. A template."""
    secret: str | None = None
    """Name of the secret that is the address, or holds user name and password for `url`."""
    command: _Command | None = None
    """The command as a list. Templates."""
    commands: Annotated[list[_Command], Field(min_length=1, max_length=10_000)] | None = None
    """Several commands, sent at once. Templates."""
    transaction: bool = False
    """Carry the commands out together, with nobody else's between them."""

    @model_validator(mode="after")
    def _consistent(self) -> RedisOptions:
        if self.url is None and self.secret is None:
            raise ValueError("'url' or 'secret' is missing: which server?")
        if (self.command is None) == (self.commands is None):
            raise ValueError("give either 'command' or 'commands'")
        for command in self.listed:
            problem = _problem(command)
            if problem is not None:
                raise ValueError(problem)
        return self

    @property
    def listed(self) -> list[list[JsonValue]]:
        """The commands, whichever key has them."""
        return [self.command or []] if self.commands is None else self.commands

    @property
    def reads(self) -> bool:
        """Do all commands only read?"""
        return all(str(command[0]).upper() in _READS for command in self.listed)

    @property
    def package(self) -> str:
        """The module that the step needs."""
        return "redis"


@step_type("redis", repeatable=lambda options: options.reads)
def run(options: RedisOptions, context: StepContext) -> StepResult:
    """Send the commands. Raises RedisError, AddressInvalid and PackageMissing."""
    import_package("redis")
    commands = [_arguments(context.render(command)) for command in options.listed]
    if options.transaction:
        commands = [["MULTI"], *commands, ["EXEC"]]
    connection = _connection(address_of(context, url=options.url, secret=options.secret), context)
    try:
        with ended_with(context, connection.disconnect):
            _connect(connection)
            answers = _exchange(connection, commands, reads=options.reads)
    finally:
        connection.disconnect()
    names = [str(command[0]).upper() for command in commands]
    has_run = True
    if options.transaction:
        names, has_run = names[1:-1], isinstance(answers[-1], list)
        answers = _of_transaction(answers)
    values = _results(names, answers, may_have_changed=has_run and _may_have_changed(names, answers))
    return StepResult(values if options.commands is not None else values[0])


def _arguments(command: JsonValue) -> list[str | int | float]:
    problem = _problem(command) if isinstance(command, list) and command else "a command must be a list"
    if problem is not None:
        raise RedisError(problem, code="redis_invalid_command")
    found: list[str | int | float] = []
    for argument in command:
        found += (
            [_argument(item) for item in argument] if isinstance(argument, list) else [_argument(argument)]
        )
    return found


def _argument(value: JsonValue) -> str | int | float:
    if value is None:
        message = "null is no argument of a command; give a text, a number, or a mapping (sent as JSON)"
        raise RedisError(message, code="redis_invalid_command")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False)


def _connection(address: Address, context: StepContext) -> _Connection:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    left = context.remaining_seconds()
    options: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_SECONDS if left is None else max(1.0, min(left, _CONNECT_SECONDS)),
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
    }
    if address.password is not None:
        options |= {"username": address.username, "password": address.password}
    try:
        pool = redis.ConnectionPool.from_url(address.url, **options)
    except ValueError as error:
        message = "url is no address of a Redis server; for example: redis://host:6379/0"
        raise RedisError(message, code="address_invalid") from error
    return pool.make_connection()


def _connect(connection: _Connection) -> None:
    from redis.exceptions import RedisError as Failure

    try:
        connection.connect()
    except (Failure, OSError) as error:
        raise RedisError(f"cannot connect: {error}", code="redis_connection") from error


def _exchange(
    connection: _Connection, commands: list[list[Any]], *, reads: bool
) -> list[JsonValue | Exception]:
    """Send all commands, take all answers; what the server refuses is an exception in its place."""
    from redis.exceptions import ConnectionError as Broken
    from redis.exceptions import ResponseError
    from redis.exceptions import TimeoutError as TooLate

    answers: list[JsonValue | Exception] = []
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                answers.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                answers.append(error)
    except (Broken, TooLate, OSError, ValueError) as error:
        # A socket that is closed from another thread shows as a ValueError.
        if reads:
            raise RedisError(f"the connection broke: {error}", code="redis_connection") from error
        message = f"the connection broke after commands were sent; whether they were carried out is not known: {error}"
        raise RedisError(message, code="redis_unclear", details=unknown_outcome()) from error
    return answers


def _of_transaction(answers: list[JsonValue | Exception]) -> list[JsonValue | Exception]:
    """What EXEC gave for each command; where a command was refused before, those refusals."""
    executed = answers[-1]
    return executed if isinstance(executed, list) else answers[1:-1]


def _may_have_changed(names: list[str], answers: list[JsonValue | Exception]) -> bool:
    """Has a command been carried out that does not only read? A script that failed may have done a part."""
    return any(
        name not in _READS and (name in _SCRIPTS or not isinstance(answer, Exception))
        for name, answer in zip(names, answers, strict=True)
    )


def _results(
    names: list[str], answers: list[JsonValue | Exception], *, may_have_changed: bool
) -> list[JsonValue]:
    """The answers as JSON values. Raises RedisError: for one that is none, and for the first refusal."""
    # Then the step must not simply be tried again: POP would take the next one, INCR count twice.
    outcome = unknown_outcome() if may_have_changed else {}
    try:
        values = [_plain(answer) for answer in answers]
    except RedisError as error:
        error.details.update(outcome)
        raise
    for number, (name, answer) in enumerate(zip(names, answers, strict=True), 1):
        if isinstance(answer, Exception):
            text = _error_text(answer)
            where = f"command {number} ({name})" if len(names) > 1 else name
            details = {"command": name, "number": number, "code": text.split(" ")[0], **outcome}
            if len(names) > 1:
                details["answers"] = values
            raise RedisError(f"{where}: {text}", details=details)
    return values


def _error_text(error: Exception) -> str:
    """The server's words, with the code before them that the client takes away."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if isinstance(code, str) else str(error)


def _plain(value: Any) -> JsonValue:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            message = f"the answer is no text ({len(value):,} bytes that are not UTF-8); flow data holds text"
            raise RedisError(message, code="redis_not_text") from error
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return _error_text(value) if isinstance(value, Exception) else value
