"""The `octospool` command, also as `python -m flow_processor`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's arguments); returns the exit code."""
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
