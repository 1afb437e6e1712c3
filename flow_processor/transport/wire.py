"""The part of `transport` that knows requests and urllib3.

Their timeouts are per read: a server that sends a byte a second holds a call for ever. So a timer shuts the
call's socket down when its time is up, whatever the call is reading then: TLS, headers, chunks or body.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    ReadTimeoutError,
)

from flow_processor.shortened import shortened
from flow_processor.transport import MAX_REDIRECTS, Answer, Request, TransportError
from flow_processor.version import VERSION

_CHUNK_BYTES = 64 * 1024
_KEEP_SECONDS = 1.0
"""Connections idle for longer are not used again: the server may be closing them at this very moment, and a
POST that fails so could not be told from one that was carried out."""
MAX_SHOWN_URI = 300
MAX_REASON = 500
"""So many characters messages quote, of an address and of what a library says."""
_HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""Headers that may go along to another origin; any other one may be a credential."""
_CA_FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name the certificates to trust, for machines behind a TLS proxy of their own."""
_UNSENT = (
    NewConnectionError,
    ConnectTimeoutError,
    ssl.SSLCertVerificationError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
)
"""Causes of an end before anything of the request was sent."""

_local = threading.local()


class _Deadline:
    """The end of a call's time, and the socket to shut down then."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.expired = False
        self._ends = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._mutex = threading.Lock()

    def remaining(self) -> float:
        """Seconds left; a little more than nothing, as a socket's timeout of 0 means something else."""
        return max(self._ends - time.monotonic(), 0.001)

    def watch(self, sock: socket.socket | None) -> None:
        with self._mutex:
            self._socket = sock
            if self.expired:
                self._cut()

    def expire(self) -> None:
        with self._mutex:
            self.expired = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown: it takes the TLS state away from the thread that is reading.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _watch(sock: Any) -> None:
    deadline: _Deadline | None = getattr(_local, "deadline", None)
    if deadline is not None and isinstance(sock, socket.socket):
        deadline.watch(sock)


class _PlainConnection(HTTPConnection):
    """One whose deadline is watched from the moment on at which there is a socket."""

    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self.sock)
        super().request(*args, **kwargs)


class _TlsConnection(_PlainConnection, HTTPSConnection):
    """The same over TLS: what stands above lies around what HTTPSConnection does."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    """Uses connections that tell the deadline their socket."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        found = super().proxy_manager_for(*args, **kwargs)
        found.pool_classes_by_scheme = _POOLS
        return found


def _session() -> requests.Session:
    """This thread's session: shared ones mix up cookies and run out of connections (LIBRARIES §5)."""
    now = time.monotonic()
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = requests.Session()
        session.trust_env = False  # no ~/.netrc: a flow gets the credentials that it names, no others
        session.headers["User-Agent"] = f"octospool/{VERSION}"
        session.cookies.set_policy(DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrict))
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(pool_connections=8, pool_maxsize=2))
        _local.session = session
    elif now - _local.used_at > _KEEP_SECONDS:
        session.close()  # closes the connections; the session itself can go on
    session.cookies.clear()
    return session


def send(request: Request, *, seconds: float) -> Answer:
    """See `transport.send`."""
    session = _session()
    deadline = _Deadline(seconds)
    timer = threading.Timer(deadline.remaining(), deadline.expire)
    timer.daemon = True
    _local.deadline = deadline
    timer.start()
    try:
        return _follow(session, request, deadline)
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        explained = _explained(error, request.uri, deadline)
        explained.was_sent = not any(isinstance(cause, _UNSENT) for cause in _causes(error))
        raise explained from error
    finally:
        timer.cancel()
        _local.deadline = None
        _local.used_at = time.monotonic()


