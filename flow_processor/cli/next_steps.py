"""What `octospool serve` says at its start: where things are, and what to try next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flow_processor.cli.programs import program
from flow_processor.logs import LOG_FILE
from flow_processor.settings.variables import DEFAULT_TOKEN
from flow_processor.version import VERSION

if TYPE_CHECKING:
    from flow_processor.service.flow_views import FlowFileView
    from flow_processor.settings import Settings


def lines(settings: Settings, url: str, flows: Sequence[FlowFileView], *, windows: bool) -> Iterator[str]:
    """The lines to print. Only the default token, which everybody knows, is printed in the clear."""
    valid = [flow for flow in flows if flow.valid]
    wrong = [{problem["code"] for problem in flow.problems} for flow in flows if not flow.valid]
    off = wrong.count({"step_switched_off"})
    counts = [f"{len(valid)} valid"]
    if off:
        counts.append(f"{off} with steps that are switched off")
    if len(wrong) > off:
        counts.append(f"{len(wrong) - off} not: octospool check")
    yield f"Octospool {VERSION} serves {url} (Ctrl-C stops it)"
    yield f"  data      {settings.data_path}"
    yield f"  flows     {settings.flows_path}: {', '.join(counts)}"
    yield f"  log       {settings.log_path / LOG_FILE}"
    yield f"  token     {_token_line(settings)}"
    yield f"  API docs  {url}/api/docs  (any user name, the token as password)"
    yield "Try next, in another terminal:"
    authorization = f'-H "Authorization: Bearer {_token(settings, windows=windows)}"'
    if url.startswith("https:"):
        authorization += f' --cacert "{settings.tls_cert}"'
    flow = _flow_to_try(settings, valid)
    if flow is not None:
        body = f'{{"path": "{flow}"}}'
        quoted = _quoted(body, windows=windows)
        yield f'  curl {url}/api/flows/launch {authorization} -H "Content-Type: application/json" -d {quoted}'
    # In quotes: zsh takes the ? for a pattern of file names.
    yield f'  curl "{url}/api/runs?limit=5" {authorization}'
    yield f"  curl {url}/api/flows/files {authorization}"
    if flow is not None:
        yield f"  {program()} run {flow}{_data_path_option(settings)}"
    elif queue := next((flow.queue for flow in valid if flow.queue), None):
        item = _quoted('{"id": 1}', windows=windows)
        yield f"  {program()} queue put {queue} {item}{_data_path_option(settings)}"


def _token(settings: Settings, *, windows: bool) -> str:
    if settings.api_token == DEFAULT_TOKEN:
        return DEFAULT_TOKEN
    return "%API_TOKEN%" if windows else "$API_TOKEN"


def _token_line(settings: Settings) -> str:
    if settings.api_token == DEFAULT_TOKEN:
        return f"{DEFAULT_TOKEN}: for trying out, this machine only; set API_TOKEN to a secret of your own"
    if settings.weak_token:
        return "as set, but short: this machine only; 16 characters or more are a secret"
    if "API_TOKEN" in settings.environment:
        return "as set in API_TOKEN; the lines below need API_TOKEN in their terminal too"
    return "as set in config.yml (api_token); the lines below need it in their terminal as API_TOKEN"


def _flow_to_try(settings: Settings, valid: Sequence[FlowFileView]) -> str | None:
    """The first autostart flow (the folder's main one), else the first one that needs no item, file or call."""
    paths = {flow.path for flow in valid}
    autostart = [entry.path for entry in settings.autostart if entry.path in paths]
    others = [flow.path for flow in valid if not (flow.queue or flow.files or flow.webhook)]
    return next(iter([*autostart, *sorted(others, key=lambda path: (path.count("/"), path))]), None)


def _quoted(text: str, *, windows: bool) -> str:
    """As one word of a command line; cmd.exe knows no single quotes."""
    return '"' + text.replace('"', '\\"') + '"' if windows else f"'{text}'"


def _data_path_option(settings: Settings) -> str:
    from pathlib import Path

    return "" if settings.data_path == Path("data").absolute() else f' --data-path "{settings.data_path}"'
