"""Writes the generated pages of docs/: flow.schema.json, flow-file.md, settings.md, errors.md and steps/*.md.

The schema is also written beside the sample flows, whose first lines name it: who copies data/ has it all.

python docs/generate.py           write them
python docs/generate.py --check   exit with 1 if one of them is not what the code says
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
DATA = DOCS.parent / "data"
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import error_codes  # noqa: E402  needs the path above

import flow_processor.steps  # noqa: E402, F401  registers the step types
from flow_processor.factory import step_types  # noqa: E402
from flow_processor.schema import fields_table, flow_schema, step_page  # noqa: E402
from flow_processor.service.own_code import own_functions  # noqa: E402
from flow_processor.settings import VARIABLES, ApiSettings, Settings  # noqa: E402
from flow_processor.settings.config_file import (  # noqa: E402
    AutostartSpec,
    OwnCodeSettings,
    ShellSettings,
)
from flow_processor.spec.docker import DockerSettings  # noqa: E402
from flow_processor.spec.flow import FlowSpec  # noqa: E402
from flow_processor.spec.queue_settings import QueueSettings  # noqa: E402
from flow_processor.spec.retention import RetentionSettings  # noqa: E402
from flow_processor.spec.step import StepSpec  # noqa: E402

_NOTE = "<!-- Written by docs/generate.py from the code; edit the docstrings there. -->\n\n"

_DATA = """## Flow data

Every run has one mapping that steps read and write. It begins with

| key | value |
|---|---|
| `__input__` | what the caller sent as `data`; null if nothing |
| `__errors__` | list of ignored errors: `{step, code, error, details, ignored}` |
| `__loop_index__` | number, from 1, of a `flow_loop` item, a `foreach` element, an `until` round; else null |
| `__run__` | in handlers only: how the run ended: [order.md](order.md) |
| `__timestamp__` | when the run was accepted, `YYYYMMDDHHMMSS` in the configured zone; one per run |
| `__run_id__` | the run's id (also as `__job_id__`) |
| `__flow_path__` | the flow's path below the flows folder |
| `__api_url__` | the daemon's own API: `http://127.0.0.1:5000` |
| `__item__` | in a run that an item of a queue started: `{id, queue, name, time, attempt}`; else null |
| `params` | the values of the flow's parameters, only where it declares some: [params.md](params.md) |
"""

_READING = """## How the file is read

YAML 1.2: only `true` and `false` are booleans; `on`, `no`, `12:30`, `0123` and dates are text. A key must not stand
twice; tags (`!!python/…`) are refused; `<<: *anchor` merges. At most 1 MiB, 100 levels, 100 aliases. Text is never
silently taken for a number.

A changed file is used by the next run, one second after its last change at the earliest: a file that is still being
written must not run. A file that has become wrong keeps its last good version in force; `octospool check` and
`GET /api/flows/files` say what is wrong. A run under way keeps the version that it began with.

What steps have in common may stand under `defaults`, or for all flows in `defaults.yml`: [defaults.md](defaults.md).
"""


def pages() -> dict[str, str]:
    """Every generated file: path below docs/ -> text."""
    found = {
        "flow.schema.json": _json(flow_schema()),
        "../data/flow.schema.json": _json(
            flow_schema(own_functions(Settings.load({}, overrides={"data_path": DATA})))
        ),
        "flow-file.md": _flow_page(),
        "settings.md": _settings_page(),
        "errors.md": _errors_page(),
    }
    for kind in step_types().values():
        found[f"steps/{kind.name}.md"] = _NOTE + step_page(kind)
    return found


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _flow_page() -> str:
    kinds = [f"[{kind.name}](steps/{kind.name}.md)" for kind in step_types().values()]
    flow_table = fields_table(FlowSpec, without=("StepSpec", "RetrySpec"))
    parts = [
        "# The flow file\n",
        "One YAML file below the flows folder is one flow. "
        "[flow.schema.json](flow.schema.json) lets editors complete and check it.\n",
        flow_table.replace("[Step](#step)", "[steps](#common-step-keys)"),
        "\n## Common step keys\n",
        f"Every step, of whatever type: {', '.join(kinds)}.\n",
        fields_table(StepSpec),
        "",
        _DATA,
        _READING,
    ]
    return _NOTE + "\n".join(parts)


def _settings_page() -> str:
    rows = [
        f"| `{variable.name}` | `{variable.key}` | {variable.kind_text} | {_code(variable.default_text)} "
        f"| {variable.sentence} |".replace("`config_file`", "")
        for variable in VARIABLES
    ]
    parts = [
        "# Settings\n",
        "From the environment, or from config.yml (`DATA_PATH/config.yml`), where the key stands in lower case; the "
        "environment wins. An empty variable counts as not set. What is wrong stops the start, with all problems at "
        "once.\n",
        "| environment | config.yml | value | default | |\n|---|---|---|---|---|",
        *rows,
        "\n## Only in config.yml\n",
        "### `api:`\n",
        fields_table(ApiSettings),
        "\n### `retention:`\n",
        "How long the runs of all flows are kept. A flow's own `retention` comes on top; its `max_age_days` counts "
        "instead of this one. See [operations](operations.md#retention).\n",
        fields_table(RetentionSettings),
        "\n### `own_code:`\n",
        "See [own code](own-code.md).\n",
        fields_table(OwnCodeSettings),
        "\n### `shell:`\n",
        fields_table(ShellSettings),
        "\n### `docker:`\n",
        "See [containers](containers.md).\n",
        fields_table(DockerSettings),
        "\n### `queues:`\n",
        "By the queue's name; what stands under `defaults` counts for all that do not say otherwise. "
        "See [queues](queues.md).\n",
        fields_table(QueueSettings),
        "\n### `autostart:`\n",
        "A list of flows that are added to the scheduler at start: paths, or mappings. A wrong entry is logged and "
        "shown by `GET /readyz`; the others start.\n",
        fields_table(AutostartSpec),
        "",
    ]
    return _NOTE + "\n".join(parts)


def _errors_page() -> str:
    parts = [
        "# Errors\n",
        'Every error of the API is `{"error": text, "code": code, …}`. Codes are stable; texts are for people, and '
        "`…` stands for what was found.\n",
        error_codes.kinds_table(),
        "\n## All codes\n",
        error_codes.codes_table(),
        "",
    ]
    return _NOTE + "\n".join(parts)


def _code(text: str) -> str:
    return f"`{text}`" if text and " " not in text else text


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check compare them; the exit code."""
    wanted = pages()
    known = {path.relative_to(DOCS).as_posix() for path in (DOCS / "steps").glob("*.md")}
    stale = sorted(known - wanted.keys())
    for name, text in wanted.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is not what the code says; run: make docs\n")
        return 1 if stale else 0
    for name in stale:
        path = DOCS / name
        if name not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[name], encoding="utf-8", newline="\n")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
