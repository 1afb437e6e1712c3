"""Following a run to its end: step lines, Ctrl-C, a daemon that is restarted meanwhile."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from flow_processor.cli.connect import Spooler, daemon_of, way_to_a_daemon
from flow_processor.cli.daemon import Daemon
from flow_processor.cli.output import say
from flow_processor.cli.progress import Progress
from flow_processor.errors import OctospoolError, RunHasEnded, Unavailable
from flow_processor.expressions.data_key import lookup

if TYPE_CHECKING:
    from flow_processor.cli.interrupts import Interrupts
    from flow_processor.service.views import RunDetail, RunSummary
    from flow_processor.settings import Settings

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
"""Between two looks at the run; a run's end is noticed at once anyway."""
PATIENCE_SECONDS = 60.0
"""How long a daemon may be away (restarted, upgraded) until this gives up; the run itself does not mind."""

_WORDS = {"switch": None, "matrix": "combination", "until": "round"}
"""Step type -> what one of its repetitions is called, where that is no item of a list."""


def watch(
    spooler: Spooler, run: RunSummary, *, interrupts: Interrupts, settings: Settings, quiet: bool
) -> RunDetail:
    """Show the run until it has ended; Ctrl-C cancels it. Returns the ended run with all its steps.

    Raises Unavailable if the daemon stays away; the message names the run.
    """
    by_daemon = isinstance(spooler, Daemon)
    where = "goes on in the daemon" if by_daemon else "goes on with the next `octospool serve` or `run`"
    interrupts.second_says = f"left; run {run.run_id} {where}"
    first = "" if by_daemon else f"{way_to_a_daemon(settings)}, then "
    loops = _Loops(run.flow, settings)
    progress = Progress(items_of=loops.items_of, word_of=loops.word_of, zone=settings.zone, first=first)
    pause, asked = FIRST_PAUSE_SECONDS, False
    try:
        while True:
            if interrupts.asked and not asked:
                asked = True
                progress.close()
                say(f"cancelling {run.run_id}; its finally_step still runs. Ctrl-C again leaves at once")
                _cancel(spooler, run.run_id)
            began = time.monotonic()
            try:
                found = _look(spooler, run.run_id, pause)
            except Unavailable as error:
                progress.close()
                spooler = _reconnected(spooler, settings, run.run_id, error, interrupts)
                continue
            if not quiet:
                progress.show(found)
            if found.status.is_terminal:
                return found
            # A look at a run of many steps is work for whoever answers: at most a tenth of the time.
            took = max(0.0, time.monotonic() - began - pause)
            pause = min(LONGEST_PAUSE_SECONDS, max(pause * 1.5, took * 10))
            if by_daemon and time.monotonic() - began < pause / 2:
                interrupts.wait(pause)  # all of the daemon's places for waiting calls are taken
    finally:
        progress.close()


def _look(spooler: Spooler, run_id: str, seconds: float) -> RunDetail:
    found = spooler.wait_for_run(run_id, seconds)
    if found.steps_total > len(found.steps):
        found = spooler.run(run_id, max_steps=min(100_000, found.steps_total + 1000))
    return found


def _cancel(spooler: Spooler, run_id: str) -> None:
    try:
        spooler.cancel_run(run_id, by="cli")
    except RunHasEnded:
        return
    except OctospoolError as error:
        say(f"could not cancel: {error.message}")


def _reconnected(
    spooler: Spooler, settings: Settings, run_id: str, error: Unavailable, interrupts: Interrupts
) -> Spooler:
    """The daemon that has the data folder now, which may have another address."""
    if not isinstance(spooler, Daemon):
        raise error
    say(f"{error.message}; waiting for it (run {run_id} is safe)")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not interrupts.asked:
        try:
            daemon = daemon_of(settings)
        except Unavailable:
            daemon = None
        if daemon is not None:
            spooler.close()
            return daemon
        threading.Event().wait(0.5)
    raise Unavailable(
        f"the daemon stays away. Run {run_id} goes on when it is back: octospool runs show {run_id}",
        code="daemon_unreachable",
    )


class _Loops:
    """What is known of the loops of the flow. The list of one stands in the run's data, under its data_key."""

    def __init__(self, flow: str, settings: Settings) -> None:
        from flow_processor.service.own_code import flow_library

        self._data_keys: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        try:
            steps = flow_library(settings).load(flow).spec.steps
        except OctospoolError:  # the run has its own copy; without the file there is a count and no total
            return
        self._types = {s.name: s.options_key for s in steps}
        self._data_keys = {
            s.name: s.options.data_key for s in steps if s.options_key in ("flow_loop", "foreach")
        }

    def word_of(self, path: str) -> str | None:
        """What one of the loop's repetitions is called; None for a `switch`, which has none."""
        return _WORDS.get(self._types.get(path.partition("#")[0], ""), "item")

    def items_of(self, path: str, run: RunDetail) -> int | None:
        """The number of items of the loop with that path; None where it is not known."""
        data_key = self._data_keys.get(path.partition("#")[0])
        if data_key is None or run.data is None:
            return None
        try:
            items = lookup(run.data, data_key)
        except OctospoolError:
            return None
        return len(items) if isinstance(items, list) else None
