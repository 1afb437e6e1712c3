"""Secret values are replaced wherever they stand and however they are spelled."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.secrets import Redactor
from flow_processor.secrets.redaction import SHORTEST_BEGINNING
from flow_processor.step import Secret

VALUE = 'p@ss w/"ö+='


@pytest.fixture
def redactor() -> Redactor:
    found = Redactor()
    found.add(VALUE)
    return found


@pytest.mark.parametrize(
    "spelled",
    [
        VALUE,
        quote(VALUE, safe=""),
        quote(VALUE),
        quote_plus(VALUE),
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
    ],
)
def test_every_spelling_is_redacted(redactor: Redactor, spelled: str) -> None:
    assert redactor.text(f"<{spelled}>") == "<***>"


def test_a_credential_is_redacted_as_basic_authentication_sends_it() -> None:
    redactor = Redactor()
    redactor.add_secret(Secret("s", "credential", {"username": "anna", "password": "hunter22"}))
    sent = base64.b64encode(b"anna:hunter22").decode()
    assert redactor.text(f"Basic {sent} anna hunter22") == "Basic *** anna ***"


def test_values_deep_in_a_vault_secret_are_redacted_and_names_are_not() -> None:
    redactor = Redactor()
    data = {"db": {"username": "anna", "password": "hunter22"}, "pins": [123456]}
    redactor.add_secret(Secret("s", "hashicorp-vault", {"data": data, "jq_expression": ".data"}))
    assert redactor.text("anna hunter22 123456 .data") == "anna *** *** .data"


def test_json_values_are_redacted_with_their_keys(redactor: Redactor) -> None:
    found = redactor.value({"a": [f"x {VALUE}", 1, None], VALUE: {"b": VALUE}})
    assert found == {"a": ["x ***", 1, None], "***": {"b": "***"}}


def test_the_longer_value_goes_first() -> None:
    redactor = Redactor()
    redactor.add("secret")
    redactor.add("secret-and-more")
    assert redactor.text("secret-and-more secret") == "*** ***"


def test_short_values_are_left_alone() -> None:
    redactor = Redactor()
    redactor.add("abc")
    assert redactor.text("abc") == "abc"


def test_each_line_of_a_value_is_redacted() -> None:
    """Programs and logs show texts line by line; short lines and the frame of a key are no secret by themselves."""
    redactor = Redactor()
    redactor.add("-----BEGIN KEY-----\nline/one+of/it\r\n  line-two-of-it\nshort\n-----END KEY-----\n")
    shown = [
        redactor.text(line) for line in ("a line/one+of/it", "line-two-of-it", "short", "-----BEGIN KEY-----")
    ]
    assert shown == ["a ***", "***", "short", "-----BEGIN KEY-----"]
    assert redactor.text("line%2Fone%2Bof%2Fit") == "***"


@pytest.mark.parametrize("value", ["tok-en-1234\n", " tok-en-1234", "\ttok-en-1234 \r\n"])
def test_a_value_is_redacted_without_the_blanks_around_it_too(value: str) -> None:
    """A block in YAML (`token: |`) ends in a line break, and a header is sent without it."""
    redactor = Redactor()
    redactor.add(value)
    assert redactor.text("said <tok-en-1234>") == "said <***>"


def test_nothing_known_costs_nothing() -> None:
    value = {"a": ["b"]}
    assert Redactor().value(value) is value


@given(value=st.text(min_size=4), before=st.text(), after=st.text())
def test_no_value_is_left(value: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(value)
    left = redactor.text(before + value + after)
    assert value not in left or value in "***" * 3


def test_the_password_in_an_address_is_a_secret_too() -> None:
    redactor = Redactor()
    redactor.add_secret(Secret("shop", "token", {"token": "postgresql://me:can%40ary-pw@db.example/shop"}))
    assert (
        redactor.text("tried can@ary-pw and can%40ary-pw at db.example") == "tried *** and *** at db.example"
    )


IN_ONE_LINE = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=".…")


@pytest.mark.parametrize("mark", ["…", "..."])
@given(value=st.text(IN_ONE_LINE, min_size=9, max_size=30), before=st.text(max_size=10), data=st.data())
def test_the_beginning_of_a_value_is_not_left_where_a_text_was_cut(
    mark: str, value: str, before: str, data: st.DataObject
) -> None:
    """Whoever cut it: jq quotes the first characters of what it cannot work with."""
    kept = data.draw(st.integers(SHORTEST_BEGINNING, len(value) - 1))
    redactor = Redactor()
    redactor.add(value)
    assert redactor.text(f"{before}{value[:kept]}{mark}) failed").endswith(f"***{mark}) failed")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("begins with secre and goes on...", "begins with secre and goes on..."),
        ("secret-...", "secret-..."),
        ("secret-secre… and secret-sec… and secr", "***… and ***… and secr"),
        ("aaaaaaaab…", "aaaaaaaab…"),
        ("aaaaaaaa...", "***..."),
        ("one...two", "***"),
        ("secret-secret-of-some-length-and-mo…", "***…"),
        ("-----BEGIN PRIVATE K…", "-----BEGIN PRIVATE K…"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADA…", "-----BEGIN PRIVATE KEY-----\n***…"),
    ],
)
def test_only_the_beginning_just_before_the_mark_is_redacted(text: str, shown: str) -> None:
    redactor = Redactor()
    redactor.add("secret-secret-of-some-length")
    redactor.add("secret-secret-of-some-length-and-more")
    redactor.add("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\n")
    redactor.add("aaaaaaaaaa")
    redactor.add("one...two")
    assert redactor.text(text) == shown
