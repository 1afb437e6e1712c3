"""`octospool token`: a new token of the API, and what config.yml says of it."""

from __future__ import annotations

import hashlib
import secrets

import click

from flow_processor.cli.options import json_option
from flow_processor.cli.output import echo_json, say

TOKEN_BYTES = 32
"""256 random bits: nobody guesses them."""


@click.command("token")
@json_option
def command(as_json: bool) -> None:
    """Make a token for somebody else: print it, and the lines for config.yml, which know only its SHA-256.

    Nothing is stored; the token is shown this once. Roles: viewer reads, runner also launches, author also edits.

    \b
    Example:
      octospool token
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    digest = hashlib.sha256(token.encode()).hexdigest()
    if as_json:
        echo_json({"token": token, "sha256": digest})
        return
    say("For config.yml; the daemon reads it when it starts:")
    for line in ("api:", "  tokens:", f'    - {{name: NAME, role: viewer, sha256: "{digest}"}}'):
        say(f"  {line}")
    say("The token, for whoever is to have it:")
    click.echo(token)
