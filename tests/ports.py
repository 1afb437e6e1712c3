"""Ports for daemons of tests: nobody else takes one between its choice and the daemon's (next) start."""

from __future__ import annotations

import atexit
import secrets
import socket
import sys

FIRST, LAST = 12_000, 32_000
"""Below the range from which systems themselves give ports to connections: none is taken by chance."""


def free_port() -> int:
    """A loopback port that stays free for daemons of this process, however often they are started again.

    It is reserved against other processes that run tests by binding it on another loopback address.
    """
    for _ in range(1000):
        port = FIRST + secrets.randbelow(LAST - FIRST)  # not `random`: hypothesis sets its seed
        guard = socket.socket()
        try:
            if sys.platform == "linux":  # elsewhere 127.0.0.2 is no address of the machine
                guard.bind(("127.0.0.2", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            guard.close()
            continue
        atexit.register(guard.close)
        return port
    raise AssertionError("no free port")
