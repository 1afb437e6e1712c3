"""`data_key`: exact name first, then the walk, then an error that names what there is."""

from typing import Any

import pytest

from flow_processor.errors import DataKeyMissing
from flow_processor.expressions.data_key import lookup

DATA: dict[str, Any] = {"a": {"b": [{"c": 1}, {"c": None}]}, "a.b": "exact", "n": 5, "empty": {}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (".", DATA),
        ("n", 5),
        ("a.b", "exact"),
        ("a.b.0.c", 1),
        ("a.b.1.c", None),
        ("a", DATA["a"]),
        ("empty", {}),
    ],
)
def test_found(key: str, value: Any) -> None:
    assert lookup(DATA, key) == value


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("x", "data_key 'x' not found; there are: a, a.b, empty, n"),
        ("a.x", "data_key 'a.x' not found; there are in 'a': b"),
        ("a.b.2.c", "data_key 'a.b.2.c' not found; 'a.b' is a list of 2"),
        ("a.b.-1", "data_key 'a.b.-1' not found; 'a.b' is a list of 2"),
        ("n.x", "data_key 'n.x' not found; 'n' is a number and holds nothing further"),
        ("empty.x", "data_key 'empty.x' not found; there are no keys in 'empty'"),
        ("", "data_key '' not found; there are: a, a.b, empty, n"),
    ],
)
def test_missing(key: str, message: str) -> None:
    with pytest.raises(DataKeyMissing) as caught:
        lookup(DATA, key)
    assert caught.value.message == message
    assert caught.value.code == "data_key_missing"


def test_many_keys_are_not_all_listed() -> None:
    with pytest.raises(DataKeyMissing, match="…") as caught:
        lookup({f"k{number:03}": 1 for number in range(1000)}, "x")
    assert len(caught.value.message) < 300
