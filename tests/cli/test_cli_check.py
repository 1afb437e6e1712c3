"""`octospool check`: every problem with its place, and nothing is run."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Octospool = Callable[..., Result]
WriteFlow = Callable[[str, str], Path]

GOOD = """
steps:
  - name: one
    type: jq
    jq: {expression: "1 + 1"}
"""
BAD = """
name: Bad
steps:
  - name: one
    type: jq
    jqq: {expression: "."}
  - name: two
    type: set_fact
    set_fact: {value: "{{ a b }}"}
"""
BAD_JQ = """
steps:
  - name: one
    type: jq
    jq: {expression: ".a |"}
    jq_expression: "foo("
  - name: two
    type: switch
    switch:
      data_key: one
      cases:
        - when: x
          step: {type: jq, jq: {expression: "env.X"}}
"""


def test_all_is_well(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", GOOD)
    flow("sub/b.yml", GOOD)
    result = octospool("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "2 flows checked, no problems\n"


def test_each_problem_is_explained_place_line_reason_way_out(octospool: Octospool, flow: WriteFlow) -> None:
    flow("good.yml", GOOD)
    flow("bad.yml", BAD)
    result = octospool("check")
    assert result.exit_code == 1
    assert (
        result.stdout
        == """\
flows/bad.yml:6:5: steps[0].jqq: unknown key 'jqq' [unknown_key]
  6 |     jqq: {expression: "."}
    |     ^^^
  way out: did you mean 'jq'?

flows/bad.yml:9:23: steps[1].set_fact.value: expected token 'end of print statement', got 'b' [template_error]
  9 |     set_fact: {value: "{{ a b }}"}
    |                       ^^^^^^^^^^^
  way out: close what is open ({{ }}, {% %}, quotes, brackets), and look at the names of filters

