"""Names that no archive takes, places that are mounts or read-only: a backup or a restore says so before, or copes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow_processor.cli.app import octospool as command
from flow_processor.run import RunStatus
from flow_processor.service.placement import MARK
from tests.engine.world import World
from tests.faults.real_faults import SmallDisk, run
from tests.retention.conftest import QUICK

OLD = "# the old one\n" + QUICK


@pytest.fixture
def octospool(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on the world's folder; what is no error of the product fails the test."""
    monkeypatch.setenv("DATA_PATH", str(world.data))

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(command, [str(one) for one in arguments], prog_name="octospool")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(tmp_path: Path) -> Iterator[None]:
    """Wherever a test that failed has moved it: the next tests could not remove this test's folder."""
    yield
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in places if place.startswith(f"{tmp_path}/")]):
        subprocess.run(["umount", "--lazy", place], check=True)


def mount(what: str | Path, place: Path, *options: str) -> None:
    run("mount", *options, str(what), str(place))


@pytest.mark.parametrize("name", ["a\\b.yml", "line\nbreak.yml"])
def test_a_name_that_cannot_be_put_back_is_left_out_and_told_on_both_days(
    world: World, octospool: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    (world.data / "flows" / name).write_text(QUICK)
    made = octospool("backup", tmp_path / "b.tar.gz", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["left_out"] == [f"flows/{name}"]
    assert "left out" in octospool("backup", tmp_path / "b.tar.gz", "--force").stderr
    restored = octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new")
    assert restored.exit_code == 0, restored.output
    assert "was left out of the backup" in restored.stderr
    assert (tmp_path / "new" / "flows" / "sub" / "quick.yml").read_text() == QUICK


def test_a_name_that_is_no_unicode_is_put_back(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.yml")
    (world.data / "flows" / name).write_text(QUICK)
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    assert octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new" / "flows" / name).read_text() == QUICK


def test_links_are_followed_within_their_folder_and_told_where_they_lead_elsewhere(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """A launch follows them so, too. config.yml may well be a link: that is how some systems mount it."""
    flows = world.data / "flows"
    (flows / "inner.yml").symlink_to("sub/quick.yml")
    (flows / "outer.yml").symlink_to(world.data / "secrets.yml")
    (flows / "nowhere.yml").symlink_to("gone.yml")
    (flows / "circle.yml").symlink_to("circle.yml")
    (flows / "folder").symlink_to("sub")
    os.mkfifo(flows / "pipe.yml")
    (world.data / "secrets.yml").write_text("[]\n")
    (world.data / "config.yml").rename(tmp_path / "real.yml")
    (world.data / "config.yml").symlink_to(tmp_path / "real.yml")
    made = octospool("backup", tmp_path / "b.tar.gz", "--json")
    assert made.exit_code == 0, made.output
    told = ["circle.yml", "folder", "nowhere.yml", "outer.yml", "pipe.yml"]
    assert json.loads(made.stdout)["left_out"] == [f"flows/{name}" for name in told]
    assert octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new" / "flows" / "inner.yml").read_text() == QUICK
    assert (tmp_path / "new" / "config.yml").read_text() == "timezone: UTC\n"


def test_what_lies_on_mounts_is_exchanged_and_the_mounts_stay(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """A container has flows/ as a volume, with another one in it, and config.yml as a file of the host."""
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    flows, config, host = world.data / "flows", world.data / "config.yml", tmp_path / "host.yml"
    mount("octospool-test", flows, "-t", "tmpfs")
    (flows / "sub").mkdir()
    mount("octospool-test", flows / "sub", "-t", "tmpfs")
    (flows / "lost+found").mkdir()
    (flows / "sub" / "old.yml").write_text(OLD)
    (flows / "link.yml").symlink_to("sub/old.yml")
    host.write_text("timezone: Europe/Berlin\n")
    mount(host, config, "--bind")

    for attempt in (1, 2):
        done = octospool("restore", tmp_path / "b.tar.gz", "--force")
        assert done.exit_code == 0, done.output
        assert sorted(path.name for path in flows.iterdir()) == ["lost+found", "sub"]
        assert [path.name for path in (flows / "sub").iterdir()] == ["quick.yml"]
        assert host.read_text() == config.read_text() == "timezone: UTC\n"
        assert not (world.data / MARK).exists()
        asides = sorted((world.data / "before-restore").iterdir())
        assert len(asides) == attempt
        assert not (asides[0] / "flows" / "lost+found").exists()
        assert (asides[0] / "flows" / "link.yml").read_text() == OLD
        assert (asides[0] / "config.yml").read_text() == "timezone: Europe/Berlin\n"
    assert world.start().run("sub/quick.yml").status is RunStatus.SUCCEEDED
    world.leave()


@pytest.mark.parametrize("place", ["flows", "flows/sub", "flows/sub/quick.yml", "config.yml", "octospool.db"])
def test_a_place_that_is_read_only_is_told_before_anything_changes(
    world: World,
    octospool: Callable[..., Result],
    tmp_path: Path,
    place: str,
) -> None:
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    (world.data / "flows" / "later.yml").write_text(QUICK)
    mount(world.data / place, world.data / place, "--bind", "-o", "ro")
    before = sorted(str(path) for path in world.data.rglob("*"))
    done = octospool("restore", tmp_path / "b.tar.gz", "--force")
    assert done.exit_code == 1, done.output
    assert "restore_failed" in done.stderr
    assert str(world.data / place) in done.stderr
    assert "Nothing is changed" in done.stderr
    assert sorted(str(path) for path in world.data.rglob("*")) == before


def test_a_disk_that_is_full_before_or_in_the_middle_is_told_as_what_it_is(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """Before: nothing is changed. In the middle, on flows/ alone: no daemon starts until a restore came to its end."""
    big = "# " + "x" * 500_000 + "\n"
    (world.data / "flows" / "big.yml").write_text(big)
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    new = tmp_path / "new"
    disk = SmallDisk(new, "size=300k")
    early = octospool("restore", tmp_path / "b.tar.gz", "--data-path", new)
    left = list(new.rglob("*"))
    disk.remove()
    assert "disk_full" in early.stderr
    assert "nothing is changed" in early.stderr
    assert [path for path in left if path.name not in ("daemon.lock", "daemon.json")] == []

    flows = world.data / "flows"
    (flows / "big.yml").unlink()
    disk = SmallDisk(flows, "size=300k")
    half = octospool("restore", tmp_path / "b.tar.gz", "--force")
    assert half.exit_code == 69
    assert "restore_unfinished" in half.stderr
    assert "No space left" in half.stderr
    assert "run it again" in half.stderr
    assert (world.data / MARK).exists()
    disk.remove()
    again = octospool("restore", tmp_path / "b.tar.gz", "--force")
    assert again.exit_code == 0, again.output
    assert (flows / "big.yml").read_text() == big
    assert not (world.data / MARK).exists()


def test_the_old_store_that_is_moved_aside_keeps_what_its_log_holds(
    world: World, octospool: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one with a name of its own: the write-ahead log belongs to it by its name."""
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    (world.data / "octospool.db").rename(world.data / "mine.db")
    (world.data / "mine.db-wal").write_bytes(b"log")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{world.data / 'mine.db'}")
    assert octospool("restore", tmp_path / "b.tar.gz", "--force").exit_code == 0
    (aside,) = (world.data / "before-restore").iterdir()
    assert (aside / "octospool.db").exists()
    assert (aside / "octospool.db-wal").read_bytes() == b"log"
