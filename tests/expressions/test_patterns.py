"""Regular expressions of a flow."""

import pytest

from flow_processor.errors import ExpressionError
from flow_processor.expressions import patterns

ERROR = 'REST request failed: 400 {"reason": "unknown field"}\nsecond line'


@pytest.mark.parametrize("pattern", [".*400*", "400", "unknown field", "^REST", "failed.*second", "line$"])
def test_a_pattern_is_searched_in_the_whole_text(pattern: str) -> None:
    assert patterns.first_match(["404", pattern], ERROR) == pattern


def test_no_pattern_matches() -> None:
    assert patterns.first_match(["404", "^failed"], ERROR) is None
    assert patterns.first_match([], ERROR) is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("High|Highest", "Highest", True),
        ("High", "Highest", False),
        ("P[1-3]", "P2", True),
        ("a.b", "a\nb", True),
    ],
)
def test_a_full_match_takes_the_whole_text(pattern: str, text: str, matches: bool) -> None:
    assert patterns.full_match(pattern, text) is matches


@pytest.mark.parametrize("pattern", ["*400*", "(", "[a", "a{2,1}", "(?P<a>x)(?P<a>y)"])
def test_a_broken_pattern_says_what_is_wrong(pattern: str) -> None:
    problem = patterns.problem(pattern)
    assert problem is not None
    assert pattern in problem
    with pytest.raises(ExpressionError) as caught:
        patterns.first_match([pattern], "x")
    assert caught.value.code == "pattern_invalid"


def test_a_right_pattern_has_no_problem() -> None:
    assert patterns.problem(".*400*") is None
