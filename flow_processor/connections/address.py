"""Where a server is, and who asks: the address from the flow, the password from a secret and from nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flow_processor.errors import StepError
from flow_processor.step import StepContext

_WAY_OUT = (
    "a password does not belong into a flow; name a secret: `secret: NAME`, of type credential (user name and "
    "password) or token (the whole address)"
)


class AddressInvalid(StepError):
    """The address of a server cannot be used as it is written."""

    code = "address_invalid"


@dataclass(frozen=True, slots=True)
class Address:
    """An address and the credentials that do not stand in it."""

    url: str = field(repr=False)
    """May hold a password, where the whole address is a secret."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def has_password(url: str) -> bool:
    """Does a password stand in the address?"""
    try:
        return bool(urlsplit(url).password)
    except ValueError:
        return "@" in url


def check_address(url: str | None) -> str | None:
    """For specs: the address as it is. Raises ValueError where a password stands in it."""
    if url is not None and "{{" not in url and has_password(url):
        raise ValueError(_WAY_OUT)
    return url


def address_of(context: StepContext, *, url: str | None, secret: str | None) -> Address:
    """The address by the flow's `url` (a template) and `secret`. Raises AddressInvalid.

    A secret with `username` and `password` completes `url`; any other is the address itself (`url` or `token`).
    """
    rendered = None if url is None else context.render(url)
    if rendered is not None and (not isinstance(rendered, str) or has_password(rendered)):
        text = _WAY_OUT if isinstance(rendered, str) else "url must be a text"
        raise AddressInvalid(f"url: {text}")
    if secret is None:
        return Address(rendered or "")
    values = context.secret(secret).values
    username, password = values.get("username"), values.get("password")
    if isinstance(password, str):
        if rendered is None:
            raise AddressInvalid(f"secret {secret!r} is a user name and a password; say where: `url:`")
        return Address(rendered, username if isinstance(username, str) else None, password)
    whole = values.get("url") or values.get("token")
    if not isinstance(whole, str):
        there = ", ".join(sorted(values)) or "nothing"
        raise AddressInvalid(
            f"secret {secret!r} holds no address (url, token) and no password; it has: {there}"
        )
    if rendered is not None:
        raise AddressInvalid(f"secret {secret!r} is a whole address; remove `url`")
    return Address(whole)
