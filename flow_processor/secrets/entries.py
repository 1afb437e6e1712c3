"""What secrets.yml may say: a list of named entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from flow_processor.spec.base import Spec

Value = Annotated[str, Field(min_length=1, max_length=65_536)]
"""A text, in which ${NAME} stands for a variable of the daemon's environment."""


def _http(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value


class Entry(Spec):
    """A named secret."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The name that flows use."""

    def values(self) -> Mapping[str, str]:
        """The entry's own texts, `${NAME}` not yet replaced."""
        return self.model_dump(exclude={"name", "type"}, exclude_none=True)


class CredentialEntry(Entry):
    """A user name and a password."""

    type: Literal["credential"]
    username: Value
    """The user's name."""
    password: Value
    """The password."""


class TokenEntry(Entry):
    """A token."""

    type: Literal["token"]
    token: Value
    """The token."""


class ApiKeyEntry(Entry):
    """A key that is sent in a header of its own."""

    type: Literal["api-key"]
    key: Value
    """The header's name: `X-Api-Key`."""
    value: Value
    """The key."""


class VaultEntry(Entry):
    """A secret that HashiCorp Vault keeps (its KV store, version 2)."""

    type: Literal["hashicorp-vault"]
    uri: Annotated[str, AfterValidator(_http)]
    """Its address: `https://vault.example/v1/kv/data/name`."""
    jq_expression: str | None = None
    """Makes the value that flows see from Vault's data."""


AnyEntry = Annotated[CredentialEntry | TokenEntry | ApiKeyEntry | VaultEntry, Field(discriminator="type")]


class SecretsFile(Spec):
    """secrets.yml, which is a plain list: its reader puts it under the key `secrets`."""

    secrets: tuple[AnyEntry, ...]
    """The entries."""

    @model_validator(mode="after")
    def _unique(self) -> SecretsFile:
        names = [entry.name for entry in self.secrets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"secret '{twice[0]}' is there twice")
        return self
