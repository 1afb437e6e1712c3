"""What flows may use beside them, as the settings say: for checks that look further than a launch does."""

from __future__ import annotations

from flow_processor.flow_files.surroundings import Surroundings
from flow_processor.secrets import SecretStore
from flow_processor.settings import Settings
from flow_processor.store import store_files


def surroundings(
    settings: Settings, secrets: SecretStore | None, own_filters: frozenset[str]
) -> Surroundings:
    """Folders, secrets (None: not known, not looked at) and own filters that steps may use."""
    return Surroundings(
        data=settings.data_path,
        templates=settings.templates_path,
        private=[*settings.private_paths, *store_files(settings.database_url)],
        secrets=None if secrets is None else secrets.names(),
        tokens=None if secrets is None else secrets.tokens(),
        own_filters=own_filters,
    )
