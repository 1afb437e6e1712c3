"""Which steps may begin, against looking through all of them each time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.engine.graph import Graph
from flow_processor.flow_files import ancestors
from flow_processor.flow_files.needs import cycles, in_order
from flow_processor.spec.step import StepSpec


def listed(needs: list[set[int]]) -> list[StepSpec]:
    """Steps s0, s1, … that need those of these positions."""
    return [
        StepSpec(name=f"s{number}", type="none", needs=tuple(f"s{one}" for one in sorted(needed)))
        for number, needed in enumerate(needs)
    ]


@st.composite
def acyclic(draw: st.DrawFn) -> list[set[int]]:
    """What each step needs; the order of the list is another one than that of the needs."""
    count = draw(st.integers(1, 9))
    place = draw(st.permutations(range(count)))
    needs: list[set[int]] = [set() for _ in range(count)]
    for number in range(1, count):
        before = draw(st.sets(st.integers(0, number - 1), max_size=3))
        needs[place[number]] = {place[one] for one in before}
    return needs


@st.composite
def any_needs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Also with circles."""
    count = draw(st.integers(1, 6))
    one = st.integers(0, count - 1)
    drawn = draw(st.lists(st.sets(one, max_size=3), min_size=count, max_size=count))
    return {
        f"s{number}": [f"s{other}" for other in sorted(others - {number})]
        for number, others in enumerate(drawn)
    }


@given(acyclic(), st.data())
def test_a_step_may_begin_once_all_it_needs_are_done(needs: list[set[int]], data: st.DataObject) -> None:
    """In any order of ends, and each step is named once."""
    graph = Graph(listed(needs))
    ready, done = graph.first(), set[int]()
    named = list(ready)
    while ready:
        ended = data.draw(st.sampled_from(sorted(ready)))
        ready.remove(ended)
        done.add(ended)
        free = graph.done(ended)
        ready += free
        named += free
        assert set(named) == {one for one in range(len(needs)) if needs[one] <= done} | done
    assert sorted(named) == list(range(len(needs)))


@given(acyclic())
def test_ancestors_are_what_is_come_to_by_going_from_need_to_need(needs: list[set[int]]) -> None:
    steps = listed(needs)
    found = ancestors({step.name: step.needs or () for step in steps})
    for number, step in enumerate(steps):
        seen, wanted = set[int](), set(needs[number])
        while wanted:
            seen |= wanted
            wanted = {other for one in wanted for other in needs[one]} - seen
        assert found[step.name] == {f"s{one}" for one in seen}


@given(acyclic())
def test_what_comes_before_a_step_is_all_that_it_needs(needs: list[set[int]]) -> None:
    """Each behind what it needs itself, so that what they wrote can be laid over each other in that order."""
    steps = listed(needs)
    graph, wanted = Graph(steps), ancestors({step.name: step.needs or () for step in steps})
    for number, step in enumerate(steps):
        before = graph.before(number)
        assert {steps[one].name for one in before} == wanted[step.name]
        assert len(before) == len(set(before))
        assert all(needs[one] <= set(before[:place]) for place, one in enumerate(before))


@given(any_needs())
def test_circles_are_found_and_nothing_else(needs: dict[str, list[str]]) -> None:
    found = cycles(needs)
    for cycle in found:
        assert all(after in needs[one] for one, after in itertools.pairwise([*cycle, cycle[0]]))
    orders = itertools.permutations(needs)
    can_run = any(
        all(order.index(one) < order.index(name) for name in order for one in needs[name]) for order in orders
    )
    assert bool(found) is not can_run
    assert (len(in_order(needs)) == len(needs)) is can_run


@pytest.mark.parametrize("count", [2, 5000])
def test_a_long_chain_is_no_trouble(count: int) -> None:
    """Neither recursion nor a square."""
    chain = {f"s{number}": [f"s{number - 1}"] if number else [] for number in range(count)}
    assert cycles(chain) == []
    chain["s0"] = [f"s{count - 1}"]
    assert [len(cycle) for cycle in cycles(chain)] == [count]
