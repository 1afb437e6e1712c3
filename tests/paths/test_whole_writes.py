"""Files are written whole or not at all, and only where files belong."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.errors import PathRefused
from flow_processor.paths import append_whole, open_regular, write_atomic

WITHOUT = "import flow_processor.new_file; flow_processor.new_file._NAMELESS = False\n"


@pytest.fixture(params=["", WITHOUT], ids=["nameless files", "no nameless files"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """This system, and one that cannot make files without a name: what another process runs first to be like it."""
    if request.param:
        monkeypatch.setattr("flow_processor.new_file._NAMELESS", False)
    return str(request.param)


@pytest.mark.usefixtures("system")
def test_a_write_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "c.txt", b"1")
    write_atomic(tmp_path / "a" / "b" / "c.txt", b"22")
    assert [entry.name for entry in (tmp_path / "a" / "b").iterdir()] == ["c.txt"]
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"22"


@pytest.mark.usefixtures("system")
def test_an_existing_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"1")
    file.chmod(0o640)
    write_atomic(file, b"2")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.usefixtures("system")
def test_a_new_file_gets_the_wanted_permissions(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"1", mode=0o600)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, system: str) -> None:
    """/dev/full fails every write for want of space; here a too large file does."""
    code = system + (
        "import resource, signal, sys; from pathlib import Path; from flow_processor.paths import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
        "except OSError as error: print(error.filename)\n"
    )
    file = tmp_path / "x"
    file.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(file)
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.usefixtures("system")
def test_a_write_that_is_broken_off_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    """By who makes the pieces, or by who looks last."""
    (tmp_path / "old").write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise KeyError

    def refuse() -> None:
        raise KeyError

    for name in ("old", "new"):
        with pytest.raises(KeyError):
            write_atomic(tmp_path / name, pieces())
        with pytest.raises(KeyError):
            write_atomic(tmp_path / name, b"new", last_look=refuse)
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no nameless files")
def test_what_is_not_whole_has_no_name(tmp_path: Path) -> None:
    """So nothing stays of it if the process dies."""
    seen: list[list[str]] = []
    for name in ("a", "a"):
        write_atomic(
            tmp_path / name,
            b"x",
            last_look=lambda: seen.append([entry.name for entry in tmp_path.iterdir()]),
        )
    assert seen == [[], ["a"]]


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, system: str) -> None:
    code = system + (
        "import sys; from pathlib import Path; from flow_processor.paths import write_atomic\n"
        "print('on', flush=True)\n"
        "while True:\n"
        "  for letter in b'ab': write_atomic(Path(sys.argv[1]), bytes([letter]) * 300_000)\n"
    )
    file = tmp_path / "x"
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            while not file.exists():
                pass
            writer.send_signal(signal.SIGKILL)
        content = file.read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1


@pytest.mark.parametrize("mode", ["rb", "ab"])
def test_a_fifo_is_refused_without_waiting_for_its_other_end(tmp_path: Path, mode: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathRefused, match="not a regular file"):
        open_regular(tmp_path / "pipe", mode)  # type: ignore[arg-type]


def test_a_fifo_is_not_replaced_by_a_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathRefused, match="not a regular file"):
        write_atomic(tmp_path / "pipe", b"x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_symlink_at_the_end_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(PathRefused, match="symlink"):
        open_regular(tmp_path / "link", "rb")


@pytest.mark.usefixtures("system")
def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("ä" * 120), b"x")
    assert (tmp_path / ("ä" * 120)).read_bytes() == b"x"


def test_appenders_take_turns(tmp_path: Path) -> None:
    """Each looks at the last number and appends the next one."""
    file = tmp_path / "numbers"

    def append() -> None:
        for _ in range(25):
            append_whole(file, lambda opened: b"%d\n" % len((opened.seek(0), opened.readlines())[1]))

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes().split() == [b"%d" % number for number in range(200)]
