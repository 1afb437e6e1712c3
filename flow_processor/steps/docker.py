"""Runs a program in a container.

```yaml
- name: report
  type: docker
  timeout_seconds: 300
  docker:
    image: registry.local/team/report:2.1
    command: [make-report, --day, "{{ __input__.day }}"]
    env: {FORMAT: json}
    volumes: ["input:/in:ro", "out:/out"]
    memory: 512 MiB
    network: none
    result: json
```

The step type is off unless config.yml switches it on and names the images that flows may run: `docker: {enabled:
true, allow_images: ["registry.local/team/*"]}`; see [containers](../containers.md). What is not allowed is refused when
the flow is loaded (`docker_denied`), and once more when its templates are rendered.

`command` and `entrypoint` are lists, so that whatever a template puts there stays one argument; a text is split at its
blanks like a shell line, and takes no templates. `env` and `secret_env` are as those of the step [shell](shell.md):
lists and mappings become JSON, null leaves a variable out, a secret is given by its name. The container sees those, and
what its image says.

`volumes` are folders or files below the data folder: `input:/in:ro`. One that is not there is made, as a folder of the
container's user, unless `ro` stands behind it. The container runs as the user that the daemon runs as; where that is
root, as nobody (65534), so give it a folder that nobody may write, or one that is not there yet.

What it prints goes to the run's log line by line, as it comes. The result is what it has printed on both outputs
(`logs`), its stdout read as `json`, its `exit_code`, or the content of a `file` that it has written below the data
folder. An exit code other than 0 fails the step (`container_failed`) with the last lines in the error's details, unless
the result is the exit code.

Other failures: `docker_denied` (a rule), `docker_unavailable` (no engine, or it does not answer in time),
`docker_unclear` (the engine was lost when the container had begun: it may have done its work, so nothing is retried),
`image_missing`, `image_pull_failed`, `container_not_started` (in the engine's words), `container_out_of_memory`.

The container is removed when the step ends, however it ends. One that is cancelled gets SIGTERM and 1.5 seconds; one
whose time is over is killed at once. Nothing is tried again that may have done something: after a crash the step is run
again only with `on_interrupt: rerun`, and a `retry` is for containers whose end is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from flow_processor.containers import (
    Container,
    ContainerRules,
    Ended,
    WantedContainer,
    engine_at,
    labels_of,
)
from flow_processor.containers.rules import REFUSED_OPTIONS
from flow_processor.data_files import DataFileType, read_value
from flow_processor.environment import (
    Arguments,
    SecretVariables,
    VariableName,
    as_argument,
    environment,
    secret_value,
)
from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.paths import inside, open_regular
from flow_processor.printed import MAX_OUTPUT_BYTES, Printed, json_value
from flow_processor.spec.base import Seconds, Spec, Texts
from flow_processor.spec.docker import OptionalMemory
from flow_processor.step import JsonValue, StepContext, StepResult

_SHOWN = 300
"""So many characters of a container's last line an error's message shows."""


class ContainerFailed(StepError):
    """The container ended with another exit code than 0, or without the result that the step wants of it."""

    code = "container_failed"


def _text(given: Any) -> Any:
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


class DockerOptions(Spec):
    """Runs a program in a container."""

    refused_keys = REFUSED_OPTIONS

    image: Annotated[str, Field(min_length=1, max_length=500)]
    """The image: `busybox:1.36`, `registry.local/team/app@sha256:…`. A template."""
    command: Arguments | None = None
    """The program and its arguments, each perhaps a template; default: what the image says."""
    entrypoint: Arguments | None = None
    """What is run with the command as its arguments; default: what the image says."""
    env: dict[VariableName, Any] = Field(default_factory=dict)
    """Variables for its environment; values may be templates."""
    secret_env: SecretVariables = Field(default_factory=dict)
    """Variables that are given secrets: `{NAME: secret}`, or `{NAME: {secret: name, value: username}}`."""
    workdir: Annotated[str, Field(pattern=r"^(/|\{[\{%])")] | None = None
    """Its working folder, an absolute path in the container; default: what the image says. A template."""
    volumes: Texts = ()
    """What it sees of the data folder: `folder:/in/the/container`, with `:ro` behind it to be read only. Templates."""
    network: str = "bridge"
    """The network that it is in: `none`, `bridge`, or another one that `docker.networks` in config.yml allows."""
    memory: OptionalMemory = None
    """Its memory, in bytes or like `512 MiB`; there is no swap on top. Default: `docker.max_memory` of config.yml."""
    cpus: Annotated[float, Field(ge=0.01, le=1024)] | None = None
    """Processor cores that it may take, like `1.5`. Default: `docker.max_cpus` of config.yml."""
    pids: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Processes and threads that it may have. Default: `docker.max_pids` of config.yml."""
    user: Annotated[str, BeforeValidator(_text, json_schema_input_type=str | int)] | None = None
    """Who it runs as: `1000`, `1000:1000` (numbers of user and group), or `image` for what the image says; root and
    `image` only with `docker.allow_root`. Default: the daemon's user. A template."""
    read_only: bool = False
    """Is the image's file system read only? `/tmp` can be written even then, in memory."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When the image is fetched: if it is not there, each time, or never."""
    authentication: str | None = None
    """Name of the secret with `username` and `password` (or `token`) for the image's registry."""
    timeout_seconds: Seconds | None = None
    """Time of the whole step with fetching the image, in seconds; beside the step's own `timeout_seconds`."""
    result: Literal["logs", "json", "exit_code", "file"] = "logs"
    """What the result is: the text that it printed, its stdout read as JSON (nothing is null), its exit code, or the
    content of `file`."""
    file: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """With `result: file`, a file that the container writes: its path relative to DATA_PATH, as the volumes have it.
    One that ends in .json is read as JSON, another one is a text. A template."""

    @model_validator(mode="after")
    def _result_fits(self) -> DockerOptions:
        if (self.result == "file") != (self.file is not None):
            raise ValueError("'result: file' and 'file: path' go together")
        return self


