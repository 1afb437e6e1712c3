"""One process has a data folder at a time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flow_processor.errors import DataFolderInUse, Unavailable
from flow_processor.locks import DataFolderLock

HOLDER = """
import sys
from pathlib import Path
from flow_processor.locks import DataFolderLock
DataFolderLock(Path(sys.argv[1])).acquire("serve", detail={"url": "http://127.0.0.1:5000"})
print("held", flush=True)
sys.stdin.readline()
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        lock = DataFolderLock(tmp_path)
        with pytest.raises(DataFolderInUse) as refused:
            lock.acquire("run", detail={})
        assert f"pid {holder.pid}" in refused.value.message
        assert "serve" in refused.value.message
        assert "http://127.0.0.1:5000" in refused.value.message
        found = lock.holder()
        assert found is not None
        assert found["pid"] == holder.pid
        assert found["url"] == "http://127.0.0.1:5000"
        assert found["kind"] == "serve"
    finally:
        holder.communicate("\n")


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    lock = DataFolderLock(tmp_path)
    assert (tmp_path / "daemon.json").exists()
    assert lock.holder() is None
    lock.acquire("serve", detail={})
    lock.release()


def test_a_released_folder_is_free_again(tmp_path: Path) -> None:
    first, second = DataFolderLock(tmp_path), DataFolderLock(tmp_path)
    assert first.holder() is None
    first.acquire("serve", detail={"url": "x"})
    assert first.holder() == second.holder()
    with pytest.raises(DataFolderInUse):
        second.acquire("run", detail={})
    first.release()
    first.release()
    assert not (tmp_path / "daemon.json").exists()
    second.acquire("run", detail={})
    second.release()


def test_a_folder_that_cannot_be_locked_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable) as refused:
        DataFolderLock(tmp_path / "file").acquire("serve", detail={})
    assert refused.value.code == "data_unwritable"
