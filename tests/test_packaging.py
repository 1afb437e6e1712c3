"""What a stranger relies on before anything runs: README, requirements, make, CI, container."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from flow_processor.cli.exits import ExitCode

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def requirements(name: str) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-r "))]


def tracked_files() -> list[Path]:
    """Every file that is shipped, as git lists them."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone, or no git here")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_the_readme_can_be_read_in_two_minutes():
    """The README has fewer than 150 lines."""
    assert len(README.splitlines()) < 150


def test_every_make_command_of_the_pages_exists():
    """A `make …` that a page tells the reader to type is a target."""
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z]+)\b`", page.read_text("utf-8"))}
    named |= set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= TARGETS


def test_the_readme_names_all_make_commands_of_daily_work():
    """run, test, check, fix, docs and bench stand in the README."""
    for target in ("run", "test", "check", "fix", "docs", "bench"):
        assert f"make {target}" in README


def test_the_readme_has_lines_for_windows():
    """Windows has no make, so its two commands stand there in full."""
    assert r".venv\Scripts\python main.py" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_the_pages_lead_somewhere(page: Path):
    """Each relative link of a page names a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    "name",
    ["requirements.txt", "requirements-extras.txt", "requirements-dev.txt", "bench/requirements-peer.txt"],
)
def test_every_requirement_is_pinned(name: str):
    """Each package is named with exactly one version."""
    for line in requirements(name):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*(; .+)?", line), line


def test_no_requirement_stands_twice():
    """A package is pinned in one place only."""
    names = [
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for file in ("requirements.txt", "requirements-extras.txt", "requirements-dev.txt")
        for line in requirements(file)
    ]
    assert sorted(names) == sorted(set(names))


def test_the_extras_are_pinned_alike():
    """pyproject.toml's extras are those of requirements-extras.txt, in the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    assert {re.sub(r"\[.*\]", "", line) for line in extras} <= set(requirements("requirements-extras.txt"))


def test_no_package_registry_is_named():
    """Where packages come from is the machine's business: no file names a registry's host."""
    hosts = re.compile(
        r"(?i)\b(?:"
        + "|".join(["pypi" + r"\.org", "python" + "hosted", "npmjs" + r"\.", "deb" + r"\.debian"])
        + ")"
    )
    named = []
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="ignore")
        if hosts.search(text) or "--index" + "-url" in text:
            named.append(str(path.relative_to(ROOT)))
    assert named == []


def test_ci_is_executable_and_stops_at_the_first_failure():
    """.ci/run is a strict bash script that calls the same make targets as people do."""
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert {"make test", "make lint"} <= set(text.splitlines())
    listed = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr


def test_the_container_does_not_run_as_root():
    """The image has a user of its own, a health check and a volume for the data."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for words in ("USER octospool", "HEALTHCHECK", "/healthz", "VOLUME /data", "python:3.11-slim"):
        assert words in text


def test_the_health_check_of_the_container_is_a_program():
    """Its last word is Python that compiles; a typing error there would mark every container as ill."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    command = json.loads(found[1].replace("\\\n", ""))  # lines that go on, as Docker reads them
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_exit_codes_are_documented():
    """docs/operations.md lists every exit code of the commands, and no other."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert documented == {int(code) for code in ExitCode}
