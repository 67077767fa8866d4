"""Ends a child process when its supervisor is gone, however that ended: a pipe that closes."""

from __future__ import annotations

import os
import threading


def hold_on(descriptor: int) -> None:
    """End this process at once when the other end of the pipe closes.

    At once is safe: every state that matters is in the database, and recovery ends what was open.
    """

    def wait() -> None:
        try:
            while os.read(descriptor, 1):
                pass
        finally:
            os._exit(70)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
