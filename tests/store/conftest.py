"""An empty store, on each database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flow_processor.store import Store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Every test with it is run on SQLite (a file below tmp_path) and on PostgreSQL."""
    opened = Store(database_url)
    yield opened
    opened.close()
