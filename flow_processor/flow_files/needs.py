"""What follows from `needs`: which steps come before which, and where they go in circles. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Needs = Mapping[str, Collection[str]]
"""For each step of a list the names of those that it needs."""


def in_order(needs: Needs) -> list[str]:
    """The steps that can ever begin, each behind all that it needs. Names that are no step stand in nobody's way."""
    left = {name: {one for one in needed if one in needs} for name, needed in needs.items()}
    dependents: dict[str, list[str]] = {name: [] for name in needs}
    for name, needed in left.items():
        for one in needed:
            dependents[one].append(name)
    found = [name for name, needed in left.items() if not needed]
    for name in found:  # grows meanwhile
        for dependent in dependents[name]:
            left[dependent].discard(name)
            if not left[dependent]:
                found.append(dependent)
    return found


def ancestors(needs: Needs) -> dict[str, frozenset[str]]:
    """For each step all that must have ended before it begins; of steps in a circle, none."""
    found: dict[str, frozenset[str]] = dict.fromkeys(needs, frozenset())
    for name in in_order(needs):
        direct = [one for one in needs[name] if one in needs]
        found[name] = frozenset(direct).union(*(found[one] for one in direct))
    return found


def cycles(needs: Needs) -> list[list[str]]:
    """Circles in which each step needs the next, and the last the first; every circle has one of its own steps
    in the answer."""
    left = {name: list(needed) for name, needed in needs.items()}
    found: list[list[str]] = []
    while True:
        for name in in_order(left):
            del left[name]
        if not left:
            return found
        cycle = _cycle_from(next(iter(left)), left)
        found.append(cycle)
        for name in cycle:
            del left[name]


def _cycle_from(name: str, needs: Needs) -> list[str]:
    """A circle that is come to from here; every step left needs one that is left."""
    way: list[str] = []
    while name not in way:
        way.append(name)
        name = next(one for one in needs[name] if one in needs)
    return way[way.index(name) :]
