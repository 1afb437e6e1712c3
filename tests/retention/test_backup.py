"""Backup and restore: a whole file or none, from a daemon at work; a restored folder, or an untouched one."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow_processor.cli.app import octospool as command
from flow_processor.run import RunStatus
from flow_processor.service import Service
from flow_processor.service.placement import MARK
from tests.engine.world import World, error_code, until
from tests.forked import start_python
from tests.retention.conftest import QUICK

SLOW = "steps:\n  - {name: first, type: jq, jq: {expression: '1'}}\n  - {name: nap, type: sleep, sleep: {seconds: 1}}\n"

OWN_CODE = "from flow_processor.own_code import caller\n\n@caller\ndef one():\n    return 1\n"


@pytest.fixture
def octospool(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on the world's folder."""
    monkeypatch.setenv("DATA_PATH", str(world.data))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(command, [str(one) for one in arguments], prog_name="octospool")

    return call


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_in(backup: Path) -> list[str]:
    with tarfile.open(backup) as archive:
        return archive.getnames()


def test_a_backup_of_a_daemon_at_work_is_restored_whole(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """Every run that was accepted before it is there, with its steps; and the files, for the owner alone."""
    world.start()
    before = [world.launch("sub/quick.yml", data={"n": number}) for number in range(5)]
    for run_id in before:
        world.wait(run_id)
    kept = world.service.result_files.keep(before[0], '"large"')
    stop = threading.Event()

    def launch() -> None:
        while not stop.wait(0.01):
            world.launch("sub/quick.yml")

    busy = threading.Thread(target=launch)
    busy.start()
    (tmp_path / "data" / "callers").mkdir()
    (tmp_path / "data" / "callers" / "sums.py").write_text(OWN_CODE)
    backup = tmp_path / "backup.tar.gz"
    result = octospool("backup", backup)
    stop.set()
    busy.join()
    assert result.exit_code == 0, result.output
    assert "secrets.yml is not in it" in result.output
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "data"]
    world.leave()

    restored = octospool("restore", backup, "--data-path", tmp_path / "new")
    assert restored.exit_code == 0, restored.output
    service = Service(World(tmp_path / "new").settings)
    for number, run_id in enumerate(before):
        run = service.run(run_id)
        assert run.status is RunStatus.SUCCEEDED
        assert run.data is not None
        assert run.data["a"] == {"n": number}
    assert service.result_files.load(before[0], kept) == "large"
    service.stop()
    assert (tmp_path / "new" / "flows" / "sub" / "quick.yml").read_text() == QUICK
    assert (tmp_path / "new" / "templates" / "t.j2").read_text() == "x"
    assert (tmp_path / "new" / "callers" / "sums.py").read_text() == OWN_CODE
    assert (tmp_path / "new" / "config.yml").read_text() == "timezone: UTC\n"
    assert not (tmp_path / "new" / "secrets.yml").exists()
    assert stat.S_IMODE((tmp_path / "new" / "octospool.db").stat().st_mode) == 0o600


