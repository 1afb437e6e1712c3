"""Settings: where each value comes from, what is refused, and what stands in docs/settings.md."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import SettingsError
from flow_processor.queues import amqp_address
from flow_processor.settings import VARIABLES, Settings, store_address

TOKEN = "0123456789abcdef"


def load(base: Path, config: str | None = None, **environ: str) -> Settings:
    if config is not None:
        (base / "data").mkdir(exist_ok=True)
        (base / "data" / "config.yml").write_text(config, encoding="utf-8")
    return Settings.load(environ, base=base)


def problems(base: Path, config: str | None = None, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(base, config, **environ)
    assert len(error.value.details["problems"]) == len(error.value.message.splitlines())
    return error.value.message.splitlines()


def test_nothing_set_gives_the_documented_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    data = tmp_path / "data"
    assert settings.data_path == data
    assert settings.lock_path == data / "locks"
    assert settings.log_path == data / "logs"
    assert settings.flows_path == data / "flows"
    assert settings.templates_path == data / "templates"
    assert settings.secrets_path == data / "secrets.yml"
    assert settings.config_file == data / "config.yml"
    assert settings.database_url == f"sqlite:///{(data / 'octospool.db').as_posix()}"
    assert (settings.api_host, settings.api_port, settings.api_protocol) == ("127.0.0.1", 5000, "http")
    assert (settings.api_token, settings.weak_token) == ("default_token", True)
    assert (settings.timezone, settings.max_workers, settings.flow_timeout_seconds) == ("UTC", 8, 600)
    assert (settings.api.max_body, settings.api.threads, settings.api.cors_origins) == (1024 * 1024, 16, ())
    assert (settings.autostart, settings.autostart_problems) == ((), ())


def test_every_variable_is_a_field_and_every_field_is_a_variable() -> None:
    fields = {field.name for field in dataclasses.fields(Settings)}
    only_in_config = {
        "api",
        "autostart",
        "autostart_problems",
        "docker",
        "environment",
        "own_code",
        "queues",
        "retention",
        "shell",
    }
    assert fields - only_in_config == {variable.key for variable in VARIABLES}


def test_the_environment_wins_over_config_and_the_command_line_over_both(tmp_path: Path) -> None:
    config = "api_port: 1111\nmax_workers: 3\nlog_level: debug\n"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "config.yml").write_text(config)
    environ = {"API_PORT": "2222", "MAX_WORKERS": "4"}
    settings = Settings.load(environ, base=tmp_path, overrides={"api_port": 3333, "api_host": None})
    assert (settings.api_port, settings.max_workers, settings.log_level) == (3333, 4, "DEBUG")


VALUES: dict[str, tuple[str, Any]] = {
    "DATA_PATH": ("d", "d"),
    "LOCK_PATH": ("l", "l"),
    "LOG_PATH": ("g", "g"),
    "FLOWS_PATH": ("f", "f"),
    "TEMPLATES_PATH": ("t", "t"),
    "SECRETS_PATH": ("s.yml", "s.yml"),
    "CONFIG_FILE": ("c.yml", "c.yml"),
    "API_HOST": ("localhost", "localhost"),
    "API_PORT": ("80", 80),
    "API_PROTOCOL": ("HTTP", "http"),
    "API_TOKEN": (TOKEN, TOKEN),
    "TIMEZONE": ("Europe/Berlin", "Europe/Berlin"),
    "LOG_LEVEL": ("error", "ERROR"),
    "LOG_FORMAT": ("JSON", "json"),
    "MAX_WORKERS": ("2", 2),
    "SPARE_WORKERS": ("0", 0),
    "WORKER_MEMORY_MB": ("512", 512),
    "FLOW_TIMEOUT_SECONDS": ("1.5", 1.5),
    "SHUTDOWN_GRACE_SECONDS": ("0", 0.0),
    "DATABASE_URL": ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    "ENGINE": ("local", "local"),
    "BROKER_URL": ("amqp://u:p@h", "amqp://u:p@h"),
    "HASHICORP_VAULT_TOKEN": ("v", "v"),
    "HASHICORP_VAULT_CACHE_TTL": ("5", 5.0),
}
NEEDS_MORE = {"TLS_CERT", "TLS_KEY"}
"""Tested by themselves: they stand for files."""


def test_the_table_of_values_names_every_variable() -> None:
    assert VALUES.keys() | NEEDS_MORE == {variable.name for variable in VARIABLES}


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_is_read_from_the_environment(tmp_path: Path, name: str) -> None:
    text, value = VALUES[name]
    (tmp_path / "c.yml").touch()
    found = getattr(load(tmp_path, **{name: f" {text} "}), name.lower())
    assert found == (tmp_path / value if isinstance(found, Path) else value)


@pytest.mark.parametrize("name", sorted(VALUES.keys() - {"CONFIG_FILE"}))
def test_every_variable_may_stand_in_config_yml(tmp_path: Path, name: str) -> None:
    text, value = VALUES[name]
    shown = value if isinstance(value, int | float) else f'"{text}"'
    found = getattr(load(tmp_path, f"{name.lower()}: {shown}\n"), name.lower())
    assert found == (tmp_path / value if isinstance(found, Path) else value)


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_variable_counts_as_not_set(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, API_PORT=text, API_TOKEN=text).api_port == 5000


def test_a_moved_data_folder_moves_everything_that_is_not_set(tmp_path: Path) -> None:
    settings = load(tmp_path, DATA_PATH="elsewhere", LOG_PATH="logs")
    assert settings.flows_path == tmp_path / "elsewhere" / "flows"
    assert settings.log_path == tmp_path / "logs"
    assert settings.config_file == tmp_path / "elsewhere" / "config.yml"


@pytest.mark.parametrize("config", ["", "# nothing\n", "---\n", "autostart:\n", "api:\n"])
def test_an_empty_config_sets_nothing(tmp_path: Path, config: str) -> None:
    assert load(tmp_path, config).api_port == 5000


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("api_port: abc", "config.yml:1:11: api_port: must be a whole number; found the text 'abc'"),
        (
            "api_port: '5000'",
            "config.yml:1:11: api_port: must be a whole number; found the text '5000' (write it ",
        ),
        ("api_prot: 1", "config.yml:1:1: api_prot: unknown key 'api_prot' (did you mean 'api_port'?)"),
        ("timezone: Europe/Berln", "config.yml:1:11: timezone: unknown time zone 'Europe/Berln'"),
        ("log_level: loud", "config.yml:1:12: log_level: must be one of DEBUG, INFO, WARNING, ERROR; found"),
        ("api: {threads: 0}", "config.yml:1:16: api.threads: must be at least 1; found 0"),
        ("api: {max_body: 9 TB}", "config.yml:1:17: api.max_body: must be a size from 1 KiB to 1 GiB"),
        (
            "api: {cors_origins: ['*']}",
            "config.yml:1:22: api.cors_origins[0]: must be an origin like https://",
        ),
        ("a: [1", "config.yml:"),
        ("api_port: 1\napi_port: 2", "config.yml:2:1: the key 'api_port' stands twice"),
        ("- a", "config.yml:1:1: must be a mapping"),
        ("engine: celery", "config.yml:1:9: engine: celery is not available yet in this version"),
        ("config_file: x", "config.yml:1:1: config_file: unknown key"),
    ],
)
def test_a_broken_config_stops_the_start_with_its_place(tmp_path: Path, config: str, problem: str) -> None:
    (found,) = problems(tmp_path, config)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("API_PORT", "http", "must be a whole number; found the text 'http'"),
        ("API_PORT", "70000", "must be at most 65,535; found the text '70000'"),
        ("API_PROTOCOL", "ftp", "must be http, https or http,https"),
        ("API_TOKEN", "two words", "must consist of printable ASCII characters without blanks"),
        ("API_HOST", "http://x", "must be an address or a host name"),
        ("TIMEZONE", "Mars/Base", "unknown time zone 'Mars/Base'"),
        ("LOG_FORMAT", "jsn", "must be one of text, json; found the text 'jsn' (did you mean 'json'?)"),
        ("MAX_WORKERS", "0", "must be at least 1"),
        ("FLOW_TIMEOUT_SECONDS", "-1", "must be more than 0"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "is neither sqlite:/// nor postgresql://"),
        ("DATABASE_URL", "secret", "is neither sqlite:/// nor postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@/d", "names no host or no database"),
        ("DATABASE_URL", "postgresql://u:secret@h", "names no host or no database"),
        ("DATABASE_URL", "postgresql://u:p@secret@h:x/d", "is no address"),
        ("ENGINE", "celery", "celery is not available yet"),
        ("BROKER_URL", "secret", "must begin with amqp:// or amqps://"),
        ("BROKER_URL", "redis://u:secret@h", "must begin with amqp:// or amqps://"),
        ("BROKER_URL", "amqp://", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqp://u:se/secret@h", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqp://u:1/secret@h", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqp://u:1#secret@h", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqp://u:1?secret@h", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqp://u:secret\u2100@h", "must be amqp://user:password@host:port/virtual-host"),
        ("BROKER_URL", "amqps://u:secret@h/?ca=x", "has an unknown option; there are: ca_file"),
        ("BROKER_URL", "amqp://u:secret@h/?verify=no", "has verify, which only count with amqps://"),
        ("BROKER_URL", "amqps://u:secret@h/?verify=maybe", "has a verify that is neither yes nor no"),
        ("BROKER_URL", "amqps://u:secret@h/?ca_file=/nowhere", "has a ca_file that is no file"),
        ("BROKER_URL", "amqps://u:secret@h/?cert_file=/nowhere", "has only one of cert_file and key_file"),
        ("TLS_CERT", "/nowhere.pem", "stands alone; TLS_KEY is missing"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, text: str, problem: str) -> None:
    found = problems(tmp_path, **{name: text})
    assert found[0].startswith(f"environment: {name}: {problem}")
    assert "secret" not in "".join(found)


def test_a_store_on_postgresql_without_its_driver_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql+psycopg://u:secret@h:5432/d"
    assert load(tmp_path, DATABASE_URL=url).database_url == url
    monkeypatch.setattr(store_address, "find_spec", lambda name: None)
    (found,) = problems(tmp_path, DATABASE_URL=url)
    assert "pip install 'octospool[postgresql]'" in found
    assert "secret" not in found


def test_a_broker_without_its_package_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_address, "find_spec", lambda name: None)
    (found,) = problems(tmp_path, BROKER_URL="amqp://u:secret@h")
    assert "pip install 'octospool[rabbitmq]'" in found
    assert "secret" not in found


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "api_port: x\nnonsense: 1", MAX_WORKERS="many", LOG_LEVEL="x")
    assert len(found) == 4


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_a_weak_token_serves_loopback(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, API_HOST=host).weak_token


@pytest.mark.parametrize("host", ["192.0.2.1", "::", "192.168.1.5", "example.org"])
@pytest.mark.parametrize("token", ["default_token", "tiny", "fifteen-letters"])
def test_a_weak_token_refuses_any_other_address(tmp_path: Path, host: str, token: str) -> None:
    (found,) = problems(tmp_path, API_HOST=host, API_TOKEN=token)
    assert f"{host} is not loopback, and API_TOKEN is" in found
    assert token not in found


def test_a_good_token_may_serve_any_address(tmp_path: Path) -> None:
    assert not load(tmp_path, API_HOST="::", API_TOKEN=TOKEN).weak_token


def test_https_needs_certificate_and_key(tmp_path: Path) -> None:
    assert problems(tmp_path, API_PROTOCOL="https") == [
        "environment: API_PROTOCOL: https needs TLS_CERT and TLS_KEY"
    ]
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    settings = load(tmp_path, API_PROTOCOL="https,http", TLS_CERT="cert.pem", TLS_KEY="key.pem")
    assert (settings.api_protocols, settings.tls_cert) == (("https", "http"), tmp_path / "cert.pem")


def test_autostart_takes_paths_and_mappings_and_keeps_bad_entries_as_problems(tmp_path: Path) -> None:
    config = """\
