"""Where log lines go: standard error, one line each, whatever their text holds."""

from __future__ import annotations

import logging
import sys

from strongroom.kernel.escape import one_line


class _OneLine(logging.Formatter):
    """Escapes line ends and everything that a terminal would act upon, also in tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def begin_logging() -> None:
    """Log warnings and errors of this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
