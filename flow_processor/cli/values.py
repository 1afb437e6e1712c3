"""Values on the command line: JSON, files of JSON, and pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def json_value(text: str | None, *, hint: str) -> Any:
    """The value of an option `JSON|@FILE|@-`; BadParameter (exit 2) says where it stops being JSON."""
    if text is None:
        return None
    if text.startswith("@"):
        source = text[1:]
        try:
            raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
            # -sig: PowerShell and editors of Windows put a byte order mark in front.
            text = raw.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"cannot read {source}: {error}", param_hint=hint) from error
        return _json(text, source, hint=hint)
    advice = "quote it as your shell asks, or use @FILE"
    if text and text[0] not in '{["':
        advice = "a text has quotes of its own: '\"like this\"'"
    # It is not repeated: it may be secret.
    return _json(text, "it", advice=f"; {advice}", hint=hint)


def _json(text: str, source: str, *, hint: str, advice: str = "") -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{source} is not JSON: {error}{advice}", param_hint=hint) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def params_given(pairs: tuple[str, ...], params: str | None) -> dict[str, Any] | None:
    """What `--params` and, on top of it, `--param` say; None where neither is given."""
    values = json_value(params, hint="--params")
    if params is not None and not isinstance(values, dict):
        raise click.BadParameter('must be a JSON object: {"name": value}', param_hint="--params")
    given = typed_pairs(pairs, hint="--param")
    return None if values is None and given is None else {**(values or {}), **(given or {})}


def typed_pairs(pairs: tuple[str, ...], *, hint: str) -> dict[str, Any] | None:
    """The values of a repeatable option: `k=v` is a text, `k:=v` is JSON. None if there are none."""
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        typed = key.endswith(":")
        key = key.removesuffix(":").strip()
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not K=V", param_hint=hint)
        if key in params:
            raise click.BadParameter(f"{key!r} is given twice", param_hint=hint)
        reader: Callable[[str], Any] = (lambda text: _json(text, key, hint=hint)) if typed else str  # noqa: B023
        params[key] = reader(value)
    return params or None
