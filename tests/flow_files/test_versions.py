"""Editing flow files under a running daemon: which version is in force (RELIABILITY 39, 40, 46)."""

from __future__ import annotations

import os
import shutil

import pytest

from flow_processor.errors import FlowNotFound, SpecError
from flow_processor.flow_files import parse_flow
from tests.flow_files.folder import FlowsFolder, good


def test_a_new_file_is_simply_loaded(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"))
    assert flows.step("a.yml") == "one"


def test_a_new_file_that_is_written_again_at_once_is_loaded_again(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"))
    assert flows.step("a.yml") == "one"
    flows.clock.go(0.1)
    flows.write("a.yml", good("two"))
    assert flows.step("a.yml") == "two"


def test_a_change_is_used_once_it_has_settled(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=5)
    assert flows.step("a.yml") == "one"
    flows.write("a.yml", good("two"))
    assert flows.step("a.yml") == "one"
    flows.clock.go(1)
    assert flows.step("a.yml") == "two"


def test_a_change_from_a_while_ago_is_used_at_once(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.write("a.yml", good("two"), age=2)
    assert flows.step("a.yml") == "two"


def test_a_file_from_the_future_settles_by_being_read_twice_alike(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=5)
    assert flows.step("a.yml") == "one"
    flows.write("a.yml", good("two"), age=-3600)
    assert flows.step("a.yml") == "one"
    flows.clock.go(0.9)
    assert flows.step("a.yml") == "one"
    flows.clock.go(0.1)
    assert flows.step("a.yml") == "two"


def test_while_a_file_is_written_byte_by_byte_the_last_good_version_is_in_force(flows: FlowsFolder) -> None:
    """A prefix of a YAML flow is often a right flow by itself (lab finding L6)."""
    text = good("two") + "  - name: last\n    type: set_fact\n    set_fact: {value: 2}\n"
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    valid = 0
    for length in range(len(text) + 1):
        flows.clock.go(0.005)
        flows.write("a.yml", text[:length])
        valid += _is_valid(text[:length])
        assert flows.step("a.yml") == "one"
    assert valid > 5
    flows.clock.go(1)
    assert [step.name for step in flows.library.launchable("a.yml").spec.steps] == ["two", "last"]


def _is_valid(text: str) -> bool:
    try:
        parse_flow(text, "a.yml")
    except SpecError:
        return False
    return True


@pytest.mark.parametrize("text", ["", "steps: [", "steps: []", "nonsense: 1", "\0"])
def test_a_broken_file_keeps_the_last_good_version_and_says_so(flows: FlowsFolder, text: str) -> None:
    flows.write("a.yml", "name: Good\n" + good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.write("a.yml", text, age=30)
    assert flows.step("a.yml") == "one"
    status = flows.library.status("a.yml")
    assert (status.valid, status.last_good_in_force, status.name) == (False, True, "Good")
    assert status.problems[0].file == "flows/a.yml"
    with pytest.raises(SpecError):
        flows.library.load("a.yml")


def test_a_broken_file_that_was_never_good_is_an_error(flows: FlowsFolder) -> None:
    flows.write("a.yml", "steps: [", age=60)
    with pytest.raises(SpecError):
        flows.library.launchable("a.yml")
    assert not flows.library.status("a.yml").last_good_in_force
    flows.write("a.yml", good("fixed"))
    assert flows.step("a.yml") == "fixed"


def test_a_file_seen_good_in_the_list_of_files_counts_as_good(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert [status.path for status in flows.library.files()] == ["a.yml"]
    flows.write("a.yml", "broken", age=30)
    assert flows.step("a.yml") == "one"


def test_an_editor_may_take_the_file_away_for_a_moment(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.remove("a.yml")
    assert flows.step("a.yml") == "one"
    flows.clock.go(0.5)
    flows.write("a.yml", good("two"))
    assert flows.step("a.yml") == "one"
    flows.clock.go(1)
    assert flows.step("a.yml") == "two"


def test_a_file_that_stays_away_is_gone(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.remove("a.yml")
    flows.clock.go(1)
    with pytest.raises(FlowNotFound):
        flows.library.launchable("a.yml")
    flows.write("a.yml", good("new"))
    assert flows.step("a.yml") == "new"


def _replace_by_rename(flows: FlowsFolder, text: str) -> None:
    flows.write(".a.yml.tmp", text, age=2)
    (flows.folder / ".a.yml.tmp").replace(flows.folder / "a.yml")


def _edit_in_place(flows: FlowsFolder, text: str) -> None:
    with (flows.folder / "a.yml").open("r+", encoding="utf-8") as file:
        file.write(text)
        file.truncate()
    flows.date(flows.folder / "a.yml", age=2)


def _as_vim_does(flows: FlowsFolder, text: str) -> None:
    (flows.folder / "a.yml").rename(flows.folder / "a.yml~")
    flows.write("a.yml", text, age=2)


def _swap_a_link(flows: FlowsFolder, text: str) -> None:
    flows.write(".versions/next.yml", text, age=2)
    (flows.folder / "a.yml").unlink()
    (flows.folder / "a.yml").symlink_to(flows.folder / ".versions" / "next.yml")


def _keep_mtime_and_size(flows: FlowsFolder, text: str) -> None:
    before = (flows.folder / "a.yml").stat()
    assert before.st_size == len(text)
    with (flows.folder / "a.yml").open("r+", encoding="utf-8") as file:
        file.write(text)
    os.utime(flows.folder / "a.yml", ns=(before.st_atime_ns, before.st_mtime_ns))


def _copy_over(flows: FlowsFolder, text: str) -> None:
    flows.write("other.txt", text, age=10)
    shutil.copy2(flows.folder / "other.txt", flows.folder / "a.yml")


@pytest.mark.parametrize(
    "edit", [_replace_by_rename, _edit_in_place, _as_vim_does, _swap_a_link, _keep_mtime_and_size, _copy_over]
)
def test_every_way_of_saving_is_seen(flows: FlowsFolder, edit: object) -> None:
    assert callable(edit)
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.library.changed()
    edit(flows, good("two"))
    assert flows.library.changed() == {"a.yml"}
    assert flows.step("a.yml") == "two"


def test_changes_are_told_when_they_happen_and_when_they_have_settled(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    assert flows.library.changed() == set()
    assert flows.library.changed() == set()
    flows.write("a.yml", good("two"))
    flows.write("sub/new.yml", good("x"))
    assert flows.library.changed() == {"a.yml", "sub/new.yml"}
    flows.clock.go(1)
    assert flows.library.changed() == {"a.yml"}
    assert flows.step("a.yml") == "two"
    assert flows.library.changed() == set()
    flows.remove("a.yml")
    assert flows.library.changed() == {"a.yml"}
    flows.clock.go(1)
    assert flows.library.changed() == {"a.yml"}
    assert flows.library.changed() == set()


def test_touching_a_file_changes_nothing(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    before = flows.library.launchable("a.yml")
    flows.write("a.yml", good("one"), age=30)
    assert flows.library.launchable("a.yml") is before


def test_a_bundle_is_a_snapshot_with_its_hash(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    before = flows.library.launchable("a.yml")
    flows.write("a.yml", good("two"), age=30)
    after = flows.library.launchable("a.yml")
    flows.remove("a.yml")
    assert (before.flows, after.flows) == ({"a.yml": good("one")}, {"a.yml": good("two")})
    assert before.hash != after.hash
