"""What a container sees of the data folder."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from flow_processor.errors import StepError


class VolumeMissing(StepError):
    """A folder or file that a container is to see is not there, and cannot be made."""

    code = "volume_missing"


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file below the data folder, as a container sees it."""

    source: Path
    """Where it is, free of symlinks; it need not exist."""
    target: str
    """Absolute path in the container."""
    read_only: bool

    def make(self, user: str) -> None:
        """Where nothing is there, make a folder that `user` (`uid:gid`; empty: not known) may write.

        Raises VolumeMissing.
        """
        if self.source.exists():
            return
        if self.read_only:
            raise VolumeMissing(f"volumes: there is no {self.source.name!r} in the data folder")
        try:
            self.source.mkdir(parents=True)
            if user and sys.platform != "win32" and os.getuid() == 0:
                uid, gid = map(int, user.split(":"))
                os.chown(self.source, uid, gid, follow_symlinks=False)
        except OSError as error:
            raise VolumeMissing(f"volumes: {self.source.name!r} cannot be made: {error}") from error
