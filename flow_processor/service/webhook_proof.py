"""Does a call of a webhook come from who knows its secret? And how the same call is known when it comes again."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from flow_processor.spec.webhook import WebhookScheme, WebhookSpec

DELIVERY_HEADERS = ("X-Octospool-Delivery", "X-GitHub-Delivery", "X-Gitea-Delivery", "Idempotency-Key")
"""Headers in which a sender names its delivery: the same name means the same delivery, sent again."""

_TIMED = re.compile(r"t=(\d{1,12})((?:,v1=[0-9A-Fa-f]{64}){1,5})")

_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.IGNORECASE)


class Headers(Protocol):
    """The headers of a call, whatever the case of their names."""

    def get(self, name: str, /) -> str | None:
        """The header's value; None if the call has none."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A call that was proven."""

    marks: tuple[str, ...]
    """What the same call is known by; none where calls cannot be told apart."""
    expires_at: float
    """Until then it is to be remembered, in seconds since 1970."""


class Unproven(Exception):
    """Why a call proves nothing: for the log, never for the caller."""


def prove(spec: WebhookSpec, key: bytes, headers: Headers, body: bytes, *, now: float) -> Proof:
    """The proof that a call carries. Raises Unproven.

    Whatever is wrong, one HMAC over the body is computed, so that the time tells a caller nothing.
    """
    offered = (headers.get(spec.proof_header) or "").strip()
    timed = _TIMED.fullmatch(offered.replace(" ", "")) if _is_timed(spec) else None
    signed_at = timed[1] if timed else "0"
    signed = b"%s.%s" % (signed_at.encode(), body) if _is_timed(spec) else body
    signature = hmac.new(key, signed, hashlib.sha256).hexdigest()
    if _is_timed(spec):
        is_right = any(_is_same(one, signature) for one in _signatures(timed))
    elif spec.scheme is WebhookScheme.HMAC_SHA256:
        is_right = _is_same(offered, f"sha256={signature}")
    else:
        # Digests of one length: comparing the tokens themselves would tell how long the right one is.
        mine, right = _bytes(offered), key
        is_right = hmac.compare_digest(hashlib.sha256(mine).digest(), hashlib.sha256(right).digest())
    if not is_right:
        raise Unproven(_what_is_wrong(spec, offered, is_formed=timed is not None))
    newest = now
    if _is_timed(spec):
        age = now - int(signed_at)
        if abs(age) > spec.window_seconds:
            when = f"{age:.0f} s ago" if age > 0 else f"for {-age:.0f} s ahead of this clock"
            causes = (
                "a clock is wrong, or somebody sends an old call again" if age > 0 else "a clock is wrong"
            )
            raise Unproven(f"it was signed {when}, the window is {spec.window_seconds:g} s: {causes}")
        newest = max(now, int(signed_at))
    return Proof(_marks(spec, headers, signature), newest + spec.window_seconds)


def _what_is_wrong(spec: WebhookSpec, offered: str, *, is_formed: bool) -> str:
    """Why the proof does not hold, as far as its form tells. `is_formed`: it is a moment and signatures."""
    header = f"the header {spec.proof_header}"
    if not offered:
        return f"{header} is missing"
    if spec.scheme is WebhookScheme.TOKEN:
        return f"{header} has another token"
    if _is_timed(spec) and not is_formed:
        parts = [part.strip() for part in offered.split(",")]
        for key in ("t=", "v1="):
            if not any(part.startswith(key) for part in parts):
                return f"{header} has no '{key}'"
        digits = parts[0].removeprefix("t=")
        if digits.isdecimal() and len(digits) > 12:
            return f"in {header} 't' is no moment in seconds ({len(digits)} digits: milliseconds?)"
        return f"{header} is not t=<unix seconds>,v1=<64 hex digits>"
    if not _is_timed(spec):
        if not offered.lower().startswith("sha256="):
            return f"{header} has no 'sha256=' in front"
        if not _SIGNATURE.fullmatch(offered):
            return f"{header} is not 'sha256=' and 64 hex digits"
    return f"{header} does not fit the body: another secret, or the body was changed"


def _is_timed(spec: WebhookSpec) -> bool:
    return spec.scheme is WebhookScheme.HMAC_SHA256_TIMESTAMP


def _signatures(timed: re.Match[str] | None) -> Iterator[str]:
    """All that are offered: who changes the secret signs with both for a while."""
    yield from () if timed is None else (part.removeprefix("v1=") for part in timed[2].split(",") if part)


def _is_same(offered: str, right: str) -> bool:
    return hmac.compare_digest(_bytes(offered.lower()), right.encode())


def _bytes(header: str) -> bytes:
    """WSGI hands header bytes over as Latin-1."""
    return header.encode("latin-1", "replace")


def _marks(spec: WebhookSpec, headers: Headers, signature: str) -> tuple[str, ...]:
    """A sender's own id tells deliveries apart. A signed moment may be used once in any case: the id is not signed,
    so who has recorded a call could send it again under another one."""
    named = next((f"{name}: {found}" for name in DELIVERY_HEADERS if (found := headers.get(name))), None)
    marks = [] if named is None else [f"id {hashlib.sha256(_bytes(named)).hexdigest()}"]
    if _is_timed(spec) or (named is None and spec.scheme is WebhookScheme.HMAC_SHA256):
        marks.append(f"signature {signature}")
    return tuple(marks)