def test_secrets_go_in_only_when_that_is_said(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    result = octospool("backup", tmp_path / "b.tar.gz", "--with-secrets")
    assert "keep the file as safe" in result.output
    assert "secrets.yml" in names_in(tmp_path / "b.tar.gz")
    octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new" / "secrets.yml").stat().st_mode) == 0o600


def test_a_run_under_way_becomes_interrupted_and_says_why(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """What it did after the backup nobody knows; a person decides."""
    world.start()
    run_id = world.launch(SLOW)
    world.until_begun(run_id, "nap")
    octospool("backup", tmp_path / "b.tar.gz")
    created_at = json.loads(read_member(tmp_path / "b.tar.gz", "manifest.json"))["created_at"]
    world.leave()
    result = octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new")
    assert f"octospool runs resume {run_id}" in result.output
    service = Service(World(tmp_path / "new").settings)
    run = service.run(run_id)
    service.stop()
    assert run.status is RunStatus.INTERRUPTED
    assert run.error is not None
    assert run.error.code == "restored"
    assert created_at in run.error.message


def test_an_existing_backup_is_replaced_only_when_that_is_said(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_text("mine")
    result = octospool("backup", target)
    assert (result.exit_code, target.read_text()) == (1, "mine")
    assert "--force" in result.output
    assert octospool("backup", target, "--force").exit_code == 0
    assert "octospool.db" in names_in(target)


def test_a_backup_that_cannot_be_written_leaves_nothing(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    result = octospool("backup", tmp_path / "nowhere" / "b.tar.gz")
    assert result.exit_code == 1
    assert "backup_failed" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_in_use_is_not_restored_over(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    world.start()
    octospool("backup", tmp_path / "b.tar.gz")
    result = octospool("restore", tmp_path / "b.tar.gz", "--force")
    assert result.exit_code == 75
    assert "in use" in result.output
    assert world.run("sub/quick.yml").status is RunStatus.SUCCEEDED


def test_what_is_there_is_moved_aside_and_only_when_that_is_said(
    world: World, octospool: Callable[..., Result], tmp_path: Path, run_id: str
) -> None:
    octospool("backup", tmp_path / "b.tar.gz")
    second = world.start().run("sub/quick.yml").run_id
    (world.data / "flows" / "later.yml").write_text(QUICK)
    world.leave()
    refused = octospool("restore", tmp_path / "b.tar.gz")
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (world.data / "flows" / "later.yml").exists()

    result = octospool("restore", tmp_path / "b.tar.gz", "--force")
    assert result.exit_code == 0, result.output
    (aside,) = (world.data / "before-restore").iterdir()
    assert str(aside) in result.output
    assert (aside / "flows" / "later.yml").read_text() == QUICK
    assert not (world.data / "flows" / "later.yml").exists()
    assert (world.data / "secrets.yml").exists()
    world.start()
    assert {run.run_id for run in world.service.runs().runs} == {run_id}
    read = f"before-restore/{aside.name}/config.yml"
    spy = world.run(f"steps:\n  - {{name: r, type: file, file: {{path: {read}, method: read}}}}\n")
    assert error_code(spy) == "path_refused"
    world.leave()
    old = Service(World(world.data, database_url=f"sqlite:///{aside / 'octospool.db'}").settings)
    assert {run.run_id for run in old.runs().runs} == {run_id, second}
    old.stop()


def read_member(backup: Path, name: str) -> bytes:
    with tarfile.open(backup) as archive:
        content = archive.extractfile(name)
        assert content is not None
        return content.read()


def rewritten(
    backup: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]
) -> None:
    """The same archive with members changed, or left out."""
    with tarfile.open(backup) as archive:
        found = [(member, read_member(backup, member.name)) for member in archive.getmembers()]
    with tarfile.open(backup, "w:gz") as archive:
        for member, content in found:
            changed = change(member, content)
            if changed is not None:
                changed[0].size = len(changed[1])
                archive.addfile(changed[0], io.BytesIO(changed[1]))


def renamed(name: str) -> Callable[[Path], None]:
    def spoil(backup: Path) -> None:
        def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
            if member.name == "config.yml":
                member.name = name
            return member, content

        rewritten(backup, change)

    return spoil


def linked(backup: Path) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == "config.yml":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            return member, b""
        return member, content

    rewritten(backup, change)


def changed_flow(backup: Path) -> None:
    rewritten(
        backup, lambda member, content: (member, content + b"#" if "flows/" in member.name else content)
    )


def without(name: str) -> Callable[[Path], None]:
    return lambda backup: rewritten(
        backup, lambda member, content: None if member.name == name else (member, content)
    )


def newer_format(backup: Path) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == "manifest.json":
            content = json.dumps({**json.loads(content), "format": 99}).encode()
        return member, content

    rewritten(backup, change)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another file": (lambda backup: backup.write_bytes(b"no archive at all"), "no backup"),
    "empty": (lambda backup: backup.write_bytes(b""), "no backup"),
    "cut off": (lambda backup: os.truncate(backup, backup.stat().st_size * 2 // 3), "damaged"),
    "climbing out": (renamed("flows/../../evil"), "'..'"),
    "absolute": (renamed("/evil"), "absolute"),
    "unknown name": (renamed("daemon.json"), "daemon.json"),
    "a result of no run": (renamed("results/evil/x.json"), "results/evil/x.json"),
    "a link": (linked, "regular file"),
    "changed": (changed_flow, "flows/sub/quick.yml"),
    "a file less": (without("config.yml"), "config.yml"),
    "no manifest": (without("manifest.json"), "manifest.json"),
    "newer": (newer_format, "newer"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_what_is_no_whole_backup_is_refused_before_anything_changes(
    world: World, octospool: Callable[..., Result], tmp_path: Path, kind: str
) -> None:
    backup = tmp_path / "b.tar.gz"
    octospool("backup", backup)
    spoil, said = SPOILED[kind]
    spoil(backup)
    before = files_below(tmp_path)
    result = octospool("restore", backup, "--force")
    assert result.exit_code == 1, result.output
    assert "backup_invalid" in result.output
    assert said in result.output
    assert files_below(tmp_path) == before


def test_a_restore_that_dies_half_way_is_told_and_can_be_run_again(
    world: World, octospool: Callable[..., Result], tmp_path: Path, run_id: str
) -> None:
    """No daemon starts on half a folder, as that would begin with an empty history."""
    octospool("backup", tmp_path / "b.tar.gz")
    script = (
        "import os, signal, sys\n"
        "from flow_processor.__main__ import main\n"
        "real = os.replace\n"
        "def replace(source, target, **options):\n"
        "    real(source, target, **options)\n"
        "    if str(target).endswith('flows/sub') and 'before' not in str(target):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = replace\n"
        "sys.argv = ['octospool', 'restore', sys.argv[1], '--force']\n"
        "main()\n"
    )
    died = start_python(script, str(tmp_path / "b.tar.gz"))
    died.communicate(timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert (world.data / MARK).exists()
    refused = octospool("run", "sub/quick.yml")
    assert "octospool restore FILE --force" in refused.output
    assert octospool("restore", tmp_path / "b.tar.gz", "--force").exit_code == 0
    world.start()
    assert world.service.run(run_id).status is RunStatus.SUCCEEDED
    assert world.run("sub/quick.yml").status is RunStatus.SUCCEEDED


def test_a_damaged_store_names_its_file_and_a_backup_helps(
    world: World, octospool: Callable[..., Result], tmp_path: Path, run_id: str
) -> None:
    octospool("backup", tmp_path / "b.tar.gz")
    store = world.data / "octospool.db"
    store.write_bytes(b"x" * store.stat().st_size)
    told = octospool("runs", "list")
    assert told.exit_code == 69
    assert str(store) in told.output
    assert "octospool restore" in told.output
    assert octospool("restore", tmp_path / "b.tar.gz", "--force").exit_code == 0
    assert run_id in octospool("runs", "list").output


def test_a_backup_of_version_1_is_restored_and_migrated(
    world: World, octospool: Callable[..., Result], tmp_path: Path
) -> None:
    """A backup may be older than the program."""
    shutil.rmtree(world.data)
    (world.data / "flows").mkdir(parents=True)
    fixture = Path(__file__).parents[1] / "store" / "versions" / "1.sql"
    connection = sqlite3.connect(world.data / "octospool.db")
    connection.executescript(fixture.read_text(encoding="utf-8"))
    connection.close()
    assert octospool("backup", tmp_path / "b.tar.gz").exit_code == 0
    assert json.loads(read_member(tmp_path / "b.tar.gz", "manifest.json"))["schema"] == 1
    assert octospool("restore", tmp_path / "b.tar.gz", "--data-path", tmp_path / "new").exit_code == 0
    service = Service(World(tmp_path / "new").settings)
    assert until(lambda: service.runs().runs, "the runs")
    service.stop()
