"""Words of a jq expression that are refused, and texts that only look like them."""

import os
from collections.abc import Iterator

import jq as binding
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_processor.expressions.jq_words import denied_word, read


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("env", "env"),
        ("env.PATH", "env"),
        (".a | env | keys", "env"),
        ("$ENV", "$ENV"),
        ("$ENV.PATH", "$ENV"),
        ("$ ENV", "$ENV"),
        ("{$ENV}", "$ENV"),
        ("{a: env}", "env"),
        ("{a: 1 | env}", "env"),
        ("{(env | keys[0]): 1}", "env"),
        ("{a: if true then 1, env else 2 end}", "env"),
        ("{a: (1, env)}", "env"),
        ("{a: [1, env]}", "env"),
        (".[env:2]", "env"),
        (".[input:2]", "input"),
        ("[env]", "env"),
        ('"\\(env)"', "env"),
        ('"a \\("b" + "\\(env.X)") c"', "env"),
        ('@base64 "x\\(env)"', "env"),
        ('{"a\\(env)": 1}', "env"),
        ("def f: env; f", "env"),
        ("..env", "env"),
        ("1.env", "env"),
        ("# comment\nenv", "env"),
        ("# comment \\\\\nenv", "env"),
        ('# a \\\n"\n| env #"', "env"),
        ('# a \r"\n| env #"', "env"),
        ("a::env", "env"),
        ("input", "input"),
        ("[inputs]", "inputs"),
        ("input_filename", "input_filename"),
        ("input_line_number", "input_line_number"),
        ("halt", "halt"),
        ("halt_error(3)", "halt_error"),
        ('import "a" as $s {search: "/etc"}; $s', "import"),
        ('include "a"; .', "include"),
        ('"a" | modulemeta', "modulemeta"),
        ("get_search_list", "get_search_list"),
        ("$__prog_args", "$__prog_args"),
        ("try env catch .", "env"),
        ("reduce env as $x (0; .)", "env"),
        ("(env)", "env"),
        ("-env", "env"),
        ("env?", "env"),
    ],
)
def test_denied(expression: str, word: str) -> None:
    assert denied_word(expression) == word


@pytest.mark.parametrize(
    "expression",
    [
        ".env",
        ".a.env.input",
        ".env?.x",
        "{env: 1}",
        "{env}",
        "{a: 1, env}",
        "{a: 1, input: 2, import: 3}",
        "{a: {env: 1}, input}",
        "{if: 1, env: 2}",
        ". as {env: $x} | $x",
        ". as $env | $env",
        ". as $input | {$input}",
        '"env $ENV input"',
        '.["env"]',
        '."env"',
        '"\\\\(env)"',
        '"quote \\" env"',
        "# env\n.",
        ". # $ENV",
        'ltrimstr("x") | environment?',
        "$__loc__",
        "inputs_total?",
        "@base64",
        "",
    ],
)
def test_allowed(expression: str) -> None:
    assert denied_word(expression) is None


@pytest.mark.parametrize(
    ("expression", "complete"),
    [
        (".", True),
        ("[{a: (1)}]", True),
        ('"\\(1 + (2))"', True),
        ("if . then 1 else 2 end", True),
        ("", False),
        ("  # nothing", False),
        ("(", False),
        ("]", False),
        ("(]", False),
        ("1) | (2", False),
        ("1 end | if 2", False),
        ('"abc', False),
        ('"\\(1', False),
        ('"\\(1]"', False),
    ],
)
def test_complete_means_something_to_run_and_all_brackets_closed(expression: str, complete: bool) -> None:
    assert read(expression).complete is complete


@pytest.fixture(scope="module")
def canary() -> Iterator[str]:
    """A value that stands only in the environment."""
    os.environ["OCTOSPOOL_CANARY"] = "canary-4711"
    yield "canary-4711"
    del os.environ["OCTOSPOOL_CANARY"]


PIECES = st.sampled_from(
    [
        "env",
        "$ENV",
        "$__loc__",
        ".",
        ".a",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        ",",
        "|",
        ":",
        '"',
        "\\(",
        "\\",
        "#",
        "if",
        "then",
        "else",
        "end",
        "1",
        "?",
        "//",
        "as",
        "$x",
        "a",
        "..",
        "@json",
        ";",
        "def",
        "\n",
        "\r",
        " ",
        "\\\n",
    ]
)


@settings(max_examples=500)
@given(pieces=st.lists(PIECES, max_size=12))
def test_what_passes_the_reader_never_shows_the_environment(canary: str, pieces: list[str]) -> None:
    """Reader and jq must agree on what is code: whatever compiles and was not denied gives no secret."""
    shows_no_secret(canary, pieces)


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(pieces=st.lists(PIECES, max_size=12))
def test_nothing_that_passes_the_reader_shows_the_environment(canary: str, pieces: list[str]) -> None:
    """The same, forty times as often."""
    shows_no_secret(canary, pieces)


def shows_no_secret(canary: str, pieces: list[str]) -> None:
    expression = "".join(pieces)
    if denied_word(expression) is not None:
        return
    try:
        program = binding.compile(f"[limit(3; {expression}\n\n)] | tojson")
        output = program.input_value({"a": 1}).all()
    except ValueError as error:
        output = [str(error)]
    assert canary not in str(output)
