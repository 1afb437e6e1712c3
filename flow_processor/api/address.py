"""Where the API listens: bound before anything else begins, so that a port that is taken refuses the start.

Serving comes later, and what serves is loaded later: a daemon that starts has runs to go on with, and callers wait in
the kernel's queue meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from flow_processor.errors import SettingsError

if TYPE_CHECKING:
    from flow_processor.settings import Settings

BACKLOG = 1024
"""Callers that the kernel lets wait until they are accepted."""


class Address:
    """The sockets of the API, bound, and what is needed to speak on them."""

    def __init__(self, settings: Settings):
        """Raises SettingsError: a certificate that cannot be read, a host that is none, a port that is taken."""
        self.tls = tls_context(settings) if "https" in settings.api_protocols else None
        """None: plain http alone."""
        self.sockets = bind(settings.api_host, settings.api_port)
        self._protocol = settings.api_protocols[0]
        self._host = settings.api_host
        self._port = int(self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where to call it from this machine: `http://127.0.0.1:5000`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104  # no bind
        return f"{self._protocol}://{f'[{host}]' if ':' in host else host}:{self._port}"

    def close(self) -> None:
        """Listen no more."""
        for one in self.sockets:
            one.close()


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the addresses of the host (localhost may have two). Port 0 is any free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"API_HOST: '{host}' is not an address of this machine ({error})") from None
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        same_port = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(socket.create_server((str(address[0]), same_port), family=family, backlog=BACKLOG))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL and len(found) > 1:
                continue  # localhost's ::1 where IPv6 is switched off
            for one in sockets:
                one.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise SettingsError(f"API_HOST: '{host}' is not an address of this machine") from None
            # Not error.strerror: socket.create_server writes the address into it once more.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SettingsError(
                f"API_PORT: cannot listen on {host}:{port} ({reason}); "
                "is another program using it? Set API_PORT to a free one",
                code="port_taken",
            ) from None
    return sockets


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 and newer with the configured certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None or key is None:
        raise SettingsError("API_PROTOCOL: https needs TLS_CERT and TLS_KEY")
    try:
        # The empty password keeps OpenSSL from asking at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise SettingsError(f"TLS_CERT, TLS_KEY: {certificate}, {key}: {error}") from None
    return context