@step_type("docker", repeatable=False)
def run(options: DockerOptions, context: StepContext) -> StepResult:
    """Run the container and wait for its end. Raises ContainerFailed, DockerDenied, StepTimeout, StepCancelled, and
    what the engine says."""
    remaining = _clock(options, context)
    wanted = _wanted(options, context)
    before = _result_state(options, context)
    printed = Printed(
        on_line=lambda line, is_error: context.log(line, level="warning" if is_error else "info"),
        redacted=context.redacted,
    )
    for mount in wanted.mounts:
        mount.make(wanted.user)
    container = Container(
        engine_at(context.docker.host),
        wanted,
        printed=printed,
        log=lambda text, level: context.log(text, level=level),
    )
    try:
        ended = container.run(stop=context.stop, remaining_seconds=remaining)
        if options.result == "exit_code":
            return StepResult(ended.exit_code)
        if ended.exit_code != 0:
            raise _failed(ended, wanted, printed, context)
        return StepResult(_result(options, context, printed, before=before))
    except StepError as error:
        if printed.last_lines:
            error.details["last_lines"] = printed.last_lines
        raise


def _wanted(options: DockerOptions, context: StepContext) -> WantedContainer:
    rules = ContainerRules(
        settings=context.docker.settings, data=context.folders.data, private=context.folders.private
    )
    user = options.user if options.user is None else _rendered(context, "user", options.user)
    return WantedContainer(
        image=rules.image(_rendered(context, "image", options.image)),
        command=_command(context, "command", options.command),
        entrypoint=_command(context, "entrypoint", options.entrypoint),
        env=_environment(options, context),
        workdir=None if options.workdir is None else _rendered(context, "workdir", options.workdir),
        user=rules.user(user),
        mounts=[rules.volume(_rendered(context, "volumes", one)) for one in options.volumes],
        network=rules.network(_rendered(context, "network", options.network)),
        memory=rules.memory(None if options.memory is None else int(options.memory)),
        cpus=rules.cpus(options.cpus),
        pids=rules.pids(options.pids),
        read_only=options.read_only,
        labels=labels_of(
            context.docker.owner, run=context.run_id, step=context.path, attempt=context.attempt
        ),
        pull=options.pull,
        credentials=_credentials(options, context),
    )


def _rendered(context: StepContext, key: str, text: str) -> str:
    value = context.render(text)
    if isinstance(value, bool) or not isinstance(value, str | int):
        shown = context.redacted(as_argument(value))[:_SHOWN]
        raise StepError(f"{key} must be a text, and is {shown}", code="docker_invalid_option")
    return _without_nul(key, str(value))


