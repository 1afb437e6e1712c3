"""Headers of every answer: what a browser may do with it, and which other origins may read it (CORS)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, request

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer, unless the route has set its own (the documentation page has its own policy)."""

PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match",
    "Access-Control-Max-Age": "600",
}
"""The answer to a browser's question beforehand; 600 s is how long it may remember."""


def install(app: Flask, *, origins: Sequence[str]) -> None:
    """Add the security headers, and CORS for the listed origins. Call it before `auth.protect`:

    a preflight carries no token, so it is answered before the token is looked at.
    """
    allowed = frozenset(origins)

    @app.before_request
    def preflight() -> Response | None:
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if asks and request.headers.get("Origin") in allowed:
            return Response(status=204, headers=PREFLIGHT_HEADERS)
        return None

    @app.after_request
    def finish(answer: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            answer.headers.setdefault(name, value)
        if allowed:
            answer.headers["Vary"] = "Origin"
            origin = request.headers.get("Origin")
            if origin is not None and origin in allowed:
                answer.headers["Access-Control-Allow-Origin"] = origin
                answer.headers["Access-Control-Expose-Headers"] = "ETag, Location, Retry-After"
        return answer
