"""What the service answers about own code."""

from __future__ import annotations

from typing import Any

from flow_processor.own_code.registration import Kind
from flow_processor.service.views import View


class FunctionView(View):
    """A function of own code, as flows can use it."""

    kind: Kind
    """`caller`: for the python step; `step`: a step type; `filter`: a template filter."""
    name: str
    """What flows call it."""
    file: str
    """Where it stands, below the data folder: `callers/mail.py`."""
    description: str | None
    """Its docstring."""
    arguments: dict[str, Any]
    """JSON Schema of its arguments, or of the step type's options; empty for a filter."""
    secrets: list[str]
    """Parameters that take a secret."""


class CodeFileView(View):
    """One file of own code."""

    file: str
    """Below the data folder: `callers/mail.py`."""
    valid: bool
    """True: what it registers can be used."""
    functions: list[str]
    """Names of what it registers."""
    problem: str | None
    """Why nothing of it can be used."""
    line: int | None
    """The line of the file that is to blame, from 1, where there is one."""
    traceback: str | None
    """What Python said, in several lines."""


class SwitchView(View):
    """Something that config.yml can switch off."""

    enabled: bool
    """False: flows that use it are refused."""


class OwnCodeView(View):
    """Own code, and what may be run on this machine at all."""

    own_code: SwitchView
    """The python step, and step types and template filters of one's own."""
    shell: SwitchView
    """The shell step."""
    docker: SwitchView
    """The docker step."""
    functions: list[FunctionView]
    """What flows can use."""
    files: list[CodeFileView]
    """Every file, good or broken."""
