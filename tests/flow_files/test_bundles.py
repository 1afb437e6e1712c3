"""A flow with its sub-flows: whole, bounded, without circles (RELIABILITY 36, 46)."""

from __future__ import annotations

import pytest

from flow_processor.errors import SpecError
from tests.flow_files.folder import FlowsFolder, calling, good


def problems(flows: FlowsFolder, path: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        flows.library.bundle(path)
    return [f"{problem.code} {problem}" for problem in error.value.problems]


def test_a_bundle_holds_every_flow_that_can_be_reached(flows: FlowsFolder) -> None:
    switch = (
        "steps:\n  - name: s\n    type: switch\n    switch:\n      data_key: x\n      cases:\n"
        "        - {when: a, step: {type: flow, flow: {path: sub/c.yml, data_key: .}}}\n"
    )
    flows.write("a.yml", calling("sub/b", "sub/c.yml", kind="flow_loop"))
    flows.write("sub/b.yml", switch)
    flows.write("sub/c.yml", good("c"))
    flows.write("other.yml", good("o"))
    bundle = flows.library.bundle("a")
    assert bundle.path == "a.yml"
    assert bundle.paths == {"a.yml", "sub/b.yml", "sub/c.yml"}
    assert bundle.flows["sub/b"] == bundle.flows["sub/b.yml"] == switch


def test_the_hash_covers_the_sub_flows(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("b.yml"), age=60)
    flows.write("b.yml", good("one"), age=60)
    before = flows.library.launchable("a.yml")
    assert flows.library.launchable("a.yml") is before
    flows.write("b.yml", good("two"), age=30)
    assert flows.library.launchable("a.yml").hash != before.hash


def test_a_missing_sub_flow_is_told_at_its_place_with_a_near_name(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("ticket.yml", "tickte.yml"))
    flows.write("ticket.yml", good("t"))
    assert problems(flows, "a.yml") == [
        "sub_flow_missing flows/a.yml:3:41: steps[1].flow.path: there is no flow 'tickte.yml' in flows/; "
        "did you mean 'ticket.yml'?"
    ]


def test_a_flow_that_calls_itself_is_a_circle(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("a.yml"))
    assert problems(flows, "a.yml") == [
        "flow_cycle flows/a.yml:2:41: steps[0].flow.path: the flows call each other in a circle: a.yml -> a.yml"
    ]


def test_a_circle_names_its_chain(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("b.yml"))
    flows.write("b.yml", calling("c"))
    flows.write("c.yml", calling("b.yml"))
    (problem,) = problems(flows, "a.yml")
    assert problem.startswith("flow_cycle flows/c.yml:2:41")
    assert problem.endswith("b.yml -> c.yml -> b.yml")


@pytest.mark.parametrize(("count", "is_fine"), [(20, True), (21, False), (100, False)])
def test_at_most_twenty_flows_stand_inside_each_other(flows: FlowsFolder, count: int, is_fine: bool) -> None:
    for number in range(1, count):
        flows.write(f"f{number}.yml", calling(f"f{number + 1}.yml"))
    flows.write(f"f{count}.yml", good("last"))
    if is_fine:
        assert len(flows.library.bundle("f1.yml").paths) == 20
    else:
        assert problems(flows, "f1.yml")[0].startswith("flow_depth flows/f20.yml:2:")


def test_depth_counts_whichever_way_leads_there_first(flows: FlowsFolder) -> None:
    for number in range(2, 21):
        flows.write(f"f{number}.yml", calling(f"f{number + 1}.yml"))
    flows.write("f21.yml", good("last"))
    flows.write("f1.yml", calling("f10.yml", "f2.yml"))
    assert problems(flows, "f1.yml")[0].startswith("flow_depth")


def test_many_ways_to_the_same_flows_are_walked_once(flows: FlowsFolder) -> None:
    for number in range(1, 20):
        flows.write(f"f{number}.yml", calling(*[f"f{number + 1}.yml"] * 5))
    flows.write("f20.yml", good("last"))
    assert len(flows.library.bundle("f1.yml").paths) == 20


def test_the_problems_of_all_files_come_together(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("broken.yml", "gone.yml", "broken.yml"))
    flows.write("broken.yml", "stops: []\n")
    files = [problem.split(": ")[0].rsplit(":", 2)[0] for problem in problems(flows, "a.yml")]
    assert files == ["sub_flow_missing flows/a.yml", "unknown_key flows/broken.yml"]


def test_a_path_that_leaves_the_folder_by_a_link_is_told(flows: FlowsFolder) -> None:
    outside = flows.folder.parent / "outside.yml"
    outside.write_text(good("x"))
    (flows.folder / "link.yml").symlink_to(outside)
    flows.write("a.yml", calling("link.yml"))
    assert problems(flows, "a.yml")[0].startswith("path_refused flows/a.yml:2:41")


def test_a_broken_or_missing_sub_flow_keeps_the_last_good_whole(flows: FlowsFolder) -> None:
    flows.write("a.yml", calling("b.yml"), age=60)
    flows.write("b.yml", good("one"), age=60)
    before = flows.library.launchable("a.yml")
    flows.write("b.yml", "broken", age=30)
    assert flows.library.launchable("a.yml") is before
    flows.remove("b.yml")
    flows.clock.go(5)
    assert flows.library.launchable("a.yml") is before
    status = flows.library.status("a.yml")
    assert (status.valid, status.last_good_in_force) == (False, True)
    assert status.problems[0].code == "sub_flow_missing"


def test_a_new_version_that_calls_a_missing_flow_is_not_taken(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"), age=60)
    assert flows.step("a.yml") == "one"
    flows.write("a.yml", calling("gone.yml"), age=30)
    assert flows.step("a.yml") == "one"
