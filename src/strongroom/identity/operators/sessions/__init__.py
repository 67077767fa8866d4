"""Sessions of operators: of one device, over after a quarter of an hour's rest, ended at once."""

from strongroom.identity.operators.sessions.flow import Sessions, Started

__all__ = ["Sessions", "Started"]
