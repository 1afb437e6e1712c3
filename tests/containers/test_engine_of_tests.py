"""The engine that the tests use ends with the last who needs it, however that one ends, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests import docker_guard
from tests.docker_engine import engine_for
from tests.engine.world import until

ROOT = Path(__file__).resolve().parents[2]
USER = """
import sys
from tests import docker_guard
from tests.docker_engine import engine_for
with engine_for(sys.argv[1]) as engine:
    engine.client.containers.run(engine.image, ["sleep", "100"], detach=True, labels={"test": ""})
    print(engine.folder, *engine.processes(), flush=True)
    sys.stdin.read()
"""


def test_it_is_shared_and_ends_with_the_last_who_needs_it(tmp_path: Path) -> None:
    """The one who started it is killed while a container runs: it serves the others, and is gone after them."""
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        said = other.stdout.readline().split()
        assert said, "the engine does not start in another process"
        with engine_for(str(tmp_path)) as engine:
            assert [str(engine.folder), *map(str, engine.processes())] == said
            other.kill()
            other.wait()
            assert engine.client.ping()
            assert len(engine.containers("test")) == 1
    folder = Path(said[0])
    until(lambda: not folder.exists(), "the engine's folder is removed")
    assert folder.name not in Path("/proc/self/mountinfo").read_text()
    assert not [*docker_guard.CGROUPS.glob(folder.name), *docker_guard.CGROUPS.glob(f"*/{folder.name}")]
    until(lambda: folder.name.encode() not in b"".join(command_lines()), "all its processes end")


def command_lines() -> Iterator[bytes]:
    """Of every process of the machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield file.read_bytes()
