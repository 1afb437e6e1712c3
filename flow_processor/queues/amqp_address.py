"""BROKER_URL: where the message broker is, and who asks. The password in it is shown nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PORTS = {"amqp": 5672, "amqps": 5671}
OPTIONS = ("ca_file", "cert_file", "key_file", "verify")
"""What may stand behind the `?`."""


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
    """BROKER_URL as an address. Raises ValueError, which repeats nothing of the URL but option names."""
    parts = urlsplit(url)  # its own ValueError, of an IPv6 address without `]`, repeats nothing
    if parts.scheme not in PORTS:
        raise ValueError("it must begin with amqp:// or amqps://")
    if not parts.hostname or parts.fragment:
        raise ValueError(
            "it must be amqp://user:password@host:port/virtual-host; quote special characters (%40)"
        )
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise ValueError(
            "its port is no number up to 65535; quote special characters of a password (%3A)"
        ) from None
    options = _options(parts.query, tls=parts.scheme == "amqps")
    verify = options.pop("verify", "yes")
    if verify not in ("yes", "no"):
        raise ValueError("verify must be yes or no")
    files = {name: Path(value) for name, value in options.items()}
    if ("key_file" in files) != ("cert_file" in files):
        raise ValueError("cert_file and key_file belong together")
    for name, path in files.items():
        if not path.is_file():
            raise ValueError(f"{name} names no file")
    return BrokerAddress(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path.removeprefix("/")) or "/",
        tls=parts.scheme == "amqps",
        verify=verify == "yes",
        **files,
    )


def _options(query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"there is no option '{name[:40]}'; there are: {', '.join(OPTIONS)}")
    if options and not tls:
        raise ValueError(f"{', '.join(options)}: only with amqps://")
    return options
