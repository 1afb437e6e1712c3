"""Who may call what: tokens, by exact route, and the name under which a loopback daemon may be called.

Threat statement: callers are other programs of this machine or its network, and browsers that were talked
into calling. A page of another site cannot know the token; DNS rebinding cannot fake the Host header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed

from flow_processor.api.errors import HostRefused, error_body
from flow_processor.api.handlers import service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Caller, Permission
from flow_processor.errors import Unauthorized
from flow_processor.settings import Settings, is_loopback

Route = tuple[str, str]
"""Method, and the address as Flask writes it. There is no prefix, no suffix, no pattern."""

BROWSER_ROUTES = frozenset({("GET", "/api/docs"), ("GET", "/api/docs/<name>"), ("GET", "/api/openapi.json")})
"""Where a browser may also send the token as a Basic password, because it cannot send a bearer token."""


def protect(app: Flask, nouns: Sequence[Noun], settings: Settings) -> None:
    """Refuse every call whose token does not allow it, or that comes under a strange name."""
    host, allowed = settings.api_host, settings.api.allowed_hosts
    names = {host.lower(), *map(str.lower, allowed)} if is_loopback(host) else None
    needs = needs_of(nouns)
    tokens = Tokens(settings)

    @app.before_request
    def check() -> Response | None:
        if names is not None:
            _check_host(request.environ.get("HTTP_HOST"), names)
        rule = request.url_rule
        method = "GET" if request.method == "HEAD" else request.method
        route = (method, rule.rule if rule is not None else "")
        # An address that is not in the table says nothing of itself, so it is not for everybody.
        needed = needs.get(route, Permission.OPERATE)
        if needed is None or _is_open_otherwise(needs):
            return None
        scheme, _, credentials = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        basic = route in BROWSER_ROUTES
        offered = _offered(scheme.lower(), credentials.strip(), basic=basic)
        found = None if offered is None else tokens.caller(offered)
        if not isinstance(found, Caller):
            return _refusal(found or Unauthorized("Unauthorized"), basic=basic)
        if rule is not None:
            found.check(needed)
        g.caller = found
        return None


def _is_open_otherwise(needs: Mapping[Route, Permission | None]) -> bool:
    """Is an address that is open to everybody called with another method than it has? That may be said."""
    refused = request.routing_exception
    if not isinstance(refused, MethodNotAllowed):
        return False
    address = current_app.url_map.bind("")
    methods = set(refused.valid_methods or ()) - {"HEAD"}
    rules = [(one, address.match(request.path, method=one, return_rule=True)[0].rule) for one in methods]
    return all(needs.get(route, Permission.OPERATE) is None for route in rules)


def needs_of(nouns: Sequence[Noun]) -> Mapping[Route, Permission | None]:
    """What each call needs; None: no token."""
    needs: dict[Route, Permission | None] = dict.fromkeys(BROWSER_ROUTES, Permission.READ)
    for noun in nouns:
        for call in noun.calls:
            needs[call.method.upper(), noun.prefix + call.rule] = call.needs
    return needs


class Tokens:
    """All tokens, as their SHA-256: so long as that, a comparison tells nothing of a token by its time."""

    def __init__(self, settings: Settings) -> None:
        self._named = settings.named_tokens
        self._callers = [Caller.of(token) for token in self._named]
        self._operators_digest = _sha256(settings.api_token.encode())
        self._operator = Caller.operator(edits_flows=settings.api.edit_flows)

    def caller(self, offered: bytes) -> Caller | Unauthorized | None:
        """Whose token it is; an error if its time is over, None if it is nobody's. Looks at all of them each time."""
        digest = _sha256(offered)
        found: Caller | Unauthorized | None = None
        for token, caller in zip(self._named, self._callers, strict=True):
            if hmac.compare_digest(digest, token.digest):
                found = caller
                if token.expires is not None and service().clock.now() >= token.expires:
                    message = f"the token '{token.name}' has expired ({token.expires.isoformat()})"
                    found = Unauthorized(message, code="token_expired")
        if hmac.compare_digest(digest, self._operators_digest):
            found = self._operator
        return found


def _sha256(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _check_host(header: str | None, names: set[str]) -> None:
    """A browser always sends Host; a call without it (HTTP/1.0) does not come from a web page."""
    if header is None:
        return
    name = header.partition("]")[0].removeprefix("[") if header.startswith("[") else header.partition(":")[0]
    if name.lower() not in names and not is_loopback(name):
        raise HostRefused(
            f"this daemon serves its own machine only, and was called as '{header[:100]}'; "
            "call it as 127.0.0.1 or localhost, or name the host in config.yml under api: allowed_hosts"
        )


def _offered(scheme: str, credentials: str, *, basic: bool) -> bytes | None:
    """The token that a call offers, if any; WSGI hands header bytes over as Latin-1."""
    if scheme == "bearer":
        return credentials.encode("latin-1", "replace")
    if basic and scheme == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


def _refusal(error: Unauthorized, *, basic: bool) -> Response:
    answer = Response(error_body(error), 401, mimetype="application/json")
    challenge = 'Basic realm="octospool: the token is the password", charset="UTF-8"'
    answer.headers["WWW-Authenticate"] = challenge if basic else 'Bearer realm="octospool"'
    return answer
