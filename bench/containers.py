"""What a container costs as a docker step, beside `docker run` by hand on the same engine, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from daemon import ROOT, BenchFailed, Daemon
from measures import PARALLEL, Figures, timed

FLOW = f"""{PARALLEL}steps:
  - {{name: it, type: docker, docker: {{image: octospool-test, command: ["true"]}}}}
"""


def container_steps(rounds: int) -> Figures:
    """Start to finish of a container that does nothing, from the launch of its run to the outcome; and by hand.

    On an engine of the tests' own. Nothing where that cannot be had (it needs dockerd, and root).
    """
    sys.path.insert(0, str(ROOT))
    import _pytest.outcomes

    from tests.docker_engine import IMAGE, engine_for

    by_hand: list[float] = []
    as_steps: list[float] = []
    try:
        with engine_for(f"bench-{os.getpid()}") as engine:
            config = f"docker: {{enabled: true, host: '{engine.host}', allow_images: ['octospool-test:*']}}\n"
            with Daemon({"container.yml": FLOW}, config=config) as daemon:
                client = daemon.client()
                timed(client, "container.yml")
                run_by_hand(engine.host, IMAGE)
                for _ in range(rounds):
                    by_hand.append(run_by_hand(engine.host, IMAGE))
                    as_steps.append(timed(client, "container.yml"))
                client.close()
    except _pytest.outcomes.Skipped as why:
        print(f"no containers are measured: {why}", file=sys.stderr)
        return {}
    hand, step = statistics.median(by_hand) * 1000, statistics.median(as_steps) * 1000
    return {"container_by_hand_ms": hand, "container_step_ms": step, "container_added_ms": step - hand}


def run_by_hand(host: str, image: str) -> float:
    """Seconds that `docker run --rm` takes."""
    begun = time.perf_counter()
    ended = subprocess.run(["docker", "--host", host, "run", "--rm", image, "true"], capture_output=True)
    if ended.returncode != 0:
        raise BenchFailed(f"docker run: {ended.stderr.decode(errors='replace')}")
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(
        {name: round(value, 1) for name, value in container_steps(int((sys.argv[1:] or ["30"])[0])).items()}
    )
