"""The `octospool` command, also as `python -m flow_processor`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

OBJECTS_UNTIL_COLLECTION = 50_000
"""Python looks for garbage after every 700 new objects, and over and over again at all that imports have made: a fifth
of a start. Garbage in cycles is rare here and small, so it may wait."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's arguments); returns the exit code."""
    gc.set_threshold(OBJECTS_UNTIL_COLLECTION, 20, 100)
    from flow_processor.cli.app import octospool

    # The same program name whether started as a command, as a module or as main.py. click leaves by
    # SystemExit; its code is handed back so that callers decide.
    try:
        octospool.main(args=None if args is None else list(args), prog_name="octospool")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