"""
    )
    assert result.stderr == "2 flows checked, 2 problems in 1 file\n"


def test_short_is_a_line_a_problem(octospool: Octospool, flow: WriteFlow) -> None:
    flow("bad.yml", BAD)
    lines = octospool("check", "--short").stdout.splitlines()
    assert lines[0] == "flows/bad.yml:6:5: steps[0].jqq: unknown key 'jqq' (did you mean 'jq'?)"
    assert len(lines) == 2


def test_long_lines_are_cut_around_the_place_and_control_characters_not_sent_to_the_terminal(
    octospool: Octospool, flow: WriteFlow
) -> None:
    flow(
        "long.yml",
        f"name: {'x' * 300}\nsteps: [{{name: {'a' * 90}, type: exit, whenn: 1, description: {'y' * 300}}}]",
    )
    flow("odd.yml", 'name: a\nsteps:\n  - {name: "\u202e\u9f9c", type: exit, whenn: 1}\n')
    for name in ("long", "odd"):
        _head, line, mark, *_ = octospool("check", name).stdout.splitlines()
        assert line[mark.index("^") :].startswith("whenn")
        assert mark.endswith("^^^^^")
        assert len(line) < 120
        assert "\u202e" not in line


def test_a_folder_of_flows_is_checked(octospool: Octospool, flow: WriteFlow) -> None:
    flow("bad.yml", BAD)
    flow("sub/good.yml", GOOD)
    flow("sub/deep/good.yml", GOOD)
    for name in ("sub", "sub/", "data/flows/sub", "./sub"):
        result = octospool("check", name, "--json")
        assert json.loads(result.stdout)["checked"] == ["sub/deep/good.yml", "sub/good.yml"]
        assert result.exit_code == 0


def test_lines_of_secrets_are_never_shown(octospool: Octospool, flow: WriteFlow, folder: Path) -> None:
    flow("a.yml", GOOD)
    (folder / "secrets.yml").write_text("- {name: x, type: token, token: hunter22, user: me}\n")
    result = octospool("check")
    assert result.exit_code == 1
    assert "secrets.yml:1:" in result.stdout
    assert "hunter22" not in result.output


def test_jq_is_compiled_here_as_it_cannot_be_in_the_daemon(octospool: Octospool, flow: WriteFlow) -> None:
    flow("jq.yml", BAD_JQ)
    found = json.loads(octospool("check", "--json").stdout)["problems"]
    assert [(one["code"], one["key"], one["line"]) for one in found] == [
        ("jq_compile_error", "steps[0].jq.expression", 5),
        ("jq_compile_error", "steps[0].jq_expression", 6),
        ("jq_denied", "steps[1].switch.cases[0].step.jq.expression", 13),
    ]


def test_only_the_named_flow_is_checked(octospool: Octospool, flow: WriteFlow) -> None:
    flow("good.yml", GOOD)
    flow("bad.yml", BAD)
    for name in ("good", "good.yml", "data/flows/good.yml"):
        assert octospool("check", name).exit_code == 0


def test_a_flow_that_is_not_there_is_3_with_a_hint(octospool: Octospool, flow: WriteFlow) -> None:
    flow("good.yml", GOOD)
    result = octospool("check", "god")
    assert result.exit_code == 3
    assert "did you mean 'good.yml'?" in result.stderr


def test_sub_flows_are_checked_with_the_flow_that_uses_them(octospool: Octospool, flow: WriteFlow) -> None:
    flow("parent.yml", "steps: [{name: a, type: flow, flow: {path: missing.yml}}]")
    result = octospool("check", "parent", "--json")
    assert [one["code"] for one in json.loads(result.stdout)["problems"]] == ["sub_flow_missing"]


@pytest.mark.parametrize("arguments", [(), ("link",)])
def test_a_link_out_of_the_folder_or_to_itself_is_one_line(
    octospool: Octospool, flow: WriteFlow, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    link = flow("bad.yml", BAD).with_name("link.yml")
    for target, said in ((tmp_path / "outside.yml", "leads outside"), (link, "cannot be read")):
        (tmp_path / "outside.yml").write_text(GOOD)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        result = octospool("check", *arguments)
        assert result.exit_code == 1
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("flows/link.yml: ")]
        assert said in line
        assert ("flows/bad.yml:" in result.stdout) == (not arguments)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("secrets.yml", "- name: x\n  type: nonsense\n"),
        ("config.yml", "autostart:\n  - {path: a.yml, cron: nonsense}\n"),
    ],
)
def test_secrets_and_autostart_are_checked_too(
    octospool: Octospool, flow: WriteFlow, folder: Path, *, file: str, text: str
) -> None:
    flow("a.yml", GOOD)
    (folder / file).write_text(text)
    result = octospool("check")
    assert result.exit_code == 1
    assert file in result.stdout


def test_checking_makes_nothing(octospool: Octospool, flow: WriteFlow, folder: Path) -> None:
    flow("a.yml", GOOD)
    octospool("check")
    assert [path.name for path in folder.iterdir()] == ["flows"]


WITH_SURROUNDINGS = """
steps:
  - {name: gone, type: jinja, jinja: {path: gone.j2}}
  - {name: broken, type: jinja, jinja: {path: broken.j2}}
  - {name: fine, type: jinja, jinja: {path: fine.j2}}
  - {name: private, type: file, file: {path: secrets.yml}}
  - {name: flows, type: file, file: {path: flows/x.yml}}
  - {name: history, type: file, file: {path: octospool.db}}
  - {name: link, type: file, file: {path: out/x.json}}
  - {name: later, type: file, file: {path: "{{ __input__.path }}"}}
  - {name: output, type: file, file: {path: output/x.json}}
  - {name: secret, type: rest, rest: {uri: "http://a", authentication: {type: basic, secret: tikcets}}}
  - {name: known, type: rest, rest: {uri: "http://a", authentication: {type: basic, secret: tickets}}}
