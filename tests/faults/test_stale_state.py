"""What a dead daemon left: files that name living strangers, files cut anywhere. The next one starts all the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flow_processor.clock import SystemClock
from flow_processor.engine.handover import Handovers
from flow_processor.errors import StoreUnavailable
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.store import Store
from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.flows import QUICK, posting

CUTS = 40
"""At so many places the database's files are cut, evenly spread; the others are cut at every byte."""


def test_a_lock_that_names_a_living_stranger_is_taken_over(make_daemon: Callable[..., DaemonProcess]) -> None:
    """8: the process id was given to somebody else meanwhile; the kernel's lock counts, not what is written."""
    daemon = make_daemon()
    path = daemon.write("a.yml", QUICK)
    stranger = {"pid": os.getpid(), "since": "2026-11-21T00:00:00Z", "kind": "serve", "run_id": "x"}
    for name in ("daemon.json", "daemon.lock", "locks/a.lock", "workers/0badcafe.lock"):
        file = daemon.data / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(" " + json.dumps(stranger | {"flow": "a.yml", "run_ids": ["x"]}))
    daemon.start()
    run_id = daemon.launch(path)
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])


def prefixes(content: bytes) -> list[bytes]:
    """The content cut at every byte, beginning with nothing."""
    return [content[:length] for length in range(len(content))]


def test_state_files_cut_at_any_byte_are_read_or_told(tmp_path: Path) -> None:
    """17: `daemon.json` and the content of a lock file."""
    folder, lock = DataFolderLock(tmp_path, clock=SystemClock()), LockFile(tmp_path / "a.lock")
    folder.acquire("serve", detail={"url": "http://127.0.0.1:5000"})
    whole = (tmp_path / "daemon.json").read_bytes()
    folder.release()
    for cut in prefixes(whole):
        (tmp_path / "daemon.json").write_bytes(cut)
        (tmp_path / "a.lock").write_bytes(b" " + cut)
        assert isinstance(lock.content(), dict)
        assert folder.holder() is None
        folder.acquire("serve", detail={})
        folder.release()


def test_a_handover_cut_at_any_byte_is_not_taken_in(
    daemon: DaemonProcess, server: CountingServer, tmp_path: Path
) -> None:
    """17: nothing of it is taken in; the whole file is."""
    run_id = daemon.launch(daemon.write("post.yml", posting(server, "/held/post")))
    server.wait_for_call("/held/post")
    daemon.kill()
    server.open_gate.set()
    until(lambda: not daemon.living_workers(), "the worker hands over and leaves")
    [file] = (daemon.data / "handover").iterdir()
    whole = file.read_bytes()
    shutil.copytree(daemon.data, tmp_path / "copy")
    store = Store(f"sqlite:///{tmp_path / 'copy' / 'octospool.db'}")
    folder = tmp_path / "copy" / "handover"
    for cut in prefixes(whole.rstrip()):
        (folder / file.name).write_bytes(cut)
        Handovers(store, folder).take_in_all()
        assert [row[0] for row in store.journal.rows(run_id) if row[3] == "succeeded"] == []
    store.close()
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])


def test_a_database_cut_anywhere_is_opened_or_refused_with_what_to_do(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    """17: never a traceback. A cut write-ahead log is what a power cut leaves: the store opens."""
    daemon = make_daemon()
    path = daemon.write("a.yml", QUICK)
    daemon.start()
    for _ in range(5):
        daemon.until_ended(daemon.launch(path))
    daemon.kill_with_workers()
    assert cuts_refused(daemon.data, tmp_path, "octospool.db-wal") == []
    assert cuts_refused(daemon.data, tmp_path, "octospool.db-shm") == []
    Store(f"sqlite:///{daemon.data / 'octospool.db'}").close()  # everything is in the one file now
    assert cuts_refused(daemon.data, tmp_path, "octospool.db")


def cuts_refused(data: Path, folder: Path, name: str) -> list[int]:
    """The lengths at which a store with this file cut is refused."""
    size = (data / name).stat().st_size
    lengths = [size * number // CUTS for number in range(CUTS)]
    return [length for length in lengths if not opens(data, folder, name, length)]


def opens(data: Path, folder: Path, name: str, length: int) -> bool:
    """Does a store with this file cut open? If not, it is the store's own error, with what to do."""
    copy = folder / f"{name} {length}"
    copy.mkdir()
    for file in data.glob("octospool.db*"):
        shutil.copy(file, copy)
    os.truncate(copy / name, length)
    try:
        Store(f"sqlite:///{copy / 'octospool.db'}").close()
    except StoreUnavailable as refused:
        return not refused.message
    return True
