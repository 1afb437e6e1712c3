"""What is wrong between settings that are right one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_processor.errors import Problem
from flow_processor.queues.amqp_address import broker_address, missing_package
from flow_processor.settings.loopback import is_loopback
from flow_processor.settings.sources import Sources
from flow_processor.settings.store_address import address_problem
from flow_processor.settings.tokens import token_problems
from flow_processor.settings.variables import DEFAULT_TOKEN, MIN_TOKEN_LENGTH
from flow_processor.spec.docker import engine_host

if TYPE_CHECKING:
    from flow_processor.settings import Settings


def contradictions(settings: Settings, sources: Sources) -> list[Problem]:
    """All of it, in the order of the checks."""
    return [
        *_token_problems(settings, sources),
        *_named_token_problems(settings, sources),
        *_tls_problems(settings, sources),
        *_docker_problems(settings),
        *_broker_problems(settings, sources),
        *_not_yet(settings, sources),
    ]


def _token_problems(settings: Settings, sources: Sources) -> list[Problem]:
    if not settings.weak_token or is_loopback(settings.api_host):
        return []
    why = (
        "the default"
        if settings.api_token == DEFAULT_TOKEN
        else f"shorter than {MIN_TOKEN_LENGTH} characters"
    )
    message = f"{settings.api_host} is not loopback, and API_TOKEN is {why}"
    hint = (
        f"set API_TOKEN to a random text of at least {MIN_TOKEN_LENGTH} characters, or API_HOST to 127.0.0.1"
    )
    return [sources.problem("api_host", message, code="weak_token", hint=hint)]


def _named_token_problems(settings: Settings, sources: Sources) -> list[Problem]:
    found = token_problems(settings.api.tokens, settings.environment, settings.api_token)
    return [sources.config_problem(("api", "tokens", index), message) for index, message in found]


def _tls_problems(settings: Settings, sources: Sources) -> list[Problem]:
    problems = []
    paths = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
    missing = [key.upper() for key, path in paths.items() if path is None]
    if len(missing) == 1:
        given = "tls_key" if settings.tls_cert is None else "tls_cert"
        problems.append(sources.problem(given, f"stands alone; {missing[0]} is missing"))
    if "https" in settings.api_protocols and len(missing) == 2:
        problems.append(sources.problem("api_protocol", "https needs TLS_CERT and TLS_KEY"))
    for key, path in paths.items():
        if path is not None and not path.is_file():
            problems.append(sources.problem(key, f"there is no file {path}"))
    return problems


def _not_yet(settings: Settings, sources: Sources) -> list[Problem]:
    """What the documents promise and this version does not have: refused, never ignored."""
    problems = []
    if settings.engine == "celery":
        hint = "leave it out, or set it to local"
        problems.append(sources.problem("engine", "celery is not available yet in this version", hint=hint))
    if (wrong := address_problem(settings.database_url)) is not None:
        problems.append(sources.problem("database_url", wrong[0], hint=wrong[1]))
    return problems


def _broker_problems(settings: Settings, sources: Sources) -> list[Problem]:
    if settings.broker_url is None:
        return []
    try:
        broker_address(settings.broker_url)
    except ValueError as error:
        return [sources.problem("broker_url", str(error), hint="or leave it out: queues are folders then")]
    missing = missing_package()
    return [] if missing is None else [sources.problem("broker_url", missing, code="package_missing")]


def _docker_problems(settings: Settings) -> list[Problem]:
    if not settings.docker.enabled:
        return []
    try:
        engine_host(settings.docker_host)
    except ValueError as error:
        return [
            Problem(
                "invalid_value", "environment", None, None, "DOCKER_HOST", str(error), "or set docker.host"
            )
        ]
    return []