"""


def test_templates_secrets_and_files_that_steps_name_are_looked_at(
    octospool: Octospool, flow: WriteFlow, folder: Path, tmp_path: Path
) -> None:
    flow("a.yml", WITH_SURROUNDINGS)
    (folder / "templates").mkdir()
    (folder / "templates" / "broken.j2").write_text("fine\n{% if %}")
    (folder / "templates" / "fine.j2").write_text("{{ anything }}")
    (folder / "out").symlink_to(tmp_path)
    (folder / "secrets.yml").write_text("- {name: tickets, type: credential, username: u, password: p}\n")
    result = octospool("check", "a", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["problems"]
    assert [(one["code"], one["line"]) for one in found] == [
        ("template_not_found", 3),
        ("template_error", 4),
        ("path_refused", 6),
        ("path_refused", 7),
        ("path_refused", 8),
        ("path_refused", 9),
        ("secret_not_found", 12),
    ]
    assert "templates/broken.j2, line 2" in found[1]["message"]
    assert "did you mean 'tickets'?" in found[-1]["message"]


def test_what_lies_beside_a_flow_does_not_keep_it_from_being_launched(
    octospool: Octospool, flow: WriteFlow
) -> None:
    """Templates and secrets may come later; a step that does not run needs none."""
    flow("a.yml", "steps:\n  - {name: gone, type: jinja, when: false, jinja: {path: gone.j2}}\n")
    assert octospool("check").exit_code == 1
    assert octospool("run", "a").exit_code == 0


def test_a_broken_file_of_own_code_is_shown_with_its_traceback(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    """And named by the flow that needs something of it."""
    (folder / "callers").mkdir()
    (folder / "callers" / "sums.py").write_text("import math\nmath.floor('x')\n")
    flow("a.yml", "steps:\n- {name: it, type: python, python: {call: total}}\n")
    checked = octospool("check")
    assert checked.exit_code == 1
    assert "callers/sums.py:2: TypeError: must be real number, not str [own_code_broken]" in checked.output
    assert '\n      File "callers/sums.py", line 2, in <module>\n' in checked.output
    assert "broken, so nothing of it can be used: callers/sums.py" in checked.output


def test_files_of_own_code_are_checked_by_name(octospool: Octospool, flow: WriteFlow, folder: Path) -> None:
    flow("a.yml", "steps: [{name: a, type: exit}]")
    callers = folder / "callers"
    callers.mkdir(exist_ok=True)
    (callers / "good.py").write_text(
        "from flow_processor.own_code import caller\n\n\n@caller\ndef one() -> int:\n    return 1\n"
    )
    (callers / "bad.py").write_text("import nosuchpackage\n")
    good = octospool("check", "callers/good.py", "a")
    assert (good.exit_code, good.stderr) == (0, "1 flow and 1 file of own code checked, no problems\n")
    bad = octospool("check", "callers", "--json")
    assert bad.exit_code == 1
    answer = json.loads(bad.stdout)
    assert answer["checked"] == ["callers/bad.py", "callers/good.py"]
    (problem,) = answer["problems"]
    assert (problem["code"], problem["line"]) == ("own_code_broken", 1)
    assert "-m pip install" in problem["hint"]
    missing = octospool("check", "callers/goood.py")
    assert missing.exit_code != 0
    assert "did you mean 'callers/good.py'?" in missing.stderr


def test_a_pattern_of_files_that_names_a_folder_starts_nothing(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    (folder / "input").mkdir()
    (folder / "input" / "today.csv").write_text("1")
    step = "steps: [{name: a, type: exit}]\n"
    flow("a.yml", f"on: {{files: input}}\n{step}")
    flow("b.yml", f"on: {{files: input/today.csv}}\n{step}")
    result = octospool("check", "--short")
    assert (result.exit_code, result.stdout) == (
        1,
        "flows/a.yml:1:13: on.files.path: 'input' is a folder, which starts nothing; its files are 'input/*', those "
        "of its folders too 'input/**'\n",
    )


WEBHOOK = """on: {{webhook: {{name: {name}, secret: {secret}}}}}
steps:
  - {{name: a, type: set_fact, set_fact: {{value: 1}}}}
