"""What a program or a container prints: told line by line as it comes, kept for the result, and bounded."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flow_processor.errors import StepError

MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""So much of what a program prints may become a result; a program that prints more is ended."""

LAST_LINES = 20
"""So many lines of a program's output an error shows."""

MAX_LOGGED_LINES = 20_000
"""Of a program that prints more, the first ones."""

MAX_LINE_BYTES = 64 * 1024
"""Of a line that is longer the log and errors have a beginning of at most twice that; the result has it all."""


class Printed:
    """`on_line(text, is_error)` is called for each line, by whoever gives it what was printed.

    Stdout and stderr may be given by two threads; one stream only by one.
    """

    def __init__(self, *, on_line: Callable[[str, bool], None], redacted: Callable[[str], str]) -> None:
        """`redacted` takes secrets out of a text."""
        self._on_line = on_line
        self._redacted = redacted
        self._guard = threading.Lock()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._kept: list[tuple[bool, bytes]] = []
        self._room = MAX_OUTPUT_BYTES
        self._lines_left = MAX_LOGGED_LINES
        self._is_over = False
        self._rest = {False: b"", True: b""}
        self._is_cut = {False: False, True: False}
        """The beginning of this line has been told, and that is enough."""

    @property
    def last_lines(self) -> list[str]:
        """Of both, as they came."""
        with self._guard:
            return list(self._last)

    def bytes_of(self, *, is_error: bool | None) -> bytes:
        """All that was printed there; None: on both, as it came."""
        return b"".join(piece for told_by, piece in self._kept if is_error is None or told_by is is_error)

    def check_room(self, what: str) -> None:
        """Raises StepError `output_too_large` once too much was printed by `what` ('the program')."""
        if self._room < 0:
            message = f"{what} printed more than {MAX_OUTPUT_BYTES >> 20} MiB and was ended"
            raise StepError(message, code="output_too_large")

    def close(self) -> None:
        """Nobody wants more."""
        with self._guard:
            self._is_over = True

    def take(self, piece: bytes, *, is_error: bool) -> bool:
        """A further piece. False: nobody wants more."""
        if not self._keep(piece, is_error):
            return False
        *lines, rest = (self._rest[is_error] + piece).split(b"\n")
        if self._is_cut[is_error] and lines:
            lines, self._is_cut[is_error] = lines[1:], False
        told = [_text(line) for line in lines]
        if self._is_cut[is_error]:
            rest = b""
        elif len(rest) > 2 * MAX_LINE_BYTES:
            told.append(self._beginning(rest))
            rest, self._is_cut[is_error] = b"", True
        self._rest[is_error] = rest
        self._tell(told, is_error)
        return True

    def end(self, *, is_error: bool) -> None:
        """Nothing more comes: what stands behind the last line break is a line too."""
        rest, self._rest[is_error] = self._rest[is_error], b""
        if rest and not self._is_cut[is_error]:
            self._tell([_text(rest)], is_error)

    def _beginning(self, line: bytes) -> str:
        """The beginning of a long line. Its end is left away once it is redacted: half a secret may stand there."""
        return f"{self._redacted(_text(line))[:-MAX_LINE_BYTES]}… (cut: the line is too long)"

    def _keep(self, piece: bytes, is_error: bool) -> bool:
        with self._guard:
            self._room -= len(piece)
            if self._room >= 0:
                self._kept.append((is_error, piece))
            return not self._is_over

    def _tell(self, lines: Sequence[str], is_error: bool) -> None:
        with self._guard:
            self._last.extend(lines[-LAST_LINES:])
            told = lines[: max(0, self._lines_left)]
            self._lines_left -= len(lines)
        for line in told:
            self._on_line(line, is_error)
        if told and self._lines_left < 0:
            self._on_line(f"further lines are not logged: there are more than {MAX_LOGGED_LINES}", True)


def json_value(text: str) -> Any:
    """A printed text read as JSON; nothing printed is null. Raises StepError `json_invalid`."""
    try:
        return json.loads(text, parse_constant=_no_json) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise StepError(f"what was printed is no JSON: {error}", code="json_invalid") from error


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
