"""Whatever bytes come: a value or a SpecError, quickly and with little memory (RELIABILITY 42, 43)."""

from __future__ import annotations

import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.documents import MAX_BYTES, parse
from flow_processor.errors import SpecError


def code_of(text: str | bytes) -> str:
    with pytest.raises(SpecError) as error:
        parse(text, file="a.yml")
    assert all(problem.file == "a.yml" for problem in error.value.problems)
    return error.value.code


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        names = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{names}]")
    return "\n".join(lines)


def test_an_alias_bomb_is_refused_without_unpacking_it() -> None:
    text = bomb(9)
    tracemalloc.start()
    assert code_of(text) == "yaml_limit"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_bomb_of_merge_keys_is_refused() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(200))
    merges = "\n".join(f"m{number}: {{<<: *a, own: 1}}" for number in range(90))
    assert code_of(f"a: &a {{{keys}}}\n{merges}") == "yaml_limit"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("depth", [101, 500, 200_000])
def test_deep_nesting_is_refused_also_on_the_small_stack_of_a_thread(opening: str, depth: int) -> None:
    found: list[str] = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(code_of(opening * depth)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(30)
    assert found[0] in ("yaml_limit", "yaml_invalid")


def test_a_hundred_levels_are_fine() -> None:
    found = parse("[" * 100 + "]" * 100, file="a.yml").data
    for _ in range(99):
        (found,) = found
    assert found == []


def test_depth_counts_through_aliases() -> None:
    inner = "[" * 60 + "]" * 60
    assert code_of(f"a: &a {inner}\nb: {'[' * 60}*a{']' * 60}") == "yaml_limit"


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate_key", (3, 1)),
        ('1: a\n"1": b', "duplicate_key", (2, 1)),
        ("a: !!python/object/apply:os.system [id]", "yaml_invalid", (1, 4)),
        ("a: !!binary aGk=", "yaml_invalid", (1, 4)),
        ("!custom {a: 1}", "yaml_invalid", (1, 1)),
        ("a: x\0y", "yaml_invalid", (1, 5)),
        ("a: \x1b[31m", "yaml_invalid", (1, 4)),
        ("a: &x [*x]", "yaml_invalid", (1, 8)),
        ("a: *nobody", "yaml_invalid", (1, 4)),
        ("[a, b]: 1", "yaml_invalid", (1, 1)),
        ("a: b: c", "yaml_invalid", (1, 5)),
        (b"a: \xff", "yaml_invalid", (1, 4)),
        ("<<: 5", "yaml_invalid", (1, 5)),
        ("a: 1\n--- \nb: 2", "yaml_invalid", None),
        ("a" * (MAX_BYTES + 1), "yaml_limit", None),
        ("\ud800", "yaml_invalid", (1, 1)),
    ],
)
def test_what_is_refused_has_a_code_and_a_place(
    text: str | bytes, code: str, place: tuple[int, int] | None
) -> None:
    with pytest.raises(SpecError) as error:
        parse(text, file="a.yml")
    problem = error.value.problems[0]
    assert error.value.code == code
    assert (problem.line, problem.column) == (place or (None, None))


def test_every_duplicate_key_is_told_with_its_first_place() -> None:
    with pytest.raises(SpecError) as error:
        parse("a: 1\nb: {c: 1, d: 2, c: 3}\na: 4", file="a.yml")
    assert [str(problem) for problem in error.value.problems] == [
        "a.yml:2:17: the key 'c' stands twice in this mapping (first in line 2)",
        "a.yml:3:1: the key 'a' stands twice in this mapping (first in line 1)",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1", "indent with blanks"),
        ("uri: {{ base }}/x", "needs quotes"),
        ("uri: {{ base }}", "needs quotes"),
        ("uri: {% if x %}", "needs quotes"),
        ("a: b: c", "needs quotes"),
        ("a: @x", "needs quotes"),
        ("a: [1, 2\nb: 3", "closed"),
    ],
)
def test_common_slips_get_a_hint(text: str, hint: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(text, file="a.yml")
    assert hint in (error.value.problems[0].hint or "")


def test_utf_16_of_powershell_and_a_byte_order_mark_are_understood() -> None:
    assert parse("a: ä".encode("utf-16"), file="a.yml").data == {"a": "ä"}
    assert parse("\ufeffa: 1".encode(), file="a.yml").data == {"a": 1}


def test_ten_megabytes_are_refused_at_once() -> None:
    begun = time.monotonic()
    assert code_of(b"- a\n" * 2_500_000) == "yaml_limit"
    assert time.monotonic() - begun < 0.5


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_a_spec_error(raw: bytes) -> None:
    try:
        parse(raw, file="a.yml").position(("a", 0))
    except SpecError as error:
        assert error.problems  # noqa: PT017  either outcome is right


@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"%@` \n\t#?<0.e~\u2028\ufeff"), max_size=60))
def test_any_yaml_like_text_gives_a_value_or_a_spec_error(text: str) -> None:
    try:
        parse(text, file="a.yml").position(("a", 0))
    except SpecError as error:
        assert error.problems  # noqa: PT017  either outcome is right


def test_positions_are_of_keys_and_of_values() -> None:
    document = parse("a: 1\nlist:\n  - x: &m {y: 2}\n  - 5\nlater: *m\n", file="a.yml")
    assert document.position(("list", 0, "x")) == (3, 5)
    assert document.position(("list", 0, "x"), of_value=True) == (3, 8)
    assert document.position(("list", 0, "x", "y"), of_value=True) == (3, 15)
    assert document.position(("list", 1)) == (4, 5)
    assert document.position(("list", 0, "nothing", "here")) == (3, 5)
    assert document.position(()) == (1, 1)
    assert document.part(("list", 0), document.data["list"][0]).position(("x",)) == (3, 5)