autostart:
  - a.yml
  - {path: sub/b.yml, every_seconds: 60, timeout_seconds: 5}
  - {path: c.yml, cron: '0 7 * * MON'}
  - ../escape.yml
  - {path: d.yml, cron: nonsense}
  - {path: e.yml, cron: '* * * * *', every_seconds: 5}
  - {path: f.yml, evry_seconds: 5}
  - 7
  - a.yml
"""
    settings = load(tmp_path, config)
    assert [entry.path for entry in settings.autostart] == ["a.yml", "sub/b.yml", "c.yml"]
    assert (settings.autostart[1].every_seconds, settings.autostart[1].timeout_seconds) == (60, 5)
    assert settings.autostart[2].cron == "0 7 * * MON"
    lines = [(problem.line, problem.code) for problem in settings.autostart_problems]
    assert [line for line, _ in lines] == [5, 6, 7, 8, 9, 10]
    assert "did you mean 'every_seconds'?" in str(settings.autostart_problems[3])


def test_autostart_that_is_no_list_does_not_stop_the_start(tmp_path: Path) -> None:
    settings = load(tmp_path, "autostart: a.yml")
    assert str(settings.autostart_problems[0]).startswith("config.yml:1:1: autostart: must be a list")


@pytest.mark.parametrize(
    ("text", "size"), [("2048", 2048), ("2 MiB", 2 << 20), ("512k", 512 << 10), ("1GB", 1 << 30)]
)
def test_the_largest_body_may_be_given_with_a_unit(tmp_path: Path, text: str, size: int) -> None:
    assert load(tmp_path, f"api: {{max_body: {text}}}").api.max_body == size


def test_secrets_do_not_show_when_settings_are_printed(tmp_path: Path) -> None:
    settings = load(tmp_path, API_TOKEN=TOKEN, HASHICORP_VAULT_TOKEN="vault-token", OTHER="other-secret")
    assert not any(text in repr(settings) for text in (TOKEN, "vault-token", "other-secret"))
    assert settings.environment["OTHER"] == "other-secret"


def test_a_secret_in_config_is_not_shown_in_problems(tmp_path: Path) -> None:
    assert "4711" not in "".join(problems(tmp_path, "api_token: 4711"))


def test_folders_are_created_with_their_parents_and_only_when_asked(tmp_path: Path) -> None:
    settings = load(tmp_path, DATA_PATH="a/b/c", LOCK_PATH="x/locks")
    assert not (tmp_path / "a").exists()
    settings.create_folders()
    settings.create_folders()
    assert sorted(path.name for path in (tmp_path / "a/b/c").iterdir()) == ["flows", "logs", "templates"]
    assert (tmp_path / "x/locks").is_dir()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SettingsError, match="cannot be created"):
        load(tmp_path).create_folders()


def test_what_follows_from_a_data_folder_that_cannot_be_is_not_told_again(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SettingsError) as error:
        load(tmp_path, LOG_PATH="logs").create_folders()
    assert len(error.value.details["problems"]) == 1


def test_a_config_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"CONFIG_FILE: there is no file .*typo\.yml"):
        load(tmp_path, CONFIG_FILE="typo.yml")


@pytest.mark.parametrize(
    ("text", "level"), [("debug", "DEBUG"), ("Warning", "WARNING"), (" error ", "ERROR")]
)
def test_the_log_level_may_be_written_in_any_case(tmp_path: Path, text: str, level: str) -> None:
    assert load(tmp_path, LOG_LEVEL=text).log_level == level


def test_a_wrong_choice_is_shown_as_it_was_typed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found the text 'verbose'"):
        load(tmp_path, LOG_LEVEL="verbose")


def test_an_unknown_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no setting"):
        Settings.load({}, base=tmp_path, overrides={"api_prt": 1})


def test_a_config_cut_off_at_any_byte_gives_settings_or_a_settings_error(tmp_path: Path) -> None:
    whole = b"api_port: 5001\nautostart:\n  - {path: a.yml, cron: '* * * * *'}\napi: {threads: 4}\ntimezone: UTC\n"
    file = tmp_path / "config.yml"
    for length in range(len(whole) + 1):
        file.write_bytes(whole[:length])
        try:
            Settings.load({"CONFIG_FILE": str(file)}, base=tmp_path)
        except SettingsError as error:
            assert error.details["problems"][0]["file"] == "config.yml"  # noqa: PT017  either outcome is right


@given(
    st.dictionaries(
        st.sampled_from([variable.name for variable in VARIABLES]), st.text(max_size=20), max_size=4
    )
)
def test_any_environment_gives_settings_or_a_settings_error(environ: dict[str, str]) -> None:
    base = Path("/nowhere/at/all")
    try:
        Settings.load(environ, base=base)
    except SettingsError as error:
        assert error.details["problems"]  # noqa: PT017  either outcome is right


@given(st.binary(max_size=80))
def test_any_config_gives_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    base = tmp_path_factory.mktemp("settings")
    file = base / "config.yml"
    file.write_bytes(raw)
    try:
        Settings.load({"CONFIG_FILE": str(file)}, base=base)
    except SettingsError as error:
        assert error.details["problems"]  # noqa: PT017  either outcome is right


# Retention.


def test_runs_are_kept_for_90_days_unless_config_says_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path).retention.max_age_days == 90
    kept = load(tmp_path, "retention: {max_age_days: forever, max_runs: 5, max_bytes: 2 GiB}\n").retention
    assert (kept.max_age_days, kept.max_runs, kept.max_bytes) == ("forever", 5, 2 * 1024**3)
    assert load(tmp_path, "retention: {max_runs: 5}\n").retention.max_age_days == 90


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{max_age_days: 0}", "more than 0"),
        ("{max_age_days: never}", "a number or one of forever"),
        ("{max_runs: 0}", "1"),
        ("{max_bytes: 10}", "at least 1 MiB"),
        ("{max_bytes: much}", "at least 1 MiB"),
        ("{max_age: 3}", "did you mean 'max_age_days'"),
    ],
)
def test_a_retention_that_would_delete_everything_or_means_nothing_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    (problem,) = problems(tmp_path, f"retention: {text}\n")
    assert said in problem
    assert "retention" in problem


# Queues.


def test_a_queue_says_what_is_other_than_for_all_queues(tmp_path: Path) -> None:
    config = """
