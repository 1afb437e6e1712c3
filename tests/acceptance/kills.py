"""Killing a daemon again and again, under load, and how long it took to be back."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flow_processor.journal import DISPATCH_SPAN
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.found import Found
from tests.acceptance.load import Load
from tests.engine.world import until


@dataclass(frozen=True)
class Kill:
    """One kill and the start after it."""

    at: float
    """In seconds since 1970."""
    seconds_to_answer: float
    """From the start of the next process to its first answer."""


def kill_in_a_loop(
    daemon: DaemonProcess,
    load: Load,
    kill: Callable[[], None],
    *,
    times: int,
    moments: random.Random,
    longest_life: float = 0.1,
) -> list[Kill]:
    """Let it accept something and live for a moment, kill it, start it again."""
    kills = []
    for _ in range(times):
        enough = len(load.accepted) + moments.randint(1, 3)
        until(lambda n=enough: len(load.accepted) >= n, "launches go on")
        pass_time(moments.uniform(0.0, longest_life))
        kill()
        at = time.time()
        kills.append(Kill(at, daemon.start()))
    return kills


def pass_time(seconds: float) -> None:
    """Return after so long: how long something lives is what is varied here."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "a moment passes", seconds=seconds + 10)


def seconds_to_go_on(found: Found, kills: Sequence[Kill]) -> list[float]:
    """For each kill after which a run went on before the next kill: how long after the kill the first one did.

    A run that was parked goes on when its moment comes, whoever was killed meanwhile: it says nothing.
    """
    moments = sorted(
        row[4]
        for rows in found.journals.values()
        for before, row in pairwise(row for row in rows if row[3] in ("dispatched", "parked"))
        if row[3] == "dispatched" and row[0] >= 2 * DISPATCH_SPAN and before[3] != "parked"
    )
    ends = [*(kill.at for kill in kills[1:]), float("inf")]
    gone_on = []
    for kill, end in zip(kills, ends, strict=True):
        index = bisect_right(moments, kill.at)
        if index < len(moments) and moments[index] < end:
            gone_on.append(moments[index] - kill.at)
    return gone_on


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so great a share of them does not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
