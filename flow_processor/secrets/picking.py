"""What a flow gets of a secret from Vault: picked by the secret's jq expression.

Never in the daemon, which evaluates no expression, not even the data folder's owner's.
"""

from __future__ import annotations

from flow_processor.expressions import jq
from flow_processor.step import Secret


def picked(secret: Secret) -> Secret:
    """The secret with the values that are used; one that is not from Vault is given back as it is."""
    if "data" not in secret.values:
        return secret
    found = secret.values["data"]
    if secret.values.get("jq_expression") is not None:
        found = jq.run(secret.values["jq_expression"], found)
    return Secret(secret.name, secret.type, found if isinstance(found, dict) else {"token": found})
