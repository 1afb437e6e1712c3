"""The broker of the test session; it starts when the first test wants it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.queues.broker import Broker, broker_for
from tests.shared_server import session_key


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Others use it at the same time: take queue names of your own."""
    with broker_for(session_key(tmp_path_factory)) as broker:
        yield broker
