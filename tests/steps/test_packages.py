"""Packages that only some steps need: never imported unless used, and named where they are missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import StepError
from flow_processor.factory import flow_model
from flow_processor.flow_files.surroundings import Surroundings
from flow_processor.step import StepResult

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = {
    "redis": {"type": "redis", "redis": {"url": "redis://127.0.0.1:9", "command": ["PING"]}},
    "minio": {"type": "s3", "s3": {"action": "list", "bucket": "reports", "endpoint": "http://127.0.0.1:9"}},
    "psycopg": {"type": "database", "database": {"url": "postgresql://127.0.0.1:9/x", "query": "SELECT 1"}},
}


def test_a_worker_imports_none_of_them() -> None:
    """Nor what else only these steps use."""
    code = (
        "import sys, flow_processor, flow_processor.steps, flow_processor.engine.worker\n"
        "from flow_processor.factory import flow_model; flow_model()\n"
        "names = ('redis', 'minio', 'psycopg', 'sqlalchemy', 'smtplib', 'urllib3')\n"
        "print([name for name in names if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`without("redis")`: as if that package were not installed."""
    import importlib.util

    def remove(module: str) -> None:
        found = importlib.util.find_spec
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name == module else found(name, *rest)
        )

    return remove


@pytest.mark.parametrize("module", STEPS)
def test_a_package_that_is_missing_is_named_with_its_command(
    run_step: Callable[..., StepResult], without: Callable[[str], None], tmp_path: Path, module: str
) -> None:
    without(module)
    command = f"{sys.executable} -m pip install "
    with pytest.raises(StepError) as error:
        run_step(**STEPS[module])
    assert error.value.code == "package_missing"
    assert command in error.value.message
    assert module in error.value.message.partition(command)[2]
    look = Surroundings(data=tmp_path, templates=tmp_path, private=(), secrets=None)
    flow: Any = flow_model().model_validate({"steps": [{"name": "x", **STEPS[module]}]})
    [(place, code, message)] = look(flow)
    assert (place, code) == (("steps", 0, STEPS[module]["type"]), "package_missing")
    assert command in message


def test_a_check_looks_at_the_secrets_of_these_steps(tmp_path: Path) -> None:
    mail = {
        "host": "x",
        "from": "a@b.c",
        "to": "a@b.c",
        "text": "x",
        "secret": "mailbx",
        "verify": "../ca.pem",
    }
    steps = [
        {"name": "a", "type": "database", "database": {"secret": "shop", "query": "SELECT 1"}},
        {"name": "b", "type": "email", "email": mail},
    ]
    look = Surroundings(data=tmp_path, templates=tmp_path, private=(), secrets=["mailbox"])
    flow: Any = flow_model().model_validate({"steps": steps})
    found = {(place, code) for place, code, _ in look(flow)}
    assert found == {
        (("steps", 0, "database", "secret"), "secret_not_found"),
        (("steps", 1, "email", "secret"), "secret_not_found"),
        (("steps", 1, "email", "verify"), "path_refused"),
    }
