"""How to call this program, in lines that people copy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def program() -> str:
    """`octospool` where the shell finds it, else the way that works from here: `.venv/bin/octospool`, …"""
    if shutil.which("octospool"):
        return "octospool"
    beside = shutil.which("octospool", path=str(Path(sys.executable).parent))
    if beside is None:
        return f"{_from_here(Path(sys.executable))} -m flow_processor"
    return _from_here(Path(beside))


def _from_here(path: Path) -> str:
    here = Path.cwd()
    shown = str(path.relative_to(here) if path.is_relative_to(here) else path)
    return f'"{shown}"' if " " in shown else shown
