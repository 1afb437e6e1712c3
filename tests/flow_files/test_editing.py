"""Texts that may become flow files: checked without holding up who launches, loaded once, read whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import Unavailable
from flow_processor.flow_files.editing import EditableLibrary
from flow_processor.flow_files.folder import FlowFolder, Read
from flow_processor.spec.flow import FlowSpec
from tests.flow_files.folder import GOOD


class Check:
    """A check of expressions that takes until the test lets it go on."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, spec: FlowSpec) -> Iterator[Any]:
        self.seen.append(spec.steps[0].name)
        self.begun.set()
        assert self.go_on.wait(60)
        return iter(())


@pytest.fixture
def check() -> Check:
    return Check()


@pytest.fixture
def library(tmp_path: Path, check: Check) -> EditableLibrary:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "there.yml").write_text(GOOD.format(name="there"))
    return EditableLibrary(tmp_path / "flows", check_expressions=check)


def test_nobody_waits_for_a_text_that_is_being_checked(library: EditableLibrary, check: Check) -> None:
    """Launches, schedules and webhooks go on, however long the check of a large text takes."""
    library.launchable("there")
    check.go_on.clear()
    check.begun.clear()
    thread = threading.Thread(target=library.proposed, args=("new.yml", GOOD.format(name="new").encode()))
    thread.start()
    try:
        assert check.begun.wait(60)
        done = threading.Event()

        def others() -> None:
            library.launchable("there")
            library.changed()
            library.webhooks()
            done.set()

        threading.Thread(target=others, daemon=True).start()
        assert done.wait(20)
        assert thread.is_alive()
    finally:
        check.go_on.set()
        thread.join()


def test_what_was_checked_is_not_loaded_again(library: EditableLibrary, check: Check) -> None:
    """A large text would be loaded under the lock that launches need."""
    library.launchable("there")
    found = library.content("there.yml")
    proposal = library.proposed("there.yml", GOOD.format(name="changed").encode())
    library.write("there.yml", proposal, found=found)
    assert library.launchable("there").spec.steps[0].name == "changed"
    assert check.seen == ["there", "changed"]


def test_a_file_that_is_being_written_is_read_again(
    library: EditableLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept as a version is never half of a file."""
    steady = iter([False, False, True])
    read = FlowFolder.read

    def shaken(folder: FlowFolder, name: str) -> Read:
        return replace(read(folder, name), is_steady=next(steady, False))

    monkeypatch.setattr(FlowFolder, "read", shaken)
    found = library.content("there.yml")
    assert found is not None
    assert found.content.decode() == GOOD.format(name="there")
    with pytest.raises(Unavailable, match="is being written"):
        library.content("there.yml")
