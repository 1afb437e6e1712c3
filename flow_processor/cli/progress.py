"""Live step lines of a run: each attempt when it has ended, a loop's items as a count."""

from __future__ import annotations

import math
import re
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

import click

from flow_processor.cli.output import duration, say
from flow_processor.cli.run_text import wait_lines
from flow_processor.logs import escape
from flow_processor.run_state import StepStatus

if TYPE_CHECKING:
    from flow_processor.service.views import RunDetail, StepView

LOOP_LINE_SECONDS = 5.0
"""Where lines cannot be rewritten: how long between two lines about the same loop, in seconds."""

_UNDER_WAY = (StepStatus.RUNNING, StepStatus.WAITING)

_ITEM = re.compile(r"([^\[]*)\[(\d+)\](/.*)?")
"""A path inside a loop: the outermost loop, and which item."""


class Progress:
    """Shows a run on stderr. Given the same run again and again, says only what is new."""

    def __init__(
        self,
        *,
        items_of: Callable[[str, RunDetail], int | None],
        word_of: Callable[[str], str | None],
        zone: tzinfo = UTC,
        first: str = "",
        live: bool | None = None,
    ):
        """`items_of(path of a loop, run)` tells how many items it has, if it can; `word_of(path)` what they are called,
        None for a step that is no loop though others stand inside it; moments are shown in `zone`;
        `first` must be done before the run can be told something;
        `live`: is stderr a terminal whose last line may be rewritten (default: find out)."""
        self._items_of = items_of
        self._word_of = word_of
        self._zone = zone
        self._first = first
        self._live = sys.stderr.isatty() if live is None else live
        self._said: set[tuple[str, int]] = set()
        self._waits: set[str] = set()
        self._loops: dict[str, _Loop] = {}
        self._line = ""

    def show(self, run: RunDetail) -> None:
        """Say what is new since the last call."""
        items: dict[str, dict[int, list[StepView]]] = {}
        for step in run.steps:
            if inside := _ITEM.fullmatch(step.path):
                items.setdefault(inside[1], {}).setdefault(int(inside[2]), []).append(step)
        for path, steps in items.items():
            if (word := self._word_of(path)) is not None:
                self._count(path, steps, run, word)
        # In the order of their ends: a sub-flow's steps before the step that runs it.
        for step in sorted(run.steps, key=_end_of):
            key = (step.path, step.attempt)
            if step.status in _UNDER_WAY or key in self._said or _ITEM.fullmatch(step.path):
                continue
            if step.status is StepStatus.FAILED and step.then is None and not run.status.is_terminal:
                continue  # it was killed, and may yet be ignored
            self._said.add(key)
            if step.path in self._loops:
                self._say_count(self._loops[step.path])
            self._say(_line_of(step))
        if not self._live:
            for loop in self._loops.values():
                if time.monotonic() - loop.said_at >= LOOP_LINE_SECONDS:
                    self._say_count(loop)
        self._say_waits(run)
        self._rewrite(self._now_running(run))

    def _say_waits(self, run: RunDetail) -> None:
        """What a person or a program must do for the run to go on; once for each wait."""
        for wait in run.waiting:
            if wait.kind in ("signal", "approval") and wait.path not in self._waits:
                self._waits.add(wait.path)
                for line in wait_lines(run.run_id, wait, zone=self._zone, first=self._first):
                    self._say(f"  {line}")

    def close(self) -> None:
        """Leave the terminal on a clean line."""
        self._rewrite("")

    def _count(self, path: str, items: dict[int, list[StepView]], run: RunDetail, word: str) -> None:
        loop = self._loops.setdefault(path, _Loop())
        ended = sum(all(step.status not in _UNDER_WAY for step in steps) for steps in items.values())
        failed = sum(any(step.status is StepStatus.FAILED for step in steps) for steps in items.values())
        # Between two steps of an item none is under way: the count must not go back for that.
        loop.ended = max(loop.ended, ended)
        total = self._items_of(path, run)
        words = word if (loop.ended if total is None else total) == 1 else f"{word}s"
        loop.text = f"{path}: {loop.ended}{f'/{total}' if total is not None else ''} {words}"
        loop.text += f", {failed} with a failed step" if failed else ""

    def _say_count(self, loop: _Loop) -> None:
        loop.said_at = time.monotonic()
        if loop.text != loop.said:
            loop.said = loop.text
            self._say(f"  {'':<11}{loop.text}")

    def _now_running(self, run: RunDetail) -> str:
        running = [step for step in run.steps if step.status in _UNDER_WAY]
        if not running:
            return ""
        newest = running[-1]
        inside = _ITEM.fullmatch(newest.path)
        if inside and inside[1] in self._loops:
            return f"  {newest.status.value:<10} {self._loops[inside[1]].text}"
        beside = sum(_is_beside(step.path, newest.path) for step in running)
        others = f" and {beside} beside it" if beside else ""
        return f"  {newest.status.value:<10} {newest.path}{others}  {duration(newest.duration_seconds)}"

    def _say(self, text: str) -> None:
        self._rewrite("")
        say(text)

    def _rewrite(self, text: str) -> None:
        """Replace the terminal's last line; blanks and \\r do on every terminal."""
        if not self._live:
            return
        width = shutil.get_terminal_size().columns - 1
        shown = escape(text)[:width]
        if shown == self._line:
            return
        click.echo("\r" + shown.ljust(len(self._line)) + ("" if shown else "\r"), err=True, nl=False)
        self._line = shown


class _Loop:
    """What was last said about a loop."""

    def __init__(self) -> None:
        self.ended = 0
        self.text = ""
        self.said = ""
        self.said_at = time.monotonic()


def _is_beside(path: str, other: str) -> bool:
    """Are these two steps, of which neither stands inside the other?"""
    return path != other and not f"{path}/".startswith(f"{other}/") and not f"{other}/".startswith(f"{path}/")


def _end_of(step: StepView) -> float:
    return step.ended_at.timestamp() if step.ended_at else math.inf


def _line_of(step: StepView) -> str:
    attempt = f" (try {step.attempt})" if step.attempt > 1 else ""
    took = "" if step.duration_seconds is None else f"  {duration(step.duration_seconds)}"
    error = f"  {step.error.message} ({step.error.code})" if step.error else ""
    return f"  {step.status.value:<10} {step.path}{attempt}{took}{error}"
