"""Where your own Python lies."""

from __future__ import annotations

CODE_FOLDERS = ("callers", "steps", "filters")
"""Below the data folder: functions for the `python` step, step types, template filters."""
