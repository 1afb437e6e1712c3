"""What is refused when a flow is loaded, what becomes of broken files, and how edits are taken over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.engine.code_reader import CodeProcess
from flow_processor.errors import Problem, SpecError
from flow_processor.flow_files import FlowLibrary, parse_flow
from flow_processor.own_code.manifest import OwnNames, OwnStep
from flow_processor.service.own_code import OwnCode
from flow_processor.settings import Settings
from tests.engine.world import World, until
from tests.own_code.conftest import edit, write

Refused = Callable[[str], list[Problem]]


@pytest.mark.parametrize(
    ("step", "key", "code", "says"),
    [
        ("python, python: {call: totl}", "python.call", "own_code_missing", "did you mean 'total'?"),
        ("python, python: {call: letters}", "python.call", "own_code_missing", "callers/broken.py"),
        ("python, python: {call: total}", "python.args", "arguments_invalid", "'numbers' is missing"),
        (
            "python, python: {call: total, args: {numbers: 1}}",
            "python.args.numbers",
            "arguments_invalid",
            "must be a list",
        ),
        (
            "python, python: {call: total, args: {numbers: [1, x]}}",
            "python.args.numbers[1]",
            "arguments_invalid",
            "must be a whole number",
        ),
        (
            "python, python: {call: total, args: {numbers: ['{{ a }}'], factr: 2}}",
            "python.args.factr",
            "arguments_invalid",
            "did you mean 'factor'",
        ),
        (
            "python, python: {call: total, args: {numbers: [], day: x}}",
            "python.args.day",
            "arguments_invalid",
            "valid date",
        ),
        ("python, python: {call: leak}", "python", "arguments_invalid", "secrets: {token: NAME}"),
        (
            "python, python: {call: leak, secrets: {token: hub, text: hub}}",
            "python.secrets.text",
            "arguments_invalid",
            "annotate it with Secret",
        ),
        ("letter, letter: {copies: 2}", "letter", "arguments_invalid", "'to' is missing"),
        (
            "letter, letter: {to: x, copies: '2'}",
            "letter.copies",
            "arguments_invalid",
            "must be a whole number",
        ),
        ("lettr", "type", "unknown_step_type", "did you mean 'letter'"),
        (
            "set_fact, set_fact: {value: '{{ 1 | initals }}'}",
            "set_fact.value",
            "template_error",
            "did you mean 'initials'",
        ),
    ],
)
def test_what_is_refused_at_load(refused: Refused, step: str, key: str, code: str, says: str) -> None:
    """The problem names the place in the flow file, and what is meant there."""
    [problem] = refused(f"steps:\n- {{name: it, type: {step}}}\n")
    assert (problem.key, problem.code) == (f"steps[0].{key}", code)
    assert says in str(problem)


def test_a_template_is_taken_for_anything(world: World) -> None:
    flow = (
        "steps:\n- {name: it, type: python, when: false, python: {call: total, args: {numbers: '{{ a }}'}}}\n"
    )
    assert "it" not in world.succeed(flow)


def test_a_broken_file_disables_only_itself(world: World) -> None:
    state = world.service.own_code.state()
    [broken] = [file for file in state.files if file.problem is not None]
    assert (
        f"{broken.problem.file}:{broken.problem.line}: {broken.problem.message}"
        == "callers/broken.py:1: ModuleNotFoundError: No module named 'no_such_module_here'"
    )
    assert "-m pip install" in str(broken.problem.hint)
    assert (broken.traceback or "").splitlines()[1] == '  File "callers/broken.py", line 1, in <module>'
    assert sorted(name for _kind, name in state.functions) == [
        *("ends", "grow", "grown", "initials", "leak", "letter", "say", "slow", "total"),
    ]


def test_the_daemon_imports_none_of_it(world: World) -> None:
    assert world.service.own_code.state().functions
    assert [name for name in sys.modules if name.startswith("octospool_own")] == []


def test_an_edit_is_used_by_the_next_run_and_a_run_keeps_its_version(world: World) -> None:
    """Also where it goes on in another worker: a run takes the text of the code along."""
    code = "from flow_processor.own_code import caller\n\n@caller\ndef version():\n    return %d\n"
    edit(world, "callers/version.py", code % 1, lambda state: "callers/version.py" in state.texts)
    flow = world.write(
        "version.yml",
        """
steps:
  - {name: before, type: python, python: {call: version}}
  - {name: gate, type: wait, wait: {signal: go}}
  - {name: after, type: python, python: {call: version}}
