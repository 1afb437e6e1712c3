"""Ctrl-C asks once and leaves the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flow_processor.cli.interrupts import Interrupts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")

LONG = 20.0
SCRIPT = """
import sys
from flow_processor.cli.interrupts import Interrupts
with Interrupts(second_says="left", second_code=7) as asked:
    print("ready", flush=True)
    asked.wait(20)
    print("asked", flush=True)
    while True:
        asked.wait(20)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_wakes_who_waits(number: int) -> None:
    with Interrupts(second_says="left") as interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.wait(LONG)
    assert interrupts.asked


def test_without_a_signal_waiting_ends_by_itself() -> None:
    with Interrupts(second_says="left") as interrupts:
        assert not interrupts.wait(0.01)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts(second_says="left"):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_second_signal_leaves_at_once_and_says_so() -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LONG)
    assert (process.returncode, said) == (7, "left\n")
