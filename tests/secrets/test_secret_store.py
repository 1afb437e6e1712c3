"""Secrets by name, from secrets.yml and the environment."""

import os
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import SecretNotFound, SpecError, StepError
from flow_processor.secrets import SecretStore

GOOD = """\
- name: mail
  type: credential
  username: anna
  password: ${MAIL_PASSWORD}
- {name: hook, type: token, token: "pre-${A}-${B}"}
- {name: maps, type: api-key, key: X-Api-Key, value: "$A ${ no"}
"""


def store_of(path: Path, **environ: str) -> SecretStore:
    return SecretStore(path, environ, vault_token=None, vault_ttl_seconds=60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.yml"


def write(path: Path, text: str) -> None:
    """Write with a time stamp of its own, however coarse the file system's clock is."""
    path.write_text(text)
    stamp = write.stamp = getattr(write, "stamp", 10**18) + 10**9  # type: ignore[attr-defined]
    os.utime(path, ns=(stamp, stamp))


def test_values_come_from_the_file_and_the_environment(path: Path) -> None:
    write(path, GOOD)
    store = store_of(path, MAIL_PASSWORD="hunter2", A="1", B="2")
    store.load()
    assert store.names() == ["hook", "mail", "maps"]
    mail = store.get("mail")
    assert (mail.name, mail.type) == ("mail", "credential")
    assert mail.values == {"username": "anna", "password": "hunter2"}
    assert store.get("hook").values == {"token": "pre-1-2"}
    assert store.get("maps").values == {"key": "X-Api-Key", "value": "$A ${ no"}
    assert "hunter2" not in repr(mail)


def test_a_missing_variable_fails_only_the_secret_that_needs_it(path: Path) -> None:
    write(path, GOOD)
    store = store_of(path, A="1", B="2")
    store.load()
    assert store.get("hook").values == {"token": "pre-1-2"}
    with pytest.raises(
        StepError, match=r"secret 'mail' needs the environment variable MAIL_PASSWORD"
    ) as refused:
        store.get("mail")
    assert refused.value.code == "secret_unavailable"


def test_an_unknown_name_is_told_what_there_is(path: Path) -> None:
    write(path, GOOD)
    with pytest.raises(SecretNotFound, match="secret 'x' not found; there are: hook, mail, maps"):
        store_of(path).get("x")


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "[]\n"])
def test_no_file_or_an_empty_one_means_no_secrets(path: Path, text: str | None) -> None:
    if text is not None:
        write(path, text)
    store = store_of(path)
    store.load()
    assert store.names() == []
    with pytest.raises(SecretNotFound, match="there are: none"):
        store.get("x")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("- name: a\n  type: token\n  tokn: x\n", (3, 3), "token"),
        ("- name: a\n  type: credential\n  username: x\n", (1, 3), "password"),
        ("- name: a\n  type: pasword\n", (2, 9), "credential"),
        ("name: a\n", (1, 1), ""),
        ("- name: a\n  type: token\n  token: [x\n", (4, 1), ""),
        ("- {name: v, type: hashicorp-vault, uri: vault/x}\n", (1, 41), "http"),
        ("- {name: a, type: token, token: x}\n- {name: a, type: token, token: y}\n", (1, 1), "twice"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    path: Path, text: str, place: tuple[int, int], says: str
) -> None:
    write(path, text)
    with pytest.raises(SpecError) as refused:
        store_of(path).load()
    [problem, *_] = refused.value.problems
    assert problem.file == "secrets.yml"
    assert (problem.line, problem.column) == place, str(problem)
    assert says in str(problem)


def test_secret_values_do_not_stand_in_problems(path: Path) -> None:
    write(path, "- name: a\n  type: token\n  token: [hunter2]\n")
    with pytest.raises(SpecError) as refused:
        store_of(path).load()
    assert "hunter2" not in str(refused.value)


def test_a_changed_file_is_read_again(path: Path) -> None:
    write(path, "- {name: a, type: token, token: old}\n")
    store = store_of(path)
    assert store.get("a").values == {"token": "old"}
    write(path, "- {name: a, type: token, token: new}\n")
    assert store.get("a").values == {"token": "new"}
    path.unlink()
    assert store.names() == []


def test_a_file_that_breaks_keeps_the_last_good_version_in_force(path: Path) -> None:
    write(path, "- {name: a, type: token, token: good}\n")
    store = store_of(path)
    store.load()
    write(path, "- {name: a, type: tok\n")
    assert store.get("a").values == {"token": "good"}
    assert store.problem is not None
    write(path, "- {name: a, type: token, token: better}\n")
    assert store.get("a").values == {"token": "better"}
    assert store.problem is None


def test_a_file_that_is_being_written_keeps_the_last_good_version_in_force(path: Path) -> None:
    """An editor that truncates first: for a moment the file is empty, which alone would be valid."""
    write(path, "- {name: a, type: token, token: good}\n")
    store = store_of(path)
    store.load()
    path.write_text("")
    assert store.get("a").values == {"token": "good"}


def test_a_file_nobody_may_read_is_a_problem(path: Path) -> None:
    path.mkdir()
    with pytest.raises(SpecError, match="cannot be read"):
        store_of(path).load()


def test_a_secret_is_the_same_for_many_threads(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    write(path, GOOD)
    store = store_of(path, A="1", B="2")

    def use(number: int) -> Any:
        if number % 10 == 0:
            new = path.with_name(f"new-{number}")
            write(new, GOOD)
            new.replace(path)
        return store.get("hook").values

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(200))) == [{"token": "pre-1-2"}] * 200
