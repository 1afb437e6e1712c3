"""Packages that only some steps need: imported when they are used, and named where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from flow_processor.errors import StepError

_INSTALLED_AS = {"psycopg": '"psycopg[binary]"'}
"""Module -> what pip calls it, where that is another name."""


class PackageMissing(StepError):
    """A step needs a package that is not installed."""

    code = "package_missing"


def missing_package(module: str) -> str | None:
    """What to do about a package that is not there, in a sentence; None if it is there. Imports nothing."""
    if module in sys.modules or importlib.util.find_spec(module) is not None:
        return None
    return _sentence(module)


def import_package(module: str) -> ModuleType:
    """The package `module`. Raises PackageMissing, with the command that installs it."""
    if missing_package(module) is not None:
        raise PackageMissing(_sentence(module), details={"package": module})
    return importlib.import_module(module)


def _sentence(module: str) -> str:
    name = _INSTALLED_AS.get(module, module)
    return f"the package {module} is not installed; install it: {sys.executable} -m pip install {name}"
