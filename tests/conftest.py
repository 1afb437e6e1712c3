"""What counts for the whole suite: in which order its tests run when several processes share them, and how often Python
looks for garbage."""

from __future__ import annotations

import gc
import os
import re
from itertools import chain, groupby, zip_longest

import pytest

from flow_processor.__main__ import OBJECTS_UNTIL_COLLECTION
from tests.databases import database_url, new_database

__all__ = ["database_url", "new_database"]  # for every test

SLOW = (
    "acceptance",
    "cli",
    "containers",
    "engine",
    "faults",
    "queues",
    "querypie",
    "retention",
    "service",
    "tests",
)
"""Folders of tests that start daemons, workers or engines."""

LONG = re.compile(
    r"/(acceptance|faults)/(?!test_invariants|test_table)|_kills\.py$|/test_querypie_daemon\.py$"
)
"""Files of tests that take seconds each, and share nothing with others of their file."""

gc.set_threshold(OBJECTS_UNTIL_COLLECTION, 20, 100)  # as in the daemon; a tenth of the time, otherwise


def pytest_collection_finish() -> None:
    """Nobody looks for garbage in what was collected: a quarter of a million objects."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each process begins with its part of the slow tests, and with one of the long ones after each file of these.

    pytest-xdist gives each process one stretch of the list, and lets who has finished take from the others' ends.
    Slow tests at an end would be run by one process while the others have nothing left to do; long ones all at once
    would wait for each other.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count < 2:
        return
    long, slow, quick = [], [], []
    for item in items:
        is_long, is_slow = LONG.search(item.path.as_posix()), item.path.parent.name in SLOW
        (long if is_long else slow if is_slow else quick).append(item)
    items[:] = chain.from_iterable(
        (*_mixed(_part(slow, number, count), long[number::count]), *_part(quick, number, count))
        for number in range(count)
    )


def _part(items: list[pytest.Item], number: int, count: int) -> list[pytest.Item]:
    """The part with that number of so many."""
    return items[len(items) * number // count : len(items) * (number + 1) // count]


def _mixed(items: list[pytest.Item], others: list[pytest.Item]) -> list[pytest.Item]:
    """One of the others after each file's tests, which stay together for what they share."""
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    found: list[pytest.Item] = []
    for tests, other in zip_longest(files, others):
        found += [*(tests or ()), *([other] if other else ())]
    return found
