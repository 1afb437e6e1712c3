"""Named secrets: from secrets.yml, the environment and Vault; and how they stay unseen."""

from flow_processor.secrets.redaction import Redactor
from flow_processor.secrets.secret_store import SecretStore

__all__ = ["Redactor", "SecretStore"]
