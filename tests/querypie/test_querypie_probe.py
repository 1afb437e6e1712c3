"""`octospool querypie probe`: what would be chosen, by calls that only read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow_processor.cli.app import octospool as command
from tests.querypie.fake import TOKEN, FakeQueryPie
from tests.querypie.pieces import rule
from tests.steps.loopback import self_signed

Probe = Callable[..., Result]


@pytest.fixture
def probe(pie: FakeQueryPie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """`probe("--login-id", "ada", …)` in a data folder that has the secret."""
    data = tmp_path / "data"
    (data / "flows").mkdir(parents=True)
    (data / "secrets.yml").write_text(
        f"- {{name: querypie, type: token, token: {TOKEN}}}\n- {{name: key, type: api-key, key: X, value: abcdef}}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("DATA_PATH", str(data))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, named: str = "querypie") -> Result:
        words = ["querypie", "probe", "--secret", named, "--base-url", pie.url, *arguments]
        return CliRunner().invoke(command, words, prog_name="octospool")

    return call


def test_it_prints_what_a_step_would_choose(pie: FakeQueryPie, probe: Probe) -> None:
    result = probe("--login-id", "ada", "--connection", "shop", "--database", "orders")
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()][1:] == [
        ["rule", "Default", "(of:", "Default)"],
        ["step", "1", "elon,", "grace", "(condition", "ANY)"],
        ["step", "2", "dba", "(condition", "ANY)"],
        ["executor", "elon"],
        ["connection", "shop", "(MySQL)", "(of:", "shop", "(MySQL),", "ledger", "(PostgreSQL))"],
        ["cluster", "shop1:3306"],
        ["database", "orders", "(of:", "orders,", "information_schema)"],
    ]
    assert {name for name, _, _ in pie.calls} == {"identify", "rules", "rule", "connections", "databases"}


def test_every_choice_that_fails_is_told(pie: FakeQueryPie, probe: Probe) -> None:
    pie.rules = [rule("Default", [("ANY", [])], [])]
    result = probe("--login-id", "ada", "--connection", "shopp", "--json")
    assert result.exit_code == 1
    codes = [one["code"] for one in json.loads(result.stdout)["problems"]]
    assert codes == ["querypie_no_assignees", "querypie_no_executor", "querypie_no_connection"]


def test_a_connection_in_the_place_of_another_is_told(pie: FakeQueryPie, probe: Probe) -> None:
    result = probe("--login-id", "ada", "--connection", "shopp", "--type", "MySQL", "--database", "orders")
    assert result.exit_code == 0
    assert (
        "warning     the preferred connection 'shopp' (MySQL) is not among those of the user; "
        in result.stdout
    )


def test_without_a_login_it_looks_at_the_rules_alone(pie: FakeQueryPie, probe: Probe) -> None:
    assert probe().exit_code == 0
    assert {name for name, _, _ in pie.calls} == {"rules", "rule"}


@pytest.mark.parametrize(
    ("secret", "code", "exit_code"),
    [("nobody", "secret_not_found", 3), ("key", "secret_value_missing", 1)],
)
def test_a_secret_that_does_not_fit_is_told(probe: Probe, secret: str, code: str, exit_code: int) -> None:
    result = probe(named=secret)
    assert (result.exit_code, f"code {code}" in result.stderr) == (exit_code, True), result.output


def test_the_token_is_not_shown(pie: FakeQueryPie, probe: Probe) -> None:
    """Not even where the server tells it back."""
    pie.fault("rules", "status", status=403, says=f"no rights: {TOKEN}")
    result = probe()
    assert (result.exit_code, "no rights: ***" in result.stderr) == (1, True), result.output
    pie.rules[0]["name"] = TOKEN
    result = probe("--json")
    assert (TOKEN in result.output, "***" in result.stdout) == (False, True)


@pytest.mark.parametrize(
    ("verify", "exit_code", "said"),
    [
        ([], 1, "self-signed certificate"),
        (["--verify", "certificate.pem"], 0, ""),
        (["--verify", "no"], 0, "is not checked"),
        (["--verify", "other.pem"], 1, "there is no file 'other.pem'"),
        (["--verify", "../ca.pem"], 2, "path_refused"),
    ],
)
def test_a_certificate_of_the_company_s_own(
    pie: FakeQueryPie, probe: Probe, tmp_path: Path, verify: list[str], exit_code: int, said: str
) -> None:
    context, _certificate = self_signed(tmp_path / "data")
    pie.socket = context.wrap_socket(pie.socket, server_side=True)
    result = probe("--base-url", f"https://127.0.0.1:{pie.server_port}", *verify)
    assert (result.exit_code, said in result.stderr) == (exit_code, True), result.output