def _without_nul(key: str, text: str) -> str:
    # The engine would say what it was given, escaped, so that a secret in it were not known as one.
    if "\0" in text:
        message = f"{key} holds a NUL character, which no program can be given"
        raise StepError(message, code="docker_invalid_option")
    return text


def _environment(options: DockerOptions, context: StepContext) -> dict[str, str]:
    found = environment(context, options.env, options.secret_env)
    return {name: _without_nul(f"variable {name}", value) for name, value in found.items()}


def _command(context: StepContext, key: str, given: tuple[Any, ...] | None) -> list[str] | None:
    if given is None:
        return None
    found = context.render(list(given))
    for number, value in enumerate(found):
        if value is None or isinstance(value, list | dict):
            shown = context.redacted(as_argument(value))[:_SHOWN]
            message = f"{key}[{number}] must be one argument, and is {shown}"
            raise StepError(message, code="docker_invalid_option")
    return [_without_nul(f"{key}[{number}]", as_argument(value)) for number, value in enumerate(found)]


def _credentials(options: DockerOptions, context: StepContext) -> dict[str, str] | None:
    if options.authentication is None:
        return None
    secret = context.secret(options.authentication)
    return {
        "username": secret_value(secret, ("username",)),
        "password": secret_value(secret, ("password", "token")),
    }


def _clock(options: DockerOptions, context: StepContext) -> Callable[[], float | None]:
    """Seconds left of the step's time limit and of the option's, whichever ends first."""
    limit = options.timeout_seconds
    if limit is None:
        return context.remaining_seconds
    deadline = time.monotonic() + limit

    def remaining() -> float:
        left = context.remaining_seconds()
        own = max(0.0, deadline - time.monotonic())
        return own if left is None else min(left, own)

    return remaining


def _result_path(options: DockerOptions, context: StepContext) -> Path | None:
    if options.file is None:
        return None
    given = _rendered(context, "file", options.file)
    return inside(context.folders.data, given, what="docker.file", private=context.folders.private)


def _result_state(options: DockerOptions, context: StepContext) -> tuple[int, ...] | None:
    """What tells the file that the container writes from the one that is there before."""
    path = _result_path(options, context)
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _result(
    options: DockerOptions, context: StepContext, printed: Printed, *, before: tuple[int, ...] | None
) -> JsonValue:
    path = _result_path(options, context)
    if path is not None:
        return _file_content(path, context, is_new=_result_state(options, context) != before)
    if options.result == "json":
        return json_value(printed.bytes_of(is_error=False).decode("utf-8", "replace"))
    return printed.bytes_of(is_error=None).decode("utf-8", "replace").rstrip("\r\n")


def _file_content(path: Path, context: StepContext, *, is_new: bool) -> JsonValue:
    shown = path.relative_to(context.folders.data.resolve()).as_posix()
    if not is_new:
        raise ContainerFailed(f"the container did not write {shown}", code="container_result")
    try:
        with open_regular(path, "rb", below=context.folders.data) as file:
            data = file.read(MAX_OUTPUT_BYTES + 1)
    except OSError as error:
        message = f"what the container wrote to {shown} cannot be read: {error.strerror}"
        raise ContainerFailed(message, code="container_result") from error
    if len(data) > MAX_OUTPUT_BYTES:
        message = f"what the container wrote to {shown} is more than {MAX_OUTPUT_BYTES >> 20} MiB"
        raise ContainerFailed(message, code="container_result")
    kind = DataFileType.JSON if path.suffix.lower() == ".json" else DataFileType.TEXT
    return read_value(data, kind, name=shown)


def _failed(ended: Ended, wanted: WantedContainer, printed: Printed, context: StepContext) -> ContainerFailed:
    details = {"exit_code": ended.exit_code}
    if ended.ran_out_of_memory:
        message = (
            f"the container needed more memory than its limit of {wanted.memory:,} bytes, and was killed"
        )
        return ContainerFailed(message, code="container_out_of_memory", details=details)
    said = printed.bytes_of(is_error=True).decode("utf-8", "replace").strip() or "".join(
        printed.last_lines[-1:]
    )
    last = context.redacted(said.rpartition("\n")[2]).strip()[:_SHOWN]
    message = f"the container ended with exit code {ended.exit_code}{': ' + last if last else ''}"
    return ContainerFailed(message, details=details)
