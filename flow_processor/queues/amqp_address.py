"""BROKER_URL: where the message broker is, and who asks. The password in it is shown nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PORTS = {"amqp": 5672, "amqps": 5671}
OPTIONS = ("ca_file", "cert_file", "key_file", "verify")
"""What may stand behind the `?`."""

_FORM = (
    "must be amqp://user:password@host:port/virtual-host, special characters of the password quoted (@ %40, / %2F,"
    " # %23, : %3A, ? %3F)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """A message broker that speaks AMQP 0-9-1."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str = "/"
    tls: bool = False
    verify: bool = True
    """Must its certificate be right?"""
    ca_file: Path | None = None
    """Who may have signed it; None: those that the machine trusts."""
    cert_file: Path | None = None
    """Our own certificate, for a broker that wants to see one."""
    key_file: Path | None = None

    def __str__(self) -> str:
        """The address for people, without the password."""
        where = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.tls else 'amqp'}://{where}:{self.port}"


def broker_address(url: str) -> BrokerAddress:
    """BROKER_URL as an address. Raises ValueError, which repeats nothing of the URL: a password with special characters
    in it may be anywhere."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme not in PORTS:
        raise ValueError("must begin with amqp:// or amqps://")
    if not host or parts.fragment or "@" in parts.path + parts.query:
        raise ValueError(_FORM)
    options = _options(parts.query, tls=parts.scheme == "amqps")
    verify = options.pop("verify", "yes")
    if verify not in ("yes", "no"):
        raise ValueError("has a verify that is neither yes nor no")
    files = {name: Path(value) for name, value in options.items()}
    if ("key_file" in files) != ("cert_file" in files):
        raise ValueError("has only one of cert_file and key_file")
    for name, path in files.items():
        if not path.is_file():
            raise ValueError(f"has a {name} that is no file")
    return BrokerAddress(
        host=host,
        port=port or PORTS[parts.scheme],
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path.removeprefix("/")) or "/",
        tls=parts.scheme == "amqps",
        verify=verify == "yes",
        **files,
    )


def _options(query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if any(name not in OPTIONS for name in options):
        raise ValueError(f"has an unknown option; there are: {', '.join(OPTIONS)}")
    if options and not tls:
        raise ValueError(f"has {' and '.join(options)}, which only count with amqps://")
    return options


def missing_package() -> str | None:
    """What to do about the AMQP library if it is not there, in a sentence. Imports nothing."""
    if find_spec("amqp") is not None:
        return None
    return "the package amqp is not installed: pip install 'octospool[rabbitmq]'"
