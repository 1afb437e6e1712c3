"""Worlds and the counting server of the engine's tests, for those of what the service adds."""

from __future__ import annotations

from tests.engine.conftest import make_world, server, world

__all__ = ["make_world", "server", "world"]
