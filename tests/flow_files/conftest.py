"""The fixture of flow file tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow_files.folder import FlowsFolder


@pytest.fixture
def flows(tmp_path: Path) -> FlowsFolder:
    """An empty flows folder."""
    (tmp_path / "flows").mkdir()
    return FlowsFolder(tmp_path / "flows")
