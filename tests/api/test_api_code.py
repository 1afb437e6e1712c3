"""What the API says of own code and of what is switched off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLER = '''from flow_processor.own_code import Secret, caller

@caller
def double(number: int, token: Secret = None) -> int:
    """Twice as much."""
    return number * 2
'''


def test_it_tells_functions_and_broken_files(api_with: Callable[..., Any], tmp_path: Path) -> None:
    """With the JSON Schema of the arguments, and the traceback of what cannot be loaded."""
    (tmp_path / "data" / "callers").mkdir(parents=True)
    (tmp_path / "data" / "callers" / "sums.py").write_text(CALLER)
    (tmp_path / "data" / "callers" / "wrong.py").write_text("\n1 / 0\n")
    told = api_with("shell: {enabled: false}\n").get("/api/code").json
    assert (told["own_code"], told["shell"]) == ({"enabled": True}, {"enabled": False})
    [function] = told["functions"]
    assert (function["kind"], function["name"], function["file"]) == ("caller", "double", "callers/sums.py")
    assert (function["description"], function["secrets"]) == ("Twice as much.", ["token"])
    assert function["arguments"]["properties"]["number"]["type"] == "integer"
    assert function["arguments"]["required"] == ["number"]
    good, bad = told["files"]
    assert (good["valid"], good["functions"], good["problem"]) == (True, ["double"], None)
    assert (bad["valid"], bad["line"], bad["problem"]) == (False, 2, "ZeroDivisionError: division by zero")
    assert 'File "callers/wrong.py", line 2' in bad["traceback"]


def test_what_is_switched_off_is_not_read(api_with: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "data" / "callers").mkdir(parents=True)
    (tmp_path / "data" / "callers" / "sums.py").write_text(CALLER)
    told = api_with("own_code: {enabled: false}\n").get("/api/code").json
    switches = {"own_code": {"enabled": False}, "shell": {"enabled": True}, "docker": {"enabled": False}}
    assert told == {**switches, "functions": [], "files": []}