queues:
  defaults: {max_items: 10, keep_done: {days: 1, count: 0}}
  orders: {rate_per_second: 0.5, max_item_bytes: 2 KiB, keep_done: {count: 5}}
"""
    queues = load(tmp_path, config).queues
    orders, others = queues.of("orders"), queues.of("others")
    assert (orders.max_items, orders.rate_per_second, orders.max_item_bytes) == (10, 0.5, 2048)
    assert (orders.keep_done.days, orders.keep_done.count) == (1, 5)
    assert (others.max_items, others.rate_per_second, others.keep_done.count) == (10, None, 0)
    unsaid = load(tmp_path, "queues:\n").queues.of("orders")
    assert (unsaid.max_items, unsaid.prefetch, unsaid.keep_done.days) == (100_000, None, 7)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{orders: {max_itmes: 5}}", "1:19: queues.orders.max_itmes: unknown key 'max_itmes' (did you mean"),
        ("{orders: {max_items: 0}}", "1:30: queues.orders.max_items: must be at least 1; found 0"),
        ("{orders: {prefetch: '5'}}", "1:29: queues.orders.prefetch: must be a whole number; found the text"),
        ("{orders: {rate_per_second: 0}}", "1:36: queues.orders.rate_per_second: must be more than 0"),
        (
            "{orders: {max_item_bytes: lots}}",
            "1:35: queues.orders.max_item_bytes: must be a size up to 1 GiB",
        ),
        (
            "{orders: {keep_done: {days: -1}}}",
            "1:37: queues.orders.keep_done.days: must be more than 0 or one",
        ),
        ("{orders: 5}", "1:18: queues.orders: must be a mapping (key: value); found 5"),
        ("{../orders: {}}", "1:21: queues.../orders: '../orders' cannot be a queue's name: up to 100 of"),
        ("[orders]", "1:9: queues: must be a mapping (key: value); found a list"),
    ],
)
def test_settings_of_queues_that_are_wrong_stop_the_start(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems(tmp_path, f"queues: {text}\n")
    assert found.startswith(f"config.yml:{problem}")