"""


def test_webhooks_name_their_secret_and_no_two_have_one_name(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    """A secret of another type can sign nothing."""
    secrets = (
        "- {name: key, type: token, token: x}\n- {name: login, type: credential, username: u, password: p}\n"
    )
    (folder / "secrets.yml").write_text(secrets, encoding="utf-8")
    flow("a.yml", WEBHOOK.format(name="push", secret="key"))
    assert octospool("check").exit_code == 0
    flow("sub/b.yml", WEBHOOK.format(name="push", secret="key"))
    flow("c.yml", WEBHOOK.format(name="c", secret="keys"))
    flow("d.yml", WEBHOOK.format(name="d", secret="login"))
    taken = "has a webhook 'push' too, so a call of it starts neither (give one of them another name)"
    assert sorted(octospool("check", "--short").stdout.splitlines()) == [
        f"flows/a.yml:1:22: on.webhook.name: flows/sub/b.yml {taken}",
        "flows/c.yml:1:33: on.webhook.secret: there is no secret 'keys' in secrets.yml; did you mean 'key'?",
        "flows/d.yml:1:33: on.webhook.secret: a webhook needs a secret of type token, and 'login' is of another "
        "type",
        f"flows/sub/b.yml:1:22: on.webhook.name: flows/a.yml {taken}",
    ]


SWITCHED_OFF = """
steps:
  - {name: one, type: docker, docker: {image: busybox}}
  - {name: two, type: docker, docker: {image: busybox}}
  - {name: three, type: shell, shell: {command: [ls]}}
"""


def test_what_is_switched_off_is_a_note_unless_the_flow_is_named(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    """Each type once a file; a flow with another problem has all of them."""
    (folder / "config.yml").write_text("shell: {enabled: false}\n")
    flow("off.yml", SWITCHED_OFF)
    flow("off_too.yml", SWITCHED_OFF)
    flow("parent.yml", "steps: [{name: a, type: flow, flow: {path: off.yml}}]")
    checked = octospool("check")
    assert (checked.exit_code, checked.stdout) == (0, "")
    docker, way_out, shell, summary = checked.stderr.splitlines()
    assert docker == (
        "note: steps of the type 'docker' are switched off in config.yml (docker.enabled: false): "
        "flows/off.yml, flows/off_too.yml"
    )
    assert "way out: they are off until config.yml says 'docker: {enabled: true" in way_out
    assert shell.startswith("note: steps of the type 'shell' are switched off in config.yml (shell.enabled: ")
    assert summary == "3 flows checked, no problems"
    answer = json.loads(octospool("check", "--json").stdout)
    assert answer["problems"] == []
    assert [(one["file"], one["key"], one["code"]) for one in answer["notes"]] == [
        (f"flows/{name}.yml", key, "step_switched_off")
        for name in ("off", "off_too")
        for key in ("steps[0].type", "steps[2].type")
    ]

    for name in ("off", "parent", "."):
        named = octospool("check", name, "--json")
        assert named.exit_code == 1
        assert {one["code"] for one in json.loads(named.stdout)["problems"]} == {"step_switched_off"}
    assert octospool("run", "off").exit_code != 0

    flow("off_too.yml", SWITCHED_OFF + "  - {name: four, type: python, python: {call: gone}}\n")
    both = octospool("check", "--short")
    assert both.exit_code == 1
    keys = [line.split(": ")[1] for line in both.stdout.splitlines()]
    assert keys == ["steps[0].type", "steps[2].type", "steps[3].python.call"]


def test_a_package_that_is_not_installed_is_a_note_unless_the_flow_is_named(
    octospool: Octospool, flow: WriteFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "redis", raising=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "redis" else find_spec(name, *more)
    )
    step = "{{name: {}, type: redis, redis: {{url: 'redis://h/0', command: [GET, a]}}}}"
    flow("cache.yml", f"steps: [{step.format('a')}, {step.format('b')}]")
    checked = octospool("check")
    assert (checked.exit_code, checked.stdout) == (0, "")
    note, summary = checked.stderr.splitlines()
    assert note.startswith("note: the package redis is not installed; install it: ")
    assert note.endswith("-m pip install redis: flows/cache.yml")
    assert summary == "1 flow checked, no problems"
    named = octospool("check", "cache", "--json")
    assert named.exit_code == 1
    assert [one["code"] for one in json.loads(named.stdout)["problems"]] == ["package_missing"]
