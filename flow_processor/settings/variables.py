"""The table of settings: it drives reading, the reference page and the test that holds them together."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from flow_processor.spec.schedule import TimeZoneName

DEFAULT_TOKEN = "default_token"  # noqa: S105  the documented default, for trying things out on loopback
MIN_TOKEN_LENGTH = 16
"""A shorter token can be guessed; with it the API serves loopback only."""


def _any_case(*choices: str) -> BeforeValidator:
    """One of the choices in any case; what is none of them stays as it was typed, for the message."""
    known = {choice.lower(): choice for choice in choices}
    return BeforeValidator(
        lambda value: known.get(value.strip().lower(), value) if isinstance(value, str) else value
    )


def _protocols(value: str) -> str:
    parts = [part.strip().lower() for part in value.split(",") if part.strip()]
    if not parts or set(parts) - {"http", "https"}:
        raise ValueError("must be http, https or http,https")
    return ",".join(dict.fromkeys(parts))


def _token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must consist of printable ASCII characters without blanks")
    return value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value):
            raise ValueError("must be an address or a host name, without protocol and port") from None
    return value.strip("[]")


PathText = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Token = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_token)]
Protocols = Annotated[str, AfterValidator(_protocols)]
Host = Annotated[str, AfterValidator(_host)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], _any_case("DEBUG", "INFO", "WARNING", "ERROR")
]
LogFormat = Annotated[Literal["text", "json"], _any_case("text", "json")]
Engine = Annotated[Literal["local", "celery"], _any_case("local", "celery")]


@dataclass(frozen=True)
class Variable:
    """One setting that the environment, or config.yml under `key`, may give."""

    name: str
    """In the environment: `API_PORT`."""
    kind: Any
    """The type that its value must fit, for pydantic."""
    default: Any
    """None: not set. Of a path: relative to DATA_PATH (of DATA_PATH itself: to the working folder)."""
    kind_text: str
    """The type in words."""
    sentence: str
    is_secret: bool = False
    """Its value is never shown."""

    @property
    def key(self) -> str:
        """In config.yml, and the field of `Settings`: `api_port`."""
        return self.name.lower()

    @property
    def default_text(self) -> str:
        """The default as the reference page shows it."""
        if self.name == "DATABASE_URL":
            return "SQLite in DATA_PATH"
        if self.default is None:
            return ""
        if self.kind is PathText and self.name != "DATA_PATH":
            return f"DATA_PATH/{self.default}"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "DATA_PATH",
        PathText,
        "data",
        "path",
        "The data folder, with all that is yours. Relative to the working folder, as every path here.",
    ),
    Variable("LOCK_PATH", PathText, "locks", "path", "Folder of the lock files of running flows."),
    Variable("LOG_PATH", PathText, "logs", "path", "Folder of the log file."),
    Variable("FLOWS_PATH", PathText, "flows", "path", "Folder of the flow files."),
    Variable("TEMPLATES_PATH", PathText, "templates", "path", "Folder of the Jinja templates."),
    Variable("SECRETS_PATH", PathText, "secrets.yml", "path", "File of the named secrets."),
    Variable(
        "CONFIG_FILE",
        PathText,
        "config.yml",
        "path",
        "The file in which settings may stand too, except this one.",
    ),
    Variable(
        "API_HOST",
        Host,
        "127.0.0.1",
        "address",
        "Address to listen on; others than loopback need a good token.",
    ),
    Variable("API_PORT", Port, 5000, "0 to 65535", "Port to listen on; 0 takes a free one."),
    Variable(
        "API_PROTOCOL",
        Protocols,
        "http",
        "http, https or http,https",
        "How the API is reached; https needs TLS_CERT and TLS_KEY.",
    ),
    Variable(
        "API_TOKEN",
        Token,
        DEFAULT_TOKEN,
        "text",
        "The bearer token of the API. With the default, or with fewer than "
        f"{MIN_TOKEN_LENGTH} characters, the daemon serves loopback only.",
        is_secret=True,
    ),
    Variable("TLS_CERT", PathText, None, "path", "Certificate (chain) for https, a PEM file."),
    Variable("TLS_KEY", PathText, None, "path", "Key of the certificate, a PEM file."),
    Variable(
        "TIMEZONE",
        TimeZoneName,
        "UTC",
        "zone name",
        "Time zone of cron rules, of `__timestamp__` and of the log.",
    ),
    Variable(
        "LOG_LEVEL", LogLevel, "INFO", "DEBUG, INFO, WARNING or ERROR", "The least level that is logged."
    ),
    Variable(
        "LOG_FORMAT", LogFormat, "text", "text or json", "One line of text, or one JSON object, per record."
    ),
    Variable(
        "MAX_WORKERS",
        Annotated[int, Field(ge=1, le=1000)],
        8,
        "1 to 1000",
        "Runs at once; the others are queued.",
    ),
    Variable(
        "SPARE_WORKERS",
        Annotated[int, Field(ge=0, le=100)],
        1,
        "0 to 100",
        "Idle worker processes that are kept ready.",
    ),
    Variable(
        "WORKER_MEMORY_MB",
        Annotated[int, Field(ge=128, le=1_048_576)],
        2048,
        "MiB, from 128",
        "Memory limit of a worker process, in MiB, where the system can set one.",
    ),
    Variable(
        "FLOW_TIMEOUT_SECONDS",
        Annotated[float, Field(gt=0, le=366 * 86_400)],
        600.0,
        "seconds",
        "Time limit of a run whose flow names none, in seconds.",
    ),
    Variable(
        "SHUTDOWN_GRACE_SECONDS",
        Annotated[float, Field(ge=0, le=86_400)],
        30.0,
        "seconds",
        "How long a stopping daemon waits for runs under way, in seconds.",
    ),
    Variable(
        "DATABASE_URL",
        Annotated[str, Field(min_length=1)],
        None,
        "URL",
        "The store: `sqlite:///` and a path, or `postgresql://user:password@host/database`.",
        is_secret=True,
    ),
    Variable(
        "ENGINE", Engine, "local", "local", "What hands runs to workers. `celery` is not available yet."
    ),
    Variable(
        "BROKER_URL",
        Annotated[str, Field(min_length=1)],
        None,
        "URL",
        "Queues are at this message broker (RabbitMQ): `amqp://user:password@host:port/virtual-host`, or `amqps://…`;"
        " see docs/rabbitmq.md. Left out: they are folders.",
        is_secret=True,
    ),
    Variable(
        "HASHICORP_VAULT_TOKEN",
        Annotated[str, Field(min_length=1)],
        None,
        "text",
        "Token for secrets of the type hashicorp-vault.",
        is_secret=True,
    ),
    Variable(
        "HASHICORP_VAULT_CACHE_TTL",
        Annotated[float, Field(ge=0, le=86_400)],
        60.0,
        "seconds",
        "How long a secret read from Vault is kept in memory, in seconds.",
    ),
)
"""All of them, in the order of the reference page."""

BY_KEY = {variable.key: variable for variable in VARIABLES}
