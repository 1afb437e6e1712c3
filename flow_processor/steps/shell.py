"""Run a program, or a few lines for the shell.

```yaml
- name: sizes
  type: shell
  shell:
    command: [wc, -c, "{{ __input__.file }}"]
    cwd: input
    output: lines
```

`command` is a program and its arguments: no shell reads them, so whatever a template puts there stays one argument.
`script` is given to `/bin/sh -e`, as it stands: a template in it is refused, because data that is pasted into a shell
line can become a command. Give values by `env`, and write `"$NAME"` in the script:

```yaml
- name: packed
  type: shell
  timeout_seconds: 60
  shell:
    env: {DAY: "{{ __input__.day }}", FORMAT: "{% raw %}{{.State}}{% endraw %}"}
    script: |
      mkdir -p "out/$DAY"
      printf '%s' "$FORMAT" > "out/$DAY/format"
```

The program sees PATH, HOME, LANG, TZ, TMPDIR, proxy and certificate variables of the daemon and what `env` and
`secret_env` say; nothing else. In `env` numbers and true/false become text, lists and mappings JSON, and null leaves
a variable out. `secret_env` gives a secret by its name; its value is replaced by `***` wherever the program prints it.

What it prints goes to the run's log line by line, as it comes, and stdout is the result, as `output` says. An exit
code that `expect` does not list fails the step (`shell_failed`), with the last lines in the error's details.

Nothing outlives the step: when the program ends, and when it is ended (`timeout_seconds`, a cancel, the failure of a
step beside it, the death of the worker), all that it has started ends too, in the background or not. A program that
is cancelled gets SIGTERM and 2 seconds; one whose time is over is killed at once. A daemon that is stopped or dies
lets the step finish first. After a crash the step is run again only with `on_interrupt: rerun`.

The program runs as the daemon's user and can reach what that one can. `shell: {enabled: false}` in config.yml
switches the step type off.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from flow_processor.environment import SecretVariables, VariableName, as_argument, environment
from flow_processor.errors import StepError
from flow_processor.expressions.jinja import is_template
from flow_processor.factory import step_type
from flow_processor.paths import inside
from flow_processor.printed import json_value
from flow_processor.programs import Ended, Program
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

_SHOWN = 300
"""So many characters of a program's last line an error's message shows."""


class ShellError(StepError):
    """The program could not be started, or ended with another exit code than expected."""

    code = "shell_failed"


def _one_of_both(schema: dict[str, Any]) -> None:
    """What the validator below says, for editors."""
    schema["oneOf"] = [{"required": ["command"]}, {"required": ["script"]}]


class ShellOptions(Spec):
    """Runs a program, or a few lines for the shell."""

    model_config = ConfigDict(json_schema_extra=_one_of_both)

    command: Annotated[tuple[str | int | float | bool, ...], Field(min_length=1)] | None = None
    """The program and its arguments. Each may be a template, and stays one argument."""
    script: Annotated[str, Field(min_length=1)] | None = None
    """Lines for `/bin/sh -e`, instead of `command`. Templates are refused; give values by `env`."""
    env: dict[VariableName, Any] = Field(default_factory=dict)
    """Variables for its environment; values may be templates."""
    secret_env: SecretVariables = Field(default_factory=dict)
    """Variables that are given secrets: `{NAME: secret}`, or `{NAME: {secret: name, value: username}}`."""
    cwd: str | None = None
    """Its working folder, relative to DATA_PATH; default: DATA_PATH itself. May be a template."""
    stdin: Any = None
    """What it reads: a text, or a value that becomes JSON; may be a template. Absent: nothing."""
    output: Literal["text", "json", "lines"] = "text"
    """How stdout becomes the result: `text` without the line breaks at its end, a list of `lines`, or read as
    `json` (nothing printed is null)."""
    result: Literal["output", "full"] = "output"
    """What the result is: the output, or `{exit_code, output, stderr}`."""
    expect: Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], Field(min_length=1)] = (0,)
    """Exit codes that are a success."""

    @model_validator(mode="after")
    def _one_program(self) -> ShellOptions:
        if (self.command is None) == (self.script is None):
            raise ValueError("give either 'command' or 'script'")
        if self.script is not None and is_template(self.script):
            raise ValueError(
                "a script takes no templates: data must not become part of a shell line; "
                'give the value by \'env: {NAME: "{{ … }}"}\' and write "$NAME" in the script'
            )
        return self


@step_type("shell", repeatable=False)
def run(options: ShellOptions, context: StepContext) -> StepResult:
    """Start the program and wait for its end. Raises ShellError, StepTimeout, StepCancelled."""
    env = environment(context, options.env, options.secret_env)
    cwd = _folder(options, context)
    command = _command(options, context, env=env, cwd=cwd)
    try:
        program = Program(
            command,
            env=env,
            cwd=cwd,
            stdin=None if options.stdin is None else as_argument(context.render(options.stdin)).encode(),
            on_line=lambda line, is_error: context.log(line, level="warning" if is_error else "info"),
            redacted=context.redacted,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise ShellError(f"{command[0]} could not be started: {error}", code="shell_not_started") from error
    ended = program.wait(stop=context.stop, remaining_seconds=context.remaining_seconds)
    if ended.exit_code not in options.expect:
        raise _unexpected(ended, context)
    output = _output(options, ended)
    if options.result == "full":
        stderr = ended.stderr.decode("utf-8", "replace")
        return StepResult({"exit_code": ended.exit_code, "output": output, "stderr": stderr})
    return StepResult(output)


def _command(options: ShellOptions, context: StepContext, *, env: Mapping[str, str], cwd: Path) -> list[str]:
    if options.script is not None:
        if sys.platform == "win32":
            raise ShellError("a script needs /bin/sh, which Windows has not", code="shell_not_started")
        return ["/bin/sh", "-e", "-c", options.script]
    command = []
    for number, value in enumerate(context.render(options.command)):
        if value is None or isinstance(value, list | dict):
            raise ShellError(
                f"command[{number}] must be one argument, and is {context.redacted(json.dumps(value))[:_SHOWN]}",
                code="shell_invalid_argument",
            )
        command.append(as_argument(value))
    program = str(cwd / command[0]) if "/" in command[0] else command[0]
    if shutil.which(program, path=env.get("PATH", os.environ.get("PATH"))) is None:
        where = "" if "/" in command[0] else " in PATH"
        raise ShellError(f"there is no program {command[0]!r}{where}", code="shell_not_started")
    return command


def _folder(options: ShellOptions, context: StepContext) -> Path:
    if options.cwd is None:
        return context.folders.data
    given = as_argument(context.render(options.cwd))
    folder = inside(context.folders.data, given, what="shell.cwd", private=context.folders.private)
    if not folder.is_dir():
        raise ShellError(f"cwd: there is no folder {given!r} in the data folder", code="shell_not_started")
    return folder


def _output(options: ShellOptions, ended: Ended) -> JsonValue:
    text = ended.stdout.decode("utf-8", "replace")
    if options.output == "lines":
        return text.splitlines()
    if options.output == "text":
        return text.rstrip("\r\n")
    try:
        return json_value(text)
    except StepError as error:
        error.details["last_lines"] = ended.last_lines
        raise


def _unexpected(ended: Ended, context: StepContext) -> ShellError:
    by_signal = ended.exit_code < 0
    how = (
        f"was ended by signal {-ended.exit_code}" if by_signal else f"ended with exit code {ended.exit_code}"
    )
    printed = ended.stderr.decode("utf-8", "replace").strip() or "".join(ended.last_lines[-1:])
    last = context.redacted(printed.rpartition("\n")[2]).strip()
    message = f"the program {how}{': ' + last[:_SHOWN] if last else ''}"
    return ShellError(message, details={"exit_code": ended.exit_code, "last_lines": ended.last_lines})
