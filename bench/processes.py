"""Memory and processor time of a process with all its descendants, from Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path


def family(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def pss_megabytes(root: int) -> float:
    """Proportional set size of the whole family, in MB (10^6 bytes): shared pages are counted once."""
    kilobytes = 0
    for pid in family(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def cpu_seconds(root: int) -> float:
    """Processor seconds that the family has used, with those of members that have left and were waited for."""
    ticks = 0
    for pid in family(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])  # its own, and that of its children that left
    return ticks / os.sysconf("SC_CLK_TCK")
