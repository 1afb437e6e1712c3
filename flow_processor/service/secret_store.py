"""The named secrets of a data folder."""

from __future__ import annotations

from flow_processor.secrets import SecretStore
from flow_processor.settings import Settings


def secret_store(settings: Settings, *, asks_vault: bool = True) -> SecretStore:
    """Those of secrets.yml, as the settings say where they are; nothing is read yet."""
    return SecretStore(
        settings.secrets_path,
        # With the token that counts: without API_TOKEN set, a grant of ${API_TOKEN} means the default one.
        {**settings.environment, "API_TOKEN": settings.api_token},
        vault_token=settings.hashicorp_vault_token if asks_vault else None,
        vault_ttl_seconds=settings.hashicorp_vault_cache_ttl,
    )
