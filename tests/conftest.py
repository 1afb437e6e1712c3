"""What counts for the whole suite: in which order its tests run when several processes share them."""

from __future__ import annotations

import os
from itertools import chain

import pytest

from tests.databases import database_url, new_database

__all__ = ["database_url", "new_database"]  # for every test

SLOW = ("acceptance", "cli", "containers", "engine", "faults", "queues", "retention", "service")
"""Folders of tests that start daemons, workers or engines."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each process begins with its part of the slow tests.

    pytest-xdist gives each process one stretch of the list, and lets who has finished take from the others' ends.
    Slow tests at an end would be run by one process while the others have nothing left to do.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count < 2:
        return
    slow = [item for item in items if item.path.parent.name in SLOW]
    quick = [item for item in items if item.path.parent.name not in SLOW]
    items[:] = chain.from_iterable(
        (*_part(slow, number, count), *_part(quick, number, count)) for number in range(count)
    )


def _part(items: list[pytest.Item], number: int, count: int) -> list[pytest.Item]:
    """The part with that number of so many."""
    return items[len(items) * number // count : len(items) * (number + 1) // count]
