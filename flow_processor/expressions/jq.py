"""jq: one output is the value, none is None, several are a list of them. Compiled programs are kept.

How values go in and out is chosen by measurement (docs of `run`): the program is wrapped as `[…]|tojson`, fed
with text and answered by text. That is exact (jq keeps the digits of a number it only hands on; the binding's
own conversion rounds 12345678901234567890 and turns 1.0 into 1), and not slower than the binding's `all()`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from functools import lru_cache
from typing import Any

import jq as binding
from pydantic_core import PydanticSerializationError, from_json, to_json

from flow_processor.errors import ExpressionError
from flow_processor.expressions.jq_words import denied_word, read
from flow_processor.shortened import shortened

__all__ = ["compile_problem", "denied_word", "run"]

_PROGRAMS_KEPT = 512
"""A flow has tens of expressions; a compiled program holds some kilobytes."""

_SAFE_INTEGER = 2**53
"""Beyond it a double, in which jq computes, does not hold every integer."""

_TEXT_LIMIT = 2000
"""So many characters of jq's own message are kept; it may quote the data."""

_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_MANY_DIGITS = b"0" * 16
_LARGEST = "1.7976931348623157e+308"
"""What jq writes for a computed infinity. (A number that came in is written with a capital E.)"""


def run(expression: str, value: Any) -> Any:
    """The outputs of `expression` over `value`: one is it, none is None, several are a list.

    Costs the compiled program's run (7 to 10 µs for a small value); the first use compiles (1 ms).
    Numbers are exact or refused: what is handed on keeps every digit; a computed integer beyond 2^53, an
    infinity and a NaN in the data raise. jq's own `nan` is null, as jq documents it.

    Raises ExpressionError: jq_denied, jq_compile_error, jq_failed, jq_lossy.
    """
    program = _program(expression)
    text = _to_text(value)
    try:
        output = program.input_text(text).all()[0]
    except ValueError as error:
        raise ExpressionError(
            f"jq failed: {shortened(str(error).strip(), _TEXT_LIMIT)}",
            code="jq_failed",
            details={"expression": expression},
        ) from error
    results = _from_text(output)
    if _MANY_DIGITS in output.encode().translate(_ZEROS) or "E+" in output:
        _refuse_rounded(results, output, sources=(text, expression))
    if len(results) == 1:
        return results[0]
    return results or None


def compile_problem(expression: str) -> str | None:
    """Why the expression is refused or does not compile (jq's own text with the position), or None.

    Compiles, so it must not be called in the daemon.
    """
    try:
        _program(expression)
    except ExpressionError as error:
        return error.message
    return None


@lru_cache(maxsize=_PROGRAMS_KEPT)
def _program(expression: str) -> Any:
    reading = read(expression)
    if reading.denied is not None:
        raise ExpressionError(
            f"jq: '{reading.denied}' is not allowed in a flow; an expression sees only the value it is given",
            code="jq_denied",
            details={"expression": expression, "word": reading.denied},
        )
    if "\0" in expression:
        raise _not_compiled(expression, "the expression holds a NUL character")
    try:
        if not reading.complete:
            # Compiled alone, so that a bracket cannot pair with the wrapping's own; jq tells what is wrong.
            binding.compile(expression)
        # Two line ends: the first may be taken by a comment that ends in a backslash.
        return binding.compile(f"[{expression}\n\n]|tojson")
    except ValueError as error:
        raise _not_compiled(expression, _plain_message(expression) or str(error)) from error


def _plain_message(expression: str) -> str | None:
    """jq's message for the expression as its author wrote it, so that the columns are right."""
    try:
        binding.compile(expression)
    except ValueError as error:
        return str(error)
    return None


def _not_compiled(expression: str, text: str) -> ExpressionError:
    return ExpressionError(
        f"jq does not compile: {shortened(text.removeprefix('jq: error: ').strip(), _TEXT_LIMIT)}",
        code="jq_compile_error",
        details={"expression": expression},
    )


def _to_text(value: Any) -> str:
    try:
        raw = to_json(value)
    except PydanticSerializationError:
        return _to_text_slowly(value)
    if b"NaN" in raw or b"Infinity" in raw:
        return _to_text_slowly(value)
    return raw.decode()


def _to_text_slowly(value: Any) -> str:
    """For data nested deeper than pydantic goes, and to tell what is wrong with data that is not JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise _lossy("a text holds half of a surrogate pair, which is no character") from error
    except ValueError as error:
        raise _lossy("NaN and infinity are no JSON values; jq would make them null") from error
    except (TypeError, RecursionError) as error:
        raise ExpressionError(f"jq cannot take the value: {error}", code="jq_failed") from error
    return text


def _from_text(output: str) -> list[Any]:
    try:
        results: list[Any] = from_json(output)
    except ValueError:  # nested deeper than pydantic goes
        try:
            results = json.loads(output)
        except (ValueError, RecursionError) as error:
            raise ExpressionError(f"jq's result cannot be read: {error}", code="jq_failed") from error
    return results


def _refuse_rounded(results: list[Any], output: str, *, sources: tuple[str, ...]) -> None:
    """Raise if a number in the results is not the exact one: every digit of it must have been handed in."""
    known: set[str] | None = None
    largest_is_computed = _LARGEST in output
    waiting: list[Any] = [results]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, float):
            if math.isinf(value) or (largest_is_computed and abs(value) == sys.float_info.max):
                raise _lossy("a number is too large for jq, which computes in double precision")
        elif isinstance(value, int) and abs(value) > _SAFE_INTEGER:
            if known is None:
                known = _digits_in(sources)
            if str(abs(value)) not in known:
                raise _lossy(
                    f"the computed number {value} is beyond 2^53 and not exact, as jq computes in double "
                    "precision; keep such numbers as texts"
                )


def _digits_in(sources: tuple[str, ...]) -> set[str]:
    """Long rows of digits; with and without points, as 1.4634941226013908e16 comes back as an integer."""
    texts = [form for source in sources for form in (source, source.replace(".", ""))]
    return {digits for text in texts for digits in re.findall(r"[0-9]{16,}", text)}


def _lossy(reason: str) -> ExpressionError:
    return ExpressionError(f"jq would change the data: {reason}", code="jq_lossy")