""",
    )
    run_id = world.launch(flow)
    until(lambda: world.service.run(run_id).status.value == "waiting", "the run waits")
    edit(world, "callers/version.py", code % 2, lambda state: "return 2" in state.texts["callers/version.py"])
    world.service.signal_run(run_id, name="go", data=None, by="test")
    old = world.wait(run_id).data or {}
    assert (old["before"], old["after"]) == (1, 1)
    direct = "steps:\n- {name: it, type: python, python: {call: version}}\n"
    assert world.succeed(direct)["it"] == 2


def test_a_flow_whose_code_becomes_broken_keeps_its_last_good_version(world: World) -> None:
    good = "from flow_processor.own_code import caller\n\n@caller\ndef fragile():\n    return 'good'\n"
    edit(world, "callers/fragile.py", good, lambda state: "callers/fragile.py" in state.texts)
    flow = world.write("fragile.yml", "steps:\n- {name: it, type: python, python: {call: fragile}}\n")
    assert world.succeed(flow)["it"] == "good"
    edit(
        world,
        "callers/fragile.py",
        "def fragile(:\n",
        lambda state: "def fragile(:" in state.texts["callers/fragile.py"],
    )
    [file] = [file for file in world.service.flow_files() if file.path == flow]
    assert (file.valid, file.last_good_in_force) == (False, True)
    assert "callers/fragile.py" in str(file.problems[0])
    assert world.succeed(flow)["it"] == "good"


BROKEN = {
    "callers/syntax.py": ("def f(:\n", "SyntaxError"),
    "callers/nothing.py": ("x = 1\n", "nothing in it is registered; put @caller"),
    "callers/wrong_place.py": (
        "from flow_processor.own_code import template_filter\n\n@template_filter\ndef f(x): return x\n",
        "its file belongs in filters/",
    ),
    "callers/stars.py": (
        "from flow_processor.own_code import caller\n\n@caller\ndef f(*many): return 1\n",
        "cannot be given by name",
    ),
    "callers/annotated.py": (
        "from flow_processor.own_code import caller\n\n@caller\ndef f(x: Gone): return 1\n",
        "NameError",
    ),
    "callers/twice_a.py": (
        "from flow_processor.own_code import caller\n\n@caller\ndef two(): return 1\n",
        None,
    ),
    "callers/twice_b.py": (
        "from flow_processor.own_code import caller\n\n@caller\ndef two(): return 2\n",
        "'two' is registered by callers/twice_a.py already",
    ),
    "callers/leaves.py": ("import os\nos._exit(5)\n", "ended with exit code 5"),
    "callers/raises.py": ("raise SystemExit('bye')\n", "SystemExit: bye"),
    "callers/names.py": (
        "from flow_processor.own_code import caller\n\n@caller(name='No Name')\ndef f(): return 1\n",
        "is no name for a caller",
    ),
    "steps/rest.py": (
        "from flow_processor.own_code import Options, step\n\n@step\ndef rest(options: Options, context): return 1\n",
        "the product has a step of that name",
    ),
    "steps/retry.py": (
        "from flow_processor.own_code import Options, step\n\n@step\ndef retry(options: Options, context): return 1\n",
        "the name 'retry' is taken",
    ),
    "steps/plain.py": (
        "from flow_processor.own_code import step\n\n@step\ndef plain(options, context): return 1\n",
        "made from Options",
    ),
    "filters/upper.py": (
        "from flow_processor.own_code import template_filter\n\n@template_filter\ndef upper(x): return x\n",
        "the product has a filter of that name",
    ),
    "filters/good.py": (
        "from flow_processor.own_code import template_filter\n\n@template_filter\ndef good(x): return x\n",
        None,
    ),
}


def test_every_way_to_be_broken_is_told(tmp_path: Path) -> None:
    """By one process after another: a file may end the one that loads it."""
    write(tmp_path, {name: text for name, (text, _says) in BROKEN.items()})
    library = OwnCode(Settings.load({"DATA_PATH": str(tmp_path)}, base=tmp_path))
    try:
        told = {file.file: file.problem for file in library.view().files}
    finally:
        library.close()
    for name, (_text, says) in BROKEN.items():
        assert (told[name] is None) if says is None else (says in str(told[name])), (name, told[name])


def test_a_file_that_hangs_is_ended() -> None:
    process = CodeProcess(environment={}, memory_mb=0, seconds=5)
    try:
        told = process.describe("callers/hang.py", "while True: pass\n")
        assert told["message"] == "cannot be loaded: it takes more than 5 s"
        good = "from flow_processor.own_code import caller\n\n@caller\ndef f(): return 1\n"
        assert process.describe("callers/good.py", good)["functions"][0]["name"] == "f"
    finally:
        process.close()


def test_what_is_switched_off_is_refused(tmp_path: Path) -> None:
    """And nothing of the data folder's own is read."""
    write(
        tmp_path,
        {
            "config.yml": "own_code: {enabled: false}\nshell: {enabled: false}\n",
            "callers/x.py": "raise RuntimeError\n",
            "flows/a.yml": """
            steps:
              - {name: a, type: shell, shell: {command: [ls]}}
              - {name: b, type: python, python: {call: x}}
              - name: c
                type: foreach
                foreach: {items: [1], steps: [{name: d, type: shell, shell: {script: ls}}]}
        """,
        },
    )
    code = OwnCode(Settings.load({"DATA_PATH": str(tmp_path)}, base=tmp_path))
    with pytest.raises(SpecError) as error:
        FlowLibrary(tmp_path / "flows", code=code.use).launchable("a.yml")
    assert [(problem.key, problem.code) for problem in error.value.problems] == [
        ("steps[0].type", "step_switched_off"),
        ("steps[1].type", "step_switched_off"),
    ], "each type once, however many steps have it"
    assert "config.yml (shell.enabled: false)" in error.value.problems[0].message
    view = code.view()
    assert (view.shell.enabled, view.own_code.enabled, view.files) == (False, False, [])


def test_a_step_type_of_ones_own_stands_wherever_steps_stand() -> None:
    """Also where the flow model was made before there was any, or with others."""
    inner = "[{name: x, type: TYPE}]"
    text = f"""
steps:
  - {{name: a, type: foreach, foreach: {{items: [1], steps: {inner}}}}}
  - {{name: b, type: switch, switch: {{cases: [{{if: "true", steps: {inner}}}]}}}}
  - {{name: c, type: parallel, parallel: {{left: {inner}}}}}
  - {{name: d, type: until, until: {{condition: "true", max_rounds: 1, steps: {inner}}}}}
finally: {inner}
"""
    parse_flow(text.replace("TYPE", "exit"), "a.yml")
    for name in ("letter", "parcel"):
        parse_flow(text.replace("TYPE", name), "a.yml", own=OwnNames(frozenset({OwnStep(name)})))
    with pytest.raises(SpecError) as error:
        parse_flow(text.replace("TYPE", "letter"), "a.yml")
    assert "unknown_step_type" in {problem.code for problem in error.value.problems}
