"""Settings: environment and config.yml become one frozen value. The environment wins.

The only module that knows where settings come from; everything below the service is given values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.errors import Problem, SettingsError
from flow_processor.own_code.folders import CODE_FOLDERS
from flow_processor.settings.config_file import (
    ApiSettings,
    AutostartEntry,
    OwnCodeSettings,
    ShellSettings,
)
from flow_processor.settings.contradictions import contradictions
from flow_processor.settings.loopback import is_loopback
from flow_processor.settings.sources import Sources
from flow_processor.settings.tokens import NamedToken, Role, named_tokens
from flow_processor.settings.variables import DEFAULT_TOKEN, MIN_TOKEN_LENGTH, VARIABLES, Variable
from flow_processor.spec.docker import DEFAULT_HOST, DockerSettings
from flow_processor.spec.queue_settings import QueuesSettings
from flow_processor.spec.retention import RetentionSettings

__all__ = [
    "VARIABLES",
    "ApiSettings",
    "AutostartEntry",
    "NamedToken",
    "OwnCodeSettings",
    "Role",
    "Settings",
    "ShellSettings",
    "Variable",
    "is_loopback",
]


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. Paths are absolute. One field per variable of the table."""

    data_path: Path
    lock_path: Path
    log_path: Path
    flows_path: Path
    templates_path: Path
    secrets_path: Path
    config_file: Path
    api_host: str
    api_port: int
    api_protocol: str
    """`http`, `https` or `http,https`."""
    api_token: str = field(repr=False)
    tls_cert: Path | None
    tls_key: Path | None
    timezone: str
    """A name of the IANA time zone database."""
    log_level: str
    log_format: str
    max_workers: int
    spare_workers: int
    worker_memory_mb: int
    flow_timeout_seconds: float
    shutdown_grace_seconds: float
    database_url: str = field(repr=False)
    engine: str
    broker_url: str | None = field(repr=False)
    hashicorp_vault_token: str | None = field(repr=False)
    hashicorp_vault_cache_ttl: float
    """In seconds."""
    api: ApiSettings
    """CORS origins, largest body (bytes), threads and tokens; from config.yml only."""
    retention: RetentionSettings
    """How long runs are kept; from config.yml only."""
    own_code: OwnCodeSettings
    """Is the data folder's own Python used? From config.yml only."""
    shell: ShellSettings
    """May flows run programs? From config.yml only."""
    docker: DockerSettings
    """May flows run containers, and which? From config.yml only."""
    queues: QueuesSettings
    """How much queues take, and how fast; from config.yml only."""
    autostart: tuple[AutostartEntry, ...]
    """From config.yml only."""
    autostart_problems: tuple[Problem, ...]
    """Entries of `autostart` that are wrong; they do not stop the start."""
    environment: Mapping[str, str] = field(repr=False)
    """The environment as it was at start, for `${NAME}` in secrets."""

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        *,
        overrides: Mapping[str, Any] | None = None,
        base: Path | None = None,
    ) -> Settings:
        """Settings from overrides (field -> value, None: not given), environment, config.yml and defaults, in
        this order. Relative paths are relative to `base`, by default the working folder.

        Reads config.yml and creates nothing. Raises SettingsError with all problems.
        """
        sources = Sources(environ, overrides or {}, (base or Path.cwd()).absolute())
        values = sources.values()
        settings = cls(
            **values,
            api=sources.api,
            retention=sources.retention,
            own_code=sources.own_code,
            shell=sources.shell,
            docker=sources.docker,
            queues=sources.queues,
            autostart=sources.autostart,
            autostart_problems=sources.autostart_problems,
            environment=dict(environ),
        )
        problems = [*sources.problems, *contradictions(settings, sources)]
        if problems:
            raise settings_error(problems)
        return settings

    @cached_property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def named_tokens(self) -> tuple[NamedToken, ...]:
        """Tokens of the API beside API_TOKEN."""
        return named_tokens(self.api.tokens, self.environment, self.zone)

    @property
    def api_protocols(self) -> tuple[str, ...]:
        """The protocols of API_PROTOCOL."""
        return tuple(self.api_protocol.split(","))

    @property
    def api_url(self) -> str:
        """Where processes of this machine reach the API."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound here, only recognised
        host = here.get(self.api_host, self.api_host)
        return f"{self.api_protocols[0]}://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def weak_token(self) -> bool:
        """True: the token is the default one or short, so only loopback is served."""
        return self.api_token == DEFAULT_TOKEN or len(self.api_token) < MIN_TOKEN_LENGTH

    @property
    def results_path(self) -> Path:
        """Where large results of steps are kept."""
        return self.data_path / "results"

    @property
    def switched_off(self) -> dict[str, str]:
        """What flows may not use -> the key of config.yml that says so."""
        switches = {
            "python": self.own_code.enabled,
            "shell": self.shell.enabled,
            "docker": self.docker.enabled,
        }
        keys = {"python": "own_code.enabled", "shell": "shell.enabled", "docker": "docker.enabled"}
        return {name: keys[name] for name, is_on in switches.items() if not is_on}

    @property
    def docker_host(self) -> str:
        """Where the Docker engine is."""
        return self.docker.host or self.environment.get("DOCKER_HOST", "").strip() or DEFAULT_HOST

    @property
    def defaults_file(self) -> Path:
        """What steps of all flows say where they do not say it themselves."""
        return self.data_path / "defaults.yml"

    @property
    def private_paths(self) -> tuple[Path, ...]:
        """Files and folders of the spooler's own that no step may reach; the database's files come on top."""
        keys = (self.tls_cert, self.tls_key)
        own = (
            *("workers", "handover", "results", "daemon.json", "daemon.lock", "containers.id"),
            *("before-restore", "restore-unfinished", "daemon.id"),
        )
        return (
            self.flows_path,
            *(self.data_path / name for name in CODE_FOLDERS),
            self.secrets_path,
            self.config_file,
            self.defaults_file,
            self.lock_path,
            self.log_path,
            *(self.data_path / name for name in own),
            *(path for path in keys if path is not None),
        )

    def create_folders(self) -> None:
        """Create the missing folders, with parents. Raises SettingsError."""
        folders = [self.data_path, self.lock_path, self.log_path, self.flows_path, self.templates_path]
        problems: list[Problem] = []
        for folder in folders:
            if problems and folder.is_relative_to(self.data_path):
                continue  # the data folder itself is the cause
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                message = f"the folder {folder} cannot be created: {error.strerror or error}"
                problems.append(Problem("folder_unusable", "settings", None, None, "", message))
        if problems:
            raise settings_error(problems)


def settings_error(problems: list[Problem]) -> SettingsError:
    """All problems in one error."""
    text = "\n".join(str(problem) for problem in problems)
    details = [vars(problem) for problem in problems]
    return SettingsError(text, details={"problems": details})
