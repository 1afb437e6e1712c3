"""DATABASE_URL: which stores there are, and what an address must say."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

_SCHEMES = ("postgresql", "postgresql+psycopg")
_SHAPE = "postgresql://user:password@host:5432/database"


def address_problem(url: str) -> tuple[str, str] | None:
    """What is wrong with the address of a store, and the way out; None if nothing is. Shows nothing of it."""
    if url.startswith("sqlite:///"):
        return None
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname and parts.path.strip("/") and parts.port != 0)
    except ValueError:  # a port that is no number, brackets that do not match
        return "is no address", f"as {_SHAPE}; what is special in a password is written %XX"
    if parts.scheme not in _SCHEMES:
        return "is neither sqlite:/// nor postgresql://", f"leave it out for SQLite, or write {_SHAPE}"
    if not has_place:
        return "names no host or no database", f"as {_SHAPE}"
    if find_spec("psycopg") is None:
        return (
            "is on PostgreSQL, and the package psycopg is not installed",
            "pip install 'octospool[postgresql]', or -r requirements-extras.txt",
        )
    return None
