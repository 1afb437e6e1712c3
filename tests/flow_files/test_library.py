"""Finding, naming and listing flow files; checks beyond the spec; speed."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import FlowNotFound, InvalidRequest, SpecError
from flow_processor.flow_files import FlowLibrary, parse_flow
from tests.flow_files.folder import FlowsFolder, good


@pytest.mark.parametrize("path", ["sub/a.yml", "sub/a", "./sub//a.yml", "sub\\a.yml"])
def test_a_flow_is_found_by_its_path_with_and_without_suffix(flows: FlowsFolder, path: str) -> None:
    flows.write("sub/a.yml", good("one"))
    assert flows.library.load(path).path == "sub/a.yml"


def test_yaml_is_a_suffix_too(flows: FlowsFolder) -> None:
    flows.write("b.yaml", good("one"))
    assert flows.library.load("b").path == "b.yaml"


def test_an_unknown_flow_is_not_found_with_a_near_name(flows: FlowsFolder) -> None:
    flows.write("ticket_report.yml", good("one"))
    with pytest.raises(FlowNotFound, match=r"did you mean 'ticket_report\.yml'") as error:
        flows.library.load("ticket_reprt")
    assert error.value.details == {"path": "ticket_reprt.yml"}


@pytest.mark.parametrize(
    "path", ["../a.yml", "/etc/passwd", "sub/../../x.yml", "a\0.yml", "", "C:/x.yml", "..\\x"]
)
def test_a_path_that_leaves_the_folder_is_refused(flows: FlowsFolder, path: str) -> None:
    for call in (flows.library.load, flows.library.bundle, flows.library.launchable, flows.library.status):
        with pytest.raises(InvalidRequest) as error:
            call(path)
        assert error.value.code == "path_refused"


@pytest.mark.parametrize(
    "path", [".hidden.yml", "sub/.a.yml", ".git/a.yml", "notes.txt", "sub", "sub/a.yml/x", "sub/a.yml/"]
)
def test_what_is_no_flow_file_is_not_found(flows: FlowsFolder, path: str) -> None:
    flows.write("sub/a.yml", good("one"))
    for hidden in (".hidden.yml", "sub/.a.yml", ".git/a.yml", "notes.txt"):
        flows.write(hidden, good("x"))
    with pytest.raises(FlowNotFound):
        flows.library.load(path)


def test_a_link_out_of_the_folder_is_refused_and_shown(flows: FlowsFolder, tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text(good("x"))
    (flows.folder / "link.yml").symlink_to(tmp_path / "secret.yml")
    with pytest.raises(InvalidRequest):
        flows.library.load("link.yml")
    (status,) = flows.library.files()
    assert (status.valid, status.problems[0].code) == (False, "path_refused")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_a_pipe_blocks_nobody_and_is_told(flows: FlowsFolder) -> None:
    os.mkfifo(flows.folder / "pipe.yml")
    with pytest.raises(InvalidRequest):
        flows.library.load("pipe.yml")
    (status,) = flows.library.files()
    assert (status.valid, status.problems[0].code) == (False, "path_refused")


@pytest.mark.parametrize("target", ["loop.yml", "nowhere.yml"])
def test_a_link_that_leads_nowhere_is_one_problem_and_hides_no_other_file(
    flows: FlowsFolder, target: str
) -> None:
    flows.write("a.yml", good("one"))
    (flows.folder / "loop.yml").symlink_to(flows.folder / target)
    for ask in (flows.library.load, flows.library.bundle, flows.library.launchable):
        with pytest.raises(SpecError) as error:
            ask("loop.yml")
        assert error.value.code == "file_unreadable"
    first, second = flows.library.files()
    assert (first.path, first.valid) == ("a.yml", True)
    assert (second.path, second.valid) == ("loop.yml", False)
    assert [problem.code for problem in second.problems] == ["file_unreadable"]
    assert flows.library.status("loop") == second


def test_a_link_that_leads_nowhere_for_a_moment_keeps_the_last_good_version(flows: FlowsFolder) -> None:
    flows.write("versions.d/first", good("one"), age=60)
    (flows.folder / "link.yml").symlink_to("versions.d/first")
    assert flows.step("link.yml") == "one"
    flows.remove("versions.d/first")
    assert flows.step("link.yml") == "one"
    assert flows.library.status("link.yml").last_good_in_force


def test_all_files_are_listed_valid_or_not(flows: FlowsFolder) -> None:
    flows.write("b.yml", "name: B\ndescription: Does b.\ncron: '0 7 * * *'\n" + good("one"))
    flows.write("sub/a.yaml", "stepz: []")
    flows.write("ignored.txt", "x")
    flows.write(".tmp.yml", "x")
    first, second = flows.library.files()
    assert (first.path, first.valid, first.name, first.cron) == ("b.yml", True, "B", "0 7 * * *")
    assert (second.path, second.valid, len(second.problems)) == ("sub/a.yaml", False, 1)
    assert second.problems[0].hint == "did you mean 'steps'?"


def test_a_folder_that_is_not_there_has_no_flows(tmp_path: Path) -> None:
    library = FlowLibrary(tmp_path / "none")
    assert library.files() == []
    assert library.changed() == set()
    with pytest.raises(FlowNotFound):
        library.load("a.yml")


def test_a_file_larger_than_a_megabyte_is_refused(flows: FlowsFolder) -> None:
    flows.write("big.yml", "# x\n" * 400_000)
    with pytest.raises(SpecError) as error:
        flows.library.load("big.yml")
    assert error.value.problems[0].code == "yaml_limit"


def test_further_checks_may_be_given(flows: FlowsFolder) -> None:
    flows.write("a.yml", good("one"))
    library = FlowLibrary(
        flows.folder, check_expressions=lambda spec: [(("steps", 0, "name"), "jq_compile_error", "no")]
    )
    with pytest.raises(SpecError, match=r"flows/a\.yml:2:11: steps\[0\]\.name: no"):
        library.load("a.yml")


def test_a_checked_text_is_not_checked_again() -> None:
    text = good("one") + "on_error: 1\n"
    with pytest.raises(SpecError):
        parse_flow(text, "a.yml", checked=True)
    parse_flow(good("one") + "finally_step: gone\n", "a.yml", checked=True)


def test_a_place_in_a_template_block_is_the_line_of_the_template() -> None:
    text = (
        "steps:\n  - name: a\n    type: set_fact\n    set_fact:\n      value: |\n"
        "        fine\n        {{ x | nofilter }}\n"
    )
    with pytest.raises(SpecError) as error:
        parse_flow(text, "a.yml")
    problem = error.value.problems[0]
    assert (problem.line, problem.column, problem.key) == (7, 9, "steps[0].set_fact.value")


def test_a_thousand_flows_are_loaded_in_three_seconds(flows: FlowsFolder) -> None:
    step = '  - {{name: s{n}, type: jq, when: "x > 1", jq: {{expression: ".a | length"}}}}\n'
    text = "cron: '0 7 * * *'\nsteps:\n" + "".join(step.format(n=number) for number in range(8))
    for number in range(1000):
        flows.write(f"f{number}.yml", f"name: Flow {number}\n{text}", age=5)
    flows.library.load("f0.yml")
    begun = time.process_time()  # what it costs, whatever else runs on the machine
    for number in range(1000):
        flows.library.launchable(f"f{number}.yml")
    assert time.process_time() - begun < 3


def test_the_library_may_be_used_from_many_threads(flows: FlowsFolder) -> None:
    for number in range(10):
        flows.write(f"f{number}.yml", good(f"s{number}"), age=5)
    failures: list[BaseException] = []

    def use() -> None:
        try:
            for number in range(50):
                assert flows.step(f"f{number % 10}.yml") == f"s{number % 10}"
                flows.library.changed()
                flows.library.files()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


@given(st.binary(max_size=200))
def test_any_bytes_are_a_flow_or_a_spec_error(raw: bytes) -> None:
    try:
        parse_flow(raw, "a.yml")
    except SpecError as error:
        assert error.problems  # noqa: PT017  either outcome is right


def test_everything_is_told_at_once() -> None:
    """Names, targets and expressions are looked at in whatever is right of a wrong file."""
    text = """