def _follow(session: requests.Session, request: Request, deadline: _Deadline) -> Answer:
    method, uri, headers, body = request.method, request.uri, dict(request.headers), request.body
    for _ in range(MAX_REDIRECTS + 1):
        _check_uri(uri)
        prepared = session.prepare_request(requests.Request(method, uri, headers=headers, data=body))
        response = session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=deadline.remaining(),
            verify=_verify(request.verify),
            proxies=get_environ_proxies(uri),
        )
        with response:
            target = session.get_redirect_target(response)
            if target is None or request.keep_redirect(response.status_code):
                return _read(response, request.max_bytes, deadline)
        followed = urljoin(uri, target)
        if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
            method, body = ("HEAD" if method == "HEAD" else "GET"), None  # RFC 9110 §15.4
            headers = {name: text for name, text in headers.items() if name.lower() != "content-type"}
        if _origin(followed) != _origin(uri):
            headers = {name: text for name, text in headers.items() if name.lower() in _HARMLESS}
        uri = followed
    raise TransportError(
        f"gave up after {MAX_REDIRECTS} redirects, at {_shown(uri)}", code="rest_too_many_redirects"
    )


def _verify(wanted: bool | str) -> bool | str:
    if wanted is True:
        return next((os.environ[name] for name in _CA_FILES if os.environ.get(name)), True)
    if wanted is False:
        warnings.simplefilter("ignore", InsecureRequestWarning)  # the flow's author has decided
    return wanted


def _read(response: requests.Response, max_bytes: int, deadline: _Deadline) -> Answer:
    announced = response.headers.get("Content-Length", "")
    body = bytearray()
    if announced.isdigit() and int(announced) > max_bytes and response.request.method != "HEAD":
        raise _too_large(max_bytes)
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    if deadline.expired:
        # A body without a length ends when its socket is shut down, as if it were whole.
        raise requests.Timeout
    return Answer(response.status_code, _headers(response), bytes(body))


def _headers(response: requests.Response) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _too_large(max_bytes: int) -> TransportError:
    return TransportError(
        f"the answer is larger than {max_bytes:,} bytes (max_response_bytes)", code="rest_response_too_large"
    )


def _origin(uri: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _check_uri(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransportError(f"{_shown(uri)!r} is no http:// or https:// address", code="rest_invalid_uri")
    _ = parts.port  # raises ValueError for one that is none


def _shown(uri: str) -> str:
    """The uri as messages show it: without user, password and query."""
    try:
        parts = urlsplit(uri)
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return shortened(bare, MAX_SHOWN_URI)
    except ValueError:
        return "the uri"


def _explained(error: Exception, uri: str, deadline: _Deadline) -> TransportError:
    where = _shown(uri)
    reason = _reason(error)
    timed_out = isinstance(error, requests.Timeout | TimeoutError) or any(
        isinstance(part, ReadTimeoutError) for part in error.args
    )
    if deadline.expired or timed_out:
        seconds = f"{deadline.seconds:g}"
        return TransportError(f"no whole answer from {where} within {seconds} s", code="rest_timeout")
    if isinstance(error, requests.exceptions.SSLError):
        return TransportError(f"TLS with {where} failed: {reason}", code="rest_tls")
    if isinstance(error, requests.exceptions.InvalidHeader | UnicodeError):
        return TransportError(f"the request cannot be sent: {reason}", code="rest_invalid_request")
    if isinstance(error, ValueError):
        return TransportError(f"{where!r} is no address: {reason}", code="rest_invalid_uri")
    return TransportError(f"cannot talk to {where}: {reason}", code="rest_connection")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it wraps, from without to within."""
    found, seen = error, {id(error)}
    while True:
        yield found
        inner = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        deeper = [part for part in inner if isinstance(part, BaseException) and id(part) not in seen]
        if not deeper:
            return
        found = deeper[0]
        seen.add(id(found))


def _reason(error: BaseException) -> str:
    """The innermost cause that says something: 'Connection refused' instead of three wrappings of it."""
    found = list(_causes(error))[-1]
    verified = getattr(found, "verify_message", None)
    text = verified or getattr(found, "strerror", None) or str(found) or type(found).__name__
    return shortened(str(text), MAX_REASON)
