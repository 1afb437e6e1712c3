"""How long flow files take: loading and checking 1,000 of them, and noticing one edit among 10,000.

    python bench/flow_files.py

In this process, as the daemon does it; without workers (jq expressions are compiled when a flow is launched).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from flow_processor.flow_files import FlowLibrary  # noqa: E402  needs the path above

FLOW = """name: Flow {number}
description: One of many
params:
  day: {{type: date, default: "2026-11-21"}}
  limit: {{type: int, min: 1, max: 100, default: 10}}
timeout_seconds: 60
steps:
  - name: fetch
    type: rest
    rest:
      uri: "https://example.org/api/{number}?day={{{{ params.day }}}}"
      headers: {{Accept: application/json}}
    ignore_errors: ".*404.*"
  - name: picked
    type: jq
    jq: {{data_key: fetch, expression: "[.items[] | select(.n > {number})] | .[:3]"}}
  - name: text
    type: jinja
    when: picked | length > 0
    jinja: {{template: "{{% for one in picked %}}{{{{ one.n }}}} of {number}\\n{{% endfor %}}"}}
  - name: written
    type: file
    file: {{path: "output/{number}.txt", mode: write, type: text, data_key: text}}
"""
DEFAULTS = """all: {timeout_seconds: 30, retry: {attempts: 1}}
rest: {headers: {User-Agent: bench}, timeout_seconds: 10}
"""
LOADED, WATCHED = 1_000, 10_000
LOAD_SECONDS, NOTICE_SECONDS = 3.0, 2.0
PAUSE_SECONDS = 1.0
"""Between two looks of the daemon at what changed (scheduling.flow_scheduler.CHANGES_SECONDS)."""


def main() -> int:
    """Print the figures; 1 if one misses its target."""
    with tempfile.TemporaryDirectory() as folder:
        plain = measure_load(Path(folder) / "plain", defaults=False)
        filled = measure_load(Path(folder) / "filled", defaults=True)
        look, noticed = measure_edit(Path(folder) / "many")
    figures = [
        (f"load and check {LOADED:,} flows", plain, LOAD_SECONDS),
        (f"the same with defaults.yml ({LOADED:,} flows filled in)", filled, LOAD_SECONDS),
        (f"one look at {WATCHED:,} files", look, None),
        (f"an edit among {WATCHED:,} files until it is in force", noticed, NOTICE_SECONDS),
    ]
    for text, seconds, target in figures:
        verdict = (
            "" if target is None else f"  target {target:g} s: {'met' if seconds <= target else 'MISSED'}"
        )
        print(f"{text:<60} {seconds:7.3f} s{verdict}")
    return int(any(target is not None and seconds > target for _text, seconds, target in figures))


def write_flows(data: Path, count: int, *, defaults: bool = False) -> FlowLibrary:
    """A library over so many flows, 100 in a folder."""
    for number in range(count):
        file = data / "flows" / f"{number // 100}" / f"flow{number}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FLOW.format(number=number), encoding="utf-8")
    if defaults:
        (data / "defaults.yml").write_text(DEFAULTS, encoding="utf-8")
    return FlowLibrary(data / "flows", defaults=data / "defaults.yml")


def measure_load(data: Path, *, defaults: bool) -> float:
    """Seconds for the status of all flows, each read for the first time; building the models is part of it."""
    library = write_flows(data, LOADED, defaults=defaults)
    begin, cpu = time.perf_counter(), time.process_time()
    wrong = [file for file in library.files() if not file.valid]
    seconds = time.perf_counter() - begin
    print(f"{LOADED:,} flows: {time.process_time() - cpu:.3f} s of processor time")
    if wrong:
        raise SystemExit(f"a flow is not valid: {wrong[0].problems}")
    return seconds


def measure_edit(data: Path) -> tuple[float, float]:
    """(seconds of one look that finds nothing, seconds from an edit until a launch would use it)."""
    library = write_flows(data, WATCHED)
    path = "42/flow4242.yml"
    before = library.launchable(path)
    library.changed()
    begin = time.perf_counter()
    library.changed()
    look = time.perf_counter() - begin
    file = data / "flows" / path
    begin = time.perf_counter()
    file.write_text(file.read_text(encoding="utf-8") + "  - {name: more, type: exit}\n", encoding="utf-8")
    while library.launchable(path).hash == before.hash:
        time.sleep(PAUSE_SECONDS)
        library.changed()
    return look, time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
