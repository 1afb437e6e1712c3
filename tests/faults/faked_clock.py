"""The wall clock of a daemon and of its workers, set by the test while they run. Their monotonic clock stays true."""

from __future__ import annotations

import mmap
import struct
import subprocess
import time
from datetime import datetime
from pathlib import Path

from tests.faults.real_faults import need

SOURCE = Path(__file__).with_name("faked_clock.c")


class FakedClock:
    """`variables` are for `make_daemon`; one clock for all lives of a daemon. To be closed."""

    def __init__(self, folder: Path) -> None:
        need("gcc", "gcc libc6-dev")
        library, offset = folder / "faked_clock.so", folder / "offset"
        offset.write_bytes(bytes(8))
        where = f'-DOFFSET_FILE="{offset}"'
        command = ["gcc", "-shared", "-fPIC", "-O1", where, "-o", str(library), str(SOURCE), "-lm"]
        subprocess.run(command, check=True)
        with offset.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)
        self._offset = 0.0
        self.variables = {"ld_preload": library}

    def set_by(self, seconds: float) -> None:
        """Somebody sets the clock, so much from where it is."""
        self._offset += seconds
        self._map[:] = struct.pack("d", self._offset)

    def set_to(self, moment: datetime) -> None:
        """Somebody sets the clock to this moment."""
        self.set_by(moment.timestamp() - time.time() - self._offset)

    def close(self) -> None:
        """Let go of it."""
        self._map.close()