schedule: {cron: "* * * *", timezone: Europe/Berln}
finally_step: nope
steps:
  - name: a
    type: rst
    when: a b
    on_error_goto: bb
  - name: b
    type: goto
    goto: {step_name: bb}
    needs: 3
  - type: set_fact
    set_fact: {value: "{{ a b }}"}
  - name: __e
    type: jq
    jq: {expression: env, foo: 1}
  - 5
  - name: b
    type: exit
"""
    with pytest.raises(SpecError) as error:
        parse_flow(text, "a.yml")
    assert [(problem.key, problem.code) for problem in error.value.problems] == [
        ("schedule.cron", "invalid_cron"),
        ("schedule.timezone", "invalid_value"),
        ("finally_step", "unknown_step"),
        ("steps[0].type", "unknown_step_type"),
        ("steps[0].when", "template_error"),
        ("steps[0].on_error_goto", "unknown_step"),
        ("steps[1].goto.step_name", "unknown_step"),
        ("steps[1].needs", "invalid_value"),
        ("steps[2].name", "missing_key"),
        ("steps[2].set_fact.value", "template_error"),
        ("steps[3].name", "invalid_value"),
        ("steps[3].jq.expression", "jq_denied"),
        ("steps[3].jq.foo", "unknown_key"),
        ("steps[4]", "invalid_value"),
        ("steps[5].name", "duplicate_step"),
    ]


@pytest.mark.parametrize(
    "steps", ["", "steps: 5", "steps: []", "cron: '* * * * *'\nevery_seconds: 5\nschedule: 3"]
)
def test_a_file_of_which_nothing_is_right_is_told_as_it_is(steps: str) -> None:
    with pytest.raises(SpecError):
        parse_flow(steps, "a.yml")
