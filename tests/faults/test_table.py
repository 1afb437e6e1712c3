"""The table in README.md: every check has its tests, every test it names is there, every test here is named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
ROWS = {int(number): text for number, text in re.findall(r"^\| (\d+) \|(.*)\|$", TABLE, re.MULTILINE)}
CHECKS = {*range(1, 9), *range(10, 21), *range(24, 42), 46, *range(61, 65)}


def names_in(file: Path) -> set[str]:
    """The tests that a file has, as the table names them."""
    found = re.findall(r"^ *def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {f"{file.relative_to(ROOT).as_posix()}::{name}" for name in found}


def test_every_check_stands_in_the_table_and_has_a_test() -> None:
    """Or says why it has none yet."""
    assert set(ROWS) == CHECKS
    for number, row in ROWS.items():
        assert re.search(r"`tests/\S+::\w+`", row) or "not yet: " in row, number


def test_every_test_that_the_table_names_is_there() -> None:
    named = set(re.findall(r"`(tests/\S+::\w+)`", TABLE))
    missing = {test for test in named if test not in names_in(ROOT / test.partition("::")[0])}
    assert not missing


def test_every_test_of_a_fault_stands_in_the_table() -> None:
    here = {test for file in Path(__file__).parent.glob("test_*.py") for test in names_in(file)}
    own = names_in(Path(__file__))
    assert here - own <= set(re.findall(r"`(tests/\S+::\w+)`", TABLE))
