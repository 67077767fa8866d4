"""The commands: `strongroom …`, for the people who run an installation on their own machine."""

from strongroom.cli.program import app, main

__all__ = ["app", "main"]
