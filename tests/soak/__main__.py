"""`make soak`: kills for an hour, and what else takes too long for the suite; figures into docs/reliability.md.

    make soak                                      everything, about an hour
    make soak ARGS="--kills 100 --minutes 5"       shorter
    make soak ARGS="--only alone,recovery"         some parts: alone, together, steady, recovery,
                                                   waiting, promptness, queues, broker
    make soak ARGS="--dry"                         nothing is written down

Leaves with 1 if anything was violated, and leaves the data folder of that part behind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import kills, promptness, queues, recovery, steady, waiting
from tests.soak.figures import Part, keep

PARTS = {
    "alone": "the daemon alone is killed",
    "together": "daemon and workers are killed together",
    "steady": "load without kills",
    "recovery": "1,000 runs under way",
    "waiting": "10,000 runs that wait",
    "promptness": "how soon runs end, clocks and disks are noticed",
    "queues": "10,000 items and files, 20 kills",
    "broker": "the same with RabbitMQ, which is killed too",
}


def main() -> int:
    """Run the parts that are asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="make soak", description="Kills for an hour, and figures.")
    parser.add_argument("--kills", type=int, default=500, help="of each mixture (default 500)")
    parser.add_argument(
        "--minutes", type=float, default=60, help="kills and steady load together (default 60)"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments of the kills")
    parser.add_argument("--dry", action="store_true", help="print the figures, do not write them down")
    chosen = parser.parse_args()
    if unknown := set(chosen.only.split(",")) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    began = time.monotonic()
    violations = 0
    for part in chosen.only.split(","):
        folder = Path(tempfile.mkdtemp(prefix=f"octospool-soak-{part}-"))
        print(f"{part}: {PARTS[part]} (seed {chosen.seed}, {folder})", flush=True)
        seconds = max(60.0, chosen.minutes * 60 - (time.monotonic() - began))
        try:
            done = _soak(part, folder, kills_wanted=chosen.kills, seconds=seconds, seed=chosen.seed)
        except (
            AssertionError
        ) as failed:  # no figures to keep; the other parts are worth their hour all the same
            violations += 1
            print(f"VIOLATION; the data folder stays: {failed or 'a check failed'}", flush=True)
            continue
        print(f"  {' | '.join(done.cells)}", flush=True)
        if not chosen.dry:
            keep(done)
        if done.violation is not None:
            violations += 1
            print(f"VIOLATION; the data folder stays: {done.violation}", flush=True)
    print(f"{violations} violations in {(time.monotonic() - began) / 60:.0f} minutes")
    return 1 if violations else 0


def _soak(part: str, folder: Path, *, kills_wanted: int, seconds: float, seed: int) -> Part:
    """Run one part; `seconds` is how long the steady load may last."""
    if part in ("alone", "together"):
        return kills.soak(folder, part, times=kills_wanted, seed=seed)
    if part == "steady":
        return steady.soak(folder, seconds=seconds)
    if part in ("queues", "broker"):
        return queues.soak(folder, seed=seed, has_broker=part == "broker")
    return {"recovery": recovery, "waiting": waiting, "promptness": promptness}[part].soak(folder)


if __name__ == "__main__":
    sys.exit(main())
