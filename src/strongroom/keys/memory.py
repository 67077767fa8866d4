"""Keeps key material out of core dumps and out of reach of other processes of the same user.

What this cannot do in Python is said in docs/threat-model/secrets-in-memory.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def harden_process() -> bool:
    """Forbid core dumps and, on Linux, tracing by the same user; returns whether all was done.

    Call it first thing in every process that will hold a key. Child processes inherit the core
    limit, and take the dumpable flag back when they run another program.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    no_core = resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    if not sys.platform.startswith("linux"):
        return False
    return no_core and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
