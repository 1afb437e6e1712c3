"""An empty store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """In a file below tmp_path."""
    opened = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    yield opened
    opened.close()
