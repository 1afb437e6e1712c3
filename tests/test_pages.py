"""README and API page show what the shipped product really does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from shipped import ROOT, SHIPPED, WRITTEN_BY_DAEMONS, octospool

from flow_processor.api.app import NOUNS


def test_the_api_page_lists_every_call():
    """docs/api.md names the calls that the daemon serves, and no others."""
    served = {
        f"{call.method.upper()} {re.sub('<.*?>', '{}', noun.prefix + call.rule)}"
        for noun in NOUNS
        for call in noun.calls
    }
    table = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("| --- |")[2]
    written = {
        re.sub(r"{.*?}", "{}", call)
        for call in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) [^ `?]+)", table)
    }
    assert written == served


def test_the_readme_shows_the_flow_as_it_is_shipped():
    """The YAML of the README is data/flows/examples/hello.yml without its comments."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    lines = (SHIPPED / "flows" / "examples" / "hello.yml").read_text(encoding="utf-8").splitlines(True)
    assert shown == "".join(line for line in lines if not line.startswith("#"))


def test_the_readme_shows_the_true_output(tmp_path: Path):
    """The command of the README prints what the README says, but for times and ids."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command, _, shown = readme.partition("```console\n$ ")[2].partition("```")[0].partition("\n")
    assert command == """.venv/bin/octospool run examples/hello.yml --data '{"who": "Ada"}'"""
    shutil.copytree(SHIPPED, tmp_path / "data", ignore=WRITTEN_BY_DAEMONS)
    ran = octospool(tmp_path / "data", "run", "examples/hello.yml", "--data", '{"who": "Ada"}')
    assert ran.returncode == 0, ran.stderr

    def settled(text: str) -> list[str]:
        """The lines with everything that differs from run to run blotted out."""
        text = re.sub(r"127\.0\.0\.1:\d+", "HERE", text)
        text = re.sub(r"\d{8}T\d{9}-[a-z2-7]{8}", "RUN", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d{14}\b|\b\d\d:\d\d:\d\d\b", "TIME", text)
        text = re.sub(r"\d+(\.\d+)? m?s\b", "DURATION", text)
        return [line.rstrip() for line in text.splitlines()]

    assert settled(shown) == settled(ran.stderr + ran.stdout)


def test_the_python_of_the_readme_runs(tmp_path: Path):
    """It greets Ada, too; only its data folder is another one here.

    It has no main guard and needs none: workers do not import it, or it would start itself again and again.
    """
    shutil.copytree(SHIPPED, tmp_path / "data", ignore=WRITTEN_BY_DAEMONS)
    code = (ROOT / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    environ = {name: text for name, text in os.environ.items() if name != "DATA_PATH"}
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "succeeded Hello Ada!\n"), ran.stderr
